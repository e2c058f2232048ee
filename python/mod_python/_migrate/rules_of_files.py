"""What sections for files say of an application. In mod_wsgi an application's requests have its script for a file, so `<Directory>` and `<Files>`
hold for them; here they have none, and what such sections say has to go over to a `<Location>`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mod_python._doctor.lines import quoted
from mod_python._doctor.targets import MAIN, covers
from mod_python._migrate.directives import interpreter
from mod_python._migrate.source import TRANSPARENT, Entry, Section, Source, covers_file

if TYPE_CHECKING:
    from mod_python._migrate.wsgi import Alias, Translator

_DOORS = (
    "require",
    "order",
    "allow",
    "deny",
    "satisfy",
    "sslrequiressl",
    "sslrequire",
    "sslverifyclient",
    "sslverifydepth",
)
_SETTINGS = (
    "setenv", "passenv", "unsetenv", "setenvif", "setenvifnocase", "limitrequestbody", "header", "requestheader",
    "setoutputfilter", "setinputfilter", "addoutputfilterbytype", "ssloptions", "expiresactive", "expiresdefault",
)  # fmt: skip
BLOCKS = ("requireall", "requireany", "requirenone", "limit", "limitexcept")
_CONDITIONS = ("if", "elseif", "else")
_OPEN = re.compile(r"require\s+all\s+granted|order\s+\S+|allow\s+from\s+all", re.I)
_ABOUT_FILES = ("directory", "directorymatch", "files", "filesmatch")


def sections(translator: Translator, mine: list[Alias]) -> list[str]:
    """The `<Location>`s that a virtual host's applications need, the shortest path first, since later ones cover earlier ones."""
    made: list[str] = []
    apart = len({alias.url for alias in mine}) > 1
    for alias in sorted(mine, key=lambda alias: len(alias.url.rstrip("/"))):
        body = _settings(translator, alias, apart)
        doors = _doors(translator, alias)
        opening = _opening(alias)
        if body:
            made += [opening, *(f"    {line}" for line in body), opening.split()[0].replace("<", "</") + ">"]
        for door in doors:
            made += [opening, *(f"    {line}" for line in door), opening.split()[0].replace("<", "</") + ">"]
    return made


def _opening(alias: Alias) -> str:
    url = alias.url.rstrip("/") or "/"
    if alias.is_match:
        return f"<LocationMatch {quoted(url if url.startswith('^') else '^' + url)}>"
    return f"<Location {quoted(url)}>"


def _settings(translator: Translator, alias: Alias, apart: bool) -> list[str]:
    made = []
    group = translator.setting(alias, "wsgiapplicationgroup", "application-group")
    in_place = _is_in_place(translator, alias, "wsgiapplicationgroup")
    name = interpreter(group) if group else ""
    if "application-group" in alias.options or not in_place:
        if name:
            made.append(f"PythonInterpreter {quoted(name)}")
        elif apart and name is not None and group.lower() != "%{server}":
            own = re.sub(r"[^\w.-]+", "-", f"{_host_name(alias)}{alias.url}").strip("-") or MAIN
            text = f"{alias.url} had an interpreter of its own; so it has here, by the name {own}"
            translator.say("MP1007", alias.source, alias.entry, text)
            made.append(f"PythonInterpreter {quoted(own)}")
    passes = translator.setting(alias, "wsgipassauthorization").lower() == "on"
    if passes and not _is_in_location(translator, alias, "wsgipassauthorization"):
        made.append("CGIPassAuth On")
    stays = translator.setting(alias, "wsgiscriptreloading").lower() == "off"
    if stays and not _is_in_place(translator, alias, "wsgiscriptreloading"):
        made.append("PythonAutoReload Off")
    return made


def _is_in_place(translator: Translator, alias: Alias, name: str) -> bool:
    """Does a directive that holds for an application stand where it still does: outside sections, or in a <Location>?"""
    return any(
        entry.name == name and not any(section.name in _ABOUT_FILES for section in entry.inner())
        for _, entry in translator.covering(alias)
    )


def _is_in_location(translator: Translator, alias: Alias, name: str) -> bool:
    return any(
        entry.name == name and entry.inner() and not any(section.name in _ABOUT_FILES for section in entry.inner())
        for _, entry in translator.covering(alias)
    )


def _host_name(alias: Alias) -> str:
    host = alias.entry.host()
    for entry in alias.source.lines:
        if entry.name == "servername" and entry.host() is host and entry.words():
            return entry.words()[0].split(":")[0]
    return "site"


def covers_url(inner: list[Section], url: str) -> bool:
    """Does a `<Location>` hold for all of an application's URLs?"""
    return (
        len(inner) == 1
        and inner[0].name == "location"
        and not inner[0].argument.startswith("~")
        and is_below(url, inner[0].argument)
    )


def is_below(url: str, other: str) -> bool:
    """Is a URL another one, or below it?"""
    return covers(other.rstrip("/") or "/", url.rstrip("/") or "/") or other.rstrip("/") == ""


def _doors(translator: Translator, alias: Alias) -> list[list[str]]:
    """What goes over from sections for the script, each section's lines by themselves, as httpd merges them."""
    found: list[tuple[Section, Source, list[Entry]]] = []
    host = alias.entry.host()
    for source in translator.sources:
        for section in _all_sections(source):
            around = section.chain()
            own_host = next((one for one in around if one.name == "virtualhost"), None)
            inner = [one for one in around if one.name != "virtualhost"]
            if section.name in _ABOUT_FILES and own_host in (None, host) and covers_file(inner, _script(alias)):
                found.append((section, source, _own_lines(source, section)))
        if source.path.endswith("/.htaccess") and covers(source.path[: -len("/.htaccess")], _script(alias)):
            section = Section("directory", source.path[: -len("/.htaccess")], None, 0, len(source.lines))
            entries = [entry for entry in source.lines if not entry.chain() and entry.name]
            one = (section, source, entries)
            # One that lets in may not be read at all: AllowOverride decides.
            if source.path in translator.closed_files or (_authorizes(entries) and not _is_open(translator, one)):
                found.append(one)
    found.sort(key=lambda one: (one[0].name.startswith("files"), len(one[0].argument)))
    authorizing = [one for one in found if _authorizes(one[2])]
    merges = any(entry.name == "authmerging" and entry.rest.lower() != "off" for one in found for entry in one[2])
    closes = bool(authorizing) and (merges or not _is_open(translator, authorizing[-1]))
    doors = []
    for section, source, entries in found:
        lines = _carried(translator, source, section, entries, closes)
        if lines:
            doors.append(lines)
            text = f"<{section.name.capitalize()} {section.argument}> does not hold for {alias.url}, whose requests have no file; it is repeated as {_opening(alias)}"
            translator.say("MP1008", source, source.lines[section.place], text)
    return doors


def _script(alias: Alias) -> str:
    return alias.path + "script.wsgi" if alias.is_folder else alias.path


def _all_sections(source: Source) -> list[Section]:
    found: dict[Section, None] = {}
    for entry in source.lines:
        for section in entry.section.chain() if entry.section else []:
            found.setdefault(section)
    return list(found)


def _own_lines(source: Source, section: Section) -> list[Entry]:
    """A section's lines, with the blocks in it, without the sections in it."""
    end = section.end if section.end > 0 else len(source.lines)
    entries, skipped = [], None
    for entry in source.lines[section.place + 1 : end]:
        name = entry.name.lstrip("</")
        if skipped is not None:
            skipped = None if entry.name == f"</{skipped}" else skipped
        elif entry.name.startswith("<") and not entry.name.startswith("</") and name in _ABOUT_FILES:
            skipped = name
        else:
            entries.append(entry)
    return entries


def _authorizes(entries: list[Entry]) -> bool:
    return any(
        entry.name in _DOORS or entry.name.startswith("wsgiauth") or entry.name == "wsgiaccessscript"
        for entry in entries
    )


def _is_open(translator: Translator, one: tuple[Section, Source, list[Entry]]) -> bool:
    """Does a section let everybody in?"""
    section, source, entries = one
    if section in translator.closed or source.path in translator.closed_files:
        return False
    said = [entry for entry in entries if entry.name in _DOORS]
    return all(_OPEN.fullmatch(" ".join(entry.text.split())) for entry in said) and not any(
        entry.name in ("<limit", "<limitexcept", "<requirenone", "<if", "<elseif", "<else") for entry in entries
    )


def _carried(translator: Translator, source: Source, section: Section, entries: list[Entry], closes: bool) -> list[str]:
    if section in translator.closed or source.path in translator.closed_files:
        return ["Require all denied"]
    made: list[str] = []
    kept = False
    for entry in entries:
        name = entry.name.lstrip("</")
        is_door = entry.name in _DOORS or entry.name.startswith("auth")
        if (is_door and closes) or entry.name in _SETTINGS:
            kept = True
        elif (
            not entry.name.startswith("<")
            or name not in (*BLOCKS, *TRANSPARENT, *_CONDITIONS)
            or (name.startswith("require") and not closes)
        ):
            continue
        made += translator.made.replaced.get((source.path, entry.place), [line.strip() for line in entry.raw])
    return [line.strip() for line in made if line.strip()] if kept else []
