"""What the interpreters of all children have done, for Prometheus: ``PythonHandler mod_python.metrics``.

It shows names of the configuration: protect it as mod_status is protected::

    <Location /python-metrics>
        SetHandler mod_python
        PythonHandler mod_python.metrics
        Require local
    </Location>

A client that asks for OpenMetrics 1.0 (application/openmetrics-text) gets that, any other Prometheus' text format 0.0.4. Counters
are those of all children that there have been since httpd was started: they do not go back when a child ends, or at a graceful restart.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import _apache

from mod_python import _measures, apache, version

if TYPE_CHECKING:
    from _apache import mp_request

OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"

_Labels = dict[str, str]
_Sample = tuple[str, _Labels, float]
"""What stands behind the family's name, the labels, the value."""


def handler(req: mp_request) -> int:
    """Write all metrics."""
    is_open = accepts_openmetrics(str(req.headers_in.get("Accept", "")))
    req.headers_out["Cache-Control"] = "no-store"
    req.headers_out["Vary"] = "Accept"
    req.content_type = OPEN if is_open else PLAIN
    req.write(text(is_open))
    return apache.OK


def accepts_openmetrics(accept: str) -> bool:
    """Does an Accept header (RFC 9110, 12.5.1) name OpenMetrics, and not refuse it?"""
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        if kind == "application/openmetrics-text":
            refused = any(part.startswith("q=0") and not part.strip("q=0.") for part in parameters)
            return not refused
    return False


def text(is_open: bool = True) -> str:
    """The metrics as OpenMetrics 1.0 has them, or else Prometheus' text format 0.0.4."""
    families = [_info(is_open), *_of_applications(), *_of_garbage(), *_of_children(), *_of_interpreters()]
    lines = [line for family in families for line in family.lines(is_open)]
    return "".join(f"{line}\n" for line in [*lines, *(["# EOF"] if is_open else [])])


class _Family:
    """One metric: its name without `_total`, kind, help, and samples."""

    def __init__(self, name: str, kind: str, about: str, samples: Iterable[_Sample], unit: str = "") -> None:
        self._name, self._kind, self._about, self._unit = f"mod_python_{name}", kind, about, unit
        self._samples = samples

    def lines(self, is_open: bool) -> Iterable[str]:
        # The older format names a counter with its suffix throughout.
        name = self._name if is_open or self._kind != "counter" else f"{self._name}_total"
        yield f"# HELP {name} {self._about}"
        yield f"# TYPE {name} {self._kind}"
        if self._unit and is_open:
            yield f"# UNIT {name} {self._unit}"
        for suffix, labels, value in self._samples:
            yield f"{self._name}{suffix}{_labels(labels)} {_number(value)}"


def _labels(labels: _Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")


def _info(is_open: bool) -> _Family:
    labels = {"version": version.version, "python": sys.version.split()[0]}
    about = "The module, and the Python that it runs."
    if is_open:
        return _Family("build", "info", about, [("_info", labels, 1)])
    return _Family("build_info", "gauge", about, [("", labels, 1)])


def _of_applications() -> Iterable[_Family]:
    rows = [(_measures_labels(one), one) for one in _measures.applications()]
    # What belongs to no application answers no request.
    served = [(labels, one) for labels, one in rows if one.requests]
    codes = [
        ("_total", {**labels, "code": name}, one.counts[name]) for labels, one in served for name in _measures.CLASSES
    ]
    yield _Family("requests", "counter", "Requests that have ended, by the class of their status.", codes)
    errors = [("_total", labels, one.counts["errors"]) for labels, one in rows]
    yield _Family("errors", "counter", "Errors of Python code, whatever the client was told.", errors)
    late = [("_total", labels, one.counts["timeouts"]) for labels, one in rows]
    yield _Family("timeouts", "counter", "Calls of Python that PythonTimeout has ended.", late)
    histogram = [sample for labels, one in served for sample in _histogram(labels, one)]
    about = "How long requests took, but for those that have left their worker."
    yield _Family("request_duration_seconds", "histogram", about, histogram, "seconds")
    sent = [("_total", labels, one.counts["bytes"]) for labels, one in served]
    yield _Family("sent_bytes", "counter", "Bytes of answers' bodies.", sent, "bytes")
    times = {
        "lock_wait_seconds": "Time that requests waited for their interpreter's lock.",
        "python_seconds": "Time that requests were in Python, whatever it did.",
        "sending_seconds": "Time in which answers were on their way through httpd's filters.",
    }
    for (name, about), place in zip(times.items(), ("waiting", "python", "sending")):
        samples = [("_total", labels, float(getattr(one, place))) for labels, one in rows]
        yield _Family(name, "counter", about, samples, "seconds")


def _measures_labels(one: _measures.Application) -> _Labels:
    return {"interpreter": one.interpreter, "application": one.application}


def _histogram(labels: _Labels, one: _measures.Application) -> Iterable[_Sample]:
    count = 0
    for bucket, bound in zip(one.buckets, (*map(repr, _measures.bounds()), "+Inf")):
        count += bucket
        yield "_bucket", {**labels, "le": bound}, count
    yield "_count", labels, count
    yield "_sum", labels, one.duration


def _of_garbage() -> Iterable[_Family]:
    rows = [(one.interpreter, one.garbage) for one in _measures.applications() if any(map(any, one.garbage))]
    families = {
        "gc_collections": "Runs of Python's garbage collector.",
        "gc_collected_objects": "Objects that it has freed.",
        "gc_uncollectable_objects": "Objects that it could not free.",
    }
    for place, (name, about) in enumerate(families.items()):
        samples = [
            ("_total", {"interpreter": interpreter, "generation": str(number)}, generation[place])
            for interpreter, garbage in rows
            for number, generation in enumerate(garbage)
        ]
        yield _Family(name, "counter", about, samples)


def _of_children() -> Iterable[_Family]:
    processor, children = _measures.children()
    yield _Family("children", "gauge", "Children of httpd that live.", [("", {}, len(children))])
    memory = sum(child.memory for child in children)
    about = "Resident memory of the children that live, together."
    yield _Family("resident_memory_bytes", "gauge", about, [("", {}, memory)], "bytes")
    about = "Processor time of all children that there have been."
    yield _Family("cpu_seconds", "counter", about, [("_total", {}, processor)], "seconds")


def _of_interpreters() -> Iterable[_Family]:
    rows: dict[str, list[tuple[int, int, int, int]]] = {}
    for row in _apache._interpreters():
        rows.setdefault(row[1], []).append(row[7:11])
    families = {
        "loop_tasks": "Requests and WebSockets that event loops have in hand.",
        "websockets": "Open WebSockets.",
        "detached_requests": "Requests that go on without a worker, WebSockets among them.",
    }
    live = [("", {"interpreter": name}, len(each)) for name, each in sorted(rows.items())]
    yield _Family("interpreters", "gauge", "Interpreters of this name, one a child.", live)
    for place, (name, about) in enumerate(families.items()):
        samples = [("", {"interpreter": name}, sum(row[place] for row in each)) for name, each in sorted(rows.items())]
        yield _Family(name, "gauge", about, samples)
    present = Counter(one[2] for one in _apache._in_flight())
    about = "Requests that are in Python now, the one that asks among them."
    yield _Family(
        "requests_in_flight", "gauge", about, [("", {"interpreter": name}, present[name]) for name in sorted(rows)]
    )
    lag = [("", {"interpreter": name}, max(row[3] for row in each) * 1e-6) for name, each in sorted(rows.items())]
    about = "How long the slowest event loop has had the last requests wait."
    yield _Family("loop_lag_seconds", "gauge", about, lag, "seconds")
