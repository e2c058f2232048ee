"""Checks of what the configuration says: names, handlers, applications, interpreters, modules beside us, the MPM."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from typing import Optional

from mod_python._doctor import names
from mod_python._doctor.configuration import Configuration, Directive, Section
from mod_python._doctor.findings import Finding
from mod_python._doctor.targets import HANDLERS, MAIN, Target, covers, effective, host_name, interpreter_of

_FOR_ALL = ("all granted", "all denied")
_HANDLER_FLAG = re.compile(r"\bH(?:andler)?=(?:mod_python|python-program)\b", re.I)


def check(configuration: Configuration, all_targets: list[Target]) -> Iterator[Finding]:
    """All of it."""
    yield from unknown(configuration)
    yield from lonely(configuration)
    yield from twice(all_targets)
    yield from shadowed(configuration, all_targets)
    yield from unused(configuration, all_targets)
    yield from beside(configuration, all_targets)
    yield from unguarded(configuration, all_targets)
    yield from undescribed(configuration, all_targets)
    yield from misspelt(configuration)


def unknown(configuration: Configuration) -> Iterator[Finding]:
    """Directives and options that do not exist."""
    known = {name.lower() for name in names.DIRECTIVES}
    for directive in configuration.directives:
        where = (directive.file, directive.line)
        if directive.key == "pythonoption":
            said = names.option(directive.first())
            if said:
                remedy = f"Write {said[len('did you mean ') : -1]}." if said.endswith("?") else ""
                yield Finding("MP0010", f"PythonOption {directive.first()} is not known: {said}", *where, remedy=remedy)
        elif directive.key.startswith("python") and directive.key not in known:
            meant = names.nearest(directive.name, names.DIRECTIVES, 2 + len(directive.name) // 4)
            text = f"{directive.name} is no directive" + (f": did you mean {meant}?" if meant else "")
            yield Finding("MP0011", text, *where, remedy=f"Write {meant}." if meant else "")


def _is_ours(directive: Directive) -> bool:
    return directive.first().lower() in HANDLERS


def lonely(configuration: Configuration) -> Iterator[Finding]:
    """SetHandler without PythonHandler, and the reverse."""
    # Handlers of earlier phases may add one with req.add_handler(), or set req.handler.
    asks = [one for one in configuration.directives if one.key.startswith("python") and "handler" in one.key]
    sets = [one for one in configuration.named("sethandler", "addhandler", "forcetype") if _is_ours(one)]
    sets += [one for one in configuration.named("rewriterule") if _HANDLER_FLAG.search(one.raw)]
    for one in sets:
        if one.key == "sethandler" and not any(_meet(configuration, one, ask) for ask in asks):
            yield Finding("MP0014", f"SetHandler {one.first()} is here, and no PythonHandler", one.file, one.line)
    for ask in asks:
        if ask.key == "pythonhandler" and not any(_meet(configuration, ask, one) for one in sets):
            text = f"PythonHandler {ask.raw} is never called: neither SetHandler nor AddHandler says mod_python here"
            yield Finding("MP0015", text, ask.file, ask.line)


def _meet(configuration: Configuration, one: Directive, other: Directive) -> bool:
    """Can both hold for one request? Where that depends on patterns, or on names of files, they may."""
    hosts = {one.host(), other.host()} - {None}
    if len(hosts) > 1:
        return False
    mine, its = _inner(one), _inner(other)
    if mine is None or its is None or mine is its:
        return True
    if _is_plain(mine) and _is_plain(its) and mine.name == its.name:
        return covers(mine.argument, its.argument) or covers(its.argument, mine.argument)
    if {mine.name, its.name} == {"location", "directory"} and _is_plain(mine) and _is_plain(its):
        location, folder = (mine, its) if mine.name == "location" else (its, mine)
        return _may_map(configuration, location, folder)
    return True


def _inner(directive: Directive) -> Optional[Section]:
    return next((section for section in directive.chain() if section.name in ("location", "directory")), None) or next(
        (section for section in directive.chain() if section.name != "virtualhost"), None
    )


def _is_plain(section: Section) -> bool:
    return section.name in ("location", "directory") and not re.search(r"^~|[*?\[]", section.argument)


def _may_map(configuration: Configuration, location: Section, folder: Section) -> bool:
    """May a URI of the location be a file of the directory?"""
    roots = [(one.first(), "/") for one in configuration.named("documentroot")]
    roots += [(found[1], found[0]) for one in configuration.named("alias") for found in [one.words()] if len(found) > 1]
    for root, uri in roots:
        path = os.path.join(root, location.argument[len(uri.rstrip("/")) :].lstrip("/")).rstrip("/")
        if covers(uri, location.argument) and (covers(path, folder.argument) or covers(folder.argument, path)):
            return True
        if covers(location.argument, uri) and (covers(root, folder.argument) or covers(folder.argument, root)):
            return True
    return False


def twice(all_targets: list[Target]) -> Iterator[Finding]:
    """Two applications at one place of one server."""
    seen: dict[tuple[Optional[Section], str, bool], Directive] = {}
    for target in all_targets:
        if not target.is_application:
            continue
        place = target.directive.first() if target.is_pattern else target.prefix or ""
        key = (target.directive.host(), place, target.is_pattern)
        other = seen.setdefault(key, target.directive)
        if other is not target.directive:
            text = f"{place or '/'} has an application already, on line {other.line} of {other.file}"
            yield Finding("MP0016", text, target.directive.file, target.directive.line)


def shadowed(configuration: Configuration, all_targets: list[Target]) -> Iterator[Finding]:
    """Applications that something else always comes before."""
    for target in all_targets:
        if not target.is_application or target.prefix is None:
            continue
        directive, place = target.directive, target.prefix or "/"
        for other in configuration.named("alias", "scriptalias", "proxypass", "redirect", "sethandler"):
            if other.host() not in (None, directive.host()):
                continue
            said = _takes(configuration, other, place)
            if said:
                text = f"the application at {place} is never asked: {said}, on line {other.line} of {other.file}"
                yield Finding("MP0017", text, directive.file, directive.line)
                break


def _takes(configuration: Configuration, other: Directive, place: str) -> str:
    section, found = _inner(other), other.words()
    if other.key == "sethandler":
        same = section is not None and section.name == "location" and section.argument.rstrip("/") == place.rstrip("/")
        return f"<Location {place}> has a SetHandler" if same and _is_plain_path(section) else ""
    if section is not None:
        return ""
    if other.key == "redirect":
        found = found[1:] if len(found) == 3 else found
    if len(found) < 2 or not covers(found[0], place) or found[1] == "!":
        return ""
    if other.key == "proxypass":
        # `ProxyPass /path !` in front of it, or a longer path, leaves a part out.
        for one in configuration.named("proxypass"):
            words = one.words()
            if len(words) > 1 and words[1] == "!" and one.host() is other.host() and covers(words[0], place):
                return ""
    if other.key in ("alias", "scriptalias") and found[0] == "/" and place != "/" and not os.path.isdir(found[1]):
        return ""
    return f"{other.name} {found[0]} comes first"


def _is_plain_path(section: Optional[Section]) -> bool:
    return section is not None and _is_plain(section)


def unused(configuration: Configuration, all_targets: list[Target]) -> Iterator[Finding]:
    """Interpreters that PythonImport alone names."""
    flags = configuration.named("pythoninterpperdirectory", "pythoninterpperdirective")
    if any(one.first().lower() == "on" for one in flags):
        return
    used = {one.first() for one in configuration.named("pythoninterpreter", "pythoninterpreterpool")}
    used |= {interpreter_of(configuration, target) for target in all_targets if target.interpreter is None}
    for one in configuration.named("sethandler", "addhandler"):
        if _is_ours(one):
            named = effective(configuration, "pythoninterpreter", one)
            used.add(named.first() if named else host_name(configuration, one.host()))
    for target in all_targets:
        name = target.interpreter
        if name is None or name in used or name.split("#")[0] in used:
            continue
        near = names.nearest(name, tuple(sorted(used)), 2) if used else None
        others = near or ", ".join(sorted(used)[:5])
        remedy = f"Requests run in: {others}." if others else ""
        text = f"no request runs in the interpreter {name}, which PythonImport names"
        yield Finding("MP0018", text, target.directive.file, target.directive.line, remedy=remedy)


def beside(configuration: Configuration, all_targets: list[Target]) -> Iterator[Finding]:
    """Debian's mod_python or mod_wsgi beside us, or no module at all."""
    loads = configuration.named("loadmodule")
    ours = [one for one in loads if one.first() == "python_module"]
    for one in loads:
        if one.first() == "wsgi_module" and ours:
            yield Finding("MP0019", "mod_wsgi is loaded beside mod_python", one.file, one.line)
    for one in ours[1:]:
        text = f"python_module is loaded already, on line {ours[0].line} of {ours[0].file}; this line has no effect"
        yield Finding("MP0019", text, one.file, one.line)
    if not ours and all_targets:
        first = all_targets[0].directive
        yield Finding("MP0028", f"{first.name} is here, and nothing loads python_module", first.file, first.line)


def is_main(configuration: Configuration, target: Target) -> bool:
    """Does a target's code run in the main interpreter?"""
    flags = ("pythoninterpperdirectory", "pythoninterpperdirective")
    for flag in flags if target.interpreter is None else ():
        found = effective(configuration, flag, target.directive, target.prefix)
        if found is not None and found.first().lower() == "on":
            return False
    return interpreter_of(configuration, target) == MAIN


def unguarded(configuration: Configuration, all_targets: list[Target]) -> Iterator[Finding]:
    """Applications whose file lies under rules that do not hold for them, as they did with mod_wsgi."""
    rules = [one for one in configuration.named("require") if " ".join(one.words()[:2]).lower() not in _FOR_ALL]
    for target in all_targets:
        if not target.is_application or not target.module.startswith("/") or target.prefix is None:
            continue
        directive, prefix = target.directive, target.prefix or "/"
        near = [one for one in rules if one.host() in (None, directive.host())]
        if any(
            section.name == "location" and covers(section.argument, prefix) for one in near for section in one.chain()
        ):
            continue
        for one in near:
            section = next((section for section in one.chain() if section.name in ("directory", "files")), None)
            if section is not None and _is_for(section, target.module):
                place = f"<{section.name.capitalize()} {section.argument}>"
                text = f"`Require {one.raw}` of {place}, on line {one.line} of {one.file}, does not hold for the application at {prefix}"
                yield Finding("MP0033", text, directive.file, directive.line)
                break


def _is_for(section: Section, path: str) -> bool:
    """Is a section for a file?"""
    folders = [one for one in section.chain() if one.name == "directory"]
    if not all(_is_plain(one) and covers(one.argument, os.path.dirname(path)) for one in folders):
        return False
    return section.name == "directory" or fnmatch.fnmatchcase(os.path.basename(path), section.argument)


def misspelt(configuration: Configuration) -> Iterator[Finding]:
    """Keys of daemons that there are not: httpd itself ends at the first line that has one."""
    for directive in configuration.named("pythondaemon"):
        keys = [word.partition("=")[0] for word in directive.words()[1:] if "=" in word]
        wrong = [said for said in map(names.daemon_key, keys) if said]
        if wrong:
            yield Finding("MP0012", f"PythonDaemon: {'; '.join(wrong)}", directive.file, directive.line)


def undescribed(configuration: Configuration, all_targets: list[Target]) -> Iterator[Finding]:
    """Daemons that are named where something is to run in them, and nowhere else."""
    described = [one.first() for one in configuration.named("pythondaemon")]
    for target in all_targets:
        if target.daemon and target.daemon not in described:
            meant = names.nearest(target.daemon, tuple(described), 2 + len(target.daemon) // 4)
            text = f"there is no PythonDaemon {target.daemon}" + (f": did you mean {meant}?" if meant else "")
            yield Finding("MP0034", text, target.directive.file, target.directive.line)
