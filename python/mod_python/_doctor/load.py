"""Advice: does the MPM fit what the applications do? docs/asgi.md says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from mod_python._doctor.configuration import Configuration, Directive
from mod_python._doctor.findings import Finding
from mod_python._doctor.targets import Target

_MANY = 64
"""Threads of one Python, above which something is said."""
_LEAST_FLUSH = 16384


def check(configuration: Configuration, all_targets: list[Target]) -> Iterator[Finding]:
    """All of it."""
    mpm = next(
        (name[4:-7] for name in configuration.modules if name.startswith("mpm_") and name.endswith("_module")), ""
    )
    yield from threads(configuration, all_targets, mpm)
    streams = [
        target
        for target in all_targets
        if target.directive.key == "pythonasgi"
        or target.module == "mod_python.asgi"
        or (target.directive.key == "pythonoption" and ".asgi." in target.directive.first().lower())
    ]
    if streams:
        yield from asgi(configuration, streams[0].directive, mpm)


def threads(configuration: Configuration, all_targets: list[Target], mpm: str) -> Iterator[Finding]:
    """Many threads for one lock."""
    found = configuration.last("threadsperchild")
    pools = configuration.named("pythoninterpreterpool")
    if found and all_targets and mpm in ("event", "worker") and not pools and (_number(found) or 0) > _MANY:
        yield Finding("MP0029", f"{found.first()} threads of a child share each interpreter", found.file, found.line)


def asgi(configuration: Configuration, first: Directive, mpm: str) -> Iterator[Finding]:
    """What many WebSockets and streams need."""
    if mpm in ("prefork", "worker"):
        held = "a process" if mpm == "prefork" else "a thread"
        text = f"with the MPM {mpm} each WebSocket and each stream holds {held} for as long as it lasts"
        yield Finding("MP0020", text, first.file, first.line)
        return
    flush = configuration.named("flushmaxthreshold")
    for one in flush:
        number = _number(one)
        if number is not None and number < _LEAST_FLUSH:
            yield Finding("MP0022", f"FlushMaxThreshold {number}, and there is an ASGI application", one.file, one.line)
    if mpm != "event":
        return
    per_child = _number(configuration.last("threadsperchild")) or 25
    factor = configuration.last("asyncrequestworkerfactor")
    if factor is None:
        text = f"a child takes {per_child * 3} connections at once, WebSockets and streams among them: AsyncRequestWorkerFactor is 2"
        yield Finding("MP0021", text, first.file, first.line)
    workers = _number(configuration.last("maxrequestworkers")) or _number(configuration.last("maxclients")) or 400
    spare = configuration.last("maxsparethreads")
    if (_number(spare) or 250) < workers:
        where = spare or first
        text = f"MaxSpareThreads is {_number(spare) or 250}, MaxRequestWorkers {workers}: children with many streams are told to end"
        yield Finding("MP0023", text, where.file, where.line)
    for name in ("maxconnectionsperchild", "maxrequestsperchild"):
        ends = configuration.last(name)
        if ends and _number(ends):
            yield Finding(
                "MP0023", f"{ends.name} {ends.first()} ends children with their streams", ends.file, ends.line
            )
    limit = configuration.last("serverlimit")
    children = -(-workers // per_child)
    if (_number(limit) or 16) < 2 * children:
        where = limit or first
        text = f"ServerLimit {_number(limit) or 16} is for {children} children; old ones stay, after a graceful restart, while their streams go on"
        yield Finding("MP0024", text, where.file, where.line)


def _number(directive: Optional[Directive]) -> Optional[int]:
    """The number that a directive says; None if there is none. 0 is as if there were none but where it is compared."""
    text = directive.first() if directive else ""
    return int(text) if text.isdecimal() and len(text) < 10 else None
