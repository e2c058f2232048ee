import hashlib

from django.contrib import admin
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def index(request):
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"visit {visits} of {request.user}")


def stream(request):
    return StreamingHttpResponse((f"{number}," for number in range(1000)), content_type="text/plain")


def file(request):
    return FileResponse(open(request.GET["path"], "rb"), as_attachment=True)


@csrf_exempt
def upload(request):
    file, digest = request.FILES["file"], hashlib.sha256()
    for block in file.chunks():
        digest.update(block)
    return HttpResponse(f"{file.name} {file.size} {digest.hexdigest()}")


def error(request):
    raise LookupError("in a view")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("stream", stream),
    path("file", file),
    path("upload", upload),
    path("error", error),
    path("", index),
]
