"""ASGI applications, one a subject; each is at /name."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from mod_python import apache

Scope = dict[str, Any]
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="nothing")
NOTES = Path(__file__).parent.parent / "notes"
"""Where applications and tests tell one another something, whatever the child: a file a subject."""


def note(*values: Any) -> None:
    """Tell the test what has been seen."""
    place = NOTES / f"{os.getpid()}.{threading.get_ident()}"
    place.write_text(json.dumps(values))
    place.rename(NOTES / "seen")


async def opened(name: str) -> None:
    """Wait until the test opens a gate."""
    limit = time.monotonic() + 60
    while not (NOTES / name).exists() and time.monotonic() < limit:
        await asyncio.sleep(0.005)


async def answer(send: Any, body: bytes = b"", status: int = 200, headers: Any = ()) -> None:
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers]}
    )
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message["body"]
        if not message["more_body"]:
            return body


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"Hello World!")


async def scoped(scope: Scope, receive: Any, send: Any) -> None:
    shown = {key: value for key, value in scope.items() if key not in ("extensions", "headers")}
    shown["extensions"] = sorted(scope["extensions"])
    shown["method_of_request"] = scope["extensions"]["mod_python"]["request"].method
    shown["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    await answer(send, json.dumps(shown, default=lambda value: value.decode("latin-1")).encode())


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, await body_of(receive))


async def blocks(scope: Scope, receive: Any, send: Any) -> None:
    """How long each block of the body was, then what comes after the body's end."""
    sizes = []
    while True:
        message = await receive()
        sizes.append(len(message["body"]))
        if not message["more_body"]:
            break
    await answer(send, json.dumps(sizes).encode())
    note((await receive())["type"], (await receive())["type"])


async def duplex(scope: Scope, receive: Any, send: Any) -> None:
    """Answers each block as soon as it is there."""
    await send({"type": "http.response.start", "status": 200})
    while True:
        message = await receive()
        await send({"type": "http.response.body", "body": message["body"], "more_body": message["more_body"]})
        if not message["more_body"]:
            return


async def ticks(scope: Scope, receive: Any, send: Any) -> None:
    """An event stream: each part leaves before the next is made."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await opened(f"tick{number}")
    await send({"type": "http.response.body"})


async def large(scope: Scope, receive: Any, send: Any) -> None:
    """More than any buffer holds; the test hears how much the application could send, where its client goes."""
    sent = 0
    await send({"type": "http.response.start", "status": 200})
    try:
        for _ in range(int(scope["query_string"] or b"2000")):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536
        await send({"type": "http.response.body"})
    except OSError as error:
        note(sent, isinstance(error, OSError))
        raise


async def waits(scope: Scope, receive: Any, send: Any) -> None:
    """Waits at a gate before it answers."""
    await opened("waits")
    await answer(send, b"waited")


async def listens(scope: Scope, receive: Any, send: Any) -> None:
    """Waits in receive() for the client to go, with or without (`?begun`) a part of the answer."""
    assert scope["type"] == "http"  # it is asked whether it has a lifespan, too
    note("listening")
    if scope["query_string"] == b"begun":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    assert (await receive())["type"] == "http.request"
    message = await receive()
    heard = [message["type"], (await receive())["type"]]
    try:
        await send({"type": "http.response.start", "status": 200})
    except Exception as error:
        note(*heard, isinstance(error, (OSError, RuntimeError)))


async def gone(scope: Scope, receive: Any, send: Any) -> None:
    """Sends to a client that has gone, and notes what each message raises."""
    assert scope["type"] == "http"
    await receive()
    note("listening")
    await receive()
    raised = []
    for message in (
        {"type": "http.response.early_hint", "links": [b"</a>"]},
        {"type": "http.response.start", "status": 200},
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.pathsend", "path": __file__},
        {"type": "http.response.body"},
    ):
        try:
            await send(message)
        except Exception as error:
            raised.append(type(error).__name__)
    note(*raised)


async def script(scope: Scope, receive: Any, send: Any) -> None:
    """Sends the messages of the body (a list in Python, evaluated); what is raised is the answer where that is possible."""
    messages = eval(await body_of(receive))
    try:
        for message in messages:
            await send(message)
    except Exception as error:
        note(type(error).__name__, str(error))
        raise


async def catches(scope: Scope, receive: Any, send: Any) -> None:
    """As `script`, but answers with what was raised."""
    messages = eval(await body_of(receive))
    try:
        for message in messages:
            await send(message)
    except Exception as error:
        await answer(send, f"{type(error).__name__}: {error}".encode())


async def raises(scope: Scope, receive: Any, send: Any) -> None:
    raise LookupError("asgi_apps raises")


async def raises_late(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    await asyncio.sleep(0)
    raise LookupError("asgi_apps raises late")


async def raises_after(scope: Scope, receive: Any, send: Any) -> None:
    await answer(send, b"complete")
    raise LookupError("asgi_apps raises after its answer")


async def cancelled(scope: Scope, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def exits(scope: Scope, receive: Any, send: Any) -> None:
    raise SystemExit(3)


async def nothing(scope: Scope, receive: Any, send: Any) -> None:
    pass


async def chunked(scope: Scope, receive: Any, send: Any) -> None:
    """Says itself how its answer is framed, as BlackSheep does."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"transfer-encoding", b"chunked")]})
    for part in (b"one ", b"two"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body"})


async def half(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await asyncio.sleep(0)


async def background(scope: Scope, receive: Any, send: Any) -> None:
    """Goes on when its answer is complete."""
    await answer(send, b"answered")
    await opened("background")
    note("background")


async def context(scope: Scope, receive: Any, send: Any) -> None:
    """What another request has set, and what a task and a thread of this one see."""
    before = VARIABLE.get()
    VARIABLE.set("mine")

    async def read() -> str:
        return VARIABLE.get()

    seen = [before, await asyncio.create_task(read())]
    if hasattr(asyncio, "to_thread"):
        seen.append(await asyncio.to_thread(VARIABLE.get))
    await answer(send, json.dumps(seen).encode())


async def place(scope: Scope, receive: Any, send: Any) -> None:
    """Where it runs: process, interpreter, thread, loop."""
    loop = asyncio.get_running_loop()
    where = [os.getpid(), apache.interpreter, threading.get_ident(), id(loop), type(loop).__module__]
    await answer(send, json.dumps(where).encode())


async def blocking(scope: Scope, receive: Any, send: Any) -> None:
    """Two threads of an executor at once, and a process."""
    loop = asyncio.get_running_loop()
    barrier = threading.Barrier(2, timeout=20)
    await asyncio.gather(*(loop.run_in_executor(None, barrier.wait) for _ in range(2)))
    process = await asyncio.create_subprocess_exec("echo", "spam", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    await answer(send, output)


async def requested(scope: Scope, receive: Any, send: Any) -> None:
    """Uses Apache's request object, while the request lives and afterwards."""
    req = scope["extensions"]["mod_python"]["request"]
    req.headers_out["X-Apache"] = req.uri
    req.log_error("asgi was here", apache.APLOG_INFO)
    await answer(send, req.subprocess_env.get("FROM_SETENV", "").encode())
    while True:
        await asyncio.sleep(0)
        try:
            req.uri
        except RuntimeError as error:
            if "expired" in str(error):
                note(str(error))
                return


async def tasks(scope: Scope, receive: Any, send: Any) -> None:
    """A listener beside the answer, as frameworks have it."""
    await body_of(receive)
    listener = asyncio.ensure_future(receive())
    await answer(send, b"with a listener")
    note((await listener)["type"])


async def patient(scope: Scope, receive: Any, send: Any) -> None:
    """Waits for its client to go, and at a gate, whatever comes first."""
    await body_of(receive)
    listener, gate = asyncio.ensure_future(receive()), asyncio.ensure_future(opened("patient"))
    note("listening")
    await asyncio.wait({listener, gate}, return_when=asyncio.FIRST_COMPLETED)
    await answer(send, b"still here" if not listener.done() else b"gone")
    gate.cancel()


async def timed(scope: Scope, receive: Any, send: Any) -> None:
    """Gives up waiting."""
    await body_of(receive)
    try:
        await asyncio.wait_for(receive(), 0.01)
    except asyncio.TimeoutError:
        await answer(send, b"timed out")


class Callable:
    """An object that is an application."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await answer(send, b"an object")


instance = Callable()


class Double:
    """ASGI 2: called with the scope, then with receive and send."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await answer(send, b"double " + self.scope["path"].encode())


def double(scope: Scope) -> Any:
    async def inner(receive: Any, send: Any) -> None:
        await answer(send, b"a function, double")

    return inner


def plain(scope: Scope, receive: Any, send: Any) -> Any:
    """Gives an awaitable, and is no coroutine function itself."""
    return hello(scope, receive, send)


def create() -> Any:
    return Callable()


async def slow(scope: Scope, receive: Any, send: Any) -> None:
    """Keeps the loop for a moment, so that requests come in batches."""
    time.sleep(0.02)
    await answer(send, b"slow")
