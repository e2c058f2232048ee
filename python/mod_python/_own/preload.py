"""Inside httpd: imports the applications when a child starts, so that a mistake shows then, and tells which files they are made of."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from mod_python import _factories, _modules, apache
from mod_python._own.preload_names import OPTION, REPORTS

_INTERVAL = 1.0


def run() -> None:
    """PythonImport's function. Raises what the first application that cannot be imported raises."""
    options = apache.main_server.get_options()
    reports = options.get(REPORTS)
    if reports:
        threading.Thread(target=_report, args=(reports,), name="mod_python-files", daemon=True).start()
    for module, name, is_factory in json.loads(options.get(OPTION, "[]")):
        found = _modules.import_module(module, False, False, None)
        first, _, rest = name.partition(".")
        if not first:
            continue
        start = getattr(found, first)
        if is_factory:
            _factories.made(f"{module}::{name}", start, rest)
            continue
        for part in rest.split(".") if rest else ():
            start = getattr(start, part)


def _report(directory: str) -> None:
    count = -1
    while True:
        modules = dict(sys.modules)
        if len(modules) != count:
            count = len(modules)
            files = {getattr(module, "__file__", None) for module in modules.values()}
            _write(
                directory, sorted(file for file in files if isinstance(file, str) and file.endswith((".py", ".wsgi")))
            )
        time.sleep(_INTERVAL)


def _write(directory: str, files: list[str]) -> None:
    path = os.path.join(directory, str(os.getpid()))
    try:
        with open(f"{path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n".join(files))
        os.replace(f"{path}.new", path)
    except OSError:
        # The server is being removed.
        return
