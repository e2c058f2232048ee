"""Checks of files and directories: what is not there, what httpd's user cannot reach, what httpd may send."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from mod_python._doctor import files
from mod_python._doctor.access import Access
from mod_python._doctor.configuration import Configuration, Directive
from mod_python._doctor.findings import Finding
from mod_python._doctor.targets import Target, covers, effective, folders


def check(configuration: Configuration, all_targets: list[Target], access: Access, python: str) -> Iterator[Finding]:
    """Every PythonHome, PythonPath entry, and file that is named; `python` is the version of the module's Python, if it is known."""
    for directive in configuration.named("pythonhome"):
        yield from home(directive, access, python)
    for directive in configuration.named("pythonpath"):
        for folder in folders(directive.first()):
            yield from entry(configuration, directive, folder, access)
    seen = set()
    for target in all_targets:
        if not target.module.startswith("/") or "$" in target.module or target.module in seen:
            continue
        seen.add(target.module)
        yield from reached(target.directive, target.module, access, "MP0002", f"{target.directive.name} names")


def reached(directive: Directive, path: str, access: Access, code: str, what: str) -> Iterator[Finding]:
    """Is a path there, and can httpd's user get to it?"""
    where = (directive.file, directive.line)
    obstacle = access.obstacle(path)
    if obstacle:
        text, _, remedy = obstacle.partition(": ")
        yield Finding(
            "MP0001",
            f"{what} {path}, but {text}",
            *where,
            remedy=f"Let it, with `{remedy}`, or put the site elsewhere.",
        )
    elif not os.path.exists(path):
        yield Finding(code, f"{what} {path}, which is not there", *where)


def home(directive: Directive, access: Access, python: str) -> Iterator[Finding]:
    """A PythonHome, as src/embed/home.rs looks at it."""
    folder, where = directive.first(), (directive.file, directive.line)
    remedy = f"Make it with `/usr/bin/python{python or '3'} -m venv {folder}`."
    if not os.path.isabs(folder):
        yield Finding("MP0004", f"PythonHome {folder} is no absolute path", *where)
        return
    found = list(reached(directive, folder, access, "MP0002", "PythonHome names"))
    yield from found
    if found:
        return
    try:
        text = files.text(os.path.join(folder, "pyvenv.cfg"), 1 << 20)
    except files.Unreadable:
        if not (python and os.path.isfile(os.path.join(folder, f"lib/python{python}/os.py"))):
            yield Finding("MP0004", f"{folder} is no virtual environment: it has no pyvenv.cfg", *where, remedy=remedy)
        return
    version = re.search(r"^version(?:_info)?[ \t]*=[ \t]*(\d+\.\d+)", text, re.M)
    if python and version and version[1] != python:
        text = f"{folder} is an environment of Python {version[1]}, but mod_python.so was built with {python}"
        yield Finding("MP0004", text, *where, remedy=remedy)
        return
    programs = [os.path.join(folder, "bin", name) for name in ("python3", "python")]
    program = next((program for program in programs if os.path.isfile(program)), None)
    if program is None:
        yield Finding("MP0004", f"{folder} has no working bin/python3", *where, remedy=remedy)
        return
    made_with = re.search(r"^home[ \t]*=[ \t]*(\S.*)$", text, re.M)
    for path in (program, os.path.join(folder, "pyvenv.cfg"), made_with[1].strip() if made_with else folder):
        if os.path.exists(path):
            yield from reached(directive, path, access, "MP0002", "PythonHome needs")


def entry(configuration: Configuration, directive: Directive, folder: str, access: Access) -> Iterator[Finding]:
    """An entry of a PythonPath."""
    yield from reached(directive, folder, access, "MP0003", "PythonPath names")
    served = [(one.first(), one) for one in configuration.named("documentroot")]
    served += [(found[1], one) for one in configuration.named("alias") for found in [one.words()] if len(found) > 1]
    for root, by in served:
        root = os.path.join(configuration.server_root, root)
        if os.path.isdir(folder) and covers(os.path.realpath(root), os.path.realpath(folder)):
            if _is_ours_or_closed(configuration, folder):
                continue
            text = f"{folder} is on PythonPath and below {root}, which {by.name} serves: its sources may be sent"
            yield Finding("MP0031", text, directive.file, directive.line)
            return


def _is_ours_or_closed(configuration: Configuration, folder: str) -> bool:
    """Does a section for the directory, or one above it, have a handler of ours, or refuse everybody?"""
    for one in configuration.named("sethandler", "addhandler", "require"):
        section = one.section
        if section is None or section.name != "directory" or not covers(section.argument, folder):
            continue
        if one.first().lower() in ("mod_python", "python-program") or one.raw.lower().split() == ["all", "denied"]:
            return True
    return False


def access_of(configuration: Configuration, name: str, directive: Directive) -> str:
    """The first argument of the directive of a name that counts here; empty if there is none."""
    found = effective(configuration, name, directive)
    return found.first() if found else ""
