"""A request for an ASGI application that may take only so long (``PythonTimeout``): each step of its task can be ended, and the task itself."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Optional

from mod_python import _stacks

if TYPE_CHECKING:
    import asyncio

    from mod_python._asgi import Application, Call, Server

_ERROR = 3

known: dict[int, Timed] = {}
"""The requests that may take only so long, by the numbers that the loop knows them by."""
queued: dict[int, Application] = {}
"""Those of them that wait for their application's start-up."""


_LEAST = 1.0
"""At least so many seconds a task has to end once it has been cancelled."""


def where_is(number: int) -> str:
    """Where a request is that has taken too long, and its stack. Called by its worker; the loop may run meanwhile."""
    timed, application = known.get(number), queued.get(number)
    lifespan = application.lifespan if application is not None else None
    if application is not None and lifespan is not None:
        return f"it waits for the start-up of {application.name} (lifespan), which stands here\n{lifespan.place()}"
    if timed is None:
        return "the event loop has not begun with it"
    return f"its task is cancelled where it stands\n{_stacks.of_either(timed.awaited, timed.thread, _STEPS)}"


class Timed:
    """Awaits an application that may take only so long: each step of it, from one wait to the next, is one that the server can end.

    ``RequestTimeout`` is raised inside a step alone, so that it reaches neither the loop nor another request's task. An application that
    does not end when its task is cancelled is not gone on with after a while: that ends the task.
    """

    __slots__ = (
        "_alarm",
        "_due",
        "_is_given_up",
        "_limit",
        "_native",
        "_number",
        "_send",
        "_server",
        "_throw",
        "_waited",
        "awaited",
        "call",
        "thread",
    )

    def __init__(self, server: Server, call: Call, due: int, limit: int) -> None:
        self._server = server
        self._native = server.native
        self._due = due
        self._limit = limit
        self._number = call.number()
        self._waited = call.waited
        self.call = call
        self.thread = threading.get_ident()
        self.awaited: Any = None
        self._alarm: Optional[asyncio.TimerHandle] = None
        self._is_given_up = False

    def cancel(self) -> None:
        """The time has passed. What catches this ends a little later."""
        if self.call.task is not None:
            self.call.task.cancel()
            self._alarm = self._server.loop.call_later(max(self._limit / 1e9, _LEAST), self._give_up)

    def _give_up(self) -> None:
        task = self.call.task
        if task is not None and not task.done():
            self._is_given_up = True
            place = _stacks.of_either(self.awaited, self.thread, _STEPS)
            self._native.log(
                _ERROR,
                f"PythonTimeout: a task that has been cancelled does not end; it is left where it stands\n{place}",
                self.call.server(),
            )
            task.cancel()

    def begin(self, application: Application, scope: dict[str, Any]) -> Timed:
        known[self._number] = self
        try:
            self._native.begin_step(self._due + self._waited(), self._limit)
            self.awaited = application.call(scope, self.call.receive, self.call.send)
            iterator = self.awaited.__await__()
        finally:
            self._native.end_step()
        self._send: Any = getattr(iterator, "send", None) or (lambda _: next(iterator))
        self._throw: Any = getattr(iterator, "throw", None)
        return self

    def end(self) -> None:
        # It may have been raised behind the step's end, before that was told.
        self._native.end_step()
        known.pop(self._number, None)
        if self._alarm is not None:
            self._alarm.cancel()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        try:
            self._native.begin_step(self._due + self._waited(), self._limit)
            return self._send(value)
        finally:
            self._native.end_step()

    def throw(self, *error: Any) -> Any:
        if self._is_given_up:
            self._leave()
        if self._throw is None:
            raise error[-1] if isinstance(error[-1], BaseException) else error[0]
        try:
            self._native.begin_step(self._due + self._waited(), self._limit)
            return self._throw(*error)
        finally:
            self._native.end_step()

    def _leave(self) -> None:
        """Have the application go where it is, whatever it does about that."""
        try:
            self._native.begin_step(self._due + self._waited(), self._limit)
            with contextlib.suppress(BaseException):
                self.close()
            # What it does when it goes, it does here.
            self.awaited = self._send = self._throw = None
        finally:
            self._native.end_step()

    def close(self) -> None:
        close = getattr(self.awaited, "close", None)
        if close is not None:
            close()


_STEPS = frozenset((Timed.begin.__code__, Timed.send.__code__, Timed.throw.__code__))
