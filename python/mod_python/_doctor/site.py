"""Checks of a directory with handlers or applications, of which no configuration tells: what is `make run SITE=…` and `mod_python start` serve."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator

from mod_python._doctor import files, probe
from mod_python._doctor.access import Access
from mod_python._doctor.configuration import Configuration, Directive
from mod_python._doctor.findings import Finding
from mod_python._doctor.imports import Imports
from mod_python._doctor.targets import Target

_MOST = 2_000
CONFIGURATIONS = ("httpd.conf", "conf/httpd.conf", "apache2.conf", "site.conf")
"""Where a directory may have a configuration of its own."""
SOURCES = (".py", ".wsgi", ".psp")
"""How files end that handlers, applications and pages are in."""
_NAMES = ("application", "app", "handler", "create_app")


def check(place: str, access: Access, imports: Imports) -> Iterator[Finding]:
    """The files of a directory, or one: can httpd's user read them, are they Python, can those be imported that say what they serve?"""
    is_file = os.path.isfile(place)
    folder = os.path.dirname(place) if is_file else place
    for path in (place,) if is_file else python_files(folder):
        directive = Directive("file", "", path, 0, None)
        obstacle = access.obstacle(path)
        if obstacle:
            text, _, remedy = obstacle.partition(": ")
            yield Finding("MP0001", text, path, remedy=f"Let it, with `{remedy}`, or put the site elsewhere.")
            continue
        try:
            data = files.read(path)
        except files.Unreadable as unreadable:
            yield Finding("MP0013", f"{path} {unreadable}", path)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = _page(data, path) if path.endswith(".psp") else ast.parse(data)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", 0) or 0
            yield Finding("MP0032", str(getattr(error, "msg", None) or error), path, line)
            continue
        name = _served(tree)
        if name and imports.who.user != 0 and imports.built:
            target = Target(directive, path, name)
            job = probe.Job(_python(folder, imports), path, name, "", (folder,), imports.package)
            try:
                yield from imports.told(target, job, probe.run(job, imports.who, imports.limit), imports.who)
            except OSError as error:
                yield Finding("MP0009", f"{path} is not imported: {error}", path)


def _page(data: bytes, path: str) -> ast.Module:
    """See that a PSP page is Python; nothing of it is a handler. Raises SyntaxError, with the page's own line."""
    from mod_python import _psp

    # What others include may be anything, such as a FIFO: it is not opened here.
    if not re.search(rb"<%@", data):
        _psp.parse(data, path).compile(path)
    return ast.Module([], [])


def _python(folder: str, imports: Imports) -> str:
    """A site's own environment, or the Python that the module was built with."""
    own = os.path.join(folder, ".venv/bin/python3")
    return own if os.path.isfile(own) and not imports.access.obstacle(own) else imports.built


def _served(tree: ast.Module) -> str:
    """What a file defines that httpd would call; empty if nothing."""
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return next((name for name in _NAMES if name in found), "")


def python_files(folder: str) -> Iterator[str]:
    """The modules of a site, some thousand at most; environments, caches and what begins with a dot are passed over, links to directories, too."""
    count = 0
    for above, below, names in os.walk(folder):
        below[:] = sorted(
            name
            for name in below
            if not name.startswith((".", "__pycache__")) and not os.path.exists(os.path.join(above, name, "pyvenv.cfg"))
        )
        for name in sorted(names):
            if name.endswith(SOURCES) and not name.startswith("."):
                count += 1
                if count > _MOST:
                    return
                yield os.path.join(above, name)


def empty() -> Configuration:
    """A configuration that says nothing."""
    return Configuration()
