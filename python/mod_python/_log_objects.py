"""Exceptions and values as JSON for the error log (``PythonOption mod_python.log.json on``): bounded, and one line of ASCII."""

from __future__ import annotations

import json
import math
from itertools import islice
from types import CodeType, TracebackType
from typing import Any, Optional

from mod_python import _tracebacks

_MOST = 128 << 10
"""So many characters an exception may have as JSON, with all that led to it."""
_FRAMES = 50
"""So many frames are shown of a traceback's beginning, and of its end."""
_MESSAGE = 16 << 10
_EXCEPTIONS = 20


def exception(error: BaseException) -> tuple[str, str]:
    """The exception in one line; and as an object: type, message, frames, notes, cause, context, exceptions."""
    summary = f"{_type(error)}: {_message(error)}" if _message(error) else _type(error)
    for frames, exceptions in ((_FRAMES, _EXCEPTIONS), (10, 5), (5, 1)):
        text = json.dumps(_object(error, frames, [exceptions]))
        if len(text) <= _MOST:
            return clean(summary), text
    return clean(summary), json.dumps({"type": _type(error), "message": _cut(_message(error), 1000), "frames": []})


def fields(values: dict[str, Any]) -> str:
    """Values as an object; what has no form of its own in JSON as its ``repr``."""
    return json.dumps(_plain(values, 4, [500]))


def clean(text: str) -> str:
    """A text without halves of surrogate pairs, which are no Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    """What JSON can say of a value. ``left`` is how many values there may still be."""
    left[0] -= 1
    kind = type(value)
    if left[0] < 0:
        return "..."
    if value is None or kind is bool:
        return value
    if issubclass(kind, int):
        plain = int.__index__(value)
        return plain if plain.bit_length() <= 64 else f"<int of {plain.bit_length()} bits>"
    if kind is float and math.isfinite(value):
        return value
    if issubclass(kind, str):
        return clean(_cut(str.__getitem__(value, slice(None)), 4000))
    if depth and issubclass(kind, dict):
        pairs = list(islice(dict.items(value), 100))
        return {_name(name): _plain(one, depth - 1, left) for name, one in pairs}
    for base in (list, tuple, set, frozenset):
        if depth and issubclass(kind, base):
            return [_plain(one, depth - 1, left) for one in list(islice(base.__iter__(value), 100))]
    try:
        return clean(_cut(repr(value), 1000))
    except Exception:
        return f"<{_type(value)}: its repr() fails>"


def _name(name: object) -> str:
    return clean(_cut(name, 200)) if type(name) is str else f"<{_type(name)}>"


def _type(value: object) -> str:
    kind = type(value)
    name: str = type.__dict__["__qualname__"].__get__(kind)
    module = type.__dict__["__module__"].__get__(kind)
    return clean(name if module == "builtins" or type(module) is not str else f"{module}.{name}")


def _message(error: BaseException) -> str:
    try:
        return clean(_cut(str(error), _MESSAGE))
    except BaseException as raised:
        return f"<its str() raises {_type(raised)}>"


def _object(error: BaseException, frames: int, left: list[int], seen: frozenset[int] = frozenset()) -> dict[str, Any]:
    left[0] -= 1
    seen |= {id(error)}
    own = _tracebacks.own(error)
    found: dict[str, Any] = {
        "type": _type(error),
        "message": _message(error),
        "frames": _frames(own.traceback, frames),
    }
    if own.notes:
        found["notes"] = [clean(_cut(note, 2000)) for note in own.notes[:20]]
    name, other = ("cause", own.cause) if own.cause is not None else ("context", own.context)
    if other is not None and id(other) not in seen and left[0] > 0:
        found[name] = _object(other, frames, left, seen)
    if own.members:
        group = found["exceptions"] = []
        for member in own.members:
            if id(member) not in seen and left[0] > 0:
                group.append(_object(member, frames, left, seen))
    return found


def _frames(traceback: Optional[TracebackType], most: int) -> list[dict[str, Any]]:
    """The application's frames, the outermost first; those of a recursion once. Others where there are no such."""
    own: list[dict[str, Any]] = []
    inner: list[dict[str, Any]] = []
    before: Optional[tuple[CodeType, int]] = None
    left_out = 0
    step = traceback
    while step is not None:
        code, line = step.tb_frame.f_code, step.tb_lineno
        runs = inner if code.co_filename.startswith(_tracebacks.INNER) else own
        if before is not None and before[0] is code and before[1] == line and runs:
            runs[-1]["repeated"] = runs[-1].get("repeated", 0) + 1
        else:
            runs.append({"file": code.co_filename, "line": line, "function": code.co_name})
            if len(runs) > 2 * most:
                del runs[most]
                left_out += 1
        before = (code, line)
        step = step.tb_next
    shown = own or inner
    for one in shown:
        source = _tracebacks.source_line(one["file"], one["line"]).strip()
        one["file"], one["function"] = clean(_cut(one["file"], 1000)), clean(_cut(one["function"], 300))
        if source:
            one["source"] = clean(_cut(source, 300))
    if left_out and len(shown) > most:
        shown[most]["left_out_before"] = left_out
    return shown


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ... {len(text) - most} characters are left out"
