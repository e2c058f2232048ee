"""Which of the daemon's processes has died of what, and what it was at: the first thing that an operator asks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Optional

from mod_python._daemon.board import Request
from mod_python._daemon.journal import Journal
from mod_python._daemon.served import Served
from mod_python._daemon.state import State

_PATIENCE = 3.0
"""Seconds until httpd's parent has said how a child has ended: it looks once a second, and says nothing of SIGKILL and exit(3)."""


class _Gone:
    """A child that has ended in the middle of requests, until it is known how."""

    def __init__(self, memory: int, requests: Sequence[Request], why: str) -> None:
        self.memory, self.why = memory, why
        self.spoken = _spoken(requests) if requests else ""
        self.deadline = time.monotonic() + _PATIENCE


class Deaths:
    """Watches children (pidfd_open(2)): what one was at is read at once, before another takes its place."""

    def __init__(self, journal: Journal, state: State) -> None:
        self._journal, self._state = journal, state
        self._watched: dict[int, Optional[int]] = {}
        self._owners: dict[int, Served] = {}
        self._gone: dict[int, _Gone] = {}
        self._reasons: dict[int, str] = {}
        self._due = 0.0

    def descriptors(self) -> list[int]:
        """What is readable once a child has ended."""
        return [descriptor for descriptor in self._watched.values() if descriptor is not None]

    def watch(self, all_of_them: Sequence[Served]) -> None:
        """Look who has ended, and who has come."""
        for pid, descriptor in list(self._watched.items()):
            if descriptor is not None and _is_readable(descriptor):
                self._ended(pid)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + 0.25
            for one in all_of_them:
                known = dict(one.children)
                for pid in one.look():
                    if pid in self._watched:
                        self._ended(pid, known[pid])
                for pid in one.children:
                    if pid not in self._watched:
                        self._owners[pid] = one
                        self._watched[pid] = _pidfd(pid)
        for pid, gone in list(self._gone.items()):
            if time.monotonic() > gone.deadline:
                self._say(pid, "killed (signal 9), or ended by itself")

    def _ended(self, pid: int, memory: int = 0) -> None:
        descriptor, one = self._watched.pop(pid), self._owners.pop(pid)
        if descriptor is not None:
            os.close(descriptor)
        requests = [request for request in one.board.in_flight() if request.pid == pid]
        why = self._reasons.pop(pid, "")
        if one.has_ended() or (one.deadline is not None and not requests):
            # Of one that has died itself, `whole` tells.
            return
        if requests or why:
            self._gone[pid] = _Gone(memory or one.children.get(pid, 0), requests, why)

    def told(self, pid: int, how: str) -> None:
        """httpd's parent has written of a child's end."""
        if pid in self._watched:
            self._ended(pid)
        self._say(pid, how)

    def _say(self, pid: int, how: str) -> None:
        gone = self._gone.pop(pid, None)
        how = "it was killed" if gone is not None and gone.why else how
        text = f"process {pid} has died: {how}"
        if gone is not None:
            text += f"; {gone.why}" if gone.why else ""
            text += f"; it had {gone.memory >> 20} MB" if gone.memory else ""
            text += f" and was at {gone.spoken}" if gone.spoken else ""
        self._journal.say("error", text)
        self._state.note(text)

    def kill(self, one: Served, pid: int, why: str) -> None:
        """Kill a child, for a reason that is told once it is dead."""
        if pid in self._watched and pid not in self._reasons:
            self._reasons[pid] = why
            descriptor = self._watched[pid]
            with contextlib.suppress(ProcessLookupError):
                if descriptor is not None:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                else:
                    one.kill(pid)

    def whole(self, one: Served) -> None:
        """An httpd has died whose time had not come."""
        requests = [request for request in one.board.in_flight() if request.pid in self._watched]
        text = f"httpd (process {one.pid}) has died: {one.status}"
        text += f"; its processes were at {_spoken(requests)}" if requests else ""
        self._journal.say("error", text)
        self._state.note(text)


def _spoken(requests: Sequence[Request]) -> str:
    now = time.time()
    shown = [f"{request.line} ({max(0.0, now - request.since):.1f} s)" for request in requests[:3]]
    more = len(requests) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _pidfd(pid: int) -> Optional[int]:
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return None


def _is_readable(descriptor: int) -> bool:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
