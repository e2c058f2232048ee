"""ASGI applications with a lifespan; each notes what happens in a file of its own."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from asgi_apps import NOTES, Scope, answer, opened
from mod_python import apache


def tell(name: str, text: str) -> None:
    with open(NOTES / name, "a") as file:
        file.write(f"{apache.interpreter} {text}\n")


async def whole(scope: Scope, receive: Any, send: Any) -> None:
    """Start-up takes a while, and leaves something in the state."""
    if scope["type"] != "lifespan":
        scope["state"]["own"] = True
        tell("whole", "request")
        await answer(send, repr(sorted(scope["state"].items())).encode())
        return
    assert await receive() == {"type": "lifespan.startup"}
    await asyncio.sleep(0.05)
    scope["state"]["shared"] = os.getpid()
    tell("whole", "startup")
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == {"type": "lifespan.shutdown"}
    tell("whole", "shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def fails(scope: Scope, receive: Any, send: Any) -> None:
    """Start-up fails until the test opens a gate."""
    if scope["type"] != "lifespan":
        await answer(send, b"started")
        return
    await receive()
    tell("fails", "startup")
    if (NOTES / "may_start").exists():
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no spoon"})
    else:
        await send({"type": "lifespan.startup.failed", "message": "no spam"})


async def without(scope: Scope, receive: Any, send: Any) -> None:
    """Knows nothing of lifespan, and says so by an assertion."""
    assert scope["type"] == "http"
    await answer(send, repr("state" in scope).encode())


async def alone(scope: Scope, receive: Any, send: Any) -> None:
    """As `without`; PythonOption mod_python.asgi.lifespan on is for this one."""
    await without(scope, receive, send)


async def returns(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(send, repr("state" in scope).encode())


async def wrong(scope: Scope, receive: Any, send: Any) -> None:
    """Sends what does not come at that time."""
    if scope["type"] == "http":
        await answer(send, b"after all")
        return
    await receive()
    try:
        await send({"type": "lifespan.shutdown.complete"})
    except RuntimeError as error:
        tell("wrong", str(error))
    await send({"type": "lifespan.startup.complete"})
    try:
        await send({"type": "lifespan.startup.complete"})
    except RuntimeError as error:
        tell("wrong", str(error))
    await receive()
    raise LookupError("asgi_lifespans ends wrong")


async def busy(scope: Scope, receive: Any, send: Any) -> None:
    """Has a task that does not end by itself, and one that clears up when it is cancelled."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        tell("busy", "shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await answer(send, b"busy")
    try:
        await opened("never")
    finally:
        tell("busy", "cancelled")


async def stops(scope, receive, send):
    """An application that ends the loop in which it runs, as none should."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"stopped"})
        asyncio.get_running_loop().stop()


async def sleeps(scope, receive, send):
    await asyncio.sleep(0.001)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"slept"})


async def polls(scope: Scope, receive: Any, send: Any) -> None:
    """Waits for what never comes, as a long poll does: without an answer, or with one that has begun."""
    if scope["path"].endswith("/streams"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    elif scope["path"].endswith("/socket"):
        await send({"type": "websocket.accept"})
    tell("polls", "polled")
    await asyncio.get_running_loop().create_future()


async def dies(scope: Scope, receive: Any, send: Any) -> None:
    """Its lifespan ends when it runs, as one of Starlette's does: it says so, and raises."""
    if scope["type"] == "http":
        await answer(send, b"alive")
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await opened("dies")
    await send({"type": "lifespan.shutdown.failed", "message": "Traceback of Starlette's"})
    raise ConnectionError("asgi_lifespans: the broker has gone")


async def tells(scope: Scope, receive: Any, send: Any) -> None:
    """As `dies`, and raises nothing."""
    if scope["type"] == "http":
        await answer(send, b"alive")
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.failed", "message": "asgi_lifespans tells early"})


async def raises_at_startup(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(send, repr("state" in scope).encode())
        return
    await receive()
    raise ConnectionRefusedError("asgi_lifespans: the database is down")


async def must_start(scope: Scope, receive: Any, send: Any) -> None:
    """As `raises_at_startup`; PythonOption mod_python.asgi.lifespan on is for this one."""
    await raises_at_startup(scope, receive, send)


async def ordered(scope: Scope, receive: Any, send: Any) -> None:
    """Knows nothing of lifespan; each of its places has another option."""
    await without(scope, receive, send)


async def stated(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(send, repr("state" in scope).encode())
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()


async def leaves_a_task(scope: Scope, receive: Any, send: Any) -> None:
    """Leaves behind what would end the loop (`?SystemExit`); or waits at a gate."""
    if scope["type"] == "lifespan":
        await whole(scope, receive, send)
        return
    name = scope["query_string"].decode()
    if not name:
        await opened("exited")
        await answer(send, b"still here")
        return

    async def ends() -> None:
        raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[name]("asgi_lifespans ends a task")

    scope["state"]["task"] = asyncio.create_task(ends())
    await answer(send, b"left")
