"""The command line of ``mod_python migrate``: which files are read, and where what is written goes."""

from __future__ import annotations

import argparse
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Optional

from mod_python import version
from mod_python._doctor import configuration, files, server
from mod_python._doctor import names as words
from mod_python._doctor.findings import Finding, status, tell
from mod_python._doctor.lines import quoted
from mod_python._migrate import code, request_rules, writing
from mod_python._migrate.directives import GONE_OPTIONS, MOD_PYTHON, OPTIONS, SECTIONS_FILTER, SECTIONS_INIT, Change
from mod_python._migrate.source import Entry, Source, parse
from mod_python._migrate.wsgi import Translation, Translator

_MOST = 20_000
_HEAD = 1 << 20
"""Bytes of the longest file that is looked into for what it is."""
_DIRECTIVES = {name.lower() for name in words.DIRECTIVES}
_PYTHON = (".py", ".pyw", ".wsgi", ".psp")
_CONFIGURATION = (".conf", ".load", ".htaccess", ".inc", ".vhost", ".site")
_SPEAKS = re.compile(rb"^[ \t]*(?:LoadModule|WSGI\w+|Python\w+|<VirtualHost|<IfModule|<Directory)\b", re.M)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="mod_python migrate",
        description="Says what changes for a site of mod_python 3 or mod_wsgi, line by line: httpd configurations, .htaccess files, .py, .wsgi and "
        ".psp files, and all that is below directories. Exit status: 0 nothing but advice, 1 warnings, 2 errors.",
    )
    made.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="configurations, .htaccess files, modules, pages, or directories of them",
    )
    made.add_argument("--json", action="store_true", help="for programs")
    made.add_argument(
        "--write",
        nargs="?",
        const="",
        metavar="DIRECTORY",
        help="write mod_wsgi's configuration anew, into a directory, or beside each file as FILE.new; never over one that is there",
    )
    made.add_argument("--module", metavar="FILE", help="the mod_python.so that LoadModule is to name")
    return made


class Migration:
    """One run."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.sources: list[Source] = []
        self.roots: dict[str, str] = {}
        self.notes: list[str] = []
        self.read: set[str] = set()
        self.unread: list[OSError] = []

    def findings(self) -> Iterator[Finding]:
        """What changes, in the order of files and lines."""
        found: list[Finding] = []
        for path, root in self._files():
            if len(self.read) > _MOST:
                self.notes.append(f"More than {_MOST} files: the rest is not read.")
                break
            found += self._file(path, root)
        for error in self.unread:
            found.append(Finding("MP1014", f"cannot be read: {error.strerror}", str(error.filename)))
        translation = Translator(self.sources, self._module()).translate()
        found += translation.findings
        paths = {entry.rest for source in self.sources for entry in source.lines if entry.name == "pythonpath"}
        for source in self.sources:
            found += of_mod_python(source, len(paths) > 1)
        if self.chosen.write is not None:
            self._write(translation)
        unique = dict.fromkeys(found)
        yield from sorted(unique, key=lambda one: (one.file or "", one.line, one.code))

    def _files(self) -> Iterator[tuple[str, str]]:
        """Each file, and the path that it was named by."""
        written = os.path.abspath(self.chosen.write) if self.chosen.write else ""
        for path in self.chosen.paths:
            path = os.path.abspath(path)
            if not os.path.isdir(path):
                yield path, os.path.dirname(path)
                for other in self._included(path):
                    yield other, os.path.dirname(path)
                continue
            for above, below, names in os.walk(path, onerror=self.unread.append):
                below[:] = sorted(
                    name
                    for name in below
                    if os.path.join(above, name) != written
                    and name not in ("__pycache__", ".git", ".hg", ".svn", "node_modules")
                    and not os.path.exists(os.path.join(above, name, "pyvenv.cfg"))
                )
                for name in sorted(names):
                    yield os.path.join(above, name), os.path.dirname(path)

    def _included(self, path: str) -> Iterator[str]:
        """What a configuration includes."""
        if path.endswith(_PYTHON) or os.path.basename(path) == ".htaccess":
            return
        httpd = server.installed()
        httpd.environment = server.environment_of(path)
        root = None if path.startswith(httpd.root + os.sep) else os.path.dirname(path)
        yield from configuration.read(path, httpd.surroundings(root, [])).files[1:]

    def _file(self, path: str, root: str) -> Iterator[Finding]:
        real = os.path.realpath(path)
        if self._is_anothers(path):
            self.notes.append(f"{path} is not read: it is a link of another user's to what that one does not own")
            return
        is_named = path in [os.path.abspath(one) for one in self.chosen.paths]
        if real in self.read or path.endswith(".new"):
            return
        self.read.add(real)
        kind = self._kind(path, is_named)
        if kind in ("module", "page"):
            yield from code.check(path, kind == "page")
        elif kind:
            try:
                self.sources.append(parse(path, files.text(path)))
                self.roots[path] = root
            except files.Unreadable as unreadable:
                yield Finding("MP1014", str(unreadable), path)

    @staticmethod
    def _is_anothers(path: str) -> bool:
        """Would following a link be what somebody else wants of this user?"""
        try:
            found, target = os.lstat(path), os.stat(path)
        except OSError:
            return False
        return stat.S_ISLNK(found.st_mode) and found.st_uid not in (0, os.geteuid(), target.st_uid)

    @staticmethod
    def _kind(path: str, is_named: bool) -> str:
        """`module`, `page`, `configuration`, by its name, or, where that does not tell, by what it says; empty for anything else."""
        name = os.path.basename(path)
        if name.lower().endswith(_PYTHON):
            return "page" if name.lower().endswith(".psp") else "module"
        if name.endswith(_CONFIGURATION):
            return "configuration"
        if "." in name and not is_named and not name.endswith(".cgi"):
            return ""
        try:
            data = files.read(path, _HEAD)
        except files.Unreadable:
            # One that somebody has named is told of.
            return "configuration" if is_named else ""
        if data.startswith(b"#!") and b"python" in data.split(b"\n", 1)[0]:
            return "module"
        if is_named and b"<%" in data:
            return "page"
        return "configuration" if is_named or ("." not in name and _SPEAKS.search(data)) else ""

    def _module(self) -> list[str]:
        """What loads the module: as `mod_python module-config` prints it, or where it would be beside httpd's own."""
        from mod_python._own import configuration, programs
        from mod_python._own.problems import Problem

        named = os.path.abspath(self.chosen.module) if self.chosen.module else None
        try:
            module, from_wheel = programs.python_module(named)
            return [str(one).rstrip() for one in configuration.module_lines(module, from_wheel)]
        except Problem:
            folder: str = version.LIBEXECDIR or "modules"
            return [f"LoadModule python_module {quoted(named or os.path.join(folder, 'mod_python.so'))}"]

    def _write(self, translation: Translation) -> None:
        changed = [source for source in self.sources if translation.changed(source.path)]
        for source in changed:
            target = self._target(source.path)
            top = os.path.abspath(self.chosen.write) if self.chosen.write else os.path.dirname(target)
            data = translation.text(source).encode("utf-8", "surrogateescape")
            try:
                writing.write(target, top, data, os.stat(source.path))
                self.notes.append(f"{source.path} is written anew as {target}")
            except FileExistsError:
                self.notes.append(
                    f"{target} is there already, and was not written: remove it, or choose another directory"
                )
                self.failed = True
            except writing.Refused as refused:
                self.notes.append(f"{target} is not written: {refused}")
                self.failed = True
            except OSError as error:
                self.notes.append(f"{target} cannot be written: {error.strerror}")
                self.failed = True
        if not changed:
            self.notes.append("Nothing is written: there is nothing of mod_wsgi in these files.")

    failed = False

    def _target(self, path: str) -> str:
        if not self.chosen.write:
            return path + ".new"
        return os.path.join(
            os.path.abspath(self.chosen.write), os.path.relpath(path, self.roots[path]).replace("../", "")
        )


def of_mod_python(source: Source, has_paths: bool) -> Iterator[Finding]:
    """What directives of mod_python 3 do otherwise; `has_paths`: are there several PythonPaths?"""
    known = {name.lower(): (name, change) for name, change in MOD_PYTHON.items()}
    options = {name.lower(): new for name, new in OPTIONS.items()}
    for entry in source.lines:
        found = entry.words() if entry.name and not entry.name.startswith("<") else []
        if entry.name in known and _is_told(entry, has_paths):
            name, change = known[entry.name]
            yield _of(source, entry, name, change)
        elif entry.name == "pythoninithandler" and (entry.inner() or source.path.endswith(".htaccess")):
            yield _of(source, entry, entry.written, SECTIONS_INIT)
        elif entry.name == "pythonoption" and found and found[0].lower() in options:
            new = options[found[0].lower()]
            yield Finding(
                "MP1011", f"PythonOption {found[0]} is called {new} now", source.path, entry.number, f"Write {new}."
            )
        elif entry.name == "pythonoption" and found:
            yield from _option(source, entry, found[0])
        elif entry.name == "loadmodule" and len(found) > 1 and found[0] == "python_module":
            yield from _loaded(source, entry, found[1])
        elif entry.name.startswith("python") and entry.name not in _DIRECTIVES:
            meant = words.nearest(entry.written, words.DIRECTIVES, max(len(entry.written) - 6, 0) // 3)
            remedy = f"Did you mean {meant}?" if meant else "Leave it out."
            text = f"there is no {entry.written}: httpd refuses it"
            yield Finding("MP1004", text, source.path, entry.number, remedy)
        if entry.name == "pythonhandler":
            yield from _handlers(source, entry)
        if entry.name in ("pythoninputfilter", "pythonoutputfilter") and _is_pattern(entry):
            yield _of(source, entry, entry.written, SECTIONS_FILTER)


def _option(source: Source, entry: Entry, name: str) -> Iterator[Finding]:
    """An option of a name that is kept for mod_python, and that nobody reads."""
    said = words.option(name)
    if said is None:
        return
    gone = GONE_OPTIONS.get(name.lower())
    code = gone.code if gone else "MP1004"
    text = f"PythonOption {name} {gone.what}" if gone else f"nobody reads PythonOption {name}: {said}"
    yield Finding(code, text, source.path, entry.number, gone.remedy if gone else "")


def _handlers(source: Source, entry: Entry) -> Iterator[Finding]:
    """Modules of mod_python's own that there are not."""
    for word in entry.rest.split("|")[0].split():
        package, _, name = word.strip("\"'").partition("::")[0].partition(".")
        if package == "mod_python" and name and not request_rules.is_there(name):
            text = f"there is no mod_python.{name}"
            yield Finding("MP1004", text, source.path, entry.number, "Name another handler.")


def _is_told(entry: Entry, has_paths: bool) -> bool:
    if entry.name == "pythonpath":
        return has_paths
    return not (entry.name == "pythonautoreload" and entry.rest.lower() == "off")


def _is_pattern(entry: Entry) -> bool:
    inner = entry.inner()
    return (
        bool(inner) and inner[-1].name.startswith("directory") and re.search(r"[*?\[~]", inner[-1].argument) is not None
    )


def _of(source: Source, entry: Entry, name: str, change: Change) -> Finding:
    return Finding(change.code, f"{name} {change.what}", source.path, entry.number, change.remedy)


def _loaded(source: Source, entry: Entry, path: str) -> Iterator[Finding]:
    found: Optional[server.Module] = server.module(path) if os.path.isabs(path) else None
    if os.path.isabs(path) and (found is None or not found.version):
        what = "is not there" if found is None else "is not this project's"
        yield Finding("MP1012", f"{path} {what}", source.path, entry.number)


def main(arguments: Sequence[str]) -> int:
    """Run the command; its exit status."""
    migration = Migration(parser().parse_args(arguments))
    findings = list(migration.findings())
    tell(findings, migration.notes, migration.chosen.json)
    return 2 if migration.failed else status(findings)
