"""Which modules a configuration has httpd import, with which PythonHome, PythonPath and interpreter."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from mod_python._doctor.configuration import Configuration, Directive, Section

MAIN = "main_interpreter"
HANDLERS = ("mod_python", "python-program")
"""What SetHandler and AddHandler call us."""
APPLICATIONS = ("pythonwsgi", "pythonwsgimatch", "pythonasgi")
_DEFAULTS = {
    "pythonpostreadrequesthandler": "postreadrequesthandler",
    "pythontranshandler": "transhandler",
    "pythonheaderparserhandler": "headerparserhandler",
    "pythoninithandler": "inithandler",
    "pythonaccesshandler": "accesshandler",
    "pythonauthenhandler": "authenhandler",
    "pythonauthzhandler": "authzhandler",
    "pythontypehandler": "typehandler",
    "pythonfixuphandler": "fixuphandler",
    "pythonhandler": "handler",
    "pythonloghandler": "loghandler",
    "pythoncleanuphandler": "cleanuphandler",
    "pythonconnectionhandler": "connectionhandler",
    "pythoninputfilter": "inputfilter",
    "pythonoutputfilter": "outputfilter",
    "pythonhandlermodule": "",
}
"""The function that is called where a directive names a module alone."""


@dataclass(frozen=True, eq=False)
class Target:
    """A module that httpd imports, because a directive says so."""

    directive: Directive
    module: str
    """A module's name, or a file's path."""
    object: str
    """What is called in it; empty for nothing."""
    prefix: Optional[str] = None
    """Of an application: its part of the URI."""
    interpreter: Optional[str] = None
    """Where the directive names one itself (PythonImport)."""
    is_pattern: bool = False
    daemon: str = ""
    """Where it is another process that imports it: a PythonDaemon's name."""

    @property
    def is_application(self) -> bool:
        return self.directive.key in APPLICATIONS


def targets(configuration: Configuration) -> Iterator[Target]:
    """Every module that a directive names."""
    for directive in configuration.directives:
        key = directive.key
        if key in _DEFAULTS:
            handlers = directive.raw.split("|")[0].split()
            if key.endswith("filter") or key == "pythonconnectionhandler":
                handlers = directive.words()[:1]
            daemon = _daemon_of_handlers(configuration, directive) if key == "pythonhandler" else ""
            for handler in handlers:
                module, _, named = handler.strip("\"'").partition("::")
                yield Target(directive, _beside(module, directive), named or _DEFAULTS[key], daemon=daemon)
        elif key == "pythonimport":
            found = directive.words()
            if len(found) > 1:
                module, _, named = found[0].partition("::")
                yield Target(directive, _beside(module, directive), named, interpreter=found[1])
        elif key in APPLICATIONS:
            found = directive.words()
            if len(found) > 1:
                module, named = application(_beside(found[1], directive))
                is_pattern = key == "pythonwsgimatch"
                prefix = None if is_pattern else found[0].rstrip("/")
                daemon = next((word[7:] for word in found[2:] if word.startswith("daemon=")), "")
                yield Target(directive, module, named, prefix, is_pattern=is_pattern, daemon=daemon)
        elif key == "pythonoption":
            found = directive.words()
            if len(found) > 1 and re.fullmatch(r"mod_python\.[aw]sgi\.application", found[0].lower()):
                module, _, named = found[1].partition("::")
                yield Target(directive, _beside(module, directive), named or "application")


def _daemon_of_handlers(configuration: Configuration, directive: Directive) -> str:
    """The daemon that PythonOption names for handlers where one of theirs stands."""
    words = [(one, one.words()) for one in configuration.named("pythonoption")]
    named = [(one, found[1]) for one, found in words if len(found) > 1 and found[0].lower() == "mod_python.daemon"]
    host, place = directive.host(), _place(directive.section)
    weighed = [(_weight(one, directive, host, place), name) for one, name in named]
    return max(weighed, default=(0, ""))[1] if any(weight for weight, _ in weighed) else ""


def application(text: str) -> tuple[str, str]:
    """The module, and the callable, of `module:callable`, `module:factory()` or `/a/file.wsgi`."""
    module, colons, named = text.partition("::")
    if not colons:
        module, colon, named = text.rpartition(":")
        if not colon or "/" in named:
            module, named = text, ""
    return module, (named or "application").split("(")[0]


def _beside(module: str, directive: Directive) -> str:
    """`~/file.py` is beside the configuration."""
    return os.path.join(os.path.dirname(directive.file), module[2:]) if module.startswith("~/") else module


def effective(
    configuration: Configuration, name: str, directive: Directive, prefix: Optional[str] = None
) -> Optional[Directive]:
    """The directive of a name (in small letters) that counts where another one stands: of its own section, of one that covers that, of its
    virtual host, of the base server. `prefix` is the place of an application, which sections may cover."""
    host = directive.host()
    place = _place(directive.section) if prefix is None else ("location", prefix or "/")
    best: tuple[int, Optional[Directive]] = (0, None)
    for other in configuration.named(name):
        weight = _weight(other, directive, host, place)
        if weight and weight >= best[0]:
            best = (weight, other)
    return best[1]


def _weight(other: Directive, directive: Directive, host: Optional[Section], place: Optional[tuple[str, str]]) -> int:
    """How near a directive is to another one: 0 where it says nothing of it."""
    other_host = other.host()
    if other_host is not None and other_host is not host:
        return 0
    near = 2 if other_host is not None else 1
    section = other.section if other.section is not other_host else None
    if section is None:
        return near
    if section is directive.section:
        return 1_000_000 + near
    its = _place(section)
    if place is None or its is None or its[0] != place[0] or not covers(its[1], place[1]):
        return 0
    return 10 + 10 * len(its[1]) + near


def _place(section: Optional[Section]) -> Optional[tuple[str, str]]:
    if section is None or section.name not in ("location", "directory") or section.argument.startswith("~"):
        return None
    return section.name, section.argument


def covers(outer: str, inner: str) -> bool:
    """Is a path the other one, or above it?"""
    outer = outer.rstrip("/")
    return inner.rstrip("/") == outer or inner.startswith(outer + "/")


def interpreter_of(configuration: Configuration, target: Target) -> str:
    """The name of the interpreter that imports a target's module."""
    if target.interpreter is not None:
        return target.interpreter
    named = effective(configuration, "pythoninterpreter", target.directive, target.prefix)
    if named is not None:
        return named.first()
    return host_name(configuration, target.directive.host())


def host_name(configuration: Configuration, host: Optional[Section]) -> str:
    """The name of a virtual host's own interpreter."""
    if host is None:
        return MAIN
    names = [one.first() for one in configuration.named("servername") if one.section is host]
    base = configuration.last("servername")
    name = names[-1] if names else base.first() if base else host.argument
    return name.split("://")[-1].rsplit(":", 1)[0] if not name.startswith("[") else name


def home_of(configuration: Configuration, directive: Directive) -> Optional[Directive]:
    """The PythonHome that counts: the virtual host's, else the base server's."""
    found = configuration.named("pythonhome")
    host = directive.host()
    own = [one for one in found if one.section is host and host is not None]
    base = [one for one in found if one.section is None]
    return own[-1] if own else base[-1] if base else None


def folders(expression: str) -> list[str]:
    """The absolute paths that a PythonPath's expression writes out. It is not evaluated."""
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return re.findall(r"['\"](/[^'\"]*)['\"]", expression)
    found = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [text for text in found if text.startswith("/")]
