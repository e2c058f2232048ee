"""Inside httpd: goes to the application's directory, imports the applications when a child starts, so that a mistake shows then, has
those of ASGI start up, and tells which files they are made of.

It imports as little as it can: files of the application are found first, and may be called like modules of the library.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import _apache

from mod_python import _modules, apache
from mod_python._own.preload_names import DIRECTORY, LIFESPAN, LOOP, NEW, OPTION, REPORTS

_INTERVAL = 1.0
"""Seconds between two looks at what has been imported: Python tells nobody of an import. Until the child ends, whose thread it is."""
_PATIENCE = 20.0
"""Seconds that a child waits for the start-up of ASGI applications: less than the command waits for the child."""


def run() -> None:
    """PythonImport's function. Raises what the first application that cannot be imported raises."""
    options = apache.main_server.get_options()
    # httpd's parent is in / once it has left the terminal, and where it was started before.
    os.chdir(str(options[DIRECTORY]).encode("ascii").decode("unicode_escape"))
    given = {key.lower(): value or "" for key, value in options.items()}
    try:
        count = 0
        while f"{OPTION}{count}" in options:
            kind, _, text = options[f"{OPTION}{count}"].partition(" ")
            module, _, name = text.rpartition("::")
            found = _load(module, name.removesuffix("()"), name.endswith("()"))
            if kind == "asgi":
                _start_up(found, f"{module}::{name.removesuffix('()')}", given)
            count += 1
    finally:
        if REPORTS in options:
            _Report(options[REPORTS])


def _load(module: str, name: str, is_factory: bool) -> Any:
    found = _modules.import_module(module, False, False, None)
    first, _, rest = name.partition(".")
    if not first:
        return None
    start = getattr(found, first)
    if is_factory:
        from mod_python import _factories

        return _factories.made(f"{module}::{name}", start, rest)
    for part in rest.split(".") if rest else ():
        start = getattr(start, part)
    return start


def _start_up(application: Any, name: str, options: Mapping[str, str]) -> None:
    """Have an ASGI application start up now, not at its first request. What keeps it from that is logged by the loop."""
    told = threading.Event()
    mode, loop = options.get(LIFESPAN) or "auto", options.get(LOOP) or "auto"
    if mode != "off":
        _apache._asgi_start(application, name, mode, loop, lambda failure: told.set())
        told.wait(_PATIENCE)


class _Report:
    """Writes which files have been imported, and what they were like then; goes on with what is imported later."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, str(os.getpid()))
        self._count = 0
        self._found: dict[str, tuple[int, int]] = {}
        self._write()
        threading.Thread(target=self._go_on, name="mod_python-files", daemon=True).start()

    def _go_on(self) -> None:
        while True:
            time.sleep(_INTERVAL)
            self._write()

    def _write(self) -> None:
        modules = dict(sys.modules)
        if len(modules) == self._count:
            return
        self._count = len(modules)
        for module in modules.values():
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file not in self._found and file.endswith((".py", ".wsgi")):
                with contextlib.suppress(OSError):
                    found = os.stat(file)
                    self._found[file] = (found.st_mtime_ns, found.st_size)
        # Where it cannot be written, the server is being removed.
        with contextlib.suppress(OSError):
            with open(self._path + NEW, "w", encoding="utf-8", errors="surrogateescape") as output:
                output.writelines(f"{mtime} {size} {path}\n" for path, (mtime, size) in self._found.items())
            os.replace(self._path + NEW, self._path)
