"""Applications that say which one they are, and which options they see."""

import os

from mod_python import apache


def shown(req):
    """Without the options that say where an application is."""
    options = req.get_options().items()
    return sorted(
        (key, value) for key, value in options if not key.startswith(("mod_python.wsgi.", "mod_python.asgi."))
    )


def named(name):
    def application(environ, start_response):
        options = shown(environ["mod_python.request"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        text = f"{name} [{environ['SCRIPT_NAME']}] {environ['PATH_INFO']} {options} {os.getpid()}"
        return [text.encode()]

    return application


one, two, three = named("one"), named("two"), named("three")


def make():
    return named("made")


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    text = f"asgi [{scope['root_path']}] {scope['path'].removeprefix(scope['root_path'])} - {os.getpid()}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


def lets_in(req):
    return apache.OK if req.get_basic_auth_pw() == "secret" else apache.HTTP_UNAUTHORIZED


def asks(req):
    req.content_type = "text/plain"
    password = req.get_basic_auth_pw()
    req.write(f"{req.auth_type()} {req.auth_name()} {password} {req.user}")
    return apache.OK


def handler(req):
    req.content_type = "text/plain"
    req.write(f"handler [] {req.path_info} {shown(req)} {os.getpid()}")
    return apache.OK
