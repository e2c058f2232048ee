"""What ``sys.stdin``, ``sys.stdout`` and ``sys.stderr`` are: everybody's, until somebody puts another object there.

That object is used for as long as it works: when it has been closed, taken away or raises, everybody's is there again,
so a guard stands before it. What a CGI script or ``contextlib.redirect_stdout()`` puts there is there in its own thread only.

``print()`` and the like take their stream from the dict of ``sys``, where a front stands that looks for the right one.
Everything else asks the module for the attribute, and gets the right one itself.
"""

from __future__ import annotations

import io
import sys
import threading
import types
import weakref
from functools import partial
from types import FrameType, ModuleType
from typing import Any, Callable, Optional

from mod_python import _shared_streams as shared

NAMES = ("stdin", "stdout", "stderr")
_BORROWERS = ("contextlib", "pdb")
"""Modules that put a stream there for a while, and mean their own thread."""


class _Redirected:
    """What stands in a place for one thread, and who has put it there: it ends with them."""

    def __init__(self, stream: Any, owner: Optional[Callable[[], Any]]) -> None:
        self.stream, self._owner = stream, owner

    @property
    def has_no_owner(self) -> bool:
        """Has it simply been put there?"""
        return self._owner is None

    @property
    def is_wanted(self) -> bool:
        """Has whoever put it there not been forgotten?"""
        return self._owner is None or self._owner() is not None


class _Thread(threading.local):
    def __init__(self) -> None:
        self.places: dict[str, list[_Redirected]] = {}
        """The last one of a list is what is there; those before it come back when it ends."""


_thread = _Thread()
_places: dict[str, _Guard] = {}
"""What applications have put there for the whole interpreter."""


def swap(places: dict[str, list[_Redirected]]) -> dict[str, list[_Redirected]]:
    """Give this thread other places, as a script that begins or ends has them; returns those that it had."""
    before, _thread.places = _thread.places, places
    return before


def current(name: str) -> Any:
    """What one of them is for this thread."""
    own = _thread.places.get(name)
    while own:
        if own[-1].is_wanted and _works(name, own[-1].stream):
            return own[-1].stream
        del own[-1]
    guard = _places.get(name)
    if guard is not None and shared.script.stdout is None:
        if _works(name, guard.stream):
            # A StringIO cannot fail, and is asked for as the one that it is.
            return guard.stream if type(guard.stream) is io.StringIO else guard
        _places.pop(name, None)
    return getattr(shared, name)


def put(name: str, stream: Any, asking: Optional[FrameType] = None) -> None:
    """Put a stream in a place; None: everybody's again."""
    if isinstance(stream, _Guard):
        stream = stream.stream
    guard = _places.get(name)
    owner = None
    if asking is not None and asking.f_globals.get("__name__") in _BORROWERS:
        owner = asking.f_locals.get("self")
    # Whoever puts the process's there wants what was there in the beginning; only the debugger means the terminal.
    original = getattr(sys, f"__{name}__", None) if owner is None else None
    if stream is None and owner is not None:
        # redirect_stdout(None) silences.
        stream = _Silence()
    elif isinstance(stream, _Front) or stream is getattr(shared, name) or stream is original:
        stream = None
    if owner is not None or _thread.places.get(name) or shared.script.stdout is not None:
        beneath = None if guard is None or shared.script.stdout is not None else guard.stream
        _put_for_thread(name, None if stream is beneath else stream, owner)
    elif stream is None:
        _places.pop(name, None)
    elif guard is None or guard.stream is not stream:
        _places[name] = _Guard(name, stream)


def _put_for_thread(name: str, stream: Any, owner: Any) -> None:
    own = _thread.places.setdefault(name, [])
    known = [place for place, one in enumerate(own) if one.stream is stream]
    if stream is None:
        own.clear()
    elif known:
        del own[known[-1] + 1 :]
    else:
        if own and owner is None and own[-1].has_no_owner:
            del own[-1]
        own.append(_Redirected(stream, None if owner is None else weakref.ref(owner)))


def _works(name: str, stream: Any) -> bool:
    """Is it open, and a stream at all?"""
    try:
        return getattr(stream, "closed", False) is not True and callable(
            stream.readline if name == "stdin" else stream.write
        )
    except Exception:
        return False


class _Silence(io.TextIOBase):
    """Takes text and forgets it."""

    def write(self, text: str, /) -> int:
        return len(text)


class _Front(io.TextIOBase):
    """What C code finds in the dict of ``sys``."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def stream(self) -> Any:
        """The one that is meant."""
        return current(self._name)

    def write(self, text: str, /) -> int:
        stream = self.stream
        try:
            written: int = stream.write(text)
        except Exception:
            if not self._give_up(stream):
                raise
            written = current(self._name).write(text)
        return written

    def flush(self) -> None:
        stream = self.stream
        if hasattr(stream, "flush"):
            try:
                stream.flush()
            except Exception:
                if not self._give_up(stream):
                    raise

    def _give_up(self, stream: Any) -> bool:
        """Take a stream away that does not work any more, if it is this thread's."""
        own = _thread.places.get(self._name)
        if not own or own[-1].stream is not stream or _works(self._name, stream):
            return False
        del own[-1]
        return True

    def read(self, size: Optional[int] = -1, /) -> Any:
        return self.stream.read(size)

    def readline(self, size: int = -1, /) -> Any:  # type: ignore[override]
        return self.stream.readline(size)

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        return getattr(self.stream, "encoding", None)

    @property
    def errors(self) -> Any:  # type: ignore[override]
        return getattr(self.stream, "errors", None)

    @property
    def newlines(self) -> Any:  # type: ignore[override]
        return getattr(self.stream, "newlines", None)

    def fileno(self) -> int:
        number: int = self.stream.fileno()
        return number

    def isatty(self) -> bool:
        return bool(self.stream.isatty())

    def close(self) -> None:
        """It is nobody's to close."""

    def __del__(self) -> None:
        """Nor is what it stands for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Guard(_Front):
    """Stands before what an application has put in a place for all."""

    def __init__(self, name: str, stream: Any) -> None:
        super().__init__(name)
        self._beneath = stream

    @property
    def stream(self) -> Any:
        """What it stands before; who has it as `sys.stdout` cannot put itself there."""
        return self._beneath

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.stream)

    def _give_up(self, stream: Any) -> bool:
        if _places.get(self._name) is self:
            _places.pop(self._name, None)
        return True

    def close(self) -> None:
        self.stream.close()


def _place(name: str) -> property:
    def get(system: object) -> Any:
        return current(name)

    def set(system: object, stream: Any) -> None:
        put(name, stream, sys._getframe(1))

    def delete(system: object) -> None:
        put(name, None)

    return property(get, set, delete)


class _Kind(type):
    """Whoever writes ``type(sys)`` means modules: so do calls of `_System`, questions about instances, and subclasses."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kw: Any) -> type:
        if not any(isinstance(base, _Kind) for base in bases):
            return super().__new__(mcs, name, bases, namespace)
        return types.new_class(
            name,
            tuple(ModuleType if isinstance(base, _Kind) else base for base in bases),
            kw,
            lambda body: body.update(namespace),
        )

    def __call__(cls, *args: Any, **kw: Any) -> ModuleType:
        return ModuleType(*args, **kw)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, ModuleType)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, ModuleType)


class _System(ModuleType, metaclass=_Kind):
    """The class of the module ``sys``."""

    stdin, stdout, stderr = _place("stdin"), _place("stdout"), _place("stderr")

    if sys.version_info >= (3, 14):

        def __getattr__(self, name: str) -> Any:
            """Tell that there is no such attribute.

            With this method the class has its own way of looking attributes up. Code that has run a few times reads those of
            modules from their dict otherwise, past the properties above (gh-156399).
            """
            raise AttributeError(f"module 'sys' has no attribute {name!r}", name=name, obj=self)


def is_installed() -> bool:
    """Are they there? Outside httpd they are not."""
    return type(sys) is _System


def install() -> None:
    """Put them in place in an interpreter; once."""
    if is_installed():
        return
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        _keep_open(stream)
    shared.read_from(sys.stdin)
    vars(sys).update({name: _Front(name) for name in NAMES})
    sys.__class__ = _System


def _keep_open(stream: Any) -> None:
    """What the process has for standard streams: whoever closes or detaches one closes it for all."""
    while stream is not None:
        below = getattr(stream, "buffer", None) or getattr(stream, "raw", None)
        stream.close = stream.flush
        if below is not None:
            stream.detach = partial(getattr, stream, "buffer" if hasattr(stream, "buffer") else "raw")
        stream = below
