"""ASGI applications that use extensions, one a subject; each is at /name."""

from __future__ import annotations

import json
from typing import Any

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
