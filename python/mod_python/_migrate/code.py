"""Reads a site's Python: with `ast` where that can, by its lines where it is Python 2's, and PSP pages by what is in their tags."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Optional

from mod_python._doctor import files
from mod_python._doctor.findings import Finding
from mod_python._migrate import request_rules
from mod_python._migrate.python_rules import ATTRIBUTES, LEFT, METHODS, MODULES, NAMES, SYNTAX

_SYNTAX = [(re.compile(expression), what, remedy) for expression, what, remedy in SYNTAX]
_LONGEST = 2_000
"""Letters of a line that expressions are tried on; who writes Python writes shorter ones."""
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


def check(path: str) -> Iterator[Finding]:
    """What changes for a file."""
    try:
        data = files.read(path)
        text = decoded(data)
    except (files.Unreadable, LookupError) as error:
        yield Finding("MP1014", f"is not read: {error}", path)
        return
    if "\0" in text:
        yield Finding("MP1014", "is not read: it has NUL bytes", path)
    elif path.endswith(".psp"):
        yield from page(path, text)
    else:
        yield from module(path, data, text)


def decoded(data: bytes) -> str:
    """A file's text: as it says, else UTF-8, else latin-1, which Python 2 took for bytes. Raises LookupError for an unknown coding."""
    for line in data.split(b"\n", 2)[:2]:
        found = _CODING.match(line)
        if found:
            return data.decode(found[1].decode(), "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def module(path: str, data: bytes, text: str) -> Iterator[Finding]:
    """A module."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        found = list(by_lines(path, masked(text).split("\n")))
        yield from found
        if not any(one.code == "MP2001" for one in found):
            what = str(getattr(error, "msg", None) or error)
            yield Finding("MP2001", f"Python 3 cannot read this: {what}", path, getattr(error, "lineno", 0) or 0)
        return
    try:
        yield from names(path, tree)
        yield from request_rules.check(path, tree)
    except RecursionError:
        yield Finding("MP1014", "is not read to its end: it is too deep", path)


def page(path: str, text: str) -> Iterator[Finding]:
    """A PSP page: the code of its tags, on its lines."""
    made = []
    last = 0
    start = text.find("<%")
    while start >= 0:
        end = text.find("%>", start)
        if end < 0:
            break
        if text[start + 2 : start + 3] == "@" or text.startswith("<%--", start):
            start = text.find("<%", end)
            continue
        begin = start + (3 if text.startswith("<%=", start) else 2)
        made.append(re.sub(r"[^\n]", " ", text[last:begin]))
        made.append(text[begin:end])
        last = end
        start = text.find("<%", end)
    code = "".join(made)
    # Each tag's code begins its line: a print in the middle of one is at its beginning, too.
    yield from by_lines(path, [line.strip() for line in masked(code).split("\n")])


def by_lines(path: str, lines: list[str]) -> Iterator[Finding]:
    """What can be told of lines whose texts and comments are blank."""
    for number, line in enumerate(lines, 1):
        line = line[:_LONGEST]
        for expression, what, remedy in _SYNTAX:
            if expression.search(line):
                yield Finding("MP2001", what, path, number, f"Write {remedy}.")
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
        defined = re.match(r"\s*def\s+(__\w+__)\s*\(|\s*(__metaclass__)\s*=", line)
        if defined:
            yield from _special(path, number, defined[1] or defined[2])
        yield from request_rules.by_line(path, number, line)


def names(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Names that are gone, in code that parses."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    aliases = [
        alias for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names
    ]
    imported = {(alias.asname or alias.name).split(".")[0] for alias in aliases}
    bound |= imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in NAMES and node.id not in bound:
            yield from _name(path, node.lineno, node.id)
        elif isinstance(node, ast.Attribute):
            name = f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else ""
            if node.attr in METHODS:
                yield Finding("MP2004", f".{node.attr} is gone", path, node.lineno, f"Write {METHODS[node.attr]}.")
            elif name in ATTRIBUTES and name.split(".")[0] in imported:
                yield Finding("MP2004", f"{name} is gone", path, node.lineno, f"Write {ATTRIBUTES[name]}.")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from _module(path, node.lineno, node.module or "")
            for alias in node.names:
                yield from _from(path, node.lineno, node.module or "", alias.name)
        elif isinstance(node, ast.FunctionDef):
            yield from _special(path, node.lineno, node.name)
        elif isinstance(node, ast.Name) and node.id == "__metaclass__" and isinstance(node.ctx, ast.Store):
            yield from _special(path, node.lineno, node.id)
        elif isinstance(node, ast.Call):
            yield from _call(path, node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift) and _is_name(node.left, "print"):
            yield Finding("MP2001", "print >>file is gone", path, node.lineno, "Write print(…, file=file).")


_SPECIAL = {
    "__nonzero__": "__bool__",
    "__unicode__": "__str__",
    "__cmp__": "__eq__ and __lt__",
    "__getslice__": "__getitem__",
    "__setslice__": "__setitem__",
    "__delslice__": "__delitem__",
    "__metaclass__": "class Name(metaclass=…)",
}


def _special(path: str, number: int, name: str) -> Iterator[Finding]:
    if name in _SPECIAL:
        said = "is not looked at" if name == "__metaclass__" else "is not called"
        yield Finding("MP2004", f"{name} {said}", path, number, f"Write {_SPECIAL[name]}.")


def _from(path: str, number: int, module: str, name: str) -> Iterator[Finding]:
    """A name that somebody wants of a module."""
    remedy = ATTRIBUTES.get(f"{module}.{name}")
    if remedy:
        yield Finding("MP2004", f"{module}.{name} is gone", path, number, f"Write {remedy}.")


def _call(path: str, node: ast.Call) -> Iterator[Finding]:
    """Arguments that are gone: sort(cmp=…), and codecs between bytes and bytes."""
    called = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
    if called in ("sort", "sorted") and any(one.arg == "cmp" for one in node.keywords):
        yield Finding("MP2004", f"{called}(cmp=…) is gone", path, node.lineno, "Write key=functools.cmp_to_key(…).")
    first = node.args[0] if node.args else None
    if called in ("encode", "decode") and isinstance(first, ast.Constant) and first.value in _CODECS:
        text = f".{called}({first.value!r}) is gone"
        yield Finding("MP2004", text, path, node.lineno, f"Write codecs.{called}(data, {first.value!r}).")


_CODECS = ("hex", "base64", "zlib", "bz2", "rot13", "rot_13", "quopri", "uu", "string_escape")


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _name(path: str, number: int, word: str) -> Iterator[Finding]:
    yield Finding("MP2002", f"{word} is gone", path, number, f"Write {NAMES[word]}.")


def _module(path: str, number: int, name: str) -> Iterator[Finding]:
    first = name.split(".")[0]
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
