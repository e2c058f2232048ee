"""A WebSocket whose request has a clean-up and a log handler."""

import json

from asgi_apps import NOTES
from asgi_sockets import accepted
from mod_python import apache


def log(req):
    (NOTES / "log").write_text("log")
    return apache.OK


def cleanup(data):
    """Says what has run before it."""
    before = (NOTES / "log").read_text()
    (NOTES / "new").write_text(json.dumps([before, data]))
    (NOTES / "new").rename(NOTES / "seen")


async def noted(scope, receive, send):
    request = scope["extensions"]["mod_python"]["request"]
    request.register_cleanup(cleanup, "clean-up")
    await accepted(receive, send)
    while (message := await receive())["type"] != "websocket.disconnect":
        text = request.uri if message["text"] == "uri" else request.headers_in["Connection"]
        await send({"type": "websocket.send", "text": text})
