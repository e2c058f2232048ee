"""Loading modules: sys.path by configuration, imports, and reloading what has changed."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from importlib.abc import Loader

_INTERVAL = 1.0
"""Seconds between two looks at a module's file."""

_lock = threading.RLock()
"""Guards sys.path and the look at files; never held while a module is imported for the first time."""

_path_lock = threading.RLock()
"""Held while a module is searched for, and imported, in given directories only."""

_initial = list(sys.path)
_evaluated: dict[str, list[str]] = {}
_gathered: list[str] = []
"""Every entry that a PythonPath or a section's directory has asked for."""

_Signature = tuple[int, int, int]


class _State:
    """What is known of a module's file."""

    def __init__(self, signature: Optional[_Signature]) -> None:
        self.signature = signature
        self.checked = time.monotonic()


_states: dict[str, _State] = {}


def use_expression(expression: str, names: dict[str, Any]) -> None:
    """Make a PythonPath effective. Each expression is evaluated once an interpreter.

    What other expressions have asked for stays behind its own entries, so that two areas with
    different paths in one interpreter both find their modules.

    Raises what evaluating raises, and TypeError for a result that is no list of str.
    """
    with _lock:
        entries = _evaluated.get(expression)
        if entries is None:
            try:
                result = eval(expression, dict(names))
            except Exception as error:
                message = f"PythonPath {expression!r} cannot be evaluated: {error}"
                raise type(error)(message) if _is_plain(error) else ValueError(message) from error
            if not isinstance(result, (list, tuple)) or not all(isinstance(item, str) for item in result):
                raise TypeError(f"PythonPath {expression!r} must be a list of str, like \"sys.path+['/srv/app']\"")
            entries = _evaluated[expression] = list(dict.fromkeys(result))
            _gathered.extend(item for item in entries if item not in _gathered and item not in _initial)
        sys.path[:] = entries + [item for item in _gathered if item not in entries]
        importlib.invalidate_caches()


def use_directory(directory: str) -> None:
    """Put the directory that a handler stands in first in sys.path, once."""
    with _lock:
        if not any(_same(item, directory) for item in sys.path):
            sys.path.insert(0, directory)
            _gathered.append(directory)
            importlib.invalidate_caches()


def import_module(
    name: str,
    autoreload: bool,
    log: bool,
    path: Optional[list[str]],
) -> ModuleType:
    """See ``apache.import_module``."""
    if not name:
        raise ValueError("Empty module name")
    known = name in _states
    if os.path.isabs(name):
        module = _import_file(name, log)
    elif path is not None:
        module = _import_from(name, log, path)
    else:
        if not known:
            _note(name, log, None)
        # Waits for another thread that is in the middle of importing it.
        module = importlib.import_module(name)
    if known and autoreload:
        _refresh(name, module, log)
    else:
        with _lock:
            _states.setdefault(name, _State(_signature(module)))
    return module


def _import_file(file: str, log: bool) -> ModuleType:
    """Import a file under a name of its own, so that files of one name in two directories do not clash."""
    # hashlib brings OpenSSL along, which most children never need.
    import hashlib

    name = "_mp_" + hashlib.sha256(file.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    with _path_lock:
        module = sys.modules.get(name)
        if module is not None:
            return module
        _note(file, log, None)
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no Python file", path=file)
        module = importlib.util.module_from_spec(spec)
        _execute(name, module, spec.loader)
        return module


def _execute(name: str, module: ModuleType, loader: Loader) -> None:
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise


def _import_from(name: str, log: bool, path: list[str]) -> ModuleType:
    """Import with the search confined to some directories."""
    with _path_lock:
        module = sys.modules.get(name)
        if module is not None and _is_within(module, path):
            return module
        _note(name, log, path)
        with _lock:
            _states.pop(name, None)
        if "." in name:
            module = importlib.import_module(name)
            if not _is_within(module, path):
                raise ImportError(f"module {name} is not in {path}", name=name)
            return module
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r} in {path}", name=name)
        module = importlib.util.module_from_spec(spec)
        _execute(name, module, spec.loader)
        return module


def _refresh(name: str, module: ModuleType, log: bool) -> None:
    """Load a module again if its file has changed since the last look."""
    with _lock:
        state = _states.get(name)
        if state is None:
            _states[name] = _State(_signature(module))
            return
        now = time.monotonic()
        if now - state.checked < _INTERVAL:
            return
        state.checked = now
        signature = _signature(module)
        if signature is None or signature == state.signature:
            return
        state.signature = signature
        _note(name, log, None)
        _reload(name, module)


def _reload(name: str, module: ModuleType) -> None:
    """Run the module's new source in the module; undo it when that fails.

    The source is compiled, never read from bytecode: two changes within the file system's
    granularity of time would look the same there.
    """
    spec = module.__spec__
    loader: Any = spec.loader if spec else None
    file = module.__file__ or ""
    before = dict(module.__dict__)
    try:
        code = loader.source_to_code(loader.get_data(file), file)
        exec(code, module.__dict__)
    except BaseException:
        module.__dict__.clear()
        module.__dict__.update(before)
        import traceback

        import _apache

        text = traceback.format_exc().rstrip()
        _apache.log_error(f"mod_python: module {name!r} has changed but cannot be loaded; the old one stays: {text}")


def _signature(module: ModuleType) -> Optional[_Signature]:
    """What tells one state of the module's file from another; None for what is never loaded again."""
    spec = getattr(module, "__spec__", None)
    loader = getattr(spec, "loader", None)
    file = getattr(module, "__file__", None)
    if not file or not hasattr(loader, "source_to_code") or module.__name__.partition(".")[0] == "mod_python":
        return None
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _note(name: str, log: bool, path: Optional[list[str]]) -> None:
    if log:
        import _apache

        place = f" with path set to {path!r}" if path is not None else ""
        _apache.log_error(f"mod_python: (Re)importing module '{name}'{place}", 5)


def _is_within(module: ModuleType, path: Optional[list[str]]) -> bool:
    if path is None:
        return True
    file = getattr(module, "__file__", None)
    return file is not None and any(_same(os.path.dirname(file), directory) for directory in path)


def _same(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)


def _is_plain(error: Exception) -> bool:
    """Can an exception of this class be made from a text alone?"""
    return type(error) in (NameError, TypeError, ValueError, SyntaxError, AttributeError)
