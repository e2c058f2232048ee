"""The command line of ``mod_python check``, and the order of the checks."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from typing import Optional

from mod_python import _users
from mod_python._doctor import access, configuration, daemons, files, load, overrides, places, rules, server, site
from mod_python._doctor.findings import Finding, ordered, status, tell
from mod_python._doctor.imports import Imports
from mod_python._doctor.targets import covers, targets


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="mod_python check",
        description="Finds what keeps a configuration or a site from working, as httpd's user would find out. "
        "Exit status: 0 nothing but advice, 1 warnings, 2 errors.",
    )
    made.add_argument(
        "path",
        nargs="?",
        help="httpd.conf, a directory with handlers, or a file of it: .py, .wsgi, .psp (httpd's own configuration)",
    )
    made.add_argument("--json", action="store_true", help="for programs")
    made.add_argument("--no-import", action="store_true", help="do not import applications and handlers")
    made.add_argument("--no-httpd", action="store_true", help="do not ask httpd -t")
    made.add_argument("--timeout", type=float, default=20.0, help="seconds that an import may take (20)")
    made.add_argument("--user", help="whom httpd's children run as, where the configuration does not say it")
    made.add_argument("--httpd", default="", metavar="PROGRAM", help="the httpd to ask")
    made.add_argument("-d", dest="server_root", help="as httpd's -d")
    made.add_argument("-D", dest="defines", action="append", default=[], metavar="NAME", help="as httpd's -D")
    return made


_ABOVE = 3
"""In how many directories above a file the configuration is looked for that it is a part of."""


class Check:
    """One run."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.notes: list[str] = []
        self.wrong: list[Finding] = []
        """What is to be said of User and Group."""
        self.httpd = server.installed(chosen.httpd)
        self.is_lone = False

    def findings(self) -> Iterator[Finding]:
        """All that is wrong."""
        path = os.path.abspath(self.chosen.path or self.httpd.config)
        if os.path.isdir(path):
            own = next((name for name in site.CONFIGURATIONS if os.path.isfile(os.path.join(path, name))), None)
            if own is None:
                if next(site.python_files(path), None) is None:
                    text = f"there is nothing to check in {path}: no {site.CONFIGURATIONS[0]}, and no file of {', '.join(site.SOURCES)}"
                    yield Finding("MP0013", text, path, remedy="Name the configuration, or the directory of the site.")
                yield from self.of_site(path)
                return
            path = os.path.join(path, own)
        elif path.endswith(site.SOURCES) and os.path.isfile(path):
            yield from self.of_site(path)
            return
        yield from self.of_configuration(path)

    def of_site(self, place: str) -> Iterator[Finding]:
        """A directory without a configuration, or one file of it."""
        child, who = self.users(site.empty())
        yield from self.wrong
        found = access.Access(child)
        imports = Imports(site.empty(), None, found, who, self.chosen.timeout)
        if self.chosen.no_import:
            imports.built = ""
        yield from site.check(place, found, imports)

    def of_configuration(self, path: str) -> Iterator[Finding]:
        """A configuration with all that it includes, or, by a file that is a part of one, the whole."""
        path, part = self._whole(path)
        self.httpd.environment = server.environment_of(path)
        # Whose ServerRoot is not said, that of a private httpd is mostly where its configuration is.
        is_installed = covers(self.httpd.root, path) and os.path.isdir(self.httpd.root)
        root = self.chosen.server_root or (None if is_installed else os.path.dirname(path))
        surroundings = self.httpd.surroundings(root, self.chosen.defines)
        read = configuration.read(path, surroundings, part)
        if not read.files:
            for problem in read.problems:
                yield Finding("MP0013", problem.text, problem.file, problem.line)
            return
        mine = list(overrides.added(read, surroundings))
        all_targets = list(targets(read))
        so = read.modules.get("python_module", "")
        module = server.module(so) if so else None
        child, who = self.users(read)
        found = access.Access(child)
        own, away = daemons.split(read, all_targets)
        mine += [
            *self.wrong,
            *self.module(read, so, module),
            *rules.check(read, all_targets),
            *load.check(read, all_targets),
        ]
        mine += places.check(read, own, found, module.python if module else "")
        mine += [Finding("MP0013", problem.text, problem.file, problem.line) for problem in read.problems]
        if not self.chosen.no_import:
            mine += Imports(read, module, found, who, self.chosen.timeout).check(own)
        for daemon in away:
            limit = None if self.chosen.no_import else self.chosen.timeout
            mine += daemons.check(daemon, read, module, child, limit)
        theirs = list(self.asked(path, root, mine, read.files, part))
        places_of_theirs = {(one.file, one.line) for one in theirs}
        if self.is_lone and "loadmodule" not in {one.key for one in read.directives}:
            self.notes.append(f"{path} is a part of a configuration that is not here: what that loads is not known.")
            mine = [one for one in mine if one.code != "MP0028"]
        # Of such a line httpd says all.
        yield from (one for one in mine if one.code != "MP0012" or (one.file, one.line) not in places_of_theirs)
        yield from theirs

    def _whole(self, path: str) -> tuple[str, Optional[str]]:
        """The configuration that a file is a part of, and the file where that does not include it, as a site that is not enabled."""
        if os.path.basename(path) in map(os.path.basename, site.CONFIGURATIONS) or configuration.is_whole(path):
            return path, None
        above = os.path.dirname(path)
        for _ in range(_ABOVE):
            for name in site.CONFIGURATIONS:
                whole = os.path.join(above, name)
                if os.path.isfile(whole) and not os.path.samefile(whole, path) and configuration.is_whole(whole):
                    return whole, self._added(whole, path)
            above = os.path.dirname(above)
        whole = self.httpd.config
        if os.path.isfile(whole) and configuration.is_whole(whole):
            return whole, self._added(whole, path)
        self.is_lone = True
        return path, None

    def _added(self, whole: str, path: str) -> Optional[str]:
        self.httpd.environment = server.environment_of(whole)
        root = self.chosen.server_root or (None if covers(self.httpd.root, whole) else os.path.dirname(whole))
        read = configuration.read(whole, self.httpd.surroundings(root, self.chosen.defines))
        if os.path.realpath(path) in map(os.path.realpath, read.files):
            self.notes.append(f"{path} is a part of {whole}, which is checked.")
            return None
        self.notes.append(f"{whole} does not include {path}: it is checked as if it did, at its end.")
        return path

    def module(self, read: configuration.Configuration, so: str, module: Optional[server.Module]) -> Iterator[Finding]:
        """Does mod_python.so have its package, of its version?"""
        load = next((one for one in read.named("loadmodule") if one.first() == "python_module"), None)
        if load is None:
            return
        yield from server.check(so, module, "LoadModule python_module", (load.file, load.line))

    def users(self, read: configuration.Configuration) -> tuple[access.Identity, access.Identity]:
        """Whom httpd's children run as, and whom code is imported as: the same, unless it is not root who asks."""
        mine = access.own()
        user, group = read.last("user"), read.last("group")
        name = self.chosen.user or (user.first() if user else "")
        is_named = bool(name) and not name.startswith("$")
        try:
            if is_named:
                child = access.identity(name, group.first() if group and not self.chosen.user else None)
            else:
                usual = _users.children_user()
                if usual is None:
                    return mine, mine
                self.notes.append(f"The configuration names no User; httpd's user is taken to be {usual[0]}.")
                child = access.identity(usual[0], None)
        except ValueError as error:
            if isinstance(error, access.NoNumber):
                of = group if error.what == "group" else None if self.chosen.user else user
                file, line = (of.file, of.line) if of else (None, 0)
                remedy = "Write a name, or the number behind #, such as #33."
                self.wrong.append(Finding("MP0001", f"{of.name if of else '--user'}: {error}", file, line, remedy))
            self.notes.append(f"httpd's user is not known: {error}.")
            return mine, mine
        if mine.user == 0 or child.user == mine.user:
            return child, child
        self.notes.append(
            f"Code is imported as {mine.name}, who asks, and what httpd's user {child.name} can reach is told by modes: root could ask the system."
        )
        return child, mine

    def asked(
        self, path: str, root: Optional[str], mine: list[Finding], read: list[str], part: Optional[str]
    ) -> Iterator[Finding]:
        """What httpd itself says of a configuration."""
        if self.chosen.no_httpd:
            return
        foreign = next((file for file in read if files.is_others(file)), None) if os.geteuid() == 0 else None
        if foreign is not None:
            self.notes.append(
                f"httpd -t is not asked: others than root may change {foreign}, and httpd loads what that names."
            )
            return
        answer = self.httpd.test(path, root, self.chosen.defines, part)
        if answer is None:
            self.notes.append("httpd -t is not asked: there is no httpd here that answers.")
            return
        taken, said = answer
        if taken:
            return
        for line in said.splitlines():
            found = re.match(r"(?:AH\d+: )?Syntax error on line (\d+) of (\S+):$", line)
            if found:
                rest = said[said.index(line) + len(line) :].strip().splitlines()
                yield from self._refused(" ".join(rest[:1]), found[2], int(found[1]), mine)
                return
        last = [line for line in said.splitlines() if line.strip() and not re.match("AH00(558|014)", line)]
        if self.is_lone and any(line.startswith("AH00534") for line in last):
            self.notes.append("httpd -t cannot be asked: the configuration loads no MPM.")
            return
        if any(one.code == "MP0013" for one in mine):
            return  # said already, of the line
        for text in last:
            # As this module's own checks name a place.
            found = re.search(r"on line (\d+) of (\S+?): (.*)", text)
            if found and "Syntax error" not in text and ":warn]" not in text:
                yield from self._refused(found[3], found[2], int(found[1]), mine)
                return
        yield Finding("MP0012", last[-1] if last else "httpd -t fails, without a word", path)

    @staticmethod
    def _refused(text: str, file: str, line: int, mine: list[Finding]) -> Iterator[Finding]:
        told = [one for one in mine if one.level == "error" and one.code != "MP0012"]
        if not any((one.file, one.line) == (file, line) for one in told):
            yield Finding("MP0012", text, file, line)


def main(arguments: Sequence[str]) -> int:
    """Run the command; its exit status."""
    check = Check(parser().parse_args(arguments))
    findings = ordered(list(check.findings()))
    tell(findings, check.notes, check.chosen.json)
    return status(findings)
