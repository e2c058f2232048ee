"""What the daemon's children are at: the table of native code (``src/embed/in_flight.rs``), in memory that the keeper has made."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from typing import NamedTuple, Optional

_PLACE = struct.Struct("=iIQQQIIIII4x24sI4x256s")


class _Place(NamedTuple):
    """A thread's place. The URI has its query; ``since`` is in microseconds since the epoch. A negative ``pid`` is that of a child which
    others have found dead."""

    pid: int
    version: int
    thread: int
    since: int
    requests: int
    depth: int
    work: int
    interpreter: int
    streams: int
    method_length: int
    method: bytes
    uri_length: int
    uri: bytes

    def line(self) -> str:
        path = self.uri[: self.uri_length].partition(b"?")[0]
        return b" ".join(part for part in (self.method[: self.method_length], path) if part).decode("utf-8", "replace")


_PLACES = 4096
_PARTED = struct.Struct("=I1023i")
_MARK = 0x70617274
"""In front of the places: the children that take no more requests."""


class Request(NamedTuple):
    """A request that a thread is in Python for."""

    pid: int
    since: float
    """Seconds since the epoch."""
    line: str
    """Method and URI."""


class Board:
    """The memory of one httpd; without any where the system has none to give."""

    def __init__(self) -> None:
        try:
            self.descriptor = os.memfd_create("mod_python.board")
        except (AttributeError, OSError):
            self.descriptor = -1
        self._memory: Optional[mmap.mmap] = None

    def _places(self) -> list[_Place]:
        if self._memory is None and self.descriptor >= 0:
            # httpd gives it its size.
            size = os.fstat(self.descriptor).st_size
            if size >= _PLACES * _PLACE.size:
                self._memory = mmap.mmap(self.descriptor, size, prot=mmap.PROT_READ)
        if self._memory is None:
            return []
        found = []
        first = len(self._memory) - _PLACES * _PLACE.size
        for offset in range(first, len(self._memory), _PLACE.size):
            place = _Place(*_PLACE.unpack_from(self._memory, offset))
            # They are taken from the first on: one that has had no owner ends them. Its owner comes first, the thread in a moment.
            if not place.thread and not place.pid:
                break
            found.append(place)
        return found

    def parted(self) -> Optional[set[int]]:
        """The children that take no more requests; None where they do not say so (another version of the module)."""
        self._places()
        if self._memory is None:
            return None
        first = len(self._memory) - _PLACES * _PLACE.size - _PARTED.size
        mark, *pids = _PARTED.unpack_from(self._memory, first) if first >= 0 else (0,)
        return {pid for pid in pids if pid} if mark == _MARK else None

    def in_flight(self) -> list[Request]:
        """The requests that are in Python, or were when their child died, the oldest first."""
        found = [
            Request(abs(place.pid), place.since / 1e6, place.line())
            for place in self._places()
            if place.pid and place.depth
        ]
        return sorted(found, key=lambda one: one.since)

    def seen(self) -> tuple[int, float, int]:
        """How many requests have come to Python, when the last one began (seconds since the epoch), and how many are in it now: WebSockets
        and event streams that need no worker are among them."""
        places = self._places()
        # One that has left its worker while the places were read is in none of them, and the next time in one.
        busy = _busy(places) or _busy(places := self._places())
        latest = max((place.since for place in places), default=0) / 1e6
        return sum(place.requests for place in places), latest, busy

    def close(self) -> None:
        """Give the memory up."""
        if self._memory is not None:
            self._memory.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _busy(places: list[_Place]) -> int:
    at_work = [place for place in places if place.pid > 0 and (place.depth or place.streams)]
    return sum((1 if place.depth else 0) + place.streams for place in at_work if _lives(place.pid))


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return True
    return False
