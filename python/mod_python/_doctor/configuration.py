"""Reads httpd configurations without httpd, also such as httpd refuses: Include, Define, IfModule and their like, macros, sections.

What httpd has no opinion on before a request (`<If>`) is a section. A test compares what comes out with httpd's own DUMP_CONFIG.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from mod_python._doctor import files
from mod_python._doctor.lines import Line, lines, resolved, words

DEEPEST = 20
"""How deep files may include files (AP_MAX_INCLUDE_DEPTH)."""
_MOST_FILES = 5_000
_MOST_DIRECTIVES = 500_000
_CONDITIONS = ("ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection")
_OTHER_NAMES = {"event.c": "mpm_event_module", "worker.c": "mpm_worker_module", "prefork.c": "mpm_prefork_module"}
"""Source files whose names are not made of the modules'."""


@dataclass(frozen=True, eq=False)
class Section:
    """A container: `<Location /x>`."""

    name: str
    """In small letters."""
    argument: str
    file: str
    line: int
    outer: Optional[Section]

    def chain(self) -> list[Section]:
        """This one and those around it, the innermost first."""
        found: list[Section] = []
        section: Optional[Section] = self
        while section is not None:
            found.append(section)
            section = section.outer
        return found


@dataclass(frozen=True, eq=False)
class Directive:
    """A directive where it stands."""

    name: str
    """As it is written."""
    raw: str
    """The arguments as they are written, with `${NAME}` replaced."""
    file: str
    line: int
    """The last line of it, as httpd counts."""
    section: Optional[Section]

    @property
    def key(self) -> str:
        """The name in small letters."""
        return self.name.lower()

    def words(self) -> list[str]:
        """The arguments."""
        return words(self.raw)

    def first(self) -> str:
        """The first argument; empty if there is none."""
        found = self.words()
        return found[0] if found else ""

    def chain(self) -> list[Section]:
        """The sections around it, the innermost first."""
        return self.section.chain() if self.section else []

    def host(self) -> Optional[Section]:
        """The virtual host it stands in."""
        return next((section for section in self.chain() if section.name == "virtualhost"), None)


@dataclass
class Problem:
    """What cannot be read as it is written."""

    kind: str
    """`missing`, `unreadable`, `loop` or `syntax`."""
    file: str
    line: int
    text: str


@dataclass
class Configuration:
    """All that has been read."""

    directives: list[Directive] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    """Modules, such as python_module, and the files that they are loaded from; empty for what is built in."""
    files: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    defines: dict[str, str] = field(default_factory=dict)
    server_root: str = "/"

    def named(self, *names: str) -> list[Directive]:
        """The directives of these names, which are in small letters."""
        return [directive for directive in self.directives if directive.key in names]

    def last(self, name: str) -> Optional[Directive]:
        """The last directive of a name outside sections."""
        found = [directive for directive in self.named(name) if directive.section is None]
        return found[-1] if found else None


@dataclass(frozen=True)
class Surroundings:
    """What httpd knows before it reads a configuration."""

    server_root: str = "/etc/apache2"
    version: str = "2.4.0"
    built_in: tuple[str, ...] = ("core_module", "so_module", "http_module")
    defines: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def is_whole(path: str) -> bool:
    """Is a file one that httpd could be started with, not a part of one, such as a site's? A whole one says where to listen, or includes others."""
    try:
        text = files.text(path)
    except files.Unreadable:
        return True  # whoever reads it tells
    is_inside = says = False
    # Line by line: an expression for a whole virtual host would look through the file from each one that is not closed.
    for line in text.split("\n"):
        found = re.match(
            r"[ \t]*(?:(<VirtualHost)\b|(</VirtualHost)|(?:Listen|Include|IncludeOptional|ServerRoot)\b)", line, re.I
        )
        if found is None:
            continue
        if is_inside and found[2]:
            is_inside = says = False
        elif found[1]:
            is_inside = True
        elif not found[2]:
            if not is_inside:
                return True
            says = True
    # A virtual host that is not closed is none.
    return says


def read(path: str, surroundings: Surroundings, part: Optional[str] = None) -> Configuration:
    """Read a configuration with all that it includes, and then ``part``. Nothing is raised: what is wrong is among the problems."""
    reader = _Reader(surroundings)
    reader.file(path, None, 0, None)
    if part is not None:
        reader.file(part, None, 0, None)
    # Directives are set when all has been read, with the last value that a name was given.
    last = reader.variables()
    found = reader.found
    found.directives = [
        Directive(one.name, resolved(one.raw, last), one.file, one.line, one.section) if "${" in one.raw else one
        for one in found.directives
    ]
    return found


def add(found: Configuration, path: str, section: Section, surroundings: Surroundings) -> None:
    """Read a file that httpd reads with each request, in a section that stands for its directory."""
    reader = _Reader(surroundings)
    reader.found, own = found, found.files
    # httpd -t does not read it.
    found.files = list(own)
    try:
        reader.file(path, None, 0, section)
    finally:
        found.files = own


class _Reader:
    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.found = Configuration(defines=dict(surroundings.defines), server_root=surroundings.server_root)
        self.found.modules = dict.fromkeys(surroundings.built_in, "")
        self.stack: list[str] = []
        self.macros: dict[str, tuple[list[str], list[Line], str]] = {}
        self.full = False

    def variables(self) -> dict[str, str]:
        return {**self.surroundings.environment, **self.found.defines}

    def problem(self, kind: str, file: str, line: int, text: str) -> None:
        if len(self.found.problems) < 1000:
            self.found.problems.append(Problem(kind, file, line, text))

    def file(self, path: str, by: Optional[str], line: int, section: Optional[Section]) -> None:
        """Read a file that `by` includes in a line, or the first one."""
        real = os.path.realpath(path)
        where = (by or path, line)
        if real in self.stack:
            return self.problem("loop", *where, f"{path} includes itself: {' -> '.join([*self.stack, real])}")
        if len(self.stack) >= DEEPEST or len(self.found.files) >= _MOST_FILES:
            return self.problem("loop", *where, f"{path} is not read: there are too many files that include files")
        try:
            text = files.text(path)
        except files.Unreadable as unreadable:
            missing = not os.path.lexists(path)
            return self.problem("missing" if missing else "unreadable", *where, f"{path} {unreadable}")
        if path not in self.found.files:
            self.found.files.append(path)
        self.stack.append(real)
        self.block(list(lines(text)), path, section)
        self.stack.pop()

    def block(self, all_lines: list[Line], file: str, section: Optional[Section]) -> None:
        """Read lines that stand in a section."""
        outermost = section
        # Conditions that hold: their ends are passed over. None stands for a section.
        open_ones: list[tuple[str, Optional[Section]]] = []
        place = 0
        while place < len(all_lines):
            line = all_lines[place]
            place += 1
            if not line.text or line.text.startswith("#"):
                continue
            name, _, rest = _name(line.text)
            lower = name.lower()
            if lower.startswith("</"):
                wanted = lower[2:].rstrip(">").strip()
                if not open_ones or open_ones[-1][0] != wanted:
                    self.problem("syntax", file, line.last, f"{line.text} closes nothing that is open")
                    continue
                open_ones.pop()
                section = next((kept for _, kept in reversed(open_ones) if kept is not None), outermost)
            elif lower.startswith("<"):
                opened = lower[1:].rstrip(">")
                argument = rest.rstrip().rstrip(">").strip() if rest or not lower.endswith(">") else ""
                if opened == "macro":
                    place = self.macro(argument, all_lines, place, file)
                elif opened in _CONDITIONS:
                    if self.holds(opened, argument):
                        open_ones.append((opened, None))
                    else:
                        place = _behind(all_lines, place)
                else:
                    section = Section(opened, _unquoted(resolved(argument, self.variables())), file, line.last, section)
                    self.found.sections.append(section)
                    open_ones.append((opened, section))
            else:
                self.directive(name, rest, file, line, section)
        for opened, _ in open_ones:
            self.problem("syntax", file, all_lines[-1].last if all_lines else 0, f"<{opened}> is not closed")

    def directive(self, name: str, rest: str, file: str, line: Line, section: Optional[Section]) -> None:
        if len(self.found.directives) >= _MOST_DIRECTIVES:
            if not self.full:
                self.full = True
                self.problem("syntax", file, line.last, "there are too many directives; what follows is not read")
            return
        self.found.directives.append(Directive(name, rest, file, line.last, section))
        lower = name.lower()
        arguments = [resolved(word, self.variables()) for word in words(rest)]
        if lower in ("include", "includeoptional") and arguments:
            self.include(arguments[0], lower == "includeoptional", file, line, section)
        elif lower == "define" and arguments:
            self.found.defines[arguments[0]] = arguments[1] if len(arguments) > 1 else ""
        elif lower == "undefine" and arguments:
            self.found.defines.pop(arguments[0], None)
        elif lower == "serverroot" and arguments:
            self.found.server_root = arguments[0]
        elif lower == "loadmodule" and len(arguments) > 1:
            self.found.modules.setdefault(arguments[0], os.path.join(self.found.server_root, arguments[1]))
        elif lower == "use" and arguments and arguments[0].lower() in self.macros:
            self.use(arguments, file, line, section)

    def include(self, pattern: str, optional: bool, file: str, line: Line, section: Optional[Section]) -> None:
        pattern = os.path.join(self.found.server_root, pattern)
        if re.search(r"[*?\[]", pattern):
            paths = sorted(glob.glob(pattern))[:_MOST_FILES]
        else:
            paths = [pattern] if os.path.lexists(pattern) or not optional else []
        if not paths and not optional:
            self.problem("missing", file, line.last, f"no file matches {pattern}")
        for path in paths:
            for each in _below(path) if os.path.isdir(path) else [path]:
                self.file(each, file, line.last, section)

    def macro(self, argument: str, all_lines: list[Line], place: int, file: str) -> int:
        end = _behind(all_lines, place)
        names = words(argument)
        if names:
            self.macros[names[0].lower()] = (names[1:], all_lines[place : end - 1], file)
        return end

    def use(self, arguments: list[str], file: str, line: Line, section: Optional[Section]) -> None:
        """What a macro stands for; its lines are told of by the line that uses it, as nobody could find them otherwise."""
        parameters, body, _ = self.macros[arguments[0].lower()]
        if len(self.stack) >= DEEPEST:
            return self.problem("loop", file, line.last, f"the macro {arguments[0]} is not read: macros are too deep")
        self.stack.append(f"macro {arguments[0]}")
        pairs = sorted(zip(parameters, arguments[1:]), key=lambda pair: -len(pair[0]))
        made = []
        for one in body:
            text = one.text
            for parameter, value in pairs:
                text = text.replace(parameter, value)
            made.append(Line(line.first, line.last, text[: 1 << 16]))
        self.block(made, file, section)
        self.stack.pop()

    def holds(self, condition: str, argument: str) -> bool:
        argument = _unquoted(resolved(argument, self.variables()))
        if argument.startswith("!"):
            # Once, as httpd has it: a further one is a part of the name.
            return not self.holds_plainly(condition, _unquoted(argument[1:].strip()))
        return self.holds_plainly(condition, argument)

    def holds_plainly(self, condition: str, argument: str) -> bool:
        if condition == "ifmodule":
            return argument in self.found.modules or self._source_file(argument) in self.found.modules
        if condition == "ifdefine":
            return argument in self.found.defines
        if condition == "ifversion":
            return version_holds(self.surroundings.version, argument)
        if condition == "iffile":
            return os.path.exists(os.path.join(self.found.server_root, argument))
        if condition == "ifdirective":
            owner = {"python": "python_module", "wsgi": "wsgi_module"}
            needed = [module for start, module in owner.items() if argument.lower().startswith(start)]
            return all(module in self.found.modules for module in needed)
        return argument.lower() != "macro"

    def _source_file(self, name: str) -> str:
        # A module's file has the name of its source by custom: mod_python.so is made of mod_python.c.
        return _OTHER_NAMES.get(name, re.sub(r"^(?:mod_)?(.*)\.c$", r"\1_module", name))


def _name(text: str) -> tuple[str, str, str]:
    found = re.match(r"(\S+)([ \t]*)(.*)", text, re.S)
    return (found[1], found[2], found[3]) if found else (text, "", "")


def _behind(all_lines: list[Line], place: int) -> int:
    """The place behind the end of a container that has begun before `place`."""
    depth = 1
    while place < len(all_lines) and depth:
        text = all_lines[place].text
        depth += -1 if text.startswith("</") else 1 if text.startswith("<") else 0
        place += 1
    return place


def _below(folder: str) -> list[str]:
    """Every file below a directory, as Include takes them; links to directories are not followed."""
    found: list[str] = []
    for above, folders, names in os.walk(folder):
        folders.sort()
        found += [os.path.join(above, name) for name in sorted(names)]
        if len(found) > _MOST_FILES:
            break
    return found


def _unquoted(text: str) -> str:
    """The argument of a container, without quotes; `~ "expression"` keeps its mark."""
    if text.startswith("~"):
        inner = text[1:].strip()
        return "~ " + (inner if inner.startswith("~") else _unquoted(inner))
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def version_holds(version: str, condition: str) -> bool:
    """Does `>= 2.4` hold (mod_version)? A condition that is none does not."""
    found = re.fullmatch(r"(=|==|!=|>=|>|<=|<|~)?\s*(\S+)", condition)
    if not found:
        return False
    operator, wanted = found[1] or "=", found[2]
    if wanted.startswith("/") or operator == "~":
        try:
            return len(wanted) < 100 and re.search(wanted.strip("/"), version) is not None
        except (re.error, OverflowError, RecursionError):
            return False  # httpd refuses it, and says so
    numbers = _numbers(version)
    other = _numbers(wanted)
    numbers = numbers[: len(other)] + (0,) * (len(other) - len(numbers))
    return {
        "=": numbers == other,
        "==": numbers == other,
        "!=": numbers != other,
        ">": numbers > other,
        ">=": numbers >= other,
        "<": numbers < other,
        "<=": numbers <= other,
    }[operator]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version))
