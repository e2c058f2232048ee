"""Signals and processes inside httpd: signals are httpd's own, and what a handler starts is a process like any other."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from mod_python import _environment

if TYPE_CHECKING:
    _signal: Any
    _posixsubprocess: Any
else:
    # What the modules `signal` and `subprocess` are made of. These two stay unloaded until a handler wants them.
    import _posixsubprocess
    import _signal


def install(is_main: bool, warn: Callable[[str], None]) -> None:
    """Put everything in place in an interpreter."""
    _environment.install(is_main)
    _keep_signals(warn)
    _free_children(is_main)
    if is_main:
        import faulthandler  # which works in the main interpreter only

        # A crash in an extension module says in the error log where Python was. httpd's own handlers come next.
        faulthandler.enable(file=2, all_threads=False)


def _keep_signals(warn: Callable[[str], None]) -> None:
    """httpd's handlers stop and restart it. What would set one warns instead (signal.signal)."""

    def signal(signalnum: int, handler: object, /) -> object:
        warn(f"signal.signal({int(signalnum)}, {handler!r}) has no effect: signals belong to httpd")
        return _signal.getsignal(signalnum)

    _signal.signal = signal


def _free_children(is_main: bool) -> None:
    """httpd's threads block all signals, and a new process inherits that: nobody could terminate it.

    Unblocking them in this thread for a moment takes none away from httpd: the kernel prefers a process's first thread.
    """
    fork_exec = _posixsubprocess.fork_exec

    def unblocked(*args: Any) -> Any:
        # The argument `preexec_fn` is the last, or the one before.
        if is_main and any(map(callable, args[-2:])):
            _check_alone()
        before = _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        try:
            return fork_exec(*args)
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    _posixsubprocess.fork_exec = unblocked
    for name in ("posix_spawn", "posix_spawnp"):
        setattr(os, name, _unblocking(getattr(os, name)))
    if is_main:
        os.register_at_fork(after_in_child=lambda: _signal.pthread_sigmask(_signal.SIG_SETMASK, ()))
        for name in ("fork", "forkpty"):
            setattr(os, name, _alone(getattr(os, name)))
    elif sys.version_info < (3, 12):
        os.fork = os.forkpty = _no_fork


def _unblocking(spawn: Callable[..., int]) -> Callable[..., int]:
    """os.posix_spawn() whose process has no signal blocked, unless ``setsigmask`` says so."""

    def unblocked(*args: Any, **kw: Any) -> int:
        kw.setdefault("setsigmask", ())
        return spawn(*args, **kw)

    return unblocked


def _alone(fork: Callable[[], Any]) -> Callable[[], Any]:
    """os.fork() or os.forkpty() of the main interpreter, where it is the only one: Python's child ends or hangs when it deletes others."""

    def alone() -> Any:
        _check_alone()
        return fork()

    return alone


def _check_alone() -> None:
    """Raise RuntimeError where the main interpreter is not the only one."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # Python 3.13 and newer; older ones
        try:
            module: Any = __import__(name)
        except ImportError:
            continue
        if len(module.list_all()) > 1:
            raise RuntimeError(
                "fork is not supported beside other interpreters: Python's child would crash; subprocess without"
                " preexec_fn, and multiprocessing with its start method 'spawn', can be used"
            )
        return


def _no_fork() -> NoReturn:
    """os.fork() and os.forkpty() of a sub-interpreter; their child would abort. Python 3.12 and newer say so themselves."""
    raise RuntimeError("fork not supported for isolated subinterpreters: PythonInterpreter main_interpreter can fork")
