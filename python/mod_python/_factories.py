"""Applications that a factory makes (``PythonWSGI / package.module:create_app()``): once an interpreter, and again when its module
has been changed."""

from __future__ import annotations

import inspect
import threading
from types import FunctionType, ModuleType
from typing import Any

from mod_python import _tracebacks

_made: dict[str, tuple[Any, Any]] = {}
_locks: dict[str, threading.RLock] = {}


def made(name: str, first: Any, rest: str) -> Any:
    """What the factory ``name`` has given, or gives now. Requests that come meanwhile wait; one that fails is tried again.

    Args:
        name: the factory's, ``module::first.rest``.
        first: what the module has now by the first part of the name. Compared by identity: what is found on the way from
            there, such as a method, may be another object each time.
        rest: the other parts, with dots between, or nothing.
    """
    parts = rest.split(".") if rest else []
    while parts and isinstance(first, ModuleType):
        first = _attribute(name, first, parts.pop(0))
    found = _made.get(name)
    if found is None or found[0] is not first:
        with _locks.setdefault(name, threading.RLock()):
            found = _made.get(name)
            if found is None or found[0] is not first:
                factory = first
                for part in parts:
                    factory = _attribute(name, factory, part)
                try:
                    found = _made[name] = (first, factory())
                except Exception as error:
                    _tracebacks.place(error, name)
                    raise
    return found[1]


def _attribute(name: str, owner: Any, part: str) -> Any:
    if isinstance(owner, type) and isinstance(inspect.getattr_static(owner, part, None), FunctionType):
        raise TypeError(
            f"{name}: {part} is a method of the instances of class {owner.__name__}, and there is none; make it a"
            f" classmethod or staticmethod, or name a function that makes the application"
        )
    try:
        return getattr(owner, part)
    except AttributeError as error:
        raise AttributeError(f"{name}: {error}") from None
