"""Reads a site's Python: with `ast` where that can, by its lines where it is Python 2's, and PSP pages by what is in their tags."""

from __future__ import annotations

import ast
import codecs
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Optional, Union

from mod_python import _psp
from mod_python._doctor import files
from mod_python._doctor.findings import Finding
from mod_python._migrate import both, older, request_rules, rules_of_calls
from mod_python._migrate.python_rules import ATTRIBUTES, LEFT, METHODS, MODULES, NAMES

_LONGEST = 2_000
"""Letters of a line that expressions are tried on; who writes Python writes shorter ones."""
_TAGS = 20_000
"""Tags of a page that somebody has written by hand."""
_ABOVE = 5
"""How many directories are looked through for a module of the site's own."""
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_NO_CODINGS = ("idna", "punycode", "undefined")
"""Codecs that Python has for names of hosts, and for nothing; the time that one takes grows with the square of a text, and faster."""


def check(path: str, is_page: bool = False) -> Iterator[Finding]:
    """What changes for a file; one that ends in `.psp` is a page anyway."""
    try:
        data = files.read(path)
        text = decoded(data)
    except (files.Unreadable, LookupError, UnicodeError) as error:
        yield Finding("MP1014", f"is not read: {error}", path)
        return
    if "\0" in text:
        yield Finding("MP1014", "is not read: it has NUL bytes", path)
    elif is_page or path.lower().endswith(".psp"):
        yield from page(path, text, _first_strange(data) < 0)
    else:
        yield from module(path, data, text)


def decoded(data: bytes) -> str:
    """A file's text: as it says, else UTF-8, else latin-1, which Python 2 took for bytes. Raises LookupError for an unknown coding, UnicodeError
    for one that does not take the text."""
    for line in data.split(b"\n", 2)[:2]:
        found = _CODING.match(line)
        if found:
            coding = codecs.lookup(found[1].decode())
            if coding.name in _NO_CODINGS:
                raise LookupError(f"{coding.name} is no coding of a source")
            return data.decode(coding.name, "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def module(path: str, data: bytes, text: str) -> Iterator[Finding]:
    """A module."""
    try:
        tree = _tree(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        if not text.isascii() and _is_of_no_coding(data):
            number = data[: _first_strange(data)].count(b"\n") + 1
            what = "Python 3 cannot read this: it is no UTF-8, and says no coding"
            yield Finding(
                "MP2001", what, path, number, "Save it as UTF-8, or write `# coding: latin-1` into its first line."
            )
        yield from _older(path, text.replace("\r\n", "\n").replace("\r", "\n"))
        return
    yield from _of_tree(path, tree)


def _tree(source: Union[str, bytes]) -> ast.Module:
    """Raises SyntaxError, ValueError, RecursionError, MemoryError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _older(path: str, text: str, lines: Sequence[int] = ()) -> Iterator[Finding]:
    """A source that Python 3 cannot parse: what of it is Python 2's, and what is left. `lines`: of a page, the number of each line."""
    source, told = older.mended(text)
    numbers = [0, *lines] if lines else range(text.count("\n") + 2)
    for one in told:
        yield Finding("MP2001", one.what, path, numbers[one.line], f"Write {one.remedy}.")
    try:
        tree = _tree(source)
    except TabError as tabs:
        yield Finding("MP2001", f"Python 3 cannot read this: {tabs.msg}", path, numbers[tabs.lineno or 0])
        expanded = "\n".join(_expanded(line) for line in source.split("\n"))
        if expanded != source:
            yield from _older(path, expanded, lines)
        return
    except (SyntaxError, ValueError, RecursionError, MemoryError) as left:
        number = numbers[min(getattr(left, "lineno", 0) or 0, len(numbers) - 1)]
        # What was wrong before may be all that is.
        if not told or isinstance(left, SyntaxError):
            what = str(getattr(left, "msg", None) or left)
            yield Finding("MP2001", f"Python 3 cannot read this: {what}", path, number)
        for found in by_lines(path, masked(text).split("\n")):
            yield replace(found, line=numbers[found.line])
        return
    yield from _of_tree(path, tree, lines, is_page=bool(lines))


def _expanded(line: str) -> str:
    """Python 2 took a tab at the beginning of a line for what brings it to the next eighth column."""
    inner = line.lstrip(" \t\f")
    return line[: len(line) - len(inner)].replace("\f", "").expandtabs(8) + inner


def _of_tree(path: str, tree: ast.Module, lines: Sequence[int] = (), is_page: bool = False) -> Iterator[Finding]:
    try:
        found = [
            *names(path, tree, is_page),
            *rules_of_calls.check(path, tree),
            *request_rules.check(path, tree, is_page),
        ]
    except RecursionError:
        yield Finding("MP1014", "is not read to its end: it is too deep", path)
        return
    for one in found:
        yield replace(one, line=lines[one.line - 1]) if lines and one.line else one


def _is_of_no_coding(data: bytes) -> bool:
    return not any(_CODING.match(line) for line in data.split(b"\n", 2)[:2]) and _first_strange(data) >= 0


def _first_strange(data: bytes) -> int:
    """Where UTF-8 ends to be that; -1 if it does not."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return -1


def page(path: str, text: str, is_utf8: bool = True) -> Iterator[Finding]:
    """A PSP page: the code of its tags, on its lines."""
    if not is_utf8:
        number = next((number for number, line in enumerate(text.split("\n"), 1) if not line.isascii()), 0)
        yield Finding("MP2001", "the page is not UTF-8", path, number, "Save it as UTF-8.")
    if text.count("<%") > _TAGS:
        yield Finding("MP1014", f"is not read: it has more than {_TAGS} tags", path)
        return
    # Included files are read by themselves, if they are named.
    alone = _without_includes(text)
    try:
        made = _psp.parse(alone, path)
    except SyntaxError as error:
        yield Finding(
            "MP2001", str(error.msg), path, error.lineno or 0, "Close it: a page that is not closed is an error here."
        )
        return
    numbers = [line.number for line in made.lines] + [made.lines[-1].number if made.lines else 0] * 2
    try:
        tree = _tree(made.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield from _older(path, made.source, numbers)
        return
    yield from _of_tree(path, tree, numbers, is_page=True)


def _without_includes(text: str) -> str:
    """A page whose `<%@ … %>` are blank. What is not closed is looked through once: an expression would do it from each opening on."""
    made: list[str] = []
    place = 0
    while True:
        start = text.find("<%@", place)
        end = text.find("%>", start + 3) if start >= 0 else -1
        if end < 0:
            return "".join([*made, text[place:]])
        made += [text[place:start], re.sub(r"[^\n]", " ", text[start : end + 2])]
        place = end + 2


def by_lines(path: str, lines: list[str]) -> Iterator[Finding]:
    """Names that are gone, as far as lines tell whose texts and comments are blank."""
    for number, line in enumerate(lines, 1):
        line = line[:_LONGEST]
        for word in set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", line)) & NAMES.keys():
            if re.search(rf"(?<![\w.]){word}\s*[(.,):\]]", line) and not re.search(
                rf"\b(?:def|import)\b.*\b{word}\b|\b{word}\s*=[^=]", line
            ):
                yield from _name(path, number, word)
        for word in set(re.findall(r"\.([A-Za-z_]\w*)", line)) & METHODS.keys():
            yield Finding("MP2004", f".{word} is gone", path, number, f"Write {METHODS[word]}.")
        for name in ATTRIBUTES.keys() & set(re.findall(r"(?<![\w.])[A-Za-z_]\w*\.\w+", line)):
            yield Finding("MP2004", f"{name} is gone", path, number, f"Write {ATTRIBUTES[name]}.")
        imported = re.match(r"\s*(?:from\s+([\w.]+)\s+import|import\s+(.+))", line)
        for name in re.findall(r"[\w.]+", (imported[1] or imported[2]) if imported else ""):
            yield from _module(path, number, name)
        if imported and imported[1]:
            for name in re.findall(r"\w+", line[imported.end() :]):
                yield from _from(path, number, imported[1], name)
        defined = re.match(r"\s*def\s+(__\w+__)\s*\(|\s*(__metaclass__)\s*=(?!\s*type\b)", line)
        if defined:
            yield from _special(path, number, defined[1] or defined[2])
        yield from request_rules.by_line(path, number, line)


def names(path: str, tree: ast.Module, is_page: bool = False) -> Iterator[Finding]:
    """Names that are gone, in code that parses."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    aliases = [
        alias for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names
    ]
    imported = {(alias.asname or alias.name).split(".")[0] for alias in aliases}
    bound |= defined
    for node in both.nodes(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in NAMES and node.id not in bound | imported:
                yield from _name(path, node.lineno, node.id)
        elif isinstance(node, ast.Assign):
            # `= type` made classes new ones, as all are on Python 3.
            is_plain = isinstance(node.value, ast.Name) and node.value.id == "type"
            if not is_plain and any(isinstance(one, ast.Name) and one.id == "__metaclass__" for one in node.targets):
                yield from _special(path, node.lineno, "__metaclass__")
        elif isinstance(node, ast.Attribute):
            name = f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else ""
            owner = name.split(".")[0]
            if (
                node.attr in METHODS
                and node.attr not in defined
                and not rules_of_calls.has_methods(tree, node, is_page)
            ):
                yield Finding("MP2004", f".{node.attr} is gone", path, node.lineno, f"Write {METHODS[node.attr]}.")
            elif name in ATTRIBUTES and (owner in imported or owner not in bound):
                yield Finding("MP2004", f"{name} is gone", path, node.lineno, f"Write {ATTRIBUTES[name]}.")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from _module(path, node.lineno, node.module or "")
            for alias in node.names:
                yield from _from(path, node.lineno, node.module or "", alias.name)
        elif isinstance(node, ast.ClassDef):
            yield from _class(path, node)


def _class(path: str, node: ast.ClassDef) -> Iterator[Finding]:
    """Methods that Python 3 does not call, where the class does not have the new one, too."""
    has = {part.name: part for part in node.body if isinstance(part, (ast.FunctionDef, ast.ClassDef))}
    has_names = {
        name.id
        for part in node.body
        if isinstance(part, ast.Assign)
        for name in part.targets
        if isinstance(name, ast.Name)
    }
    for name, part in has.items():
        if not set(_NEW.get(name, ())) & (has.keys() | has_names):
            yield from _special(path, part.lineno, name)
    gives_itself = any(
        isinstance(part, ast.Return) and isinstance(part.value, ast.Name) and part.value.id == "self"
        for part in ast.walk(has.get("__iter__", ast.Pass()))
    )
    if "next" in has and gives_itself and "__next__" not in has.keys() | has_names:
        yield Finding("MP2004", "next is not called", path, has["next"].lineno, "Write __next__.")


_SPECIAL = {
    "__nonzero__": "__bool__",
    "__unicode__": "__str__",
    "__cmp__": "__eq__ and __lt__",
    "__getslice__": "__getitem__",
    "__setslice__": "__setitem__",
    "__delslice__": "__delitem__",
    "__div__": "__truediv__",
    "__metaclass__": "class Name(metaclass=…)",
}
_NEW = {
    "__nonzero__": ("__bool__",),
    "__unicode__": ("__str__",),
    "__cmp__": ("__eq__", "__lt__"),
    "__getslice__": ("__getitem__",),
    "__setslice__": ("__setitem__",),
    "__delslice__": ("__delitem__",),
    "__div__": ("__truediv__",),
}
"""Where a class has one of these beside it, it is for both Pythons."""


def _special(path: str, number: int, name: str) -> Iterator[Finding]:
    if name in _SPECIAL:
        said = "is not looked at" if name == "__metaclass__" else "is not called"
        yield Finding("MP2004", f"{name} {said}", path, number, f"Write {_SPECIAL[name]}.")


def _from(path: str, number: int, module: str, name: str) -> Iterator[Finding]:
    """A name that somebody wants of a module."""
    remedy = ATTRIBUTES.get(f"{module}.{name}")
    if remedy:
        yield Finding("MP2004", f"{module}.{name} is gone", path, number, f"Write {remedy}.")


def _name(path: str, number: int, word: str) -> Iterator[Finding]:
    yield Finding("MP2002", f"{word} is gone", path, number, f"Write {NAMES[word]}.")


def _module(path: str, number: int, name: str) -> Iterator[Finding]:
    first = name.split(".")[0]
    if (first in MODULES or first in LEFT) and _is_own(path, first):
        return
    if first in MODULES:
        yield Finding("MP2003", f"the module {first} is gone", path, number, f"Use {MODULES[first]}.")
    elif first in LEFT:
        yield Finding(
            "MP2012",
            f"the module {first} is not in Python's library since {LEFT[first].split(';')[0]}",
            path,
            number,
            _instead(first),
        )
    elif first == "mod_wsgi":
        yield Finding("MP2013", "there is no module mod_wsgi", path, number)


def _is_own(path: str, name: str) -> bool:
    """Is a module of the site's own called like one of Python 2's? It lies beside the file, or in a directory above."""
    folder = os.path.dirname(path)
    for _ in range(_ABOVE):
        if os.path.isfile(os.path.join(folder, f"{name}.py")) or os.path.isfile(
            os.path.join(folder, name, "__init__.py")
        ):
            return True
        folder = os.path.dirname(folder)
    return False


def _instead(name: str) -> str:
    instead: Optional[str] = LEFT[name].partition("; ")[2]
    return f"Use {instead}." if instead else "Use another package."


def masked(text: str) -> str:
    """A source whose texts and comments are blank, line by line; an open quote ends with its line, an open triple one with the file."""
    made: list[str] = []
    place, length = 0, len(text)
    while place < length:
        letter = text[place]
        if letter == "#":
            end = text.find("\n", place)
            end = length if end < 0 else end
            made.append(" " * (end - place))
            place = end
        elif letter in "\"'":
            quote = letter * 3 if text.startswith(letter * 3, place) else letter
            end = _end_of_text(text, place + len(quote), quote)
            inner = re.sub(r"[^\n]", " ", text[place + len(quote) : end])
            made.append(quote[0] + inner[: len(inner)] + (quote[0] if end < length else ""))
            place = end + len(quote)
        else:
            found = re.compile(r"[^#\"']+").match(text, place)
            piece = found[0] if found else letter
            made.append(piece)
            place += len(piece)
    return "".join(made)


def _end_of_text(text: str, place: int, quote: str) -> int:
    while place < len(text):
        if text[place] == "\\":
            place += 2
        elif text.startswith(quote, place):
            return place
        elif text[place] == "\n" and len(quote) == 1:
            return place - 1  # its last letter goes for the quote
        else:
            place += 1
    return len(text)
