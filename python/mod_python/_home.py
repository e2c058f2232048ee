"""A virtual host's PythonHome: what one interpreter of a process sees of another virtual environment than the process's."""

from __future__ import annotations

import os
import site
import sys
from typing import Optional


def enter(home: str, executable: Optional[str]) -> None:
    """Have this interpreter see the packages of ``home`` instead of those that the process started with.

    The standard library stays the process's. The directories of packages come behind that of mod_python itself, before
    everything else, and with what their .pth files name, as ``site`` does it. Called once, before anything is imported from there.
    """
    own, *others = sys.path
    library = _library()
    kept = [path for path in others if path in library]
    # What .pth files import may need the library.
    sys.path[:] = kept
    sys.prefix = sys.exec_prefix = home
    site.PREFIXES[:] = [home]
    if executable is not None:
        sys.executable = executable
    _add(home)
    if _sees_the_system(home):
        site.PREFIXES.append(sys.base_prefix)
        _add(sys.base_prefix)
    sys.path[:] = [own, *(path for path in sys.path if path not in kept), *kept]


def _add(prefix: str) -> None:
    for directory in site.getsitepackages([prefix]):
        if os.path.isdir(directory):
            site.addsitedir(directory)


def _library() -> set[str]:
    """Where modules are that belong to Python itself, or that the operator has named in the process's environment."""
    library = os.path.dirname(os.__file__)
    parent = os.path.dirname(library)
    archive = os.path.join(parent, f"python{sys.version_info[0]}{sys.version_info[1]}.zip")
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {library, os.path.join(library, "lib-dynload"), archive, *named} - {""}


def _sees_the_system(home: str) -> bool:
    """What pyvenv.cfg says of the packages of the Python that the environment was made with (PEP 405)."""
    try:
        with open(os.path.join(home, "pyvenv.cfg"), encoding="utf-8") as file:
            pairs = [line.partition("=") for line in file]
    except OSError:
        return False
    values = {key.strip().lower(): value.strip().lower() for key, _, value in pairs}
    return values.get("include-system-site-packages") == "true"
