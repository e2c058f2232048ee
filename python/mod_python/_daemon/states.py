"""What the keepers of all daemons say of them, as httpd's children read it.

A keeper, which is another user's process, writes what it likes there: it is text to be shown, and no more than so much of it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Optional

_LARGEST = 1 << 18
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
                    found.append({**one, "name": name[:-5]})
    return found


def _state(path: str) -> Optional[dict[str, Any]]:
    # It may be in the middle of being written.
    for _ in range(3):
        try:
            with open(path, "rb") as file:
                said = json.loads(file.read(_LARGEST))
            return _known(said)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            pass
    return None


def _known(said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: str(said.get(name, ""))[:500] for name in _TEXTS}
    found.update({name: int(said.get(name, 0)) for name in _NUMBERS})
    found["processes"] = [{"pid": int(one["pid"]), "memory": int(one["memory"])} for one in said["processes"][:1024]]
    found["deaths"] = [{"time": int(one["time"]), "reason": str(one["reason"])[:500]} for one in said["deaths"][:5]]
    return found
