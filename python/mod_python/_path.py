"""sys.path by configuration, and what is wrong with its entries when an import fails."""

from __future__ import annotations

import contextlib
import importlib
import os
import stat
import sys
import threading
from typing import Any, Optional

import _apache

_WARNING = 4
"""APLOG_WARNING."""

_HINTS = 8
"""So many entries of sys.path are explained at most."""

_lock = threading.RLock()
"""Held while sys.path is put together from texts of ours; nothing foreign runs meanwhile."""

_initial = [item for item in sys.path if type(item) is str]
_evaluated: dict[str, list[str]] = {}
_gathered: list[str] = []
"""Every entry that a PythonPath or a section's directory has asked for."""

_NEEDED = ("ast", "contextlib", "hashlib", "linecache", "textwrap", "tokenize", "traceback", "unicodedata")
"""What showing an exception, or importing a file, loads at first use."""


def use_expression(expression: str, names: dict[str, Any]) -> None:
    """Make a PythonPath effective. Each expression is evaluated once an interpreter; threads that need it at the same
    moment may each evaluate it, and the first result counts.

    What other expressions have asked for stays behind its own entries, so that two areas with
    different paths in one interpreter both find their modules.

    Raises what evaluating raises, and TypeError for a result that is no list of str.
    """
    entries = _evaluated.get(expression)
    if entries is None:
        found = _evaluate(expression, names)
        entries = _evaluated.setdefault(expression, found)
        if entries is found:
            _check(expression, found)
    _look_again()
    with _lock:
        _gathered.extend(item for item in entries if item not in _gathered and item not in _initial)
        # What is replaced goes after the lock: an entry may be an object of the application's.
        before = _assign(entries + [item for item in _gathered if item not in entries])
    del before


def use_directory(directory: str) -> None:
    """Put the directory that a handler stands in first in sys.path, once."""
    if any(_same(item, directory) for item in _texts()):
        return
    _look_again()
    with _lock:
        if directory not in _gathered:
            _gathered.append(directory)
        if isinstance(sys.path, list):
            list.insert(sys.path, 0, directory)
        else:
            sys.path = [directory, *_initial]


def _look_again() -> None:
    """Have directories read anew at the next import. Before sys.path changes, not after it: from Python 3.13 on, importlib imports
    much of the standard library for this (importlib.metadata, which needs email, inspect and json), and it must find that, not
    files of the application's that are called like it; nor may it find nothing, where a PythonPath leaves the library out.
    """
    importlib.invalidate_caches()


def _evaluate(expression: str, names: dict[str, Any]) -> list[str]:
    before = _texts()
    try:
        result = eval(expression, dict(names))
    except Exception as error:
        message = f"PythonPath {expression!r} cannot be evaluated: {error}"
        raise type(error)(message) if _is_plain(error) else ValueError(message) from error
    if not isinstance(result, (list, tuple)) or not all(isinstance(item, str) for item in result):
        raise TypeError(f"PythonPath {expression!r} must be a list of str, like \"sys.path+['/srv/app']\"")
    found = [str.__str__(item) for item in result]
    if "sys.path" in expression:
        # Another area's expression may have left out what this one counts on.
        found += [item for item in _initial if item not in before]
    return list(dict.fromkeys(found))


def _check(expression: str, entries: list[str]) -> None:
    """Say so, while it still can be said, when an expression leaves the standard library out."""
    if not _left_out(entries):
        return
    for name in _NEEDED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _apache.log_error(
        f"mod_python: PythonPath {expression!r} leaves Python's standard library out of sys.path; {_remedy(entries)}",
        _WARNING,
    )


def _remedy(entries: list[str]) -> str:
    """What to write instead."""
    own = [item for item in entries if item not in _initial]
    return f'write PythonPath "sys.path+{own}"'


def _left_out(entries: list[str]) -> list[str]:
    """The directories of the standard library that are not among these."""
    library = os.path.dirname(getattr(os, "__file__", None) or "/")
    wanted = [item for item in _initial if _same(item, library) or os.path.basename(item) == "lib-dynload"]
    return [item for item in wanted if not any(_same(item, entry) for entry in entries)]


def _texts() -> list[str]:
    """sys.path without what importing passes over."""
    path = sys.path
    return [item for item in (list.copy(path) if isinstance(path, list) else list(path)) if type(item) is str]


def _assign(entries: list[str]) -> object:
    """Change sys.path in place; gives what was in it."""
    path = sys.path
    if not isinstance(path, list):
        sys.path = entries
        return path
    before = list.copy(path)
    list.__setitem__(path, slice(None), entries)
    return before


def _same(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)


def _is_plain(error: Exception) -> bool:
    """Can an exception of this class be made from a text alone?"""
    return type(error) in (NameError, TypeError, ValueError, SyntaxError, AttributeError)


def explain(error: BaseException) -> list[str]:
    """What the configuration or the file system has to do with a failed import; a line each."""
    if isinstance(error, ModuleNotFoundError) and type(error.name) is str:
        return _explain_missing(error.name)
    if isinstance(error, PermissionError) and type(error.filename) is str and _is_importing(error):
        obstacle = _obstacle(error.filename)
        return [f"{error.filename} cannot be loaded: {obstacle}"] if obstacle else []
    return []


def _explain_missing(name: str) -> list[str]:
    hints = []
    entries = _texts()
    if _left_out(entries):
        shown = [text for text, found in list(_evaluated.items()) if _left_out(found)]
        culprit = f"PythonPath {shown[0]!r}" if shown else "sys.path"
        remedy = _remedy(_evaluated[shown[0]] if shown else entries)
        hints.append(f"{culprit} leaves Python's standard library out of sys.path; {remedy}")
    for entry in list(_gathered):
        obstacle = _obstacle(entry)
        if obstacle is not None:
            hints.append(f"{entry!r}, which PythonPath or a section puts into sys.path, does not help: {obstacle}")
            continue
        for place in _places(entry, name):
            obstacle = _obstacle(place)
            if obstacle is not None:
                hints.append(f"{place} does not help: {obstacle}")
                break
    return hints[:_HINTS]


def _places(entry: str, name: str) -> list[str]:
    """The packages' directories, and the file, that stand for a module in an entry."""
    found = []
    place = entry
    for part in name.split("."):
        place = os.path.join(place, part)
        found += [item for item in (place, place + ".py", os.path.join(place, "__init__.py")) if os.path.lexists(item)]
    return found


def _is_importing(error: BaseException) -> bool:
    """Has importlib itself raised it?"""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step is not None and step.tb_frame.f_code.co_filename.startswith("<frozen importlib")


def _obstacle(path: str) -> Optional[str]:
    """Why this process cannot read a file or search a directory, and what to do; None if it can."""
    if "\0" in path:
        return "there is a NUL in it"
    parent = place = "/"
    status = os.stat(parent)
    for part in os.path.realpath(path).split("/"):
        place = os.path.join(parent, part)
        try:
            below = os.stat(place)
        except PermissionError:
            return f"{_user()} cannot pass {_shown(parent, status)}; chmod o+x {parent}"
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be used: {error.strerror}"
            return f"{place} {reason}"
        parent, status = place, below
    if stat.S_ISDIR(status.st_mode):
        wanted, letters = os.R_OK | os.X_OK, "rx"
    else:
        wanted, letters = os.R_OK, "r"
    if os.access(place, wanted):
        return None
    return f"{_user()} cannot read {_shown(place, status)}; chmod o+{letters} {place}"


def _shown(place: str, status: os.stat_result) -> str:
    return f"{place} ({stat.filemode(status.st_mode)}, owner {_name(status.st_uid)})"


def _user() -> str:
    return f"httpd's user {_name(os.geteuid())}"


def _name(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)
