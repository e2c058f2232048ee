"""An ASGI application whose start-up takes as long as the test likes."""

from __future__ import annotations

import threading
import time
from typing import Any

from asgi_apps import NOTES, Scope, answer, opened
from mod_python import _asgi

_asgi._LONG = 0.2
"""The server says so earlier."""


async def waits(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await opened("starts")
        await send({"type": "lifespan.startup.complete"})
        await receive()
    else:
        (NOTES / scope["query_string"].decode()).touch()
        await answer(send, b"started")


async def blocks(scope: Scope, receive: Any, send: Any) -> None:
    """As `waits`, and nothing else of the loop's runs meanwhile."""
    if scope["type"] == "lifespan":
        while not (NOTES / "starts").exists():
            threading.Event().wait(0.01)
        time.sleep(0.3)
    await waits(scope, receive, send)
