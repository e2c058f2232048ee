"""The event loop of an interpreter: what runs in its thread, from the first request for an ASGI application to the child's end.

Requests come from httpd's threads through ``native``, in batches; what an application sends goes to them through objects that are
native, too. Nothing here waits for a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from types import MethodType
from typing import Any, Callable, Optional, Protocol

import _apache

from mod_python import _asgi_lifespan, _stacks, _tracebacks, apache

Message = MutableMapping[str, Any]

_GRACE = 1.5
"""So many seconds tasks have to end by themselves, when the child ends."""
_CANCELLED = 0.5
"""So many seconds they have once they have been cancelled."""
_SHUTDOWN = 2.0
"""So many seconds ``lifespan.shutdown`` may take."""
_PAUSE = 5.0
"""So many seconds a failed start-up is the answer to all requests, before it is tried again."""

_ERROR, _WARNING, _INFO, _DEBUG = 3, 4, 6, 7


class Native(Protocol):
    """What httpd's threads and this one share."""

    def fileno(self) -> int: ...
    def kind(self) -> str: ...
    def take(self) -> tuple[list[Any], list[int], list[int]]: ...
    def begun(self) -> None: ...
    def make_requests_by(self, later: type[Later], /) -> None: ...
    def close(self) -> tuple[list[Any], list[int], list[int]]: ...
    def begin_step(self, due: int, limit: int, /) -> None: ...
    def end_step(self) -> None: ...
    def log(
        self,
        level: int,
        text: str,
        server: int = 0,
        traceparent: Optional[str] = None,
        message: Optional[str] = None,
        exception: Optional[str] = None,
        /,
    ) -> None: ...


class Exchange(Protocol):
    """What the application's side of one request, or of one WebSocket, can do."""

    def receive(self) -> Optional[dict[str, Any]]: ...
    def send(self, message: Any, /) -> int: ...
    def flush(self) -> None: ...
    def has_room(self) -> bool: ...
    def end(self, error: Optional[BaseException], /) -> bool: ...
    def number(self) -> int: ...
    def waited(self) -> int: ...
    def server(self) -> int: ...
    def is_gone(self) -> bool: ...
    def request(self) -> Any: ...


class Later(dict[str, Any]):
    """A dict that makes a request's object when anybody looks for it: most applications never do."""

    __slots__ = ("exchange",)
    exchange: Exchange

    def _fill(self) -> Later:
        if not dict.__len__(self):
            dict.__setitem__(self, "request", self.exchange.request())
        return self

    def __missing__(self, key: str) -> Any:
        if key != "request" or dict.__len__(self):
            raise KeyError(key)
        return dict.__getitem__(self._fill(), key)

    def get(self, key: str, default: Any = None) -> Any:
        return dict.get(self._fill(), key, default)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self._fill(), key)

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self._fill())

    def __len__(self) -> int:
        return dict.__len__(self._fill())

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return dict.keys(self._fill())

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return dict.values(self._fill())

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return dict.items(self._fill())

    def copy(self) -> dict[str, Any]:
        return dict(self._fill())

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self._fill(), other)

    def __ne__(self, other: object) -> bool:
        return dict.__ne__(self._fill(), other)

    __hash__ = None

    def __repr__(self) -> str:
        return dict.__repr__(self._fill())


def run(native: Native) -> None:
    """Run the loop until the interpreter ends."""
    native.make_requests_by(Later)
    # httpd's threads have all signals blocked, and by this one uvloop learns that a process has ended.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
    loop = _new_loop(native.kind())
    asyncio.set_event_loop(loop)
    server = Server(native, loop)
    cleanup = (server.stop, None)
    apache._cleanups.append(cleanup)
    loop.add_reader(native.fileno(), server.look)
    loop.call_soon(server.look)
    try:
        loop.run_forever()
    finally:
        server.abandon()
        server.ended.set()
        # An application may have stopped it: nothing of it stays beside the loop that comes after it.
        with contextlib.suppress(ValueError):
            apache._cleanups.remove(cleanup)
        loop.close()


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Make a loop as ``PythonOption mod_python.asgi.loop`` says."""
    if kind == "uvloop" or (kind == "auto" and apache.interpreter == "main_interpreter"):
        try:
            import uvloop  # type: ignore[import-not-found,unused-ignore]

            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
        except ImportError:
            if kind == "uvloop":
                raise
    return asyncio.new_event_loop()


def traceparent() -> Optional[str]:
    """The header of the request that the running task answers, as it was sent; None where there is none, or another thread asks."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    coroutine = task.get_coro() if task is not None else None
    # Looked for where it is wanted: a context variable would cost every request something.
    if getattr(coroutine, "cr_code", None) is not Server._serve.__code__:
        return None
    scope = coroutine.cr_frame.f_locals.get("scope") if coroutine.cr_frame is not None else None  # type: ignore[union-attr]
    return _traceparent_of(scope) if scope is not None else None


def _traceparent_of(scope: dict[str, Any]) -> Optional[str]:
    found = [value for name, value in scope.get("headers", ()) if name == b"traceparent"]
    # Two are none (W3C Trace Context, section 3.2).
    return found[0].decode("latin-1") if len(found) == 1 else None


class Server:
    """The loop's own things. Used in its thread, but for ``stop``."""

    def __init__(self, native: Native, loop: asyncio.AbstractEventLoop) -> None:
        self.native = native
        self.loop = loop
        self.ended = threading.Event()
        self._take = native.take
        ready = getattr(loop, "_ready", None)
        # asyncio's own loop, which is no longer asked for one (before Python 3.12); uvloop starts tasks in a way of its own.
        self._ready = ready if type(loop) is asyncio.SelectorEventLoop and isinstance(ready, deque) else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._applications: dict[int, Application] = {}
        self._names: dict[str, Application] = {}

    def look(self) -> None:
        """Take what has come: requests to begin with, and whose waiting has an end."""
        begun, woken, cancelled = self._take()
        self._wake(woken)
        for number in cancelled:
            timed = _timed.get(number)
            if timed is not None and timed.call.task is not None:
                timed.call.task.cancel()
        if not begun:
            return
        try:
            for exchange, target, name, scope, mode, *deadline in begun:
                application = self._applications.get(id(target)) or self._adopt(
                    target, name, mode, exchange.server() if exchange else 0
                )
                if exchange is None:
                    # `_apache._asgi_start`: no request, but somebody who waits for the start-up.
                    application.tell(scope)
                elif application.queue is None:
                    self.start(application, exchange, scope, *deadline)
                else:
                    application.queue.append((exchange, scope, *deadline))
        finally:
            self.native.begun()

    def _wake(self, numbers: list[int]) -> None:
        for number in numbers:
            for future in self._waiting.pop(number, ()):
                if not future.done():
                    future.set_result(None)

    def start(
        self, application: Application, exchange: Exchange, scope: dict[str, Any], due: int = 0, limit: int = 0
    ) -> None:
        """Begin with a request, whose application is ready. ``due`` and ``limit`` are 0 where it may take as long as it likes."""
        if application.failure is not None:
            exchange.end(RuntimeError(application.failure))
            return
        if application.state is not None:
            scope["state"] = application.state.copy()
        call = Call(self, exchange)
        timed = _Timed(self, call, due, limit) if limit else None
        coroutine = self._serve(application, call, exchange, scope, timed)
        # It runs until it waits for something: what answers at once costs no turn of the loop.
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=self.loop, eager_start=True)
        else:
            before = len(self._ready) if self._ready is not None else 0
            task = self.loop.create_task(coroutine)
            if self._ready is not None and len(self._ready) == before + 1:
                # Its first step, which would have been the next of the loop's. Another thread has not called in meanwhile.
                self._ready.pop()._run()
        if not task.done():
            call.task = task
            self._tasks.add(task)

    async def _serve(
        self,
        application: Application,
        call: Call,
        exchange: Exchange,
        scope: dict[str, Any],
        timed: Optional[_Timed],
    ) -> None:
        error: Optional[BaseException] = None
        application.running += 1
        try:
            if timed is None:
                await application.call(scope, call.receive, call.send)
            else:
                await timed.begin(application, scope)
        except BaseException as raised:  # whatever it is, it is the request's, and not the loop's
            error = raised
        if timed is not None:
            timed.end()
        try:
            if not exchange.end(error) and error is not None:
                self._late(application, exchange, scope, error)
        finally:
            application.running -= 1
            if call.task is not None:
                self._tasks.discard(call.task)
            if application.is_retired and not application.running:
                self._dismiss(application)
            # The error's traceback refers to this frame.
            del error, call, exchange, scope, timed

    def _late(self, application: Application, exchange: Exchange, scope: dict[str, Any], error: BaseException) -> None:
        """Log an error that changes no answer any more: that is complete, or nobody is there to read it."""
        place = f"{application.name} {scope.get('method', scope['type'])} {scope['path']!r}"
        if isinstance(error, (asyncio.CancelledError, apache.RequestTimeout)):
            self.native.log(_INFO, f"{place}: cancelled", exchange.server())
        elif exchange.is_gone():
            # No error of the application's: a client could fill the log with them.
            text = f"{place}: the client went away: {_tracebacks.describe(error)}"
            self.native.log(_INFO, text, exchange.server())
        else:
            self._log_error(f"{place}: after the answer", error, exchange.server(), _traceparent_of(scope))

    def _log_error(self, place: str, error: BaseException, server: int, traceparent: Optional[str] = None) -> None:
        message = exception = None
        if _apache._logs_objects():
            from mod_python import _log_objects

            summary, exception = _log_objects.exception(error)
            message = f"{place}: {summary}"
        text = f"{place}: {_tracebacks.describe(error)}"
        self.native.log(_ERROR, text, server, traceparent, message, exception)

    async def wait(self, number: int) -> None:
        """Wait until ``number`` is told that it can go on."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._waiting.setdefault(number, []).append(future)
        try:
            await future
        finally:
            if not future.done() or future.cancelled():
                futures = self._waiting.get(number)
                if futures is not None:
                    with contextlib.suppress(ValueError):
                        futures.remove(future)
                    if not futures:
                        del self._waiting[number]

    def _adopt(self, target: Any, name: str, mode: str, server: int) -> Application:
        """The application, which this loop has not seen; its start-up begins."""
        before = self._names.get(name)
        if before is not None:
            # What is looked up in a class is another object each time.
            if isinstance(target, MethodType) and before.target == target:
                return before
            self._retire(before)
        application = Application(target, name, server)
        self._names[name] = self._applications[id(target)] = application
        if mode == "off":
            application.queue = None
        else:
            lifespan = application.lifespan = _asgi_lifespan.Lifespan(application.call, self.loop)
            lifespan.started.add_done_callback(lambda started: self._started(application, mode, started))
            lifespan.begin()
        return application

    def _started(self, application: Application, mode: str, started: asyncio.Future[None]) -> None:
        """The application's start-up has come to an end: its requests go on."""
        lifespan = application.lifespan
        error = started.exception()
        if lifespan is not None and error is None:
            application.state = lifespan.state
        elif isinstance(error, _asgi_lifespan.Unsupported) and mode == "auto":
            application.lifespan = None
            self.native.log(_DEBUG, f"{application.name} runs without lifespan: {error}", application.server)
        else:
            application.lifespan = None
            cause = error.__cause__ if error is not None else None
            application.failure = f"the start-up of {application.name} has failed: {error!s}"
            place = f"the start-up of {application.name} (lifespan)"
            if cause is not None:
                self._log_error(place, cause, application.server)
            else:
                self.native.log(_ERROR, f"{place}: {error!s}", application.server)
            self.loop.call_later(_PAUSE, self._forget, application)
        queue, application.queue = application.queue or [], None
        for waiting in queue:
            self.start(application, *waiting)

    def _forget(self, application: Application) -> None:
        """Have the application's start-up tried again by the next request."""
        self._applications.pop(id(application.target), None)
        if self._names.get(application.name) is application:
            del self._names[application.name]

    def _retire(self, application: Application) -> None:
        """Another application has taken this one's name: its module has been changed."""
        self._forget(application)
        application.is_retired = True
        if not application.running:
            self._dismiss(application)

    def _dismiss(self, application: Application) -> None:
        if application.lifespan is not None:
            task = self.loop.create_task(self._shut_down(application))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shut_down(self, application: Application) -> None:
        lifespan, application.lifespan = application.lifespan, None
        if lifespan is not None:
            try:
                await asyncio.wait_for(lifespan.end(), _SHUTDOWN)
            except asyncio.TimeoutError:
                text = (
                    f"the shut-down of {application.name} (lifespan) takes longer than {_SHUTDOWN} s: it is left alone"
                )
                self.native.log(_WARNING, text, application.server)
            except Exception as error:
                self._log_error(f"the shut-down of {application.name} (lifespan)", error, application.server)

    def stop(self, _: object = None) -> None:
        """End the loop: called by another thread, when the interpreter ends. Returns when it has ended, or has had its time."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self.loop.call_soon_threadsafe(self._stop)
            if not self.ended.wait(_GRACE + _CANCELLED + _SHUTDOWN + 0.5):
                self.native.log(_WARNING, "an event loop does not end: something in it does not yield")

    def _stop(self) -> None:
        # Requests that have just come are given up; who waits is told what has come for it.
        self._wake(self.native.close()[1])
        # Referred to while it runs.
        self._end = self.loop.create_task(self._finish())

    async def _finish(self) -> None:
        try:
            begun = time.monotonic()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_GRACE)
            cancelled = list(self._tasks)
            for task in cancelled:
                task.cancel()
            if cancelled:
                await asyncio.wait(cancelled, timeout=_CANCELLED)
            ending = [self.loop.create_task(self._shut_down(one)) for one in set(self._applications.values())]
            if ending:
                await asyncio.wait(ending, timeout=_SHUTDOWN + 0.2)
            await asyncio.wait_for(self.loop.shutdown_asyncgens(), 0.2)
            self.native.log(_DEBUG, f"an event loop has ended in {time.monotonic() - begun:.2f} s")
        finally:
            self.loop.stop()

    def abandon(self) -> None:
        """Let go of requests that nobody goes on with: their workers wait to hear of it."""
        for application in self._applications.values():
            for exchange, *_ in application.queue or ():
                exchange.end(None)
        for task in list(self._tasks):
            coroutine = task.get_coro()
            if coroutine is not None:
                with contextlib.suppress(RuntimeError):
                    coroutine.close()


class Application:
    """What the loop knows of an application."""

    def __init__(self, target: Any, name: str, server: int) -> None:
        self.target = target
        """Kept, so that no other object can have its id."""
        self.name = name
        self.server = server
        """The number of the server that has mounted it: that of its first request."""
        self.call = _asgi_lifespan.single(target)
        self.queue: Optional[list[Any]] = []
        """The requests that wait for the start-up; None once that has come to an end."""
        self.lifespan: Optional[_asgi_lifespan.Lifespan] = None
        self.state: Optional[dict[str, Any]] = None
        self.failure: Optional[str] = None
        self.running = 0
        self.is_retired = False

    def tell(self, told: Callable[[Optional[str]], object]) -> None:
        """Call ``told`` when the start-up has come to an end: with None, or why it has failed."""
        if self.queue is None or self.lifespan is None:
            told(self.failure)
        else:
            self.lifespan.started.add_done_callback(lambda started: told(self.failure))


_timed: dict[int, _Timed] = {}
"""The requests that may take only so long, by the numbers that the loop knows them by."""


def where_is(number: int) -> str:
    """Where the task of a request is that has taken too long. Called by its worker; the task may run meanwhile."""
    timed = _timed.get(number)
    if timed is None:
        return ""
    awaited = timed.awaited
    # Before the application has been called it has given nothing.
    if awaited is None or getattr(awaited, "cr_running", False):
        return _stacks.of_thread(timed.thread, _STEPS)
    return _stacks.of_coroutine(awaited)


class _Timed:
    """Awaits an application that may take only so long: each step of it, from one wait to the next, is one that the server can end.

    ``RequestTimeout`` is raised inside a step alone, so that it reaches neither the loop nor another request's task.
    """

    __slots__ = ("_due", "_limit", "_native", "_number", "_send", "_throw", "_waited", "awaited", "call", "thread")

    def __init__(self, server: Server, call: Call, due: int, limit: int) -> None:
        self._native = server.native
        self._due = due
        self._limit = limit
        self._number = call.number()
        self._waited = call.waited
        self.call = call
        self.thread = threading.get_ident()
        self.awaited: Any = None

    def begin(self, application: Application, scope: dict[str, Any]) -> _Timed:
        _timed[self._number] = self
        try:
            self._native.begin_step(self._due + self._waited(), self._limit)
            self.awaited = application.call(scope, self.call.receive, self.call.send)
            iterator = self.awaited.__await__()
        finally:
            self._native.end_step()
        self._send: Callable[[Any], Any] = getattr(iterator, "send", None) or (lambda _: next(iterator))
        self._throw: Any = getattr(iterator, "throw", None)
        return self

    def end(self) -> None:
        # It may have been raised behind the step's end, before that was told.
        self._native.end_step()
        _timed.pop(self._number, None)

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
        if self._throw is None:
            raise error[-1] if isinstance(error[-1], BaseException) else error[0]
        try:
            self._native.begin_step(self._due + self._waited(), self._limit)
            return self._throw(*error)
        finally:
            self._native.end_step()

    def close(self) -> None:
        close = getattr(self.awaited, "close", None)
        if close is not None:
            close()


_STEPS = frozenset((_Timed.begin.__code__, _Timed.send.__code__, _Timed.throw.__code__))


class Call:
    """What an application is called with: ``receive`` and ``send``."""

    __slots__ = ("_exchange", "_receive", "_send", "_server", "task")

    def __init__(self, server: Server, exchange: Exchange) -> None:
        self._server = server
        self._exchange = exchange
        self._receive = exchange.receive
        self._send = exchange.send
        self.task: Optional[asyncio.Task[None]] = None

    def number(self) -> int:
        return self._exchange.number()

    def waited(self) -> int:
        """Nanoseconds for which its worker has waited for the client."""
        return self._exchange.waited()

    async def receive(self) -> Message:
        while True:
            message = self._receive()
            if message is not None:
                return message
            await self._server.wait(self._exchange.number())

    async def send(self, message: Message) -> None:
        todo = self._send(message)
        if todo:
            if todo == 1:
                # Leaves when the application comes to wait for something.
                self._server.loop.call_soon(self._exchange.flush)
                return
            while not self._exchange.has_room():
                await self._server.wait(self._exchange.number())


Single = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
