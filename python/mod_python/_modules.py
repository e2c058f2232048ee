"""Importing modules by name, by file, and from certain directories; loading again what has changed.

The importing is importlib's, and so is the waiting: it has a lock for each module, notices threads that wait for each
other in a circle, and gives them the unfinished module instead. No lock of ours is held while a module runs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType
from typing import Any, Optional

import _apache

from mod_python import _reloading, _tracebacks
from mod_python._path import use_directory as use_directory
from mod_python._path import use_expression as use_expression

_INTERVAL = 1.0
"""Seconds between two looks at a module's file."""

_ATTEMPTS = 3
"""An import that importlib gives up since threads wait in a circle is tried again this often."""

_Signature = tuple[int, int, int]
_UNKNOWN: _Signature = (0, 0, 0)
_Path = tuple[str, ...]


class _State:
    """What is known of a module's file."""

    def __init__(self, module: object, signature: Optional[_Signature]) -> None:
        self.module = id(module)
        self.signature = signature
        self.checked = time.monotonic()
        self.claim = threading.Lock()
        """Whoever has it looks at the file and loads the module again; nobody waits for it."""


_states: dict[str, _State] = {}
"""By the name in sys.modules."""

_began: dict[str, int] = {}
"""When imports began that have not ended (nanoseconds since the epoch)."""

_files: dict[str, str] = {}
"""The names that we have made, and what they stand for: a file, or the directory of a package without one."""

_elsewhere: dict[tuple[str, _Path], str] = {}
"""The names of ours for modules of certain directories whose own name another module has."""

_search = threading.local()


class _Script(SourceFileLoader):
    """A source file of any suffix. Without bytecode: that of ``app.wsgi`` and of ``app.py`` would have one place."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


class _Finder:
    """Finds what has a name of ours, and what this thread searches for in certain directories only."""

    def find_spec(
        self,
        name: str,
        path: Optional[Sequence[str]] = None,
        target: Optional[ModuleType] = None,
    ) -> Optional[ModuleSpec]:
        """See importlib.abc.MetaPathFinder. Raises ModuleNotFoundError where other finders shall not be asked."""
        file = _files.get(name)
        if file is not None:
            return _spec(name, file)
        wanted: Optional[tuple[str, _Path]] = getattr(_search, "wanted", None)
        if wanted is None or wanted[0] != name:
            return None
        return _find(name, wanted[1])


_finder = _Finder()


def import_module(
    name: str,
    autoreload: bool,
    log: bool,
    path: Optional[Sequence[str]],
) -> Any:
    """See ``apache.import_module``."""
    if not isinstance(name, str):
        raise TypeError(f"a module's name must be a str, not {type(name).__name__}")
    # What a subclass of str says of equality is its own affair.
    name = str.__str__(name)
    if not name:
        raise ValueError("Empty module name")
    if all(finder is not _finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _finder)
    for attempt in range(_ATTEMPTS):
        try:
            return _import_module(name, autoreload, log, path)
        except RuntimeError as error:
            # Where it happens while another module runs, only that one's end can help.
            if type(error).__name__ != "_DeadlockError" or attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError


def _import_module(name: str, autoreload: bool, log: bool, path: Optional[Sequence[str]]) -> Any:
    where: Optional[_Path] = None
    real = name
    if os.path.isabs(name):
        real = _name_of(name)
    elif path is not None:
        where = tuple(os.fspath(item) for item in ([path] if isinstance(path, str) else path))
        real = _place(name, where, log)
    fresh = real not in sys.modules
    if fresh and where is None:
        _note(name, log, None)
    began = _began.setdefault(real, time.time_ns())
    try:
        module = _import(real)
    except ModuleNotFoundError as error:
        # What comes into being in the same moment, or can be passed from now on, is found at the next request.
        importlib.invalidate_caches()
        missing = error.name if type(error.name) is str else ""
        if where is None or real == name or missing.partition(".")[0] != real.partition(".")[0]:
            raise
        # By the name that was asked for.
        raise ModuleNotFoundError(f"No module named {name!r} in {list(where)}", name=name) from None
    finally:
        _began.pop(real, None)
    state = _states.get(real)
    if state is None or (fresh and state.module != id(module)):
        _states[real] = _State(module, _signature_since(module, began) if fresh else _signature(module))
    elif autoreload:
        _look(name, module, state, log)
    return module


def _import(name: str) -> Any:
    """Import a module; gives an unfinished one only where waiting for it would never end.

    By ``__import__``, not ``importlib.import_module``: that fails where threads wait in a circle. Packages come first,
    for a module's lock is held while its package is imported, which may import the module itself.
    """
    if name not in sys.modules:
        parts = name.split(".")
        if not all(parts):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        for end in range(1, len(parts)):
            __import__(".".join(parts[:end]))
    __import__(name)
    try:
        return sys.modules[name]
    except KeyError:
        raise ImportError(f"module {name!r} is not in sys.modules after its import", name=name) from None


def _name_of(file: str) -> str:
    """A name of its own for a file, so that files of one name in two directories do not clash."""
    # hashlib brings OpenSSL along, which most children never need.
    import hashlib

    name = "_mp_" + hashlib.sha256(file.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    _files[name] = file
    return name


def _spec(name: str, file: str) -> ModuleSpec:
    if os.path.isdir(file):
        package = ModuleSpec(name, None, is_package=True)
        package.submodule_search_locations = [file]
        return package
    # None: of a suffix that is not Python's.
    spec = spec_from_file_location(name, file) or spec_from_file_location(name, file, loader=_Script(name, file))
    if spec is None:
        raise ImportError(f"{file} is no Python file", path=file)
    return spec


def _find(name: str, path: _Path) -> ModuleSpec:
    """A module without a package in these directories. Raises ModuleNotFoundError."""
    spec = PathFinder.find_spec(name, path)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r} in {list(path)}", name=name)
    if spec.loader is None or spec.origin is None:
        # Of a package without a file: otherwise sys.path would say where its parts are.
        found = ModuleSpec(name, None, is_package=True)
        found.submodule_search_locations = list(spec.submodule_search_locations or ())
        return found
    return spec


def _place(name: str, path: _Path, log: bool) -> str:
    """The name in sys.modules of a module that is in these directories.

    It is its own unless a module from elsewhere has that: then others keep what they have imported.
    """
    top, dot, rest = name.partition(".")
    other = _elsewhere.get((top, path))
    if other is not None:
        return other + dot + rest
    if top not in sys.modules:
        _note(name, log, path)
        with _searching(top, path):
            began = _began.setdefault(top, time.time_ns())
            try:
                module = _import(top)
            finally:
                _began.pop(top, None)
        if not dot:
            _states[top] = _State(module, _signature_since(module, began))
    if _lies_in(sys.modules.get(top), top, path):
        return name
    spec = _find(top, path)
    file = spec.origin if spec.loader is not None else next(iter(spec.submodule_search_locations or ()), None)
    if file is None:
        raise ModuleNotFoundError(f"No module named {name!r} in {list(path)}", name=name)
    _note(name, log, path)
    other = _elsewhere[top, path] = _name_of(file)
    return other + dot + rest


@contextlib.contextmanager
def _searching(name: str, path: _Path) -> Iterator[None]:
    before = getattr(_search, "wanted", None)
    _search.wanted = (name, path)
    try:
        yield
    finally:
        _search.wanted = before


def _lies_in(module: object, name: str, path: _Path) -> bool:
    """Is a module without a package in one of these directories?"""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        directory, base = os.path.split(file)
        is_package = base.partition(".")[0] == "__init__" != name
        places = [os.path.dirname(directory) if is_package else directory]
    else:
        places = [os.path.dirname(part) for part in getattr(module, "__path__", ()) if isinstance(part, str)]
    return any(_same(place, directory) for place in places for directory in path)


def _same(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other) or os.path.realpath(one) == os.path.realpath(other)


def _look(name: str, module: Any, state: _State, log: bool) -> None:
    """Load a module again if its file has changed since the last look. Others go on with the old one meanwhile."""
    if time.monotonic() - state.checked < _INTERVAL or not state.claim.acquire(blocking=False):
        return
    try:
        if time.monotonic() - state.checked < _INTERVAL:
            return
        state.checked = time.monotonic()
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            return  # in another thread, for the first time
        signature = _signature(module)
        if signature is None or signature == state.signature:
            return
        state.signature = signature
        _note(name, log, None)
        _load_again(name, module)
    finally:
        state.claim.release()


def _load_again(name: str, module: ModuleType) -> None:
    try:
        _reloading.run_again(module)
    except BaseException as error:
        text = _tracebacks.describe(error)
        last = _tracebacks.lines(text)[-1].strip()
        _tracebacks.log(
            f"mod_python: module {name!r} has changed but cannot be loaded; the old one stays: {last}\n{text}",
            error,
        )


def _signature(module: Any) -> Optional[_Signature]:
    """What tells one state of the module's file from another; None for what is never loaded again."""
    if not issubclass(type(module), ModuleType):
        return None
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not hasattr(loader, "source_to_code"):
        return None
    if str(module.__name__).partition(".")[0] == "mod_python":
        return None
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _signature_since(module: Any, began: int) -> Optional[_Signature]:
    """The same of a module whose import began at a time; a file that has changed since is to be looked at again."""
    signature = _signature(module)
    if signature is not None and began < signature[0] <= time.time_ns():
        return _UNKNOWN
    return signature


def _note(name: str, log: bool, path: Optional[_Path]) -> None:
    if log:
        place = f" with path set to {list(path)!r}" if path is not None else ""
        _apache.log_error(f"mod_python: (Re)importing module '{name}'{place}", 5)
