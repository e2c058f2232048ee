"""Applications that run in daemons: looked at and imported as the daemon's user, with its environment and its path."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Optional

from mod_python._doctor import access, places, probe, server
from mod_python._doctor.configuration import Configuration, Directive
from mod_python._doctor.findings import Finding
from mod_python._doctor.imports import Imports
from mod_python._doctor.lines import quoted
from mod_python._doctor.targets import Target


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A PythonDaemon, and what runs in it."""

    directive: Directive
    name: str
    options: dict[str, str]
    """Of a key that may come again, the last."""
    targets: list[Target]


def split(read: Configuration, all_targets: list[Target]) -> tuple[list[Target], list[Daemon]]:
    """What httpd's children import themselves, and what daemons do."""
    daemons: dict[str, Daemon] = {}
    for directive in read.named("pythondaemon"):
        found = directive.words()
        pairs = (word.partition("=") for word in found[1:])
        if found:
            options = {key: value for key, equals, value in pairs if equals}
            daemons.setdefault(found[0], Daemon(directive, found[0], options, []))
    own: list[Target] = []
    for target in all_targets:
        daemon = daemons.get(target.daemon)
        (daemon.targets if daemon else own).append(target)
    return own, list(daemons.values())


def check(
    daemon: Daemon, read: Configuration, module: Optional[server.Module], child: access.Identity, limit: Optional[float]
) -> Iterator[Finding]:
    """What a daemon's user cannot reach or import; `child` is httpd's user, and without a limit nothing is imported."""
    options, where = daemon.options, (daemon.directive.file, daemon.directive.line)
    try:
        user = access.identity(options["user"], options.get("group")) if "user" in options else child
    except ValueError as error:
        yield Finding("MP0001", f"PythonDaemon {daemon.name}: {error}", *where)
        return
    if "module" in options:
        module = server.module(options["module"])
        wrong = list(server.check(options["module"], module, f"PythonDaemon {daemon.name}", where))
        yield from wrong
        if wrong:
            # It does not start.
            return
    found = access.Access(user, "the daemon's user")
    python = module.python if module else ""
    if "python-home" in options:
        yield from places.home(_written(daemon, "PythonHome", options["python-home"]), found, python)
    for folder in _folders(daemon):
        directive = _written(daemon, "PythonPath", folder)
        yield from places.reached(directive, folder, found, "MP0003", f"PythonDaemon {daemon.name} names")
    for target in daemon.targets:
        if target.module.startswith("/") and "$" not in target.module:
            yield from places.reached(
                target.directive, target.module, found, "MP0002", f"{target.directive.name} names"
            )
    if limit is not None:
        # Who is not root imports as himself.
        who = user if os.geteuid() == 0 else access.own()
        yield from Theirs(daemon, read, module, found, who, limit).check(daemon.targets)


def _written(daemon: Daemon, name: str, value: str) -> Directive:
    return dataclasses.replace(daemon.directive, name=name, raw=quoted(value))


def _folders(daemon: Daemon) -> list[str]:
    found = [folder for folder in daemon.options.get("python-path", "").split(":") if folder]
    return [*found, *([daemon.options["working-directory"]] if "working-directory" in daemon.options else [])]


class Theirs(Imports):
    """Imports as a daemon does: all of it in its main interpreter."""

    def __init__(
        self, daemon: Daemon, read: Configuration, module: Optional[server.Module], found: access.Access,
        who: access.Identity, limit: float,
    ) -> None:  # fmt: skip
        super().__init__(read, module, found, who, limit)
        self.daemon = daemon

    def job(self, target: Target) -> Optional[probe.Job]:
        """How a target is imported. None where the environment does not work, which has been said."""
        job = super().job(target) if "python-home" not in self.daemon.options else None
        python = job.python if job else self.program(self.daemon.options.get("python-home", ""))
        if not python:
            return None
        folders = _folders(self.daemon)
        path = f"{folders!r}+sys.path" if folders else job.path if job else ""
        return probe.Job(python, target.module, target.object, path, (), self.package)
