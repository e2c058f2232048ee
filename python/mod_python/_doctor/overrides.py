"""The .htaccess files below what is served: those that httpd reads say as much as the configuration, the others nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Optional

from mod_python._doctor import configuration, files
from mod_python._doctor.configuration import Configuration, Section, Surroundings
from mod_python._doctor.findings import Finding
from mod_python._doctor.targets import covers

_ROUNDS = 20_000
"""Directories that are looked into."""
# Blanks of one line: \s would take all the empty lines, from each of them anew.
_OURS = re.compile(r"^[ \t]*(Python\w+|(?:Set|Add)Handler[ \t]+(?:mod_python|python-program))\b", re.M | re.I)


def added(read: Configuration, surroundings: Surroundings) -> Iterator[Finding]:
    """What says something of Python and is not read; what is read is added to the configuration."""
    for path, host in list(_found(read)):
        try:
            text = files.text(path, 1 << 20)
        except files.Unreadable:
            continue
        ours = _OURS.search(text)
        if not ours:
            continue
        allowed = _allowed(read, os.path.dirname(path))
        if allowed is None:
            continue
        if {"all", "fileinfo"} & set(allowed.lower().split()):
            configuration.add(read, path, Section("directory", os.path.dirname(path), path, 0, host), surroundings)
        else:
            line = text.count("\n", 0, ours.start()) + 1
            yield Finding("MP0030", f"{ours[1]} is not read: AllowOverride is {allowed} here", path, line)


def _found(read: Configuration) -> Iterator[tuple[str, Optional[Section]]]:
    """The files, each once, and the virtual host whose documents they are among."""
    names = [one.first() for one in read.named("accessfilename")] or [".htaccess"]
    roots = {os.path.join(read.server_root, one.first()): one.host() for one in read.named("documentroot")}
    looked = 0
    seen: set[str] = set()
    # Of a directory that is below another one, its own host's.
    for root in sorted(roots, key=lambda path: (-len(path), path)):
        for above, below, found in os.walk(root):
            below.sort()
            looked += 1
            if looked > _ROUNDS:
                return
            for name in sorted(set(names) & set(found)):
                path = os.path.join(above, name)
                if path not in seen:
                    seen.add(path)
                    yield path, roots[root]


def _allowed(read: Configuration, folder: str) -> Optional[str]:
    """What AllowOverride is in a directory; None where a pattern may decide."""
    best, allowed = -1, "None"
    for one in read.named("allowoverride"):
        section = one.section
        if section is not None and section.name == "directory" and covers(section.argument, folder):
            if len(section.argument) >= best:
                best, allowed = len(section.argument), one.raw
        elif section is not None and (section.argument.startswith("~") or re.search(r"[*?\[]", section.argument)):
            return None
    return allowed
