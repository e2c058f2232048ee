"""Checks by importing: does the code load, as httpd's user, in the interpreter that its requests run in?"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any, Optional

from mod_python._doctor import probe, rules
from mod_python._doctor.access import Access, Identity
from mod_python._doctor.configuration import Configuration, Directive
from mod_python._doctor.findings import Finding
from mod_python._doctor.server import Module
from mod_python._doctor.targets import Target, effective, home_of, interpreter_of

_MOST = 300
_MOST_TIMES_UP = 5
"""So many modules are imported, and so many times may the time be up, before nothing more is imported."""
_OWN = re.compile(r"mod_python(\.|$)")


class Imports:
    """Imports each module once in each way."""

    def __init__(
        self, configuration: Configuration, module: Optional[Module], access: Access, who: Identity, limit: float
    ) -> None:
        self.configuration, self.module, self.access, self.limit = configuration, module, access, limit
        self.who = who
        self.done: dict[probe.Job, probe.Outcome] = {}
        version = module.python + module.threading if module else ""
        self.built = interpreter(version, access)
        here = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        self.package = (module.package if module else "") or here
        self.sources = (module.sources if module else "") or here

    def check(self, all_targets: list[Target]) -> Iterator[Finding]:
        """What cannot be imported."""
        who = self.who
        if who.user == 0:
            yield Finding("MP0009", "nothing is imported: httpd's children are root, or nobody knows whose they are")
            return
        if not self.built:
            version = self.module.python if self.module else ""
            yield Finding(
                "MP0009", f"nothing is imported: there is no Python {version} here, which mod_python.so needs"
            )
            return
        for target in all_targets:
            times_up = sum(outcome.timed_out for outcome in self.done.values())
            if len(self.done) >= _MOST or times_up >= _MOST_TIMES_UP:
                text = f"nothing more is imported, after {len(self.done)} modules and {times_up} times that the time was up"
                yield Finding("MP0009", text, target.directive.file, target.directive.line)
                return
            yield from self.one(target, who)

    def one(self, target: Target, who: Identity) -> Iterator[Finding]:
        """A target."""
        if "$" in target.module or _OWN.match(target.module):
            yield from self._own(target)
            return
        if target.module.startswith("/") and (not os.path.exists(target.module) or self.access.obstacle(target.module)):
            return  # said already
        job = self.job(target)
        if job is None:
            return
        try:
            outcome = self._do(job, who)
            yield from self.told(target, job, outcome, who)
        except OSError as error:
            text = f"nothing is imported for {target.directive.name}: {job.python}: {error.strerror or error}"
            yield Finding("MP0009", text, target.directive.file, target.directive.line)

    def job(self, target: Target) -> Optional[probe.Job]:
        """How a target is imported. None where its PythonHome does not work, which has been said."""
        python = self.built
        home = home_of(self.configuration, target.directive)
        if home is not None:
            python = self.program(home.first())
            if not python:
                return None
        path = effective(self.configuration, "pythonpath", target.directive, target.prefix)
        beside = 0
        if not rules.is_main(self.configuration, target):
            beside = 2 if self._has_own_lock(target) else 1
        folders = self._section_folders(target.directive, path)
        return probe.Job(
            python, target.module, target.object, path.first() if path else "", folders, self.package, beside
        )

    def program(self, home: str) -> str:
        """The Python of a virtual environment; empty where there is none that the user can reach."""
        programs = [os.path.join(home, "bin", name) for name in ("python3", "python")]
        found = next((program for program in programs if os.path.isfile(program)), "")
        return "" if self.access.obstacle(found) else found

    def _section_folders(self, directive: Directive, path: Optional[Directive]) -> tuple[str, ...]:
        """The directory of a `<Directory>` section, which goes to the front of sys.path where no PythonPath is in effect."""
        inner = next((section for section in directive.chain() if section.name == "directory"), None)
        if path is not None or inner is None or re.search(r"^~|[*?\[]", inner.argument):
            return ()
        return (inner.argument,)

    def _has_own_lock(self, target: Target) -> bool:
        name = interpreter_of(self.configuration, target)
        if any(one.first() == name for one in self.configuration.named("pythoninterpreterpool")):
            return True
        said = ""
        for one in self.configuration.named("pythoninterpretergil"):
            found = one.words()
            if len(found) > 1 and found[1] == name:
                return found[0].lower() == "own"
            if len(found) == 1 and one.host() in (None, target.directive.host()):
                said = found[0].lower()
        return said == "own"

    def _do(self, job: probe.Job, who: Identity) -> probe.Outcome:
        if job not in self.done:
            self.done[job] = probe.run(job, who, self.limit)
        return self.done[job]

    def _own(self, target: Target) -> Iterator[Finding]:
        """A module of this package: it need not be run to see whether it is there."""
        if "$" in target.module or not _OWN.match(target.module):
            return
        base = os.path.join(self.sources, *target.module.split("."))
        if not os.path.isfile(base + ".py") and not os.path.isdir(base):
            text = f"{target.directive.name}: there is no module {target.module} in this package"
            yield Finding("MP0005", text, target.directive.file, target.directive.line)

    def told(self, target: Target, job: probe.Job, outcome: probe.Outcome, who: Identity) -> Iterator[Finding]:
        """What an outcome means."""
        directive = target.directive
        where = (directive.file, directive.line)
        name = f"{directive.name} {target.module}"
        if outcome.timed_out:
            yield Finding("MP0007", f"{name}: after {self.limit:g} seconds it is still being imported", *where)
            return
        answer = outcome.answer
        if answer is None:
            ended = f"signal {-outcome.status}" if outcome.status < 0 else f"status {outcome.status}"
            text = f"{name}: the process that imports it ends with {ended}, without a word"
            yield Finding("MP0008", text, *where, more=outcome.said.strip()[-600:])
            return
        if answer["ok"]:
            second = outcome.answers[1] if len(outcome.answers) > 1 else answer
            if not second["ok"]:
                text = f"{name}: one interpreter can import it, a second one cannot: {_said(second)}"
                yield Finding("MP0026", text, *where)
            return
        if job.beside and answer.get("stage") == "import":
            plain = self._do(probe.Job(**{**vars(job), "beside": 0}), who).answer
            if plain is not None and plain["ok"]:
                interpreter = interpreter_of(self.configuration, target)
                text = f"{name} cannot be imported in the interpreter {interpreter}: {_said(answer)}"
                yield Finding("MP0025", text, *where, more=_frames(answer))
                return
        yield from self._failed(target, answer, name)

    def _failed(self, target: Target, answer: dict[str, Any], name: str) -> Iterator[Finding]:
        where = (target.directive.file, target.directive.line)
        stage = answer.get("stage")
        if stage == "path":
            yield Finding("MP0005", f"PythonPath of {name} cannot be evaluated: {_said(answer)}", *where)
        elif stage == "object":
            if target.directive.key == "pythonhandlermodule":
                return
            first = target.module.partition(".")[0]
            # Names of Python 3.9's library are not to be had.
            hides = first in getattr(sys, "stdlib_module_names", ())
            remedy = (
                f"{first} is a module of Python's own library, which comes first: call yours otherwise."
                if hides
                else ""
            )
            yield Finding("MP0006", f"{name}: {_said(answer)}", *where, remedy=remedy)
        else:
            file, line = answer.get("file", ""), answer.get("line", 0)
            place = f" (line {line} of {file})" if file and line else ""
            remedy = self._remedy(answer)
            yield Finding("MP0005", f"{name}: {_said(answer)}{place}", *where, remedy=remedy, more=_frames(answer))

    def _remedy(self, answer: dict[str, Any]) -> str:
        text = str(answer.get("text", ""))
        if answer.get("type") == "PermissionError":
            return f"{self.who.name} may not read or write what is named; give it the right, or another place."
        if "No module named" in text:
            return ""
        return f"Its text says what it needs; the import is tried as {self.who.name}."


def _said(answer: dict[str, Any]) -> str:
    text = " ".join(str(answer.get("text", "")).split())[:400]
    return f"{answer.get('type', 'an error')}: {text}" if text else str(answer.get("type", "an error"))


def _frames(answer: dict[str, Any]) -> str:
    """Where it comes from, the innermost last."""
    frames = [frame for frame in answer.get("frames", []) if isinstance(frame, list) and len(frame) == 3]
    return "\n".join(f"{file}:{line}: in {name}" for file, line, name in frames[-6:]) if len(frames) > 1 else ""


def interpreter(version: str, access: Access) -> str:
    """The path of a Python of a version (`3.11`, or empty for any) that httpd's user can reach; empty where there is none."""
    own = str(getattr(sys, "_base_executable", None) or sys.executable)
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}{'t' if 't' in getattr(sys, 'abiflags', '') else ''}"
    wanted = version or mine
    places = [f"{folder}/python{wanted}" for folder in ("/usr/bin", "/usr/local/bin")]
    places += [own] if wanted == mine else []
    places.append(shutil.which(f"python{wanted}") or "")
    return next((place for place in places if os.access(place, os.X_OK) and not access.obstacle(place)), "")
