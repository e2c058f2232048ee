"""ASGI applications that use extensions, one a subject; each is at /name."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import unquote

from asgi_apps import Scope, answer
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
