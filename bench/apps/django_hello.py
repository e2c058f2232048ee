"""Django's hello, in one file: its usual middleware of a site without sessions."""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a benchmark",
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
)
django.setup()


def hello(request):
    return HttpResponse("Hello World!", content_type="text/plain")


urlpatterns = [path("", hello), path("django", hello)]
application = get_wsgi_application()
