"""An application's lifespan: its start-up before its first request, and its shut-down when the child ends."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable
from typing import Any, Callable, Optional

from mod_python import _stacks

Single = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


_SOON = 1.0
"""So many seconds an application has to raise what it has said to have failed by."""


class Unsupported(Exception):
    """The application has ended before it has said whether it has started."""

    is_odd = False
    """Has it raised something when it was starting? What has no lifespan raises before it is told anything."""


class Failed(Exception):
    """The application says that it cannot start, or could not shut down."""


def single(application: Any) -> Single:
    """The application as ASGI 3 calls it. One of ASGI 2 takes the scope, and gives what takes ``receive`` and ``send``."""
    is_single = not inspect.isclass(application) and _takes(application, 3)
    if is_single or not _takes(application, 1):
        return application  # type: ignore[no-any-return]

    async def double(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await application(scope)(receive, send)

    return double


def _takes(application: Any, count: int) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        inspect.signature(application).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # nothing is known of it
        return count == 3
    return True


class Lifespan:
    """One application's, in one loop. ``started`` is done when its start-up has come to an end.

    ``tell`` is called once, with the reason, where it fails between start-up and shut-down.
    """

    def __init__(self, call: Single, loop: asyncio.AbstractEventLoop, tell: Callable[[BaseException], None]) -> None:
        self.state: dict[str, Any] = {}
        self.started: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._call = call
        self._ends: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._received = 0
        self._task: Optional[asyncio.Task[None]] = None
        self._thread = 0
        self._tell: Optional[Callable[[BaseException], None]] = tell
        self._early: Optional[Failed] = None

    def begin(self) -> None:
        """Have the application start."""
        self._thread = threading.get_ident()
        self._task = self._loop.create_task(self._run())

    def place(self) -> str:
        """Where it stands, as text. May be called in any thread."""
        coroutine = self._task.get_coro() if self._task is not None else None
        return _stacks.of_either(coroutine, self._thread, frozenset((Lifespan._run.__code__,)))

    async def end(self) -> None:
        """Have it shut down.

        Raises:
            Failed: it says that it could not.
        """
        if self._early is not None:
            self._fail(self._early)
        if not self._ends.done():
            self._ends.set_result(None)
        await self._ended

    def _fail(self, error: BaseException) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(error)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        error: Optional[BaseException] = None
        try:
            await self._call(scope, self._receive, self._send)
        except BaseException as raised:  # what it raises may be anything; the loop goes on
            error = raised
        if not self.started.done():
            text = "it returns at 'lifespan'" if error is None else f"it raises {type(error).__name__} at 'lifespan'"
            unsupported = Unsupported(text)
            unsupported.__cause__ = error
            unsupported.is_odd = error is not None and self._received > 0
            self.started.set_exception(unsupported)
        elif not self._ends.done() and self.started.exception() is None:
            # A loop that has been closed drops its tasks.
            reason = error if not isinstance(error, GeneratorExit) else None
            reason = reason or self._early
            if reason is not None:
                self._fail(reason)
        if not self._ended.done():
            if error is None or not self._ends.done() or self._tell is None:
                self._ended.set_result(None)
            else:
                failed = Failed(f"it raises {type(error).__name__}")
                failed.__cause__ = error
                self._ended.set_exception(failed)
        del error

    async def _receive(self) -> dict[str, Any]:
        self._received += 1
        if self._received == 1:
            return {"type": "lifespan.startup"}
        await asyncio.shield(self._ends)
        if self._received > 2:
            # There is nothing more to come.
            await self._loop.create_future()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Any) -> None:
        kind = message["type"]
        has_started = self.started.done() and self.started.exception() is None
        if kind == "lifespan.shutdown.failed" and has_started and not self._ends.done():
            # What ends before it is told to says so (Starlette does), and raises the reason then.
            if self._early is None:
                self._early = _failed(message)
                self._loop.call_later(_SOON, self._fail, self._early)
            return
        future, name = (self._ended, "shutdown") if self._ends.done() else (self.started, "startup")
        if kind not in (f"lifespan.{name}.complete", f"lifespan.{name}.failed") or future.done():
            raise RuntimeError(f"ASGI: {kind!r} is not a message that an application can send now")
        if kind.endswith(".complete"):
            future.set_result(None)
        else:
            future.set_exception(_failed(message))


def _failed(message: Any) -> Failed:
    return Failed(str(message.get("message", "")) or "it gives no reason")
