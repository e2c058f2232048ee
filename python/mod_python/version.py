"""The package's version, and where httpd and Python are; the module compares the version when an interpreter starts."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any, Callable

version = "4.0.0"

_UNKNOWN = ""


@functools.lru_cache(None)
def _apxs(name: str) -> str:
    # Imported when they are needed: every child of httpd has this module.
    import subprocess

    try:
        asked = subprocess.run(["apxs", "-q", name], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return _UNKNOWN
    return asked.stdout.strip()


def _httpd() -> str:
    import shutil

    places = ("/usr/sbin", "/usr/local/sbin", "/usr/local/apache2/bin")
    names = ["apache2", "httpd", *(f"{place}/{name}" for place in places for name in ("apache2", "httpd"))]
    found = [shutil.which(name) for name in names]
    return next((path for path in found if path), _UNKNOWN)


def _output(*command: str) -> str:
    import subprocess

    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return _UNKNOWN


def _httpd_version() -> str:
    words = _output(_httpd(), "-v").replace("/", " ").split()
    return words[words.index("Apache") + 1] if "Apache" in words else _UNKNOWN


def _libexec() -> str:
    # Beside mod_python.so, where `make install` puts the package.
    beside = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return beside if os.path.exists(os.path.join(beside, "mod_python.so")) else _apxs("LIBEXECDIR")


_FACTS: dict[str, Callable[[], str]] = {
    "HTTPD": _httpd,
    "HTTPD_VERSION": _httpd_version,
    "APR_VERSION": lambda: _output("apr-1-config", "--version"),
    "LIBEXECDIR": _libexec,
    "HTTPD_LIBEXECDIR": lambda: _apxs("LIBEXECDIR"),
    "SYSCONFDIR": lambda: _apxs("SYSCONFDIR"),
    "PYTHON_BIN": lambda: sys.executable or "/usr/bin/python3",
}


def __getattr__(name: str) -> Any:
    """HTTPD, HTTPD_VERSION, APR_VERSION, LIBEXECDIR, HTTPD_LIBEXECDIR (of httpd itself), SYSCONFDIR, PYTHON_BIN: asked when they are needed; "" if unknown."""
    if name in _FACTS:
        return _FACTS[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
