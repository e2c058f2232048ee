"""Applications that a factory makes (``PythonWSGI / package.module:create_app()``): once an interpreter, and again when its module
has been changed."""

from __future__ import annotations

import threading
from typing import Any, Callable

from mod_python import _tracebacks

_made: dict[str, tuple[Callable[[], Any], Any]] = {}
_locks: dict[str, threading.RLock] = {}


def made(name: str, factory: Callable[[], Any]) -> Any:
    """What ``factory`` has given, or gives now. Requests that come meanwhile wait; one that fails is tried again."""
    found = _made.get(name)
    if found is None or found[0] is not factory:
        with _locks.setdefault(name, threading.RLock()):
            found = _made.get(name)
            if found is None or found[0] is not factory:
                try:
                    found = _made[name] = (factory, factory())
                except Exception as error:
                    _tracebacks.place(error, name)
                    raise
    return found[1]
