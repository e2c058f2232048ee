"""ASGI applications that are measured: hello, JSON by FastAPI, an event stream, a WebSocket that echoes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

api = FastAPI(openapi_url=None)
ITEMS = [
    {"number": number, "name": f"item {number}", "price": number * 1.25, "tags": ["a", "b", "c"]}
    for number in range(140)
]

KILOBYTES_10 = b"x" * 10240


@api.get("/json")
async def items() -> list[dict[str, Any]]:
    """10 KB."""
    return ITEMS


async def application(scope: Any, receive: Any, send: Any) -> None:
    """What is asked for by the path."""
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["type"] == "http" and scope["path"].endswith("/hello"):
        await text(send, b"Hello World!")
    elif scope["type"] == "http" and scope["path"].endswith("/page"):
        await text(send, KILOBYTES_10)
    elif scope["type"] == "http" and scope["path"].endswith("/events"):
        await events(send)
    else:
        await api(scope, receive, send)


async def text(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def events(send: Any) -> None:
    """A stream of twenty events."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(20):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
    await send({"type": "http.response.body"})


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
