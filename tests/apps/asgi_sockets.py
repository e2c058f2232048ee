"""ASGI applications with WebSockets, one a subject; each is at /name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from asgi_apps import Scope, note, opened


async def accepted(receive: Any, send: Any, **more: Any) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **more})


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    """Sends back what it receives, and notes how it ended."""
    await accepted(receive, send)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note(message["code"], message["reason"])
            return
        await send({**message, "type": "websocket.send"})


async def quiet(scope: Scope, receive: Any, send: Any) -> None:
    """As `echo`, and notes nothing."""
    await accepted(receive, send)
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({**message, "type": "websocket.send"})


async def lengthy(scope: Scope, receive: Any, send: Any) -> None:
    """Accepts with headers that are the server's."""
    headers = [(b"content-length", b"5"), (b"te", b"trailers"), (b"connection", b"close"), (b"x-kept", b"1")]
    await accepted(receive, send, headers=headers)
    await receive()


async def hasty(scope: Scope, receive: Any, send: Any) -> None:
    """Accepts, or refuses, before it looks."""
    if scope["query_string"] == b"refuses":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    kinds = [(await receive())["type"], (await receive())["type"]]
    await send({"type": "websocket.send", "text": ", ".join(kinds)})
    await receive()


async def scoped(scope: Scope, receive: Any, send: Any) -> None:
    shown = {key: value for key, value in scope.items() if key not in ("extensions", "headers")}
    shown["extensions"] = sorted(scope["extensions"])
    await accepted(receive, send)
    text = json.dumps(shown, default=lambda value: value.decode("latin-1"))
    await send({"type": "websocket.send", "text": text})
    await send({"type": "websocket.close"})


async def chosen(scope: Scope, receive: Any, send: Any) -> None:
    """Chooses the last subprotocol, and adds a header."""
    headers = [(b"x-spam", b"eggs"), (b"Set-Cookie", b"a=b")]
    await accepted(receive, send, subprotocol=(scope["subprotocols"] or [None])[-1], headers=headers)
    await send({"type": "websocket.close", "code": 3001, "reason": "chosen"})
    note((await receive())["code"])


async def refused(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def denied(scope: Scope, receive: Any, send: Any) -> None:
    assert "websocket.http.response" in scope["extensions"]
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"x-spam", b"eggs")]
    await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"coffee"})


async def script(scope: Scope, receive: Any, send: Any) -> None:
    """Sends the messages of the query (a list in Python, evaluated, in hexadecimal), and notes what is raised."""
    await receive()
    try:
        for message in eval(bytes.fromhex(scope["query_string"].decode())):
            await send(message)
    except Exception as error:
        note(type(error).__name__, str(error))
        raise


async def raises(scope: Scope, receive: Any, send: Any) -> None:
    raise LookupError("asgi_sockets raises")


async def raises_late(scope: Scope, receive: Any, send: Any) -> None:
    await accepted(receive, send)
    raise LookupError("asgi_sockets raises late")


async def returns(scope: Scope, receive: Any, send: Any) -> None:
    pass


async def returns_late(scope: Scope, receive: Any, send: Any) -> None:
    await accepted(receive, send)
    await send({"type": "websocket.send", "text": "bye"})


async def floods(scope: Scope, receive: Any, send: Any) -> None:
    """Sends more than any buffer holds, and notes how much it could send."""
    await accepted(receive, send)
    sent = 0
    try:
        for _ in range(4000):
            await send({"type": "websocket.send", "bytes": b"x" * 65536})
            sent += 65536
        await send({"type": "websocket.close"})
    except OSError:
        note(sent)
        raise


async def sleeps(scope: Scope, receive: Any, send: Any) -> None:
    """Receives nothing until a gate is opened, then counts what has come."""
    await accepted(receive, send)
    await opened("sleeps")
    count = 0
    while (message := await receive())["type"] == "websocket.receive":
        count += 1
        if message.get("text") == "end":
            await send({"type": "websocket.send", "text": str(count)})


async def pushes(scope: Scope, receive: Any, send: Any) -> None:
    """Sends while it waits to receive."""
    await accepted(receive, send)

    async def push() -> None:
        number = 0
        while True:
            await send({"type": "websocket.send", "text": str(number)})
            number += 1
            await asyncio.sleep(0.01)

    pusher = asyncio.ensure_future(push())
    message = await receive()
    pusher.cancel()
    note(message["type"])


async def gone(scope: Scope, receive: Any, send: Any) -> None:
    """Notes what sending raises when the client has gone."""
    await accepted(receive, send)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    try:
        await send({"type": "websocket.send", "text": "late"})
    except Exception as error:
        note(isinstance(error, OSError), (await receive())["type"])
