"""Applications and a handler that say which Python they run on, and misbehave on demand."""

import sys
import time

from mod_python import apache

STARTED = time.time_ns()


def version():
    return "{}.{}".format(*sys.version_info)


def told(path):
    """What an answer says: the version, the environment, when it was imported."""
    if path.endswith("/break"):
        raise RuntimeError("broken on purpose")
    while path.endswith("/hang"):
        time.sleep(0.01)
    return f"{version()} {sys.prefix} {STARTED}"


def wsgi(environ, start_response):
    text = told(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]


async def asgi(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": f"{version()} {message['text']}"})
    elif scope["type"] == "http":
        text = told(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": text.encode()})


def handler(req):
    req.content_type = "text/plain"
    req.write(told(req.uri))
    return apache.OK
