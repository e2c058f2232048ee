"""What runs while httpd is restarted, and what its memory is measured with: ASGI applications that take their time."""

import asyncio

LINES = 40


async def events(scope, receive, send):
    """As many lines as `soaking.stream`, one after the other."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(LINES):
        await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body"})


async def brief(scope, receive, send):
    """A stream that is silent just long enough to leave its worker."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b"one\n", "more_body": True})
    await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": b"two\n"})


async def echo(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({**message, "type": "websocket.send"})
