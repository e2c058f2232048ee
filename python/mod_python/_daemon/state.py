"""What the keeper says of its daemon: for the status page of the operator's httpd, and for ``mod_python reload``."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from mod_python._own import root
from mod_python._own.problems import Problem

FILE = "state.json"
PID_FILE = "keeper.pid"
_LARGEST = 1 << 18
"""Enough for the 1,024 processes that there may be."""


class State:
    """Writes the state, where it has changed, to a descriptor of httpd's runtime directory, and to the keeper's own directory."""

    def __init__(self, descriptor: int, directory: str) -> None:
        self._descriptor, self._directory = descriptor, directory
        self._written: dict[str, Any] = {}
        self.restarts = 0
        """Times that httpd had to be started again."""
        self.reloads = 0
        self.failed_reloads = 0
        self.deaths: list[dict[str, Any]] = []
        """The last ones, the latest first: ``time`` (seconds since the epoch) and ``reason``."""

    def note(self, reason: str) -> None:
        """Remember why something has ended."""
        self.deaths = [{"time": round(time.time()), "reason": reason[:300]}, *self.deaths][:5]

    def write(self, found: dict[str, Any]) -> None:
        """Write what is so now."""
        found = {
            **found,
            "restarts": self.restarts,
            "reloads": self.reloads,
            "failed_reloads": self.failed_reloads,
            "deaths": self.deaths,
        }
        if found == self._written:
            return
        self._written = found
        text = json.dumps(found)[:_LARGEST]
        # Where the disk is full, the daemon serves all the same.
        with contextlib.suppress(OSError):
            data = f"{text}\n".encode()
            # Blanks up to where the text before ends: who reads it before it is cut has nothing of that.
            before = min(os.fstat(self._descriptor).st_size, _LARGEST)
            os.pwrite(self._descriptor, data.ljust(before), 0)
            os.ftruncate(self._descriptor, len(data))
        with contextlib.suppress(Problem):
            root.write(os.path.join(self._directory, FILE), text, 0o600)
