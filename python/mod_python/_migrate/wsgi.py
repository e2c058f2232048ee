"""Translates mod_wsgi's directives, line by line. What decides who may see an application is never lost: it goes over, or the place stays closed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Optional

from mod_python._doctor.findings import Finding
from mod_python._doctor.lines import quoted
from mod_python._doctor.targets import MAIN
from mod_python._migrate import rules_of_files
from mod_python._migrate.daemons import OPTIONS, PARAMETER, Daemon, is_of_python2, lost, named, variables
from mod_python._migrate.directives import WSGI, interpreter
from mod_python._migrate.source import Entry, Section, Source, covers_file

_KNOWN = {name.lower(): (name, change) for name, change in WSGI.items()}
_DENIES = ("wsgiaccessscript", "wsgiauthuserscript", "wsgiauthgroupscript")
_PROGRAMS = ("addhandler", "sethandler", "addtype", "forcetype")
"""What makes programs of files by their names; mod_wsgi takes a type, too."""
_HEADERS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")
_AUTHORIZES = ("require", "order", "allow", "deny", "satisfy")


@dataclass(eq=False)
class Alias:
    """A WSGIScriptAlias."""

    source: Source
    entry: Entry
    url: str
    path: str
    options: dict[str, str]
    is_match: bool
    daemon: str = ""
    """The name of ours that it runs in."""
    is_left: bool = False
    """Does it stay a comment?"""

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


@dataclass
class Translation:
    """What becomes of all files."""

    findings: list[Finding] = field(default_factory=list)
    replaced: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """By a file's path and an entry's place: the lines that stand for it."""
    behind: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """Lines that come behind an entry."""

    def changed(self, path: str) -> bool:
        """Is anything of a file otherwise?"""
        return any(key[0] == path for key in (*self.replaced, *self.behind))

    def text(self, source: Source) -> str:
        """A file anew."""
        made: list[str] = []
        for entry in source.lines:
            key = (source.path, entry.place)
            new = [*self.replaced.get(key, entry.raw), *self.behind.get(key, [])]
            # As the line before them ends, so do those that stand for it.
            end = "\r" if entry.raw[-1].endswith("\r") else ""
            made += [line.rstrip("\r") + end for line in new]
        return "\n".join(made)


class Translator:
    """Translates files that belong together."""

    def __init__(self, sources: list[Source], module: list[str]) -> None:
        self.sources, self.module = sources, module
        self.made = Translation()
        self.closed: set[Section] = set()
        self.closed_files: set[str] = set()
        self.aliases: list[Alias] = []
        self.daemons: dict[str, list[Daemon]] = {}
        """By their names; there are several of one in the branches of a condition."""
        self.handlers = {"wsgi-script", "application/x-httpd-wsgi"}
        self.homes: list[str] = []
        self._covering: dict[Alias, list[tuple[Source, Entry]]] = {}
        self._covered: set[Entry] = set()
        """What holds for any application."""
        self._blocks_of: dict[str, list[tuple[Optional[Section], list[Section], list[Entry]]]] = {}

    def translate(self) -> Translation:
        """Do it."""
        for source in self.sources:
            for entry in source.lines:
                self._collect(source, entry)
        for alias in self.aliases:
            alias.is_left = self._is_refused(alias)
            self._covered.update(entry for _, entry in self.covering(alias))
        for alias in self.aliases:
            if not alias.is_left:
                self._assign(alias)
        for source in self.sources:
            for entry in source.lines:
                if entry.name in _KNOWN:
                    self._directive(source, entry)
                elif entry.name.startswith("wsgi"):
                    text = f"{entry.written} is not translated: it is none of mod_wsgi's that is known here"
                    self.say("MP1004", source, entry, text, "See what mod_wsgi's documentation says of it.")
                    self.put(source, entry)
                else:
                    self._other(source, entry)
        self._close()
        for source in self.sources:
            for host in self._hosts(source):
                self._scope(source, host)
        return self.made

    def say(self, code: str, source: Source, entry: Entry, text: str, remedy: str = "") -> None:
        """Tell of a line."""
        self.made.findings.append(Finding(code, text, source.path, entry.number, remedy=remedy))

    def put(self, source: Source, entry: Entry, *new: str) -> None:
        """Have lines stand for an entry, which stays as a comment."""
        indent = entry.indent()
        # A backslash at its end would make the next line a part of the comment.
        shown = " ".join(entry.text.split()).rstrip("\\")
        kept = [f"{indent}# mod_wsgi: {shown}"]
        self.made.replaced[source.path, entry.place] = kept + [indent + line for line in new]

    def add(self, source: Source, place: int, new: list[str]) -> None:
        """Have lines come behind an entry."""
        self.made.behind.setdefault((source.path, place), []).extend(new)

    def _collect(self, source: Source, entry: Entry) -> None:
        found = entry.words()
        if entry.name in ("wsgiscriptalias", "wsgiscriptaliasmatch") and len(found) > 1:
            alias = Alias(source, entry, found[0], found[1], _options(found[2:]), entry.name.endswith("match"))
            self.aliases.append(alias)
        elif entry.name == "wsgidaemonprocess" and found:
            same = self.daemons.setdefault(found[0], [])
            others = [one.new_name for all_ in self.daemons.values() for one in all_]
            new_name = same[0].new_name if same else named(found[0], others)
            same.append(Daemon(source, entry, found[0], _options(found[1:]), new_name))
        elif entry.name == "wsgipythonhome" and found:
            self.homes.append(found[0])
        elif entry.name == "wsgihandlerscript" and found:
            self.handlers.add(found[0].lower())

    def _assign(self, alias: Alias) -> None:
        """Choose the daemon that an application runs in, and note what it needs there."""
        group = self.setting(alias, "wsgiprocessgroup", "process-group")
        if group.lower() == "%{server}":
            group = rules_of_files.host_name(alias)
        daemons = self.daemons.get(group, [])
        if "process-group" not in alias.options:
            self._doubtful(alias, group)
        if not daemons:
            if group and group.lower() != "%{global}":
                is_chosen = group.startswith("%{")
                why = "is chosen for each request, which is not translated" if is_chosen else "is not in what was read"
                text = f"the daemon {group} {why}: the application runs in httpd's children"
                self.say(
                    "MP1004", alias.source, alias.entry, text, "Write PythonDaemon, and daemon= behind the application."
                )
            return
        alias.daemon = daemons[0].new_name
        reloads = self.setting(alias, "wsgiscriptreloading").lower() != "off"
        for daemon in daemons:
            if reloads and not alias.is_match and not alias.is_folder:
                daemon.scripts.append(alias.path)
            for _, entry in self.covering(alias):
                daemon.variables += variables(entry)

    def _doubtful(self, alias: Alias, chosen: str) -> None:
        """Tell where a condition decides on the daemon that an application itself does not stand under."""
        own = alias.entry.conditions()
        found: list[tuple[Source, Entry, Section]] = []
        for source, entry in self.covering(alias):
            others = [one for one in entry.conditions() if one not in own and not _is_ours(one)]
            if entry.name == "wsgiprocessgroup" and entry.words() and others and not entry.macro():
                found.append((source, entry, others[0]))
        if len(found) > 1 and len({entry.words()[0] for _, entry, _ in found}) == 1:
            return
        for source, entry, around in found:
            where = f"{source.lines[around.place].written} {around.argument}>"
            text = f"{entry.text} holds in {where} alone, and {alias.url} stands outside of it: what is written has {chosen}"
            self.say("MP1004", source, entry, text, "Write the PythonWSGI in each such condition.")

    @staticmethod
    def _hosts(source: Source) -> list[Optional[Section]]:
        hosts = dict.fromkeys(entry.host() for entry in source.lines)
        return list(hosts)

    def _directive(self, source: Source, entry: Entry) -> None:
        name, change = _KNOWN[entry.name]
        link = " " if change.what.startswith(("becomes", "is not")) else ": "
        self.say(change.code, source, entry, f"{name}{link}{change.what}", change.remedy)
        found, method = entry.words(), getattr(self, f"_{entry.name[4:]}", None)
        if method is not None and found:
            method(source, entry, found)
        else:
            if entry.name in _DENIES:
                self._shut(source, entry)
            self.put(source, entry)

    def _scriptalias(self, source: Source, entry: Entry, found: list[str]) -> None:
        alias = next((alias for alias in self.aliases if alias.entry is entry), None)
        if alias is None or alias.is_left:
            return self.put(source, entry)
        callable_ = self.setting(alias, "wsgicallableobject", "callable-object")
        if callable_.startswith("%{"):
            text = f"{callable_} is not translated: an application has a name that is written"
            self.say("MP1004", source, entry, text, "Write it behind the file, or a PythonWSGI for each.")
            callable_ = ""
        target = alias.path + (f":{callable_}" if callable_ and callable_ != "application" else "")
        url = alias.url.rstrip("/") or "/"
        where = [f"daemon={alias.daemon}"] if alias.daemon else []
        if alias.is_match:
            expression = url if url.startswith("^") else f"^{url}"
            self.put(source, entry, " ".join(["PythonWSGIMatch", quoted(expression), quoted(target), *where]))
        elif alias.is_folder:
            expression = f"^{re.escape(url.rstrip('/'))}/([^/]+)"
            folder = alias.path.rstrip("/") + "/$1" + target[len(alias.path) :]
            self.put(source, entry, " ".join(["PythonWSGIMatch", quoted(expression), quoted(folder), *where]))
        else:
            self.put(source, entry, " ".join(["PythonWSGI", quoted(url), quoted(target), *where]))

    _scriptaliasmatch = _scriptalias

    def _is_refused(self, alias: Alias) -> bool:
        """Is it one that httpd would refuse here, or that was never asked?"""
        source, entry = alias.source, alias.entry
        url = alias.url.rstrip("/") or "/"
        if alias.is_match and not url.lstrip("^").startswith("/"):
            self.say("MP1004", source, entry, f"{url} cannot be translated: it has to begin with ^/")
        elif not alias.is_match and not url.startswith(("/", "$")):
            self.say("MP1004", source, entry, f"{url} cannot be translated: it has to begin with /")
        elif not re.match(r"/|\$", alias.path):
            text = f"{alias.path} cannot be translated: it is no absolute path"
            self.say("MP1004", source, entry, text, "Write the whole path.")
        elif ":" in alias.path:
            text = f"{alias.path} cannot be translated: no application's file has a colon in its path here"
            self.say("MP1004", source, entry, text, "Rename it.")
        else:
            own = entry.conditions()
            for other in self.aliases[: self.aliases.index(alias)]:
                is_same = other.is_match == alias.is_match and (other.url.rstrip("/") or "/") == url
                held = all(one in own for one in other.entry.conditions())
                if is_same and held and other.entry.host() is entry.host() and other.entry.macro() is entry.macro():
                    text = f"{url} was never reached behind {other.entry.text}: it stays a comment"
                    self.say("MP1006", source, entry, text)
                    return True
            return False
        return True

    def _of_python2(self, source: Source, entry: Entry, paths: list[str]) -> None:
        for path in paths:
            remedy = "Install them for the Python of mod_python.so, in a virtual environment: PythonHome, python-home=."
            self.say("MP1004", source, entry, f"{path} has packages for Python 2, and is left out", remedy)

    def _pythonpath(self, source: Source, entry: Entry, found: list[str]) -> None:
        entries = found[0].split(":")
        self._of_python2(source, entry, [path for path in entries if is_of_python2(path)])
        left = [path for path in entries if path and not is_of_python2(path)]
        self.put(source, entry, *([f"PythonPath {quoted(f'{left!r}+sys.path')}"] if left else []))

    def _pythonhome(self, source: Source, entry: Entry, found: list[str]) -> None:
        self.put(source, entry, f"PythonHome {quoted(found[0])}")

    def _applicationgroup(self, source: Source, entry: Entry, found: list[str]) -> None:
        name = interpreter(found[0])
        if name is None:
            self.say(
                "MP1004", source, entry, f"{found[0]} is not translated: an interpreter has a name that is written"
            )
        if name is None or not name or rules_of_files.is_of_files(source, entry):
            return self.put(source, entry)
        self.put(source, entry, f"PythonInterpreter {quoted(name)}")

    def _callableobject(self, source: Source, entry: Entry, found: list[str]) -> None:
        if entry not in self._covered and self.aliases:
            text = f"{entry.text} holds for none of the applications that were read, or for a part of one: it stays a comment"
            self.say("MP1004", source, entry, text, "Write a PythonWSGI for that part, with its daemon and callable.")
        self.put(source, entry)

    _processgroup = _callableobject

    def _scriptreloading(self, source: Source, entry: Entry, found: list[str]) -> None:
        if rules_of_files.is_of_files(source, entry):
            return self.put(source, entry)
        self.put(source, entry, f"PythonAutoReload {'Off' if found[0].lower() == 'off' else 'On'}")

    def _passauthorization(self, source: Source, entry: Entry, found: list[str]) -> None:
        is_on = found[0].lower() == "on"
        if entry.inner() and not rules_of_files.is_of_files(source, entry):
            return self.put(source, entry, f"CGIPassAuth {'On' if is_on else 'Off'}")
        self.put(source, entry)

    def _importscript(self, source: Source, entry: Entry, found: list[str]) -> None:
        options = _options(found[1:])
        group = options.get("process-group", "%{GLOBAL}")
        daemons = self.daemons.get(group, [])
        if daemons:
            if all(alias.path != found[0] for alias in self.aliases if alias.daemon == daemons[0].new_name):
                text = f"{found[0]} is not imported: a daemon imports its applications when it starts, nothing else"
                self.say("MP1004", source, entry, text, "Import it where the application's module does.")
            return self.put(source, entry)
        if group.lower() != "%{global}":
            text = f"the daemon {group} is not in what was read: {found[0]} is imported in httpd's children"
            self.say("MP1004", source, entry, text, "Leave it out if it is another process that imports it.")
        wanted = options.get("application-group", "%{GLOBAL}")
        name = interpreter(wanted)
        if name is None:
            self.say("MP1004", source, entry, f"{wanted} is not translated: an interpreter has a name that is written")
            return self.put(source, entry)
        name = name or rules_of_files.server_name(source, entry.host()) or MAIN
        self.put(source, entry, f"PythonImport {quoted(found[0])} {quoted(name)}")

    def _pythonoptimize(self, source: Source, entry: Entry, found: list[str]) -> None:
        self.put(source, entry, *(["PythonOptimize On"] if found[0] == "2" else []))

    def _enablesendfile(self, source: Source, entry: Entry, found: list[str]) -> None:
        self.put(source, entry, f"EnableSendfile {found[0]}")

    def _trustedproxies(self, source: Source, entry: Entry, found: list[str]) -> None:
        self.put(source, entry, f"PythonOption mod_python.wsgi.trusted_proxies {quoted(' '.join(found))}")

    def _trustedproxyheaders(self, source: Source, entry: Entry, found: list[str]) -> None:
        names = [word for word in found if word.lower() in _HEADERS]
        for word in found:
            if word not in names:
                text = f"{word} is not translated: {', '.join(_HEADERS)} are what can be trusted"
                self.say("MP1004", source, entry, text, "Have the proxy send one of these, too.")
        new = [f"PythonOption mod_python.wsgi.trusted_headers {quoted(' '.join(names))}"] if names else []
        self.put(source, entry, *new)

    def _daemonprocess(self, source: Source, entry: Entry, found: list[str]) -> None:
        daemon = next(one for one in self.daemons[found[0]] if one.entry is entry)
        self._of_python2(source, entry, daemon.older())
        for path in daemon.relative():
            text = f"python-path= {path} is relative, and left out: nobody knows to what"
            self.say("MP1004", source, entry, text, "Write the whole path.")
        for name, taken in daemon.refused():
            text = f"{name}={daemon.options[name]} is left out: PythonDaemon takes {taken}"
            self.say("MP1004", source, entry, text, "Write one that it takes.")
        for name, option in lost(daemon.options):
            self.say("MP1004", source, entry, f"{name}= has no counterpart: {option.what}")
        for name in [name for name in daemon.options if name in OPTIONS]:
            option = OPTIONS[name]
            if option.what and (option.key or not option.is_needed):
                said = f"{name}= becomes {option.key}=: {option.what}" if option.key else f"{name}=: {option.what}"
                self.say("MP1001" if option.key else "MP1005", source, entry, said)
        home = self.homes[0] if len(set(self.homes)) == 1 else ""
        self.put(source, entry, daemon.line(home))

    def _other(self, source: Source, entry: Entry) -> None:
        found = entry.words() if entry.name and not entry.name.startswith("<") else []
        if entry.name == "loadmodule" and len(found) > 1 and found[0] == "wsgi_module":
            self.say("MP1001", source, entry, "LoadModule wsgi_module becomes LoadModule python_module")
            self.put(source, entry, *self._loading())
        elif entry.name == "<ifmodule" and re.search(r"\b(?:mod_)?wsgi(?:_module|\.c)\b", entry.text):
            new = re.sub(r"\b(?:mod_)?wsgi(?:_module|\.c)\b", "python_module", entry.text)
            self.say("MP1001", source, entry, f"{entry.text} becomes {new}")
            self.made.replaced[source.path, entry.place] = [entry.indent() + new]
        elif entry.name == "<ifdirective" and re.search(r"\bWSGI\w+", entry.text, re.I):
            new = re.sub(r"\bWSGI\w+", "PythonWSGI", entry.text, flags=re.I)
            self.say("MP1001", source, entry, f"{entry.text} becomes {new}")
            self.made.replaced[source.path, entry.place] = [entry.indent() + new]
        elif entry.name in _PROGRAMS and found and found[0].lower() in self.handlers:
            self._handler(source, entry, found)
        elif re.fullmatch(r"auth\w+provider", entry.name) and "wsgi" in [word.lower() for word in found]:
            self.say("MP1003", source, entry, f"{entry.written} wsgi is not there; its place stays closed")
            self._shut(source, entry)
            self.put(source, entry)
        elif entry.name == "require" and found and found[0].lower().startswith("wsgi-"):
            self.say("MP1003", source, entry, f"Require {found[0]} is not there; its place stays closed")
            self._shut(source, entry)
            self.put(source, entry)

    def _loading(self) -> list[str]:
        """What loads this module; its environment, unless the configuration has one of its own."""
        has_home = self.homes or any(
            "python-home" in daemon.options for all_ in self.daemons.values() for daemon in all_
        )
        return [line for line in self.module if not (has_home and line.startswith("PythonHome"))]

    def _handler(self, source: Source, entry: Entry, found: list[str]) -> None:
        """Files that were programs by their names: without a handler httpd would send their text, so nobody gets them."""
        text = f"{entry.written} {found[0]}: files are no applications by their names here; they stay closed, or their text would be sent"
        self.say("MP1003", source, entry, text, "Write a PythonWSGI or PythonWSGIMatch for them.")
        endings = "|".join(re.escape(word.lstrip(".")) for word in found[1:])
        if entry.name.startswith("add") and endings:
            pattern = quoted(f"\\.({endings})(\\.|$)")
            self.put(source, entry, f"<FilesMatch {pattern}>", "    Require all denied", "</FilesMatch>")
            return
        if entry.inner() or source.folder():
            self._shut(source, entry)
            self.put(source, entry)
        else:
            self.put(source, entry, "<Location />", "    Require all denied", "</Location>")

    def _shut(self, source: Source, entry: Entry) -> None:
        """Note that nobody may come in where a line stands: in its section, or its .htaccess file."""
        chain = [section for section in entry.chain() if section.name not in (*rules_of_files.BLOCKS, "virtualhost")]
        if chain:
            self.closed.add(chain[0])
        else:
            self.closed_files.add(source.path)

    def _close(self) -> None:
        """In places whose door was a script of mod_wsgi's: nobody comes in, until somebody has written another one. Other rules must
        not stand beside that: one that lets in is enough for httpd."""
        new = ["# Closed until a handler of yours decides, see below.", "Require all denied"]
        for source in self.sources:
            done: set[Section] = set()
            if source.path in self.closed_files and source.lines:
                self._before(source, source.lines[0], new)
            for entry in source.lines:
                shut = [section for section in entry.chain() if section in self.closed]
                if not shut and not (source.path in self.closed_files and not entry.inner()):
                    continue
                if entry.name in _AUTHORIZES or entry.name.lstrip("</") in rules_of_files.BLOCKS:
                    self.put(source, entry)
                if shut and shut[-1] not in done:
                    done.add(shut[-1])
                    indent = source.lines[shut[-1].place].indent() + "    "
                    self.add(source, shut[-1].place, [indent + line for line in new])

    def setting(self, alias: Alias, name: str, option: str = "") -> str:
        """The first argument of a directive as it holds for an alias; empty if there is none."""
        if option and option in alias.options:
            return alias.options[option]
        best: tuple[int, str] = (-1, "")
        for source, entry in self.covering(alias):
            found = entry.words() if entry.name == name else []
            if found:
                if PARAMETER.search(found[0]) and entry.macro() is not alias.entry.macro():
                    # What it stands for is told where the macro is used.
                    continue
                # httpd reads a .htaccess file behind the sections for its directory.
                weight = 2 * len("".join(section.argument for section in entry.inner()) + source.folder())
                weight += entry.host() is not None or bool(source.folder())
                if weight >= best[0]:
                    best = (weight, found[0])
        return best[1]

    def covering(self, alias: Alias) -> list[tuple[Source, Entry]]:
        """The directives that hold for an application, outside sections or in one for its file or its URL, in its directories' .htaccess files, too."""
        if alias not in self._covering:
            self._covering[alias] = [
                (source, entry)
                for source in self.sources
                if source.is_about(alias.path)
                for entry in self._lines_for(alias, source)
            ]
        return self._covering[alias]

    def _lines_for(self, alias: Alias, source: Source) -> list[Entry]:
        """Looks at each section once, whatever stands in it."""
        host = alias.entry.host()
        found: list[Entry] = []
        for own_host, inner, entries in self._blocks(source):
            if own_host is not None and own_host is not host:
                continue
            if not inner or covers_file(inner, alias.path) or rules_of_files.covers_url(inner, alias.url):
                found += entries
        return sorted(found, key=lambda entry: entry.place)

    def _blocks(self, source: Source) -> list[tuple[Optional[Section], list[Section], list[Entry]]]:
        """The directives of a file by what they stand in: their virtual host, and the sections in that."""
        if source.path not in self._blocks_of:
            blocks: dict[Optional[Section], list[Entry]] = {}
            for entry in source.lines:
                if entry.name and not entry.name.startswith("<"):
                    blocks.setdefault(entry.section, []).append(entry)
            self._blocks_of[source.path] = [
                (entries[0].host(), [one for one in entries[0].inner() if one.name != "macro"], entries)
                for entries in blocks.values()
            ]
        return self._blocks_of[source.path]

    def _scope(self, source: Source, host: Optional[Section]) -> None:
        """What a virtual host, or what is outside of all, needs beside its lines: sections for applications."""
        mine = [
            alias
            for alias in self.aliases
            if alias.source is source and alias.entry.host() is host and not alias.is_left
        ]
        if not mine:
            return
        # What an application needs stands under the same conditions as itself.
        groups: dict[Optional[Section], list[Alias]] = {}
        for alias in mine:
            groups.setdefault(alias.entry.section, []).append(alias)
        for group in groups.values():
            indent = group[0].entry.indent()
            sections = rules_of_files.sections(self, group)
            self.add(source, group[-1].entry.place, [indent + line for line in sections])
        if len(groups) > 1:
            text = (
                "applications of one virtual host stand under several conditions: later <Location>s cover earlier ones"
            )
            self.say("MP1004", source, mine[0].entry, text, "See that the one for the shorter path comes first.")
        self._order(mine)

    def _before(self, source: Source, entry: Entry, new: list[str]) -> None:
        key = (source.path, entry.place)
        self.made.replaced[key] = [*new, *self.made.replaced.get(key, entry.raw)]

    def _order(self, mine: list[Alias]) -> None:
        """Of two lines that both match mod_wsgi took the first, we take the longest."""
        plain = [alias for alias in mine if not alias.is_match]
        for place, alias in enumerate(plain):
            shorter = [
                one for one in plain[:place] if rules_of_files.is_below(alias.url, one.url) and one.url != alias.url
            ]
            if shorter:
                text = f"{alias.url} was never reached behind {shorter[0].url}; here the longest path wins"
                self.say("MP1006", alias.source, alias.entry, text)


def _is_ours(section: Section) -> bool:
    """Is it the condition that mod_wsgi is there?"""
    return section.name == "ifmodule" and re.fullmatch(r"(?:mod_)?wsgi(?:_module|\.c)", section.argument) is not None


def _options(found: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in found)
    return {name.lower(): value.strip("\"'") for name, equals, value in pairs if equals}
