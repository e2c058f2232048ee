"""ASGI applications that use extensions, one a subject; each is at /name."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from urllib.parse import unquote

from asgi_apps import Scope, answer, body_of, note, opened
from asgi_sockets import accepted


async def extensions(scope: Scope, receive: Any, send: Any) -> None:
    shown = {name: value for name, value in scope["extensions"].items() if name != "mod_python"}
    await answer(send, json.dumps(shown).encode())


async def told(scope: Scope, receive: Any, send: Any) -> None:
    """As `extensions`, for a WebSocket."""
    await accepted(receive, send)
    await send({"type": "websocket.send", "text": json.dumps(scope["extensions"].get("tls"))})
    await send({"type": "websocket.close"})


def named(scope: Scope) -> str:
    return unquote(scope["query_string"].decode())


async def sends(scope: Scope, receive: Any, send: Any) -> None:
    """Sends the file of the query."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.pathsend", "path": named(scope)})


async def falls_back(scope: Scope, receive: Any, send: Any) -> None:
    """As `sends`; where there is no such file, with something else."""
    await send({"type": "http.response.start", "status": 200})
    try:
        await send({"type": "http.response.pathsend", "path": named(scope)})
    except OSError as error:
        await send({"type": "http.response.body", "body": type(error).__name__.encode()})


async def removes(scope: Scope, receive: Any, send: Any) -> None:
    """As `sends`, and removes the file at once."""
    await sends(scope, receive, send)
    os.unlink(named(scope))
    note("removed")


async def hints(scope: Scope, receive: Any, send: Any) -> None:
    """Tells of resources before it begins to answer, and once more when it has said how."""
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
    await opened("hinted")
    headers = [(b"content-type", b"text/plain"), (b"link", b"</own>; rel=next")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.early_hint", "links": iter([b"</c.css>; rel=preload"])})
    await opened("started")
    await send({"type": "http.response.body", "body": b"a ", "more_body": True})
    await opened("begun")
    # Too late for the client, and no mistake.
    await send({"type": "http.response.early_hint", "links": [b"</late>"]})
    await send({"type": "http.response.body", "body": b"page"})


async def hints_much(scope: Scope, receive: Any, send: Any) -> None:
    """More than waits here for the client to take it."""
    for _ in range(3000):
        await send({"type": "http.response.early_hint", "links": [b"<" + b"x" * 1000 + b">"]})
    await answer(send, b"done")


async def hints_and_fails(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
    await asyncio.sleep(0.05)
    raise LookupError("asgi_extensions hints and fails")


async def hints_and_reads(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
    await answer(send, await body_of(receive))


async def trails(scope: Scope, receive: Any, send: Any) -> None:
    """A body in parts, and two messages of trailers; `?length`: with a Content-Length, `?status`: as 204."""
    query = scope["query_string"]
    headers = [(b"trailer", b"x-sum, x-more"), *([(b"content-length", b"8")] if query == b"length" else [])]
    status = 204 if query == b"status" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": True})
    await send({"type": "http.response.body", "body": b"spam", "more_body": True})
    await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"eggs"})
    await asyncio.sleep(0.01)
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"8")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": iter([[b"X-More", b"a"], [b"x-more", b"b"]])})


async def trails_a_file(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "trailers": True})
    await send({"type": "http.response.pathsend", "path": __file__})
    await send({"type": "http.response.trailers", "headers": [(b"x-file", b"sent")]})
