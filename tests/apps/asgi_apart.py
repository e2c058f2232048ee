"""ASGI applications that look for what is made when it is looked for, and a handler behind them."""

from __future__ import annotations

from typing import Any, Optional

from asgi_apps import Scope, note

LOOKS: dict[str, Any] = {
    "item": lambda ours: ours["request"],
    "get": lambda ours: ours.get("request"),
    "in": lambda ours: "request" in ours and ours["request"],
    "keys": lambda ours: ours[next(iter(ours.keys()))],
    "iter": lambda ours: ours[next(iter(ours))],
    "values": lambda ours: next(iter(ours.values())),
    "items": lambda ours: dict(ours.items())["request"],
    "dict": lambda ours: dict(ours)["request"],
    "stars": lambda ours: {**ours}["request"],
    "copy": lambda ours: ours.copy()["request"],
    "length": lambda ours: len(ours) == 1 and ours["request"],
    "equal": lambda ours: ours == {"request": ours["request"]} and ours["request"],
    "bool": lambda ours: bool(ours) and ours["request"],
}
kept: Optional[Any] = None


async def answer(send: Any, text: str) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


async def looks(scope: Scope, receive: Any, send: Any) -> None:
    ours = scope["extensions"]["mod_python"]
    request = LOOKS[scope["query_string"].decode()](ours)
    assert request is ours["request"]
    assert "other" not in ours and ours.get("other", 1) == 1
    await answer(send, request.uri)


async def lacks(scope: Scope, receive: Any, send: Any) -> None:
    try:
        scope["extensions"]["mod_python"]["other"]
    except KeyError as error:
        await answer(send, repr(error))


async def marks(scope: Scope, receive: Any, send: Any) -> None:
    """Leaves something at the request for the handler behind it."""
    scope["extensions"]["mod_python"]["request"].spam = "eggs"
    await answer(send, "marked")


def log(req: Any) -> int:
    note(getattr(req, "spam", None))
    return 0


async def keeps(scope: Scope, receive: Any, send: Any) -> None:
    global kept
    kept = scope["extensions"]["mod_python"]
    await answer(send, "kept")


async def comes_late(scope: Scope, receive: Any, send: Any) -> None:
    """Looks for the request of `keeps`, which has ended."""
    try:
        await answer(send, str(kept and kept["request"].uri))
    except RuntimeError as error:
        await answer(send, str(error))


async def writes(scope: Scope, receive: Any, send: Any) -> None:
    """Answers with a header that is set at the request."""
    scope["extensions"]["mod_python"]["request"].headers_out["X-Spam"] = "eggs"
    await answer(send, "written")
