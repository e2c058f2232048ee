"""WSGIDaemonProcess, option by option: what of PythonDaemon stands for it, and what has no counterpart."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from mod_python._doctor.lines import quoted
from mod_python._migrate.source import Entry, Source

LONGEST = 32
"""Letters of a daemon's name."""


class Option(NamedTuple):
    """What becomes of an option."""

    key: str
    """PythonDaemon's; empty where there is none."""
    what: str = ""
    """What is to be said where there is none, or where it is not quite the same."""
    is_needed: bool = True
    """Does somebody who has set it have to do something?"""


_NO_PROTOCOL = "mod_proxy speaks HTTP with a daemon, over a UNIX socket"

OPTIONS: dict[str, Option] = {
    "user": Option("user"),
    "group": Option("group"),
    "processes": Option("processes"),
    "threads": Option("threads"),
    "umask": Option("umask"),
    "home": Option("working-directory"),
    "python-home": Option("python-home"),
    "python-path": Option("python-path", ".pth files there are not read"),
    "lang": Option("environment", "as LANG"),
    "locale": Option("environment", "as LC_ALL"),
    "maximum-requests": Option("max-requests"),
    "inactivity-timeout": Option("idle-timeout", "the whole daemon ends, and starts again with the next request"),
    "request-timeout": Option("request-timeout", "the request that takes too long ends, its process goes on"),
    "memory-limit": Option("memory-limit", "of the resident memory of a process, which is replaced"),
    "display-name": Option("display-name"),
    "supplementary-groups": Option("", "groups are those that the user has in the system's database"),
    "chroot": Option("", "systemd's RootDirectory= of httpd's unit is for the front and its daemons together"),
    "script-user": Option("", "who owns the file is not looked at: keep others from writing it"),
    "script-group": Option("", "who owns the file is not looked at: keep others from writing it"),
    "virtual-memory-limit": Option("", "memory-limit= is of resident memory; systemd's LimitAS= is for all of httpd"),
    "cpu-time-limit": Option("", "systemd's LimitCPU= is for all of httpd"),
    "cpu-priority": Option("", "os.nice() in the application sets its process's"),
    "restart-interval": Option(
        "", "`mod_python reload NAME` in a timer of the daemon's user does it, and loses no request"
    ),
    "switch-interval": Option("", "sys.setswitchinterval() in the application sets it"),
    "stack-size": Option("", "threads have the system's default"),
    "python-eggs": Option("", "eggs are not unpacked", False),
    "deadlock-timeout": Option(
        "", "request-timeout= ends what is stuck, and a process whose interpreter does not come back", True
    ),
    "interrupt-timeout": Option("", "a request that has passed its request-timeout= is interrupted at once", False),
    "startup-timeout": Option("", "who waits while a daemon starts waits in its socket's queue", False),
    "graceful-timeout": Option(
        "", "requests in flight end before an old process does, up to Timeout or request-timeout=", False
    ),
    "eviction-timeout": Option("", "as graceful-timeout", False),
    "shutdown-timeout": Option("", "as graceful-timeout", False),
    "connect-timeout": Option("", _NO_PROTOCOL, False),
    "socket-timeout": Option("", "ProxyTimeout, or Timeout, is for that", False),
    "response-socket-timeout": Option("", "Timeout is for slow clients", False),
    "queue-timeout": Option("", "ProxyTimeout, or Timeout, is for that", False),
    "listen-backlog": Option("", "the queue is as long as the system lets it be (net.core.somaxconn)", False),
    "socket-user": Option("", "the socket is httpd's user's alone", False),
    "send-buffer-size": Option("", _NO_PROTOCOL, False),
    "receive-buffer-size": Option("", _NO_PROTOCOL, False),
    "header-buffer-size": Option("", _NO_PROTOCOL, False),
    "response-buffer-size": Option("", _NO_PROTOCOL, False),
    "response-flush-delay": Option("", _NO_PROTOCOL, False),
    "server-metrics": Option("", "mod_python.status has the numbers", False),
}
"""Every option of WSGIDaemonProcess; docs/moving.md has each, which a test compares."""

PARAMETER = re.compile(r"\$\w", re.ASCII)
"""A Macro's, which Use gives."""
_VARIABLE = re.compile(r"\$\{\w+\}|\$\w+", re.ASCII)
_VARIABLES = {"lang": "LANG", "locale": "LC_ALL"}
_SETS = ("setenv", "passenv", "setenvif", "setenvifnocase", "setenvifexpr", "browsermatch", "browsermatchnocase")


def _is_umask(value: str) -> bool:
    return re.fullmatch(r"[0-7]+", value, re.ASCII) is not None and int(value, 8) <= 0o077


_TAKEN: dict[str, tuple[str, Callable[[str], bool]]] = {
    "home": ("an absolute path", os.path.isabs),
    "python-home": ("an absolute path", os.path.isabs),
    "umask": ("an octal number from 0 to 077", _is_umask),
}
"""What PythonDaemon takes for options of which mod_wsgi takes more (KEYS in src/config/daemons.rs)."""


@dataclass(eq=False)
class Daemon:
    """A WSGIDaemonProcess."""

    source: Source
    entry: Entry
    name: str
    options: dict[str, str]
    new_name: str = ""
    scripts: list[str] = field(default_factory=list)
    """Files whose change has it read its application anew."""
    variables: list[str] = field(default_factory=list)
    """What is set for its requests."""

    def line(self, home: str) -> str:
        """PythonDaemon for it. `home` is the environment of all of mod_wsgi's."""
        words = [self.new_name]
        refused = dict(self.refused())
        for name, value in self.options.items():
            option = None if name in refused else OPTIONS.get(name)
            new = self._value(name, value) if option is not None and option.key else ""
            if option is not None and new:
                words.append(_word(option.key, new))
        if home and "python-home" not in self.options:
            words.append(_word("python-home", home))
        words += [_word("reload", script) for script in dict.fromkeys(self.scripts)]
        if self.variables:
            words.append(_word("pass-environment", ",".join(dict.fromkeys(self.variables))))
        return " ".join(["PythonDaemon", *words])

    def refused(self) -> Iterable[tuple[str, str]]:
        """The options with a value that PythonDaemon does not take, and what it takes."""
        for name, value in self.options.items():
            kind, is_taken = _TAKEN.get(name, ("", None))
            if is_taken is not None and not _VARIABLE.match(value) and not is_taken(value):
                yield name, kind

    def older(self) -> list[str]:
        """Entries of python-path= with packages that are Python 2's."""
        return [path for path in self.options.get("python-path", "").split(":") if is_of_python2(path)]

    def relative(self) -> list[str]:
        """Entries of python-path= that nobody knows the place of; mod_wsgi looks for them from home=."""
        entries = [path for path in self.options.get("python-path", "").split(":") if path]
        return [path for path in entries if not self._place(path) and not is_of_python2(path)]

    def _place(self, path: str) -> str:
        if is_of_python2(path):
            return ""
        if os.path.isabs(path) or _VARIABLE.match(path):
            return path
        home = self.options.get("home", "")
        return os.path.normpath(os.path.join(home, path)) if os.path.isabs(home) or _VARIABLE.match(home) else ""

    def _value(self, name: str, value: str) -> str:
        if name in _VARIABLES:
            return f"{_VARIABLES[name]}={value}"
        if name == "display-name":
            return value.replace("%{GROUP}", f"(wsgi:{self.new_name})")
        if name == "python-path":
            return ":".join(filter(None, (self._place(path) for path in value.split(":") if path)))
        return value


def is_of_python2(path: str) -> bool:
    """Is it a directory of packages for Python 2?"""
    return re.search(r"/python2\.\d/(?:site|dist)-packages|/python2\.\d/?$", path) is not None


def named(wanted: str, taken: Iterable[str]) -> str:
    """A name for a daemon as PythonDaemon takes it, which none of those that are taken is like."""
    if _VARIABLE.search(wanted) and re.fullmatch(r"[A-Za-z0-9_.-]+", _VARIABLE.sub("x", wanted)):
        # httpd puts something in its place: Define, or Use for a Macro.
        return wanted
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", wanted).strip("-_.")[:LONGEST].rstrip("-_.") or "daemon"
    known = {_key(name) for name in taken}
    name, count = plain, 1
    while _key(name) in known:
        count += 1
        name = f"{plain[: LONGEST - 4]}-{count}"
    return name


def variables(entry: Entry) -> list[str]:
    """The names of variables that a line sets for requests."""
    found = entry.words()
    if entry.name == "rewriterule":
        flags = found[2].strip("[]").split(",") if len(found) > 2 else []
        pairs = [flag.strip().partition("=") for flag in flags]
        names = [value.partition(":")[0] for flag, _, value in pairs if flag.lower() in ("e", "env")]
    elif entry.name == "setenvifexpr" or (entry.name in _SETS and entry.name.startswith("browsermatch")):
        names = found[1:]
    elif entry.name in _SETS and entry.name.startswith("setenvif"):
        names = found[2:]
    elif entry.name in _SETS:
        names = found if entry.name == "passenv" else found[:1]
    else:
        names = []
    names = [name.partition("=")[0] for name in names if not name.startswith("!")]
    return [name for name in names if re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII)]


def lost(options: Iterable[str]) -> Iterable[tuple[str, Option]]:
    """The options that have no counterpart, or that are unknown, and that somebody has to think of."""
    for name in options:
        option = OPTIONS.get(name, Option("", "is not known"))
        if not option.key and option.is_needed:
            yield name, option


def _key(name: str) -> str:
    return re.sub(r"[_.]", "-", name.lower())


def _word(key: str, value: str) -> str:
    return quoted(f"{key}={value}")
