"""What sections for files say of an application. In mod_wsgi an application's requests have its script for a file, so `<Directory>` and `<Files>`
hold for them; here they have none, and what such sections say has to go over to a `<Location>`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

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
_DOUBTFUL = ("limit", "limitexcept", "requirenone", "ifdefine", "iffile", "ifdirective", "ifsection", *_CONDITIONS)
"""Containers whose rules hold for a part of the requests, or of the servers: who lets in there does not let in everybody."""
_NO_PLACES = ("virtualhost", "macro")
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
    if alias.daemon:
        others = [one for one in translator.aliases if one.daemon == alias.daemon and one.url != alias.url]
        if others and name != MAIN:
            text = f"{alias.url} shares the interpreter of the daemon {alias.daemon} with {others[0].url}: a PythonDaemon for each keeps them apart"
            translator.say("MP1007", alias.source, alias.entry, text)
    elif "application-group" in alias.options or not in_place:
        if name is None and "application-group" in alias.options:
            text = f"{group} is not translated: an interpreter has a name that is written"
            translator.say("MP1004", alias.source, alias.entry, text)
        if name:
            made.append(f"PythonInterpreter {quoted(name)}")
        elif apart and name is not None and group.lower() != "%{server}":
            own = re.sub(r"[^\w.-]+", "-", f"{host_name(alias)}{alias.url}").strip("-") or MAIN
            text = f"{alias.url} had an interpreter of its own; so it has here, by the name {own}"
            translator.say("MP1007", alias.source, alias.entry, text)
            made.append(f"PythonInterpreter {quoted(own)}")
    passes = translator.setting(alias, "wsgipassauthorization").lower() == "on"
    if passes and not _is_in_location(translator, alias, "wsgipassauthorization"):
        made.append("CGIPassAuth On")
    stays = translator.setting(alias, "wsgiscriptreloading").lower() == "off"
    if stays and not alias.daemon and not _is_in_place(translator, alias, "wsgiscriptreloading"):
        made.append("PythonAutoReload Off")
    return made


def _is_in_place(translator: Translator, alias: Alias, name: str) -> bool:
    """Does a directive that holds for an application stand where it still does: outside sections, or in a <Location>?"""
    return any(entry.name == name and not is_of_files(source, entry) for source, entry in translator.covering(alias))


def _is_in_location(translator: Translator, alias: Alias, name: str) -> bool:
    return any(
        entry.name == name and entry.inner() and not is_of_files(source, entry)
        for source, entry in translator.covering(alias)
    )


def is_of_files(source: Source, entry: Entry) -> bool:
    """Does it stand in a section for files or directories, or in a .htaccess file? An application's requests have no file here."""
    return bool(source.folder()) or any(section.name in _ABOUT_FILES for section in entry.inner())


def host_name(alias: Alias) -> str:
    """The name of an application's virtual host; `site` where it has none."""
    return server_name(alias.source, alias.entry.host()) or "site"


def server_name(source: Source, host: Optional[Section]) -> str:
    """ServerName of a virtual host, or of what is outside of all."""
    for entry in source.lines:
        if entry.name == "servername" and entry.host() is host and entry.words():
            return entry.words()[0].split("://")[-1].split(":")[0]
    return ""


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
    found = sorted(_concerned(translator, alias), key=lambda one: _rank(one[0]))
    authorizing = [one for one in found if _authorizes(one[2])]
    merges = any(entry.name == "authmerging" and entry.rest.lower() != "off" for one in found for entry in one[2])
    conditional = any(_conditions(one[0], alias) for one in authorizing)
    closes = bool(authorizing) and (merges or conditional or not _is_open(translator, authorizing[-1]))
    doors = []
    for section, source, entries in found:
        lines = _carried(translator, source, section, entries, closes)
        if lines:
            # What holds under a condition must not hold without it: it might let in.
            for around in _conditions(section, alias):
                lines = [source.lines[around.place].text, *(f"    {line}" for line in lines), f"</{around.name}>"]
            doors.append(lines)
            text = f"<{section.name.capitalize()} {section.argument}> does not hold for {alias.url}, whose requests have no file; it is repeated as {_opening(alias)}"
            translator.say("MP1008", source, source.lines[section.place], text)
    for section, source in _of_parts(translator, alias):
        text = f"<{section.name.capitalize()} {section.argument}> is about a part of {alias.url}, which stays closed"
        remedy = "Say it in a <LocationMatch> for that part, and remove the `Require all denied`."
        translator.say("MP1003", source, source.lines[section.place], text, remedy)
        doors.append(["# Closed: rules for files in it are to be written anew.", "Require all denied"])
        break
    return doors


def _concerned(translator: Translator, alias: Alias) -> Iterator[tuple[Section, Source, list[Entry]]]:
    """The sections that hold for an application's script, with their lines."""
    for source in translator.sources:
        if not source.is_about(_script(alias)):
            continue
        for section in _for_files(source, alias):
            inner = [one for one in section.chain() if one.name not in _NO_PLACES]
            if covers_file(inner, _script(alias)):
                yield section, source, _own_lines(source, section)
        folder = source.folder()
        if folder:
            section = Section("directory", folder, None, 0, len(source.lines))
            entries = [entry for entry in source.lines if not entry.chain() and entry.name]
            one = (section, source, entries)
            # One that lets in may not be read at all: AllowOverride decides.
            if source.path in translator.closed_files or (_authorizes(entries) and not _is_open(translator, one)):
                yield one


def _for_files(source: Source, alias: Alias) -> Iterator[Section]:
    """The sections for files of an application's virtual host, and of what is outside of all."""
    host = alias.entry.host()
    for section in _all_sections(source):
        own_host = next((one for one in section.chain() if one.name == "virtualhost"), None)
        if section.name in _ABOUT_FILES and own_host in (None, host):
            yield section


def _of_parts(translator: Translator, alias: Alias) -> Iterator[tuple[Section, Source]]:
    """Sections that close a part of what an alias for many files takes."""
    if not alias.is_folder and "$" not in alias.path:
        return
    base = os.path.dirname(alias.path.split("$")[0])
    try:
        names = os.listdir(base)[:10_000]
    except OSError:
        names = []
    for source in translator.sources:
        for section in _for_files(source, alias):
            one = (section, source, _own_lines(source, section))
            if not _authorizes(one[2]) or _is_open(translator, one):
                continue
            inner = [part for part in section.chain() if part.name not in _NO_PLACES]
            if source.is_about(_script(alias)) and covers_file(inner, _script(alias)):
                continue
            folder = source.folder()
            if folder and not covers(folder, base) and not covers(base, folder):
                continue
            is_below = any(
                part.name == "directory" and covers(base, part.argument) and part.argument.rstrip("/") != base
                for part in inner
            )
            if is_below or any(covers_file(inner, os.path.join(base, name)) for name in names):
                yield section, source


def _conditions(section: Section, alias: Alias) -> list[Section]:
    """The conditions that a section stands under and an application does not, the innermost first."""
    return [one for one in _around(section) if one.name in TRANSPARENT and one not in _around(alias.entry.section)]


def _around(section: Optional[Section]) -> list[Section]:
    found: list[Section] = []
    while section is not None:
        found.append(section)
        section = section.outer
    return found


def _rank(section: Section) -> tuple[int, int, bool]:
    """In which order httpd merges sections (ap_directory_walk, ap_file_walk)."""
    kind = (
        2
        if section.name.startswith("files")
        else 1
        if section.name.endswith("match") or section.argument.startswith("~")
        else 0
    )
    in_host = any(one.name == "virtualhost" for one in section.chain())
    return kind, len(section.argument.rstrip("/")) if kind == 0 else 0, in_host


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
    if any(entry.name.lstrip("<") in _DOUBTFUL for entry in entries if entry.name.startswith("<")):
        return False
    texts = [" ".join(entry.text.lower().split()) for entry in said]
    return all(_OPEN.fullmatch(text) for text in texts) and bool({"require all granted", "allow from all"} & set(texts))


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
