"""The installed httpd: what it is, what it says of a configuration, and what surrounds that."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

from mod_python import version
from mod_python._doctor import files
from mod_python._doctor.configuration import Surroundings
from mod_python._doctor.findings import Finding
from mod_python._doctor.lines import quoted

LIMIT = 60
"""Seconds that httpd has for an answer."""
_ENVVARS = "envvars"


@dataclass
class Httpd:
    """An httpd's program, and what it says of itself. Without a program everything is a guess."""

    program: str = ""
    version: str = "2.4.0"
    root: str = "/etc/apache2"
    config: str = "/etc/apache2/apache2.conf"
    built_in: tuple[str, ...] = ("core_module", "so_module", "http_module")
    environment: dict[str, str] = field(default_factory=dict)

    def surroundings(self, server_root: Optional[str], defines: list[str]) -> Surroundings:
        """What a configuration is read with."""
        return Surroundings(
            server_root or self.root, self.version, self.built_in, dict.fromkeys(defines, ""), self.environment
        )

    def test(
        self, config: str, server_root: Optional[str], defines: list[str], part: Optional[str] = None
    ) -> Optional[tuple[bool, str]]:
        """`httpd -t`: is the configuration taken, and what is said of it? None where httpd cannot be asked. ``part`` is read after it."""
        if not self.program:
            return None
        command = [self.program, "-t", "-f", config, *(f"-D{name}" for name in defines)]
        command += ["-d", server_root] if server_root else []
        command += ["-c", f"Include {quoted(part)}"] if part else []
        environment = {**os.environ, **self.environment}
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False, env=environment
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.returncode == 0, done.stderr.decode(errors="replace")[:1_000_000]


def installed(program: str = "") -> Httpd:
    """The httpd of this machine."""
    program = program or version.HTTPD
    return dataclasses.replace(_installed(program), environment={}) if program else Httpd()


@functools.lru_cache(maxsize=8)
def _installed(program: str) -> Httpd:
    said = _said(program, "-V")
    facts = dict(re.findall(r'-D (\w+)="(.*)"', said))
    found = re.search(r"Apache/(\d[\d.]*)", said)
    root = facts.get("HTTPD_ROOT", "/etc/apache2")
    listed = [_module(line.strip()) for line in _said(program, "-l").splitlines() if line.strip().endswith(".c")]
    return Httpd(
        program,
        found[1] if found else "2.4.0",
        root,
        os.path.join(root, facts.get("SERVER_CONFIG_FILE", "apache2.conf")),
        tuple(listed) or Httpd.built_in,
    )


def environment_of(config: str) -> dict[str, str]:
    """What Debian's `envvars` beside a configuration exports. As apachectl does it, a shell reads the file, unless it could be another
    one's than root's or one's own: then its plain lines alone are taken."""
    path = os.path.join(os.path.dirname(os.path.abspath(config)), _ENVVARS)
    try:
        text = files.text(path, 1 << 20)
    except files.Unreadable:
        return {}
    if files.is_others(path):
        return dict(re.findall(r"^[ \t]*export[ \t]+(\w+)=([\w./-]+)[ \t\r]*$", text, re.M))
    script = '. "$1" >/dev/null 2>&1 </dev/null; env -0'
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (item.partition("=") for item in done.stdout.decode("utf-8", "surrogateescape").split("\0"))
    return {name: value for name, _, value in pairs if name.startswith("APACHE_") or name == "LANG"}


def _said(*command: str) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _module(source: str) -> str:
    return re.sub(r"^(?:mod_)?(.*)\.c$", r"\1_module", source)


@dataclass(frozen=True)
class Module:
    """What a mod_python.so says of itself without being loaded."""

    path: str
    version: str
    """This module's; empty where it is another one."""
    python: str
    """`3.11`; empty if it cannot be told."""
    threading: str
    """`t` for a free-threaded Python (PEP 703), else empty."""
    package: str
    """The directory that holds its Python package; empty if it is not there."""
    package_version: str
    sources: str
    """The directory below which the package's modules lie: a wheel's package is a door to that."""


def module(path: str) -> Optional[Module]:
    """Look into a mod_python.so. None if it cannot be read."""
    try:
        data = files.read(path, 1 << 28)
    except files.Unreadable:
        return None
    # What came before the fourth version is another module of the same name.
    own = re.search(rb"mod_python/((?:[4-9]|[1-9]\d)\.\d+\.\d+)", data)
    library = re.search(rb"libpython(3\.\d+)(t?)d?\.", data)
    number = own[1].decode() if own else ""
    beside = os.path.dirname(os.path.realpath(path))
    places = [os.path.join(beside, "python", f"mod_python-{number}"), os.path.join(beside, "python")]
    project, target = os.path.split(os.path.dirname(beside))
    if target == "target" and os.fsencode(project) in data:
        places.append(os.path.join(project, "python"))
    package = next((place for place in places if os.path.isfile(os.path.join(place, "mod_python/__init__.py"))), "")
    python, threading = (library[1].decode(), library[2].decode()) if library else ("", "")
    # A wheel has the module in the package, and beside it a door to that under the usual name.
    is_inside = os.path.isfile(os.path.join(beside, "__init__.py"))
    known = os.path.join(beside, "version.py") if is_inside else os.path.join(package, "mod_python/version.py")
    sources = os.path.dirname(beside) if is_inside else package
    return Module(path, number, python, threading, package, _version_of(known) if package else "", sources)


def check(path: str, found: Optional[Module], named_by: str, where: tuple[str, int]) -> Iterator[Finding]:
    """Is it this project's mod_python.so, and has it its package, of its version? ``where`` is the line that names it."""
    if found is None:
        yield Finding("MP0002", f"{named_by} names {path}, which is not there, or cannot be read", *where)
    elif not found.version:
        yield Finding(
            "MP0019", f"{path} is not this project's mod_python.so: another mod_python, such as Debian's 3", *where
        )
    elif not found.package:
        yield Finding("MP0027", f"{path} is version {found.version}, and its package is not beside it", *where)
    elif found.package_version != found.version:
        text = f"{path} is version {found.version}, its package in {found.package} is {found.package_version}"
        yield Finding("MP0027", text, *where)


def _version_of(path: str) -> str:
    """What a version.py says."""
    try:
        text = files.text(path, 1 << 20)
    except files.Unreadable:
        return ""
    found = re.search(r'^version = ["\']([^"\']+)', text, re.M)
    return found[1] if found else ""
