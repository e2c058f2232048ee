"""``os.environ``: the process's in the main interpreter, one of its own in every other, and a script's while a thread runs one.

``os.environ`` and ``os.environb`` stay the objects that they are, so that modules which have kept them see the right
variables whenever they look. What an own environment holds never reaches the process's: C libraries do not see it, but
processes that are started from Python get it.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Optional

import _apache

if TYPE_CHECKING:
    _posixsubprocess: Any
    _Environ = os._Environ[Any]
else:
    # What `subprocess` is made of. It stays unloaded until somebody wants it.
    import _posixsubprocess

    _Environ = os._Environ


class Own:
    """An environment that is not the process's. The thread or the interpreter that it is made for owns it."""

    def __init__(self, variables: dict[bytes, bytes]) -> None:
        self.variables = variables
        self.changes: dict[bytes, Optional[bytes]] = {}
        """What os.putenv() and os.unsetenv() have done: children see it, os.environ does not."""

    def put(self, name: Any, value: Any) -> None:
        """os.putenv(). Raises TypeError, ValueError."""
        name, value = os.fsencode(name), os.fsencode(value)
        if not name or b"=" in name:
            raise ValueError("illegal environment variable name")
        if b"\0" in name or b"\0" in value:
            raise ValueError("embedded null byte")
        self.changes[name] = value

    def remove(self, name: Any) -> None:
        """os.unsetenv(). Raises TypeError."""
        self.changes[os.fsencode(name)] = None

    def exported(self) -> dict[bytes, bytes]:
        """What a child gets."""
        together: dict[bytes, Optional[bytes]] = {**self.variables, **self.changes}
        return {name: value for name, value in together.items() if value is not None}


class _Thread(threading.local):
    own: Optional[Own] = None


_thread = _Thread()
_interpreter: Optional[Own] = None
"""The interpreter's; None in the main one, which has the process's."""


def _own() -> Optional[Own]:
    return _thread.own or _interpreter


class _Variables(_Environ):
    """The class of ``os.environ`` and ``os.environb``: os's own, whose data depend on who asks."""

    @property
    def _data(self) -> Any:
        own = _own()
        return self.__dict__["_data"] if own is None else own.variables


_putenv, _unsetenv = os.putenv, os.unsetenv
_environ: Any = os.environ
_environb: Any = os.environb
_installed = False


def install(is_main: bool = True) -> None:
    """Put it in place in an interpreter; once. Called before anything that starts processes is wrapped, or imported."""
    global _installed, _interpreter
    if _installed:
        return
    _installed = True
    for variables in (_environ, _environb):
        variables.__class__ = _Variables
    _wrap_changes()
    _wrap_processes()
    if not is_main:
        _interpreter = Own(_initial())
        _wrap_time_zone()


def swap(own: Optional[Own]) -> Optional[Own]:
    """Give this thread an environment of its own, or take it away; returns the one that it had."""
    install()
    # Somebody may have put a dict there, which would hide it.
    os.environ, os.environb = _environ, _environb
    before, _thread.own = _thread.own, own
    return before


def process_variables() -> dict[bytes, bytes]:
    """A copy of the interpreter's variables, whatever script this thread runs."""
    data: dict[bytes, bytes] = _environ.__dict__["_data"] if _interpreter is None else _interpreter.variables
    return data.copy()


def _initial() -> dict[bytes, bytes]:
    """What httpd was started with. The main interpreter may have changed the process's environment since."""
    now: dict[bytes, bytes] = dict(_environ.__dict__["_data"])
    known: Optional[Callable[[], dict[bytes, bytes]]] = getattr(_apache, "_initial_environment", None)
    if known is not None:
        return dict(known())
    try:
        # Not readable where httpd has been started as root.
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return now
    pairs = (entry.partition(b"=") for entry in entries)
    first = {name: value for name, equals, value in pairs if name and equals}
    # Something may have written its title over it.
    return first if first.keys() & now.keys() or not now else now


def _wrap_changes() -> None:
    def put(name: Any, value: Any, /) -> None:
        own = _own()
        if own is None:
            _putenv(name, value)
        else:
            own.put(name, value)

    def remove(name: Any, /) -> None:
        own = _own()
        if own is None:
            _unsetenv(name)
        else:
            own.remove(name)

    # os.environ calls what stands there.
    os.putenv, os.unsetenv = put, remove
    if hasattr(os, "_create_environ"):
        create: Callable[[], dict[bytes, bytes]] = os._create_environ

        def current() -> dict[bytes, bytes]:
            own = _own()
            return create() if own is None else own.exported()

        os._create_environ = current


def _wrap_processes() -> None:
    """Where Python leaves a child's environment to C, hand over the own one."""
    fork_exec, spawn, spawnp, system = _posixsubprocess.fork_exec, os.posix_spawn, os.posix_spawnp, os.system
    execv = os.execv

    def start(*args: Any) -> Any:
        own = _own()
        if own is not None and len(args) > 5 and args[5] is None:
            variables = [name + b"=" + value for name, value in own.exported().items()]
            args = (*args[:5], variables, *args[6:])
        return fork_exec(*args)

    def spawning(spawn: Callable[..., int]) -> Callable[..., int]:
        def started(path: Any, argv: Any, env: Any = None, /, **kw: Any) -> int:
            own = _own()
            return spawn(path, argv, own.exported() if env is None and own is not None else env, **kw)

        return started

    def become(path: Any, argv: Any, /) -> Any:
        own = _own()
        return execv(path, argv) if own is None else os.execve(path, argv, own.exported())

    def run(command: Any) -> int:
        own = _own()
        if own is None:
            return system(command)
        shell: list[Any] = ["/bin/sh", "-c", command]
        return os.waitpid(os.posix_spawn(shell[0], shell, own.exported()), 0)[1]

    _posixsubprocess.fork_exec = start
    os.posix_spawn, os.posix_spawnp = spawning(spawn), spawning(spawnp)
    os.execv, os.system = become, run


def _wrap_time_zone() -> None:
    """time.tzset() is about the whole process, wherever it is called: the C library needs TZ in its own environment."""
    tzset = time.tzset

    def set_zone() -> None:
        zone = None if _interpreter is None else _interpreter.exported().get(b"TZ")
        if zone is not None:
            _putenv(b"TZ", zone)
        tzset()

    time.tzset = set_zone
