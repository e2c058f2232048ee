"""A configuration file as lines that stand in sections, whatever conditions are around them: what is translated is translated in each branch."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass, field
from typing import Optional

from mod_python._doctor import files
from mod_python._doctor.lines import lines, words
from mod_python._doctor.targets import covers

TRANSPARENT = ("ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection")
"""Containers that make no section."""
_OPTION = re.compile(r"""(?<!\S)([\w-]{1,40})=(["'])((?:(?!\2)[^\\]|\\.){0,4096})\2(?!\S)""")
"""Of mod_wsgi's own making: in `name="a value"` quotes hold together what httpd would take apart."""
DEEPEST = 100
"""How deep containers may be; nobody has ten."""


@dataclass(eq=False)
class Section:
    """A container in a file."""

    name: str
    argument: str
    outer: Optional[Section]
    place: int
    """The number of its first line in `Source.lines`."""
    end: int = -1

    def chain(self) -> list[Section]:
        """This one and those around it, the innermost first, without conditions."""
        found: list[Section] = []
        section: Optional[Section] = self
        while section is not None:
            if section.name not in TRANSPARENT:
                found.append(section)
            section = section.outer
        return found


@dataclass(eq=False)
class Entry:
    """A line with what continues it."""

    number: int
    """Of its first line."""
    raw: list[str]
    text: str
    name: str
    """In small letters; `<name` or `</name` for containers, empty for comments."""
    written: str
    rest: str
    section: Optional[Section]
    place: int

    def words(self) -> list[str]:
        """The arguments."""
        return words(_OPTION.sub(r"\2\1=\3\2", self.rest) if self.name.startswith("wsgi") else self.rest)

    def chain(self) -> list[Section]:
        """The sections around it, the innermost first."""
        return self.section.chain() if self.section else []

    def host(self) -> Optional[Section]:
        """The virtual host around it."""
        return next((section for section in self.chain() if section.name == "virtualhost"), None)

    def macro(self) -> Optional[Section]:
        """The macro around it."""
        return next((section for section in self.chain() if section.name == "macro"), None)

    def conditions(self) -> list[Section]:
        """The conditions around it, the innermost first."""
        found, section = [], self.section
        while section is not None:
            found += [section] if section.name in TRANSPARENT else []
            section = section.outer
        return found

    def inner(self) -> list[Section]:
        """The sections around it but for the virtual host, the outermost first."""
        return [section for section in reversed(self.chain()) if section.name != "virtualhost"]

    def indent(self) -> str:
        """The blanks in front of it."""
        first = self.raw[0] if self.raw else ""
        return first[: len(first) - len(first.lstrip())]


@dataclass
class Source:
    """A file."""

    path: str
    lines: list[Entry] = field(default_factory=list)

    def folder(self) -> str:
        """The directory that a .htaccess file is about; empty for what is about a whole server."""
        folder, _, name = self.path.rpartition("/")
        return (folder or "/") if name == ".htaccess" else ""

    def is_about(self, script: str) -> bool:
        """May its lines hold for a script? Those of a .htaccess file hold for what is below its directory."""
        folder = self.folder()
        return not folder or covers(folder, os.path.dirname(script))


def parse(path: str, text: str) -> Source:
    """Read a configuration, as it is written. Raises Unreadable for sections that are too deep."""
    source = Source(path)
    raw = text.split("\n")
    section: Optional[Section] = None
    depth = 0
    for place, line in enumerate(lines(text)):
        written = line.text.split(None, 1)[0] if line.text else ""
        rest = line.text[len(written) :].strip()
        name = (
            ""
            if written.startswith("#")
            else written.lower().rstrip(">")
            if written.startswith("<")
            else written.lower()
        )
        entry = Entry(line.first, raw[line.first - 1 : line.last], line.text, name, written, rest, section, place)
        if name.startswith("</"):
            if section is not None:
                section.end, section = place, section.outer
                depth -= 1
            entry.section = section
        elif name.startswith("<"):
            depth += 1
            if depth > DEEPEST:
                raise files.Unreadable(f"has more than {DEEPEST} sections in one another")
            argument = rest.strip().rstrip(">").strip()
            section = Section(
                name[1:], argument.strip("\"'") if not argument.startswith("~") else argument, section, place
            )
        source.lines.append(entry)
    return source


def covers_file(sections: list[Section], path: str) -> bool:
    """Do all of these sections hold for a file? As far as they are about files; a `<Location>` among them is none of it."""
    return bool(sections) and all(_holds(section, path) for section in sections)


def _holds(section: Section, path: str) -> bool:
    argument = section.argument
    if section.name == "directory" and not argument.startswith("~"):
        if not re.search(r"[*?\[]", argument):
            return covers(argument or "/", os.path.dirname(path))
        return any(fnmatch.fnmatchcase(above, argument.rstrip("/")) for above in _parents(path))
    if section.name == "files" and not argument.startswith("~"):
        return fnmatch.fnmatchcase(os.path.basename(path), argument)
    if section.name in ("directorymatch", "directory"):
        return _searched(argument, os.path.dirname(path) + "/")
    if section.name in ("filesmatch", "files"):
        return _searched(argument, os.path.basename(path))
    return section.name in ("limit", "limitexcept", "requireall", "requireany", "requirenone")


def _searched(expression: str, text: str) -> bool:
    try:
        return re.search(expression.lstrip("~ ").strip("\"'"), text[:4096]) is not None
    except (re.error, RecursionError):
        return True  # nobody knows: then rather one rule too many


def _parents(path: str) -> list[str]:
    found = [os.path.dirname(path)]
    while os.path.dirname(found[-1]) != found[-1]:
        found.append(os.path.dirname(found[-1]))
    return found
