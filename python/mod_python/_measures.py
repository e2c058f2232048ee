"""What all children have done, as ``mod_python.status`` and ``mod_python.metrics`` show it: the native counters, named and summed."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple, Optional

import _apache

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
RANGES = {"10m": 0, "4h": 1, "7d": 2}
"""What can be seen of the past, and the number of the native archive."""
_MICRO = 1e-6


class Application(NamedTuple):
    """What the interpreters of one name have done for one application (empty: what belongs to none). Times are in seconds."""

    interpreter: str
    application: str
    counts: dict[str, int]
    """Whole numbers by name: ``errors``, ``1xx`` to ``5xx``, ``bytes``."""
    waiting: float
    python: float
    sending: float
    duration: float
    """The sum of what `buckets` count."""
    buckets: list[int]
    """How many requests took up to each of `bounds()`, and not up to the one before; the last: longer."""
    garbage: list[tuple[int, int, int]]
    """Of each generation: collections, collected objects, uncollectable objects."""

    @property
    def requests(self) -> int:
        """How many requests have ended."""
        return sum(self.counts[name] for name in CLASSES)


class Child(NamedTuple):
    """A child that lives."""

    pid: int
    born: int
    """Seconds since the epoch."""
    memory: int
    """Resident memory in bytes."""
    processor: float
    """Seconds."""


class History(NamedTuple):
    """What happened lately, in bins of equal length, the oldest first."""

    seconds: float
    """The length of a bin."""
    end: float
    """When the last one has ended, in seconds since the epoch."""
    bins: dict[str, list[int]]
    """By the names of counters, and ``processor`` (microseconds) and ``memory`` (KiB times milliseconds)."""
    buckets: list[list[int]]
    """Of each bin, the latency histogram."""

    def rates(self, name: str, scale: float = 1.0) -> list[float]:
        """A counter per second."""
        return [value * scale / self.seconds for value in self.bins[name]]

    def known(self, values: Sequence[Optional[float]]) -> list[Optional[float]]:
        """Values of bins, but for those before httpd was started: no child had memory then."""
        begin = next((place for place, memory in enumerate(self.bins["memory"]) if memory), 0)
        return [*[None] * begin, *values[begin:]]

    @property
    def requests(self) -> list[int]:
        """Requests of each bin."""
        return [sum(values) for values in zip(*(self.bins[name] for name in CLASSES))]


def bounds() -> tuple[float, ...]:
    """The upper bounds of the histogram's buckets in seconds; one more has none."""
    return _apache._bounds()


def applications() -> list[Application]:
    """All that there have been since httpd was started, sorted by name."""
    names = _apache._counters()
    sums: dict[tuple[str, str], tuple[list[int], list[list[int]]]] = {}
    for interpreter, application, counts, garbage in _apache._totals():
        known, collected = sums.setdefault((interpreter, application), ([0] * len(counts), [[0] * 3 for _ in garbage]))
        known[:] = [a + b for a, b in zip(known, counts)]
        collected[:] = [[a + b for a, b in zip(*pair)] for pair in zip(collected, garbage)]
    found = []
    for (interpreter, application), (known, collected) in sorted(sums.items()):
        if not any(known) and not any(map(any, collected)):
            continue
        named = dict(zip(names, known))
        waiting, python, sending, duration = (
            named.pop(name) * _MICRO for name in ("waiting", "python", "sending", "duration")
        )
        buckets, rest = known[len(names) :], [(a, b, c) for a, b, c in collected]
        found.append(Application(interpreter, application, named, waiting, python, sending, duration, buckets, rest))
    return found


def children() -> tuple[float, list[Child]]:
    """Processor seconds of all children that there have been, and those that live."""
    processor, rows = _apache._children()
    page = os.sysconf("SC_PAGESIZE")
    found = [
        Child(pid, born, _resident(pid, page) or memory * 1024, used * _MICRO)
        for pid, born, memory, used in sorted(rows)
    ]
    return processor * _MICRO, found


def _resident(pid: int, page: int) -> Optional[int]:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * page
    except (OSError, ValueError, IndexError):
        return None


def history(name: str, most: int = 120) -> History:
    """The past of a range (`RANGES`), in about `most` bins: steps that have ended, joined."""
    step, age, opened, series = _apache._rates(RANGES[name])
    names = (*_apache._counters(), *range(len(bounds()) + 1), "processor", "memory")
    if not step:
        return History(1.0, time.time(), {str(each): [] for each in names}, [])
    end = time.time() - (age + opened) / 1000
    width = max(1, round({"10m": 600, "4h": 1440, "7d": 2016}[name] / most))
    joined = [_joined(points[:-1], width, most) for points in series]
    first = len(_apache._counters())
    bins = {str(each): values for each, values in zip(names, joined)}
    buckets = [list(column) for column in zip(*joined[first : first + len(bounds()) + 1])]
    return History(step * width / 1000, end, bins, buckets)


def _joined(points: Sequence[int], width: int, most: int) -> list[int]:
    """Sums of so many points each, from the end on; what no point is known of is 0."""
    length = width * most
    points = [*([0] * (length - len(points))), *points][-length:]
    return [sum(points[start : start + width]) for start in range(0, length, width)]


def percentile(buckets: Sequence[int], share: float) -> Optional[float]:
    """How long so large a part of the requests took at most, in seconds: evenly spread within a bucket. None where there were none."""
    whole = sum(buckets)
    if not whole:
        return None
    wanted, below, gone = whole * share, 0.0, 0
    for count, bound in zip(buckets, bounds()):
        if count and gone + count >= wanted:
            return below + (bound - below) * (wanted - gone) / count
        gone += count
        below = bound
    return below
