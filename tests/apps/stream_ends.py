"""A WebSocket whose request has a clean-up and a log handler."""

import asyncio
import json
import time

from asgi_apps import NOTES, note, opened
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


async def begun(send, *headers):
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream"), *headers]}
    )


async def events(scope, receive, send):
    """Two events; between them it waits for a gate."""
    await begun(send)
    await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
    await opened(scope["query_string"].decode())
    await send({"type": "http.response.body", "body": b"data: two\n\n", "more_body": True})
    await send({"type": "http.response.body"})


async def waits(scope, receive, send):
    """Notes what it is told when its client has gone."""
    await begun(send)
    await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
    assert (await receive())["type"] == "http.request"
    note((await receive())["type"])


async def breaks(scope, receive, send):
    await begun(send)
    await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
    await opened(scope["query_string"].decode())
    raise LookupError("stream_ends breaks")


async def much(scope, receive, send):
    """More than any buffer holds, after a silence."""
    size = 65536
    await begun(send, (b"content-length", b"%d" % (200 * size + 10)))
    await send({"type": "http.response.body", "body": b"0123456789", "more_body": True})
    await opened(scope["query_string"].decode())
    for _ in range(200):
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
    await send({"type": "http.response.body"})
    note("all is sent")


def slow_log(req):
    end = time.monotonic() + 20
    while not (NOTES / "log").exists() and time.monotonic() < end:
        time.sleep(0.005)
    return apache.OK


def passes(filter):
    while text := filter.read():
        filter.write(text)


async def filters(scope, receive, send):
    """Adds a filter of its own when the answer has left its worker."""
    request = scope["extensions"]["mod_python"]["request"]
    await begun(send)
    await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
    await opened("filters")
    request.register_output_filter("OWN", "stream_ends::passes")
    request.add_output_filter("OWN")
    await send({"type": "http.response.body", "body": b"data: two\n\n", "more_body": True})
    await receive()
    await receive()


async def holds(scope, receive, send):
    """Has a thread write more than its client takes."""
    request = scope["extensions"]["mod_python"]["request"]

    def write():
        try:
            request.write(b"x" * 30_000_000)
        except OSError:
            note("written")

    await begun(send)
    await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
    await opened("holds")
    note("writes")
    await asyncio.to_thread(write)
