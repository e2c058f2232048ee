"""What a server is to serve: an application, a handler, or a directory of handlers or pages; and which of them a text means.

Most sources say it themselves (``app = Flask(…)``, ``async def app(scope, receive, send)``): they are read, not run. The others
are imported, once, by ``probe``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from typing import Optional

from mod_python._own import sources
from mod_python._own.problems import Problem

NO_CONFIGURATION = (".py", ".wsgi", ".psp", ".pyc", ".html", ".htm", ".txt", ".md", ".toml", ".json", ".env")
"""How files end that no configuration of httpd is called like."""
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_OWN = os.path.dirname(os.path.abspath(__file__))
_FIRST = ("mp", "index", "app", "main")
"""Modules of a directory that answer at its root."""
_SPOKEN = {"wsgi": "a WSGI application", "asgi": "an ASGI application", "handler": "a handler of mod_python"}


@dataclasses.dataclass(frozen=True)
class Target:
    """One application or handler, and the part of the URI where it answers."""

    prefix: str
    """Without a slash at its end; empty for the whole server."""
    kind: str
    """``wsgi``, ``asgi`` or ``handler``; empty where only an import can tell."""
    module: str
    """A module's name, or the absolute path of a file."""
    name: str
    """Of the callable in it; empty where only an import can tell, or for a handler that has its usual name."""
    is_factory: bool
    path: str
    """The directory that the module is imported from; empty for none of its own."""
    text: str
    """As somebody has typed it."""

    def spelled(self) -> str:
        """The argument of PythonWSGI, PythonASGI or PythonHandler."""
        if self.kind == "handler":
            return f"{self.module}::{self.name}" if self.name else self.module
        colon = "::" if self.module.startswith("/") else ":"
        return f"{self.module}{colon}{self.name}{'()' if self.is_factory else ''}"

    def source(self) -> str:
        """The file that the module is in, where that can be told without importing anything; or nothing."""
        if self.module.startswith("/"):
            return self.module
        base = os.path.join(self.path, *self.module.split("."))
        found = (path for path in (f"{base}.py", os.path.join(base, "__init__.py")) if os.path.isfile(path))
        return next(found, "")

    def spoken(self) -> str:
        """In words: what it is, and its name."""
        return f"{_SPOKEN.get(self.kind, 'an application')}, {self.text}"


@dataclasses.dataclass(frozen=True)
class Pages:
    """A directory of pages: functions of the publisher, PSP, and files that belong to them."""

    directory: str
    handler: str

    def is_ours(self) -> bool:
        """Does mod_python itself bring the handler along?"""
        package, _, name = self.handler.partition("::")[0].partition(".")
        return package == "mod_python" and os.path.isfile(os.path.join(os.path.dirname(_OWN), f"{name}.py"))

    def probed(self) -> Target:
        """The handler as what an import can be tried of."""
        module, _, name = self.handler.partition("::")
        return Target("", "handler", module, name or "handler", False, self.directory, self.handler)


def is_module(text: str, directory: str) -> bool:
    """Is what may be a directory's name that of a module or a package?"""
    place = os.path.join(directory, text)
    return text.isidentifier() and (os.path.isfile(f"{place}.py") or os.path.isfile(os.path.join(place, "__init__.py")))


def parse(text: str, directory: str, prefix: str = "", kind: str = "") -> Target:
    """``package.module:name``, ``package.module:factory()``, ``file.py``, ``file.py:name``: what it names.

    Nothing is imported; what the source does not tell stays empty. ``directory`` is where relative paths and modules lie.
    Raises Problem.
    """
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Problem(f"{text!r}: the name is no UTF-8, and httpd's configuration is", "Rename it.")
    place, colon, name = _split(text)
    is_factory = name.endswith("()")
    name = name[:-2] if is_factory else name
    if colon and not _NAME.fullmatch(name):
        raise Problem(
            f"{text!r}: {name!r} is no name of a callable",
            "A factory is called without arguments: write a function that calls it with them, and module:function()."
            if name.endswith(")")
            else "Write module:name, such as shop.wsgi:application, or module:factory().",
        )
    if place.endswith(".psp") and os.path.isfile(os.path.join(directory, place)):
        folder = os.path.dirname(place) or "."
        raise Problem(
            f"{place} is a PSP page, and pages are served by the directory that they are in",
            f"`mod_python start --handler mod_python.publisher {shlex.quote(folder)}` serves it at {prefix}/{os.path.basename(place)}",
        )
    # A Django project's shop.wsgi is a module, mod_wsgi's shop.wsgi a file.
    is_file = (
        place.endswith(".py")
        or os.sep in place
        or (place.endswith(".wsgi") and os.path.isfile(os.path.join(directory, place)))
    )
    if is_file:
        module, path = _file(text, os.path.join(directory, place))
    elif _NAME.fullmatch(place):
        module, path = place, directory
    else:
        raise Problem(
            f"{text!r} is neither a module, such as shop.wsgi:application, nor a file, nor a directory",
            "A module's name has dots between its parts, and a colon in front of the callable.",
        )
    return _completed(Target(prefix, kind, module, name, is_factory, path, text), directory)


def _split(text: str) -> tuple[str, str, str]:
    # Colons may stand in the name of a file.
    place, colon, name = text.replace("::", ":").rpartition(":")
    if not colon or os.sep in name or name.endswith((".py", ".wsgi")):
        return text, "", ""
    return place, colon, name


def _file(text: str, path: str) -> tuple[str, str]:
    """The module that a file is, and the directory to import it from; the file itself where no import would find it."""
    if not os.path.isfile(path):
        raise sources.no_file(path)
    path = os.path.abspath(path)
    stem, suffix = os.path.splitext(os.path.basename(path))
    folder = os.path.dirname(path)
    if suffix != ".py" or not stem.isidentifier():
        return path, folder
    parts = [] if stem == "__init__" else [stem]
    # A file of a package is imported as such.
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.basename(folder).isidentifier():
        parts.insert(0, os.path.basename(folder))
        folder = os.path.dirname(folder)
    return (".".join(parts), folder) if parts else (path, folder)


def _completed(target: Target, directory: str) -> Target:
    """With what the source says."""
    source = target.source()
    if not source:
        base = target.module.split(".")[0]
        here = os.path.join(directory, base)
        if os.path.isfile(f"{here}.py") or os.path.isfile(os.path.join(here, "__init__.py")):
            raise Problem(
                f"there is no module {target.module} in {directory}",
                f"{base} is there; {sources.hint_of(directory, target.module)}",
            )
        return target
    found = sources.look(source)
    if found.error:
        raise Problem(f"{target.text} cannot be imported", found.error)
    if not target.name:
        name, is_factory = found.usual(target.kind)
        target = dataclasses.replace(target, name=name, is_factory=is_factory)
        if not name and found.has_handler and target.kind in ("", "handler"):
            return dataclasses.replace(target, kind="handler")
    if target.kind == "handler":
        return dataclasses.replace(target, name="" if target.name == "handler" else target.name)
    if target.name and not target.kind:
        told = found.factory_kind(target.name) if target.is_factory else found.kind(target.name)
        return dataclasses.replace(target, kind=told)
    return target


def of_directory(directory: str, handler: str) -> tuple[list[Target], Optional[Pages]]:
    """What a directory is: handlers and applications, one a file (``mp.py`` at /, ``name.py`` at /name), or pages. Raises Problem."""
    directory = os.path.abspath(directory)
    if handler:
        return [], Pages(directory, handler)
    try:
        names = sorted(name for name in os.listdir(directory) if name[0] not in "._")
    except OSError as error:
        raise Problem(f"the directory {directory} cannot be read: {(error.strerror or str(error)).lower()}") from None
    # Not what a link that leads nowhere, or in a circle, would be.
    names = [name for name in names if os.path.isfile(os.path.join(directory, name))]
    modules = [name[:-3] for name in names if name.endswith(".py") and name[:-3].isidentifier()]
    served: list[Target] = []
    broken: dict[str, str] = {}
    for module in modules:
        found = sources.look(os.path.join(directory, f"{module}.py"))
        if found.error:
            broken[module] = found.error
        name, is_factory = found.usual("")
        kind = found.factory_kind(name) if is_factory else found.kind(name)
        if found.has_handler:
            served.append(Target(f"/{module}", "handler", module, "", False, directory, f"{module}.py"))
        elif kind:
            served.append(Target(f"/{module}", kind, module, name, is_factory, directory, f"{module}.py"))
    # What it would have been is not known: beside pages it is one that fails, unless it is what all begins with.
    if broken and (served or len(broken) == len(modules) or not broken.keys().isdisjoint(_FIRST)):
        raise Problem(
            f"what is in {directory} cannot be imported",
            f"{next(iter(broken.values()))}\nIf that file is none of it, name what is to be served: an application or a file.",
        )
    django = [] if served else _django(directory)
    if len(django) > 1:
        raise Problem(
            f"{directory} has several applications of Django",
            f"Name the one that is to be served: {' or '.join(target.text for target in django)}.",
        )
    if django:
        return django, None
    if served:
        first = next((one for word in _FIRST for one in served if one.module == word), served[0])
        return [dataclasses.replace(first, prefix=""), *served], None
    if modules or any(name.endswith(".psp") for name in names):
        return [], Pages(directory, "mod_python.publisher")
    raise Problem(
        f"there is nothing to serve in {directory}: neither handlers (*.py), nor pages (*.psp)",
        "Name an application, such as shop.wsgi:application, a file, or another directory.",
    )


def _django(directory: str) -> list[Target]:
    """The applications of a Django project: manage.py lies beside its package, which has wsgi.py, asgi.py or both."""
    if not os.path.isfile(os.path.join(directory, "manage.py")):
        return []
    names = sorted(name for name in os.listdir(directory) if name.isidentifier())
    for kind in ("wsgi", "asgi"):
        found = []
        for name in names:
            path = os.path.join(directory, name, f"{kind}.py")
            if os.path.isfile(path) and sources.look(path).kind("application") == kind:
                found.append(Target("", kind, f"{name}.{kind}", "application", False, directory, f"{name}.{kind}"))
        if found:
            return found
    return []
