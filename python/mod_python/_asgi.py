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
from collections.abc import MutableMapping
from types import MethodType
from typing import Any, Callable, Optional

import _apache

from mod_python import _asgi_lifespan, _asgi_timed, _tracebacks, apache
from mod_python._asgi_native import Exchange, Later, Native
from mod_python._asgi_timed import Timed

Message = MutableMapping[str, Any]

_GRACE = 1.5
"""So many seconds tasks have to end by themselves, when the child ends."""
_CANCELLED = 0.5
"""So many seconds they have once they have been cancelled."""
_SHUTDOWN = 2.0
"""So many seconds ``lifespan.shutdown`` may take."""
_PAUSE = 5.0
"""So many seconds a failed start-up is the answer to all requests, before it is tried again."""
_LONG = 5.0
"""So many seconds a start-up takes, before it is said where it stands."""

_ERROR, _WARNING, _INFO, _DEBUG = 3, 4, 6, 7


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
        while not server.is_over:
            try:
                loop.run_forever()
                break
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio ends a loop for them. It is not the task's that raises them: others run in it.
                text = f"a task of the event loop raises {type(error).__name__}, which ends nothing here"
                server.log_error(text, error, 0)
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
        self.is_over = False

    def look(self) -> None:
        """Take what has come: requests to begin with, and whose waiting has an end."""
        begun, woken, cancelled = self._take()
        self._wake(woken)
        for number in cancelled:
            timed, application = _asgi_timed.known.get(number), _asgi_timed.queued.pop(number, None)
            if timed is not None:
                timed.cancel()
            if application is not None and application.queue is not None:
                application.queue = [one for one in application.queue if one[1].number() != number]
        if not begun:
            return
        try:
            for exchange, target, name, scope, mode, *deadline in begun:
                application = self._applications.get(id(target)) or self._adopt(
                    target, name, exchange.server() if exchange else 0
                )
                if exchange is None:
                    # `_apache._asgi_start`: no request, but somebody who waits for the start-up.
                    if mode != "off":
                        self._begin_startup(application)
                    self._tell_of_startup(application, scope, mode)
                elif application.queue is None or mode == "off":
                    self.start(application, mode, exchange, scope, *deadline)
                else:
                    self._wait_for_startup(application, mode, exchange, scope, *deadline)
        finally:
            self.native.begun()

    def _wake(self, numbers: list[int]) -> None:
        for number in numbers:
            for future in self._waiting.pop(number, ()):
                if not future.done():
                    future.set_result(None)

    def start(
        self,
        application: Application,
        mode: str,
        exchange: Exchange,
        scope: dict[str, Any],
        due: int = 0,
        limit: int = 0,
    ) -> None:
        """Begin with a request, whose application is ready. ``due`` and ``limit`` are 0 where it may take as long as it likes."""
        if application.failure is not None and mode != "off":
            if mode == "on" or not application.is_unsupported:
                self._refuse(application, application.failure)
                exchange.end(RuntimeError(f"the start-up of {application.name} has failed: {application.failure!s}"))
                return
        elif application.state is not None and mode != "off":
            scope["state"] = application.state.copy()
        call = Call(self, exchange)
        timed = Timed(self, call, due, limit) if limit else None
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
        timed: Optional[Timed],
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
        elif (status := exchange.refused()) is not None:
            text = f"{place}: its body was refused ({status}): {_tracebacks.describe(error)}"
            self.native.log(_INFO, text, exchange.server())
        elif exchange.is_gone():
            # No error of the application's: a client could fill the log with them.
            text = f"{place}: the client went away: {_tracebacks.describe(error)}"
            self.native.log(_INFO, text, exchange.server())
        else:
            self.log_error(f"{place}: after the answer", error, exchange.server(), _traceparent_of(scope))

    def log_error(
        self, place: str, error: BaseException, server: int, traceparent: Optional[str] = None, level: int = _ERROR
    ) -> None:
        """Log what has been raised, or that a lifespan has failed for a reason that may be just a text."""
        if isinstance(error, (_asgi_lifespan.Failed, _asgi_lifespan.Unsupported)):
            if error.__cause__ is None:
                self.native.log(level, f"{place}: {error!s}", server, traceparent)
                return
            error = error.__cause__
        message = exception = None
        if _apache._logs_objects():
            from mod_python import _log_objects

            summary, exception = _log_objects.exception(error)
            message = f"{place}: {summary}"
        text = f"{place}: {_tracebacks.describe(error)}"
        self.native.log(level, text, server, traceparent, message, exception)

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

    def _adopt(self, target: Any, name: str, server: int) -> Application:
        """The application, which this loop has not seen."""
        before = self._names.get(name)
        if before is not None:
            # What is looked up in a class is another object each time.
            if isinstance(target, MethodType) and before.target == target:
                return before
            self._retire(before)
        application = self._names[name] = self._applications[id(target)] = Application(target, name, server)
        return application

    def _wait_for_startup(self, application: Application, mode: str, exchange: Exchange, *request: Any) -> None:
        """Have a request wait for its application's start-up, which begins with the first."""
        if application.queue is None:
            return
        application.queue.append((mode, exchange, *request))
        if len(request) > 1 and request[-1]:
            _asgi_timed.queued[exchange.number()] = application
        self._begin_startup(application)

    def _begin_startup(self, application: Application) -> None:
        if application.lifespan is None and application.queue is not None:
            place = f"the lifespan of {application.name} has ended too early, behind its start-up"
            lifespan = application.lifespan = _asgi_lifespan.Lifespan(
                application.call, self.loop, lambda error: self.log_error(place, error, application.server)
            )
            application.begun = self.loop.time()
            alarm = self.loop.call_later(_LONG, self._tell_who_waits, application)
            lifespan.started.add_done_callback(lambda _: alarm.cancel())
            lifespan.started.add_done_callback(lambda started: self._started(application, started))
            lifespan.begin()

    def _tell_of_startup(self, application: Application, told: Callable[[Optional[str]], object], mode: str) -> None:
        """Call ``told`` when the start-up has come to an end: with None, or why it has failed."""

        def tell(_: object = None) -> None:
            error = application.failure
            if error is not None and application.is_unsupported:
                if mode == "on":
                    self._refuse(application, error)
                else:
                    error = None
            told(None if error is None else f"the start-up of {application.name} has failed: {error!s}")

        if application.queue is None or application.lifespan is None:
            tell()
        else:
            application.lifespan.started.add_done_callback(tell)

    def _tell_who_waits(self, application: Application) -> None:
        """The start-up takes long: all requests of the application wait, with their workers."""
        if application.lifespan is not None:
            text = f"requests ({len(application.queue or ())}) wait for the start-up of {application.name} (lifespan), which takes "
            text += f"longer than {_LONG:.0f} s, and stands here\n{application.lifespan.place()}"
            self.native.log(_WARNING, text, application.server)

    def _started(self, application: Application, started: asyncio.Future[None]) -> None:
        """The application's start-up has come to an end: its requests go on."""
        lifespan, error = application.lifespan, started.exception()
        taken = self.loop.time() - application.begun
        if taken > _LONG:
            # Also where the loop could not say so meanwhile.
            text = f"the start-up of {application.name} (lifespan) has taken {taken:.1f} s"
            self.native.log(_WARNING, text, application.server)
        if lifespan is not None and error is None:
            application.state = lifespan.state
        else:
            application.lifespan, application.failure = None, error
            application.is_unsupported = isinstance(error, _asgi_lifespan.Unsupported)
        queue, application.queue = application.queue or [], None
        if isinstance(error, _asgi_lifespan.Unsupported) and not all(mode == "on" for mode, *_ in queue or [("auto",)]):
            text = f"{application.name} runs without lifespan"
            if error.is_odd:
                self.log_error(f"{text}: its start-up raises", error, application.server, level=_WARNING)
            else:
                self.native.log(_DEBUG, f"{text}: {error}", application.server)
        if error is not None and not application.is_unsupported:
            self._refuse(application, error)
        for waiting in queue:
            exchange = waiting[1]
            if _asgi_timed.queued.pop(exchange.number(), None) is None or not exchange.is_gone():
                # Otherwise its time has passed, and it has been answered.
                self.start(application, *waiting)

    def _refuse(self, application: Application, error: BaseException) -> None:
        """Requests cannot be answered for that reason: it is told once, and the start-up is tried again after a while."""
        if not application.is_refused:
            application.is_refused = True
            self.log_error(f"the start-up of {application.name} (lifespan)", error, application.server)
            self.loop.call_later(_PAUSE, self._forget, application)

    def _forget(self, application: Application) -> None:
        """Have the application's start-up tried again by the next request."""
        if self._applications.get(id(application.target)) is application:
            del self._applications[id(application.target)]
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
                self.log_error(f"the shut-down of {application.name} (lifespan)", error, application.server)

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
            self.is_over = True
            self.loop.stop()

    def abandon(self) -> None:
        """Let go of requests that nobody goes on with: their workers wait to hear of it."""
        for application in self._applications.values():
            for _, exchange, *_ in application.queue or ():
                _asgi_timed.queued.pop(exchange.number(), None)
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
        self.begun = 0.0
        """When its start-up has begun."""
        self.failure: Optional[BaseException] = None
        self.is_unsupported = False
        """Is its failure one that only PythonOption mod_python.asgi.lifespan on takes for one?"""
        self.is_refused = False
        """Has a request been answered with its failure?"""
        self.running = 0
        self.is_retired = False


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

    def server(self) -> int:
        return self._exchange.server()

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
