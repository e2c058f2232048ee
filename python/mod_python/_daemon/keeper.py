"""The keeper's loop: one thread, which waits for httpd's parent, for signals, for its httpds and for the time.

There is the httpd that serves (``current``), perhaps one that starts (``coming``), and those that end (``ending``). They share the
socket, which is the keeper's; so whoever of them accepts, no connection is lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import signal
import socket
import time
from types import FrameType
from typing import Any, Optional

from mod_python._daemon import configuration, place
from mod_python._daemon.apology import Apology
from mod_python._daemon.changes import Changes
from mod_python._daemon.deaths import Deaths
from mod_python._daemon.journal import Journal
from mod_python._daemon.orders import Orders
from mod_python._daemon.served import Served
from mod_python._daemon.state import PID_FILE, State
from mod_python._daemon.task import Order
from mod_python._own import programs, root
from mod_python._own.problems import Problem

_TICK = 0.25
_BUSY = 0.02
"""Seconds between two looks while something starts or ends."""
_PATIENCE = 600.0
"""Seconds that an httpd may take to import its applications."""
_LONGEST_PAUSE = 60.0
_HEALTHY = 60.0
"""After so many seconds a start was a good one."""
_GREED = 1.25
"""Beyond so much of its memory-limit, a process is killed."""
_SETTLED = 30.0
"""Seconds in which one is not replaced for its memory: with a limit that is too low, it would be all the time."""
_BRIEF = 2.0
"""Seconds in which one is not replaced for what it has answered."""
_STORM = 5
"""So many starts in a row are given up for the next one, where what is read changes meanwhile; the one after that comes to its end."""
_FAREWELL = 10.0
"""Seconds in which one that is replaced has closed its sockets: as long as that it counts for the one that serves."""
_AFTERWARDS = 10.0
"""Seconds that a daemon which is taken out of the configuration goes on: old children of httpd may still send it requests."""


class Keeper:
    """Keeps one daemon."""

    def __init__(self, orders: Orders, first: Order) -> None:
        assert first.task is not None
        self.task, self.orders, self.parent = first.task, orders, first.parent
        self.journal = Journal(self.task.name)
        self.journal.has_objects = self.task.logs_objects
        # What is made here is this user's alone, whatever the application's umask.
        self.umask = os.umask(0o077)
        self.directory = place.own(self.task.directory)
        self.state = State(1, self.directory)
        self.deaths = Deaths(self.journal, self.state)
        self.listener = socket.socket(fileno=configuration.SOCKET)
        self.listener.setblocking(False)
        self.apology = Apology()
        self.changes = self._changes()
        self.current: Optional[Served] = None
        self.coming: Optional[Served] = None
        self.ending: list[Served] = []
        self.parting: Optional[Served] = None
        """Of those, the one that has just been replaced, as long as requests may still come to it."""
        self.parting_until = 0.0
        self.generation = 0
        self.failures = 0
        self.due = 0.0
        """When the next start may be; growing pauses after failures."""
        self.problem = ""
        """What the last start has failed of."""
        self.waits = self.task.on_demand
        """For a first request, without an httpd."""
        self.requests = 0
        """Of httpds that have ended."""
        self.reload_asked = False
        self.displaced = 0
        """How many starts in a row were given up for another one."""
        self.again = ""
        """Why another one is to follow the one that starts."""
        self.asked = 0
        """How often it was asked to reload."""
        self.outcome = ""
        """What the last start or reload has failed of."""
        self.large: dict[int, float] = {}
        """Since when children have been beyond their memory-limit."""
        self.busy = 0.0
        """When a request was seen last in what serves, or it began to."""
        self.over: Optional[bool] = None
        """Once all is to end: gracefully?"""
        self.over_at = 0.0

    # Signals and orders

    def run(self) -> None:
        """Until the daemon is to end, and has."""
        wakes, woken = os.pipe()
        for end in (wakes, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGHUP, self._on_reload)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGWINCH):
            signal.signal(number, self._on_end)
        root.write(os.path.join(self.directory, PID_FILE), f"{os.getpid()}\n", 0o644)
        try:
            while not self._is_over():
                self._turn(wakes)
        finally:
            for one in (self.current, self.coming):
                if one is not None:
                    self.ending.append(one)
            self.current = self.coming = None
            for one in self.ending:
                one.stop(False)
            while self.ending:
                for one in self.ending:
                    one.relay.pass_on()
                self._bury_all()
                time.sleep(_BUSY)
            for name in os.listdir(self.directory):
                place.remove(os.path.join(self.directory, name))
            with contextlib.suppress(OSError):
                os.rmdir(self.directory)

    def _on_reload(self, number: int, frame: Optional[FrameType]) -> None:
        self.reload_asked = True

    def _on_end(self, number: int, frame: Optional[FrameType]) -> None:
        self._end(gracefully=number == signal.SIGWINCH)

    def _end(self, gracefully: bool, after: float = 0.0) -> None:
        if self.over is None or (self.over and not gracefully):
            self.over, self.over_at = gracefully, time.monotonic() + after

    def _is_over(self) -> bool:
        if self.over is None or time.monotonic() < self.over_at:
            return False
        if not self.over:
            return True
        for one in (self.current, self.coming):
            if one is not None:
                one.stop(True)
                self.ending.append(one)
        self.current = self.coming = None
        return not self.ending

    def _obey(self, order: Order) -> None:
        self.parent = order.parent or self.parent
        if order.task is None:
            # Where another keeper takes its place, the socket keeps what comes meanwhile.
            self._end(order.restart != "now", _AFTERWARDS if order.restart == "graceful" else 0.0)
            return
        # One that was taken out, and is there again.
        self.over = None
        changed = dataclasses.replace(order.task, directory=self.task.directory) != self.task
        if changed:
            self.task = dataclasses.replace(order.task, directory=self.task.directory)
            self.changes = self._changes()
            self.journal.has_objects = self.task.logs_objects
        if order.restart == "now":
            for one in (self.current, self.coming):
                if one is not None:
                    self._retire(one, False)
            self.current = self.coming = self.parting = None
            self._begin_anew()
        elif changed:
            self._reload("its configuration has changed")
        elif order.restart == "graceful" and self.current is None and self.problem:
            # Perhaps that was done to mend it.
            self._begin_anew()

    def _begin_anew(self) -> None:
        self.failures, self.due, self.problem = 0, 0.0, ""
        self.waits = self.task.on_demand

    def _changes(self) -> Changes:
        return Changes(self.task.reload, self.task.working_directory)

    # One turn of the loop

    def _turn(self, wakes: int) -> None:
        listens = self.waits or (self.problem and self.current is None and not self.apology.is_full())
        with selectors.DefaultSelector() as selector:
            selector.register(wakes, selectors.EVENT_READ)
            selector.register(self.orders, selectors.EVENT_READ)
            if listens:
                selector.register(self.listener, selectors.EVENT_READ)
            for one in self._all():
                if one.ready >= 0:
                    selector.register(one.ready, selectors.EVENT_READ)
                if not one.relay.ended:
                    selector.register(one.relay.reads, selectors.EVENT_READ)
            for descriptor in (*self.deaths.descriptors(), *self.apology.descriptors()):
                selector.register(descriptor, selectors.EVENT_READ)
            hurries = self.coming or self.ending or self.due > time.monotonic()
            found = {key.fd for key, _ in selector.select(_BUSY if hurries else _TICK)}
        with contextlib.suppress(BlockingIOError):
            os.read(wakes, 4096)
        if self.orders.fileno() in found:
            for order in self.orders.read(self.journal):
                self._obey(order)
            if self.orders.ended:
                self._end(False)
        if os.getppid() != self.parent and self.parent:
            # It has been killed.
            self._end(False)
        for one in self._all():
            one.relay.pass_on()
        self._look_after_children()
        self._look_after_coming()
        self._look_after_current()
        self._look_after_parting()
        self._bury_all()
        if self.listener.fileno() in found and self.waits:
            self.waits = False
        elif listens and self.problem and self.current is None:
            self.apology.accept(self.listener)
        self.apology.go_on()
        changed = self.changes.look()
        if changed:
            self._reload(f"{', '.join(changed)} changed")
        elif self.reload_asked:
            self.reload_asked = False
            self.asked += 1
            self._reload("it was asked to")
        elif self.again and self.coming is None:
            why, self.again = self.again, ""
            self._reload(why)
        self._start_if_due()
        self.state.write(self._report())

    def _all(self) -> list[Served]:
        return [one for one in (self.current, self.coming, *self.ending) if one is not None]

    def _start_if_due(self) -> None:
        if self.current or self.coming or self.waits or self.over is not None or time.monotonic() < self.due:
            return
        self._start()

    def _start(self) -> None:
        self.generation += 1
        # An httpd of an earlier keeper, which ends, removes its own pid file, and no other's.
        where = os.path.join(self.directory, f"{os.getpid()}.{self.generation}")
        try:
            httpd = programs.find(self.task.httpd)
            task = dataclasses.replace(self.task, umask=self.umask) if self.task.umask < 0 else self.task
            self.coming = Served(task, httpd, where, self.journal, self.deaths.told)
        except (OSError, Problem) as error:
            place.remove(where)
            self._failed(f"httpd cannot be started: {error}")

    def _reload(self, why: str) -> None:
        """Start another httpd beside the one that serves."""
        if self.over is not None or (self.waits and self.current is None and self.coming is None):
            return
        if self.coming is not None and self.displaced >= _STORM:
            # What changes all the time would keep it from ever serving.
            self.again = why
            return
        if self.current is None:
            self._begin_anew()
            self.waits = False
        self.journal.say("notice", f"{why}: it is started anew, beside what serves")
        if self.coming is not None:
            # It may have read what was there before.
            self._retire(self.coming, False)
            self.coming = None
            self.displaced += 1
        self._start()

    def _retire(self, one: Served, gracefully: bool) -> None:
        one.stop(gracefully)
        self.ending.append(one)

    def _look_after_coming(self) -> None:
        one = self.coming
        if one is None:
            return
        one.hear()
        ended = one.has_ended()
        if one.outcome or ended:
            self.displaced = 0
        if one.outcome == "ready" and not ended:
            self._welcome(one)
        elif one.outcome or ended or time.monotonic() - one.began > _PATIENCE:
            self.coming = None
            one.relay.pass_on()
            self._retire(one, False)
            failed = one.outcome.removeprefix("failed").strip()
            last = next((line for line in reversed(one.relay.last)), "")
            reason = failed or (f"httpd has ended ({one.status}) {last}" if ended else "it does not come to an end")
            self._failed(f"its applications cannot be imported: {failed}" if failed else f"it does not start: {reason}")

    def _welcome(self, one: Served) -> None:
        before, self.current, self.coming = self.current, one, None
        # However long the imports have taken.
        self.busy = time.monotonic()
        self.problem = self.outcome = ""
        self.journal.say(
            "notice", f"serves (process {one.pid}, as {self.task.user or os.geteuid()}, Python {one.python or '?'})"
        )
        if before is not None:
            self._retire(before, True)
            self._part()
            self.parting, self.parting_until = before, time.monotonic() + _FAREWELL

    def _part(self) -> None:
        """The one that has been replaced takes no more requests."""
        if self.parting is not None:
            self.parting = None
            self.state.reloads += 1

    def _look_after_parting(self) -> None:
        one = self.parting
        if one is not None and (time.monotonic() >= self.parting_until or not one.takes()):
            self._part()

    def _failed(self, text: str) -> None:
        self.outcome = text
        if self.current is not None:
            self.state.failed_reloads += 1
            self.journal.say("error", f"{text}; the version before goes on serving")
            return
        self.problem = text
        self.failures += 1
        pause = min(_LONGEST_PAUSE, 0.5 * 2**self.failures)
        self.due = time.monotonic() + pause
        self.journal.say("error", f"{text}; it is tried again in {pause:.0f} s")

    def _look_after_current(self) -> None:
        one = self.current
        if one is None:
            return
        age = time.monotonic() - one.began
        if age > _HEALTHY:
            self.failures = 0
        if one.has_ended():
            self.current = None
            self.deaths.whole(one)
            self._retire(one, False)
            self.state.restarts += 1
            self.failures = self.failures + 1 if age < _HEALTHY else 0
            # The first time at once.
            pause = min(_LONGEST_PAUSE, 0.5 * 2 ** (self.failures - 1)) if self.failures > 1 else 0.0
            self.due = time.monotonic() + pause
            if pause:
                self.problem = f"httpd ends again and again ({one.status})"
                self.journal.say("error", f"{self.problem}; it is started again in {pause:.0f} s")
            return
        if self.task.idle_timeout and self.coming is None:
            count, latest, now = one.board.seen()
            if now:
                self.busy = time.monotonic()
            quiet = min(age, time.monotonic() - self.busy, time.time() - latest if count else age)
            if not now and quiet > self.task.idle_timeout and not self._is_awaited():
                self.journal.say("info", f"no request for {quiet:.0f} s: it ends, and starts with the next one")
                self.current, self.waits = None, True
                self._retire(one, True)

    def _is_awaited(self) -> bool:
        """Whether somebody waits whom nobody has accepted yet."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            return bool(selector.select(0))

    def _look_after_children(self) -> None:
        self.deaths.watch(self._all())
        one = self.current
        if one is None:
            return
        enough = self.task.max_requests * max(1, self.task.processes)
        if enough and self.coming is None and time.monotonic() - one.began > _BRIEF and one.board.seen()[0] >= enough:
            self.state.note("max-requests")
            self._reload(f"its processes have answered {self.task.max_requests} requests each (max-requests)")
            return
        if not self.task.memory_limit:
            return
        for pid, memory in one.children.items():
            if memory > self.task.memory_limit * _GREED:
                self.deaths.kill(one, pid, f"its memory-limit is {self.task.memory_limit >> 20} MB")
        now = time.monotonic()
        over = {pid for pid, memory in one.children.items() if memory > self.task.memory_limit}
        self.large = {pid: self.large.get(pid, now) for pid in over}
        # One of several ends by itself, after a request, and the others serve on.
        patience = _SETTLED if self.task.processes > 1 else 0.0
        is_due = now - one.began >= _SETTLED and any(now - since >= patience for since in self.large.values())
        if self.coming is None and is_due:
            largest = max(one.children.values()) >> 20
            self.state.note(f"memory: {largest} MB")
            self._reload(f"a process has {largest} MB, more than its memory-limit")

    def _bury_all(self) -> None:
        for one in [one for one in self.ending if one.is_gone()]:
            self.ending.remove(one)
            one.relay.pass_on()
            self.requests += one.board.seen()[0]
            one.bury()

    def _report(self) -> dict[str, Any]:
        one = self.parting or self.current
        counts = [each.board.seen() for each in self._all()]
        names = ((self.over is not None, "stopping"), (one is not None, "serving"), (bool(self.problem), "failed"))
        state = next((name for holds, name in names if holds), "waiting" if self.waits else "starting")
        children = one.children if one else {}
        return {
            "name": self.task.name,
            "user": self.task.user,
            "keeper": os.getpid(),
            "state": state,
            "problem": self.problem,
            "httpd": one.pid if one else 0,
            "python": one.python if one else "",
            "generation": self.generation,
            "processes": [{"pid": pid, "memory": memory >> 20 << 20} for pid, memory in sorted(children.items())],
            "requests": self.requests + sum(count for count, _, _ in counts),
            "in_flight": sum(now for _, _, now in counts),
            "asked": self.asked,
            "settled": not (self.coming or self.parting or self.reload_asked or self.again),
            "outcome": self.outcome,
        }
