"""What the keepers of all daemons say of them, as httpd's children read it.

A keeper, which is another user's process, writes what it likes there: it is text to be shown, and no more than so much of it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any, Optional

_LARGEST = 1 << 18
_LOOKS = 20
"""After so many it is taken as it is: a keeper may write all the time."""
_TRIES = 3
_LONGEST = 500
_MOST = 2**53
_TEXTS = ("name", "user", "state", "problem", "outcome", "python")
_NUMBERS = ("keeper", "httpd", "generation", "requests", "in_flight", "restarts", "reloads", "failed_reloads")


def states(directory: Optional[str]) -> list[dict[str, Any]]:
    """The daemons' states, by name: ``name``, ``user``, ``state`` (``serving``, ``starting``, ``waiting`` for a first request,
    ``failed``, ``stopping``), ``problem``, ``outcome`` (what the last reload has failed of), ``python`` (its version, while it serves), the processes ``keeper`` and ``httpd``,
    ``generation``, ``requests``, ``in_flight``, ``restarts``, ``reloads``, ``failed_reloads``, ``processes`` (``pid``, and ``memory``
    in bytes), and ``deaths``, the last ones first (``time`` in seconds since the epoch, ``reason``)."""
    found = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory)) if directory else ():
            if name.endswith(".json"):
                one = _state(os.path.join(str(directory), name))
                if one is not None:
                    found.append({**one, "name": _text(name[:-5])})
    return found


def _state(path: str) -> Optional[dict[str, Any]]:
    for _ in range(_TRIES):
        with contextlib.suppress(
            OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
        ):
            return _known(json.loads(_whole(path), parse_int=_digits))
        # Its writer may have been held up in the middle.
        time.sleep(0.001)
    return None


def _whole(path: str) -> bytes:
    """What a file has: the same twice, since one that is being written may have a part of what it had, and a part of what it will have.

    Raises OSError.
    """
    with open(path, "rb") as file:
        text = file.read(_LARGEST)
        for _ in range(_LOOKS):
            file.seek(0)
            before, text = text, file.read(_LARGEST)
            # Blanks at its end are about to be cut off.
            if text.rstrip() == before.rstrip():
                break
    return text


def _known(said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: _text(said.get(name, "")) for name in _TEXTS}
    found.update({name: _number(said.get(name, 0)) for name in _NUMBERS})
    found["processes"] = [
        {"pid": _number(one["pid"]), "memory": _number(one["memory"])} for one in said["processes"][:1024]
    ]
    found["deaths"] = [{"time": _number(one["time"]), "reason": _text(one["reason"])} for one in said["deaths"][:5]]
    return found


def _digits(text: str) -> int:
    """What more digits make is clamped anyway; it would take long to find out what they are."""
    return int(text) if len(text) < 20 else -_MOST if text.startswith("-") else _MOST


def _number(value: Any) -> int:
    """What can be calculated with, also as a float, and is exact in any reader's JSON."""
    if not isinstance(value, (int, float)) or value != value:
        return 0
    return int(max(-_MOST, min(_MOST, value)))


def _text(value: Any) -> str:
    """What can be encoded: JSON may have half of a pair of surrogates."""
    return str(value)[:_LONGEST].encode("utf-8", "backslashreplace").decode()
