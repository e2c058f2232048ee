"""The httpd of this machine: its program, its modules, and which of them are compiled in."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from typing import Optional

from mod_python import version
from mod_python._own.problems import Problem, no_httpd, no_module_of_httpd

_MODULES = (
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/lib/apache2",
    "/usr/local/apache2/modules",
    "/usr/local/libexec/apache24",
)
"""Debian and Alpine, Fedora, Arch, openSUSE, httpd's own default, FreeBSD."""
_MPMS = ("event", "worker", "prefork")


@dataclasses.dataclass(frozen=True)
class Httpd:
    """An installed httpd."""

    program: str
    """The path of its executable."""
    modules: str
    """The directory of its modules."""
    static: frozenset[str]
    """The names of the modules that are compiled in: ``so``, ``unixd``, ``event``."""

    def load(self, name: str) -> Optional[str]:
        """The file of a module, or None where it is compiled in. Raises Problem where there is none."""
        if name in self.static:
            return None
        path = self._file(name)
        if not os.path.isfile(path):
            raise no_module_of_httpd(name, self.modules)
        return path

    def has(self, name: str) -> bool:
        """Whether there is such a module."""
        return name in self.static or os.path.isfile(self._file(name))

    def _file(self, name: str) -> str:
        return os.path.join(self.modules, f"mod_{name}.so")

    @property
    def mpm(self) -> str:
        """The best MPM that there is. Raises Problem where there is none."""
        built_in = next((name for name in _MPMS if name in self.static), None)
        if built_in:
            return built_in
        for name in _MPMS:
            if self.has(f"mpm_{name}"):
                return name
        raise no_module_of_httpd("mpm_event", self.modules)


def find(program: Optional[str] = None) -> Httpd:
    """The httpd of this machine, or the one that is named. Raises Problem."""
    found = program or version.HTTPD
    if not found:
        raise no_httpd()
    path = os.path.abspath(found)
    static = frozenset(re.findall(r"^\s+(?:mod_)?(\w+)\.c$", _output(path, "-l"), re.M))
    if "so" not in static:
        raise Problem(
            f"{path} is no Apache httpd 2.4 that can load modules", "Name another one: --httpd /path/to/httpd"
        )
    return Httpd(path, _directory(path), static)


def _directory(program: str) -> str:
    # The program says where it was built to look; /dev/null in place of a configuration that may not be readable.
    settings = _output(program, "-V", "-f", "/dev/null")
    root = re.search(r'HTTPD_ROOT="([^"]*)"', settings)
    beside = os.path.join(os.path.dirname(os.path.dirname(program)), "modules")
    places = [beside, *([os.path.join(root[1], "modules")] if root else []), *_MODULES]
    for place in places:
        if os.path.isfile(os.path.join(place, "mod_authz_core.so")):
            return place
    asked = version.HTTPD_LIBEXECDIR
    if asked:
        return str(asked)
    raise Problem(f"the modules of {program} are in none of {', '.join(places)}", "Install httpd's modules.")


def _output(*command: str) -> str:
    """What a program prints, whatever its status is. Raises Problem where it cannot be run."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=30, errors="replace"
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Problem(f"{command[0]} cannot be run: {error}", "Name httpd's program: --httpd /path/to/httpd") from None
    return done.stdout


def python_module(explicit: Optional[str] = None) -> tuple[str, bool]:
    """The path of mod_python.so that belongs to this package, and whether it lies in the package (a wheel).

    Raises Problem where there is none.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    beside = os.path.dirname(package)
    within = os.path.join(package, "mod_python.so")
    named = explicit or os.environ.get("MOD_PYTHON_MODULE")
    if named:
        if not os.path.isfile(named):
            raise Problem(f"there is no module {named}", "Build it: make build")
        return os.path.abspath(named), os.path.realpath(named) == os.path.realpath(within)
    if os.path.isfile(within):
        return within, True
    checkout = os.path.join(os.path.dirname(beside), "target/release/libmod_python.so")
    staged = os.path.join(os.path.dirname(beside), "libmod_python.so")
    # `make install` puts the package into python/mod_python-VERSION/ beside the module.
    installed = os.path.join(os.path.dirname(os.path.dirname(beside)), "mod_python.so")
    for path in (installed, staged, checkout):
        if os.path.isfile(path):
            return path, False
    raise Problem(
        f"there is no mod_python.so for the package in {package}",
        "In a checkout: make build. Else install it: pip install mod_python-….whl",
    )
