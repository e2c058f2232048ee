"""The PSP language: from a template to Python, and which line of the one came from which of the other.

``<% code %>``, ``<%= expression %>``, ``<%-- comment --%>``, ``<%@ include file="path" %>``; everything else is text. What
follows a block of code stands at the indentation that the block ended with, one level deeper after a colon.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple, Optional, Union

from mod_python._later import later

if TYPE_CHECKING:
    import ast
else:
    ast = later("ast")

_TAB = "\t"
_MAX_DEPTH = 30
"""Includes within includes."""

_COMPOUND = re.compile(r"\s*(?:if|for|while|with|def|class|try|async|else|elif|except|finally|match)\b|\s*@|.*#", re.S)
_BRANCH = re.compile(r"\s*(?:else|elif|except|finally)\b")
_TAG = re.compile(r"<%(--|=|@)?")
_INCLUDE = re.compile(r"""\s*include\s+file\s*=\s*(?:"([^"]*)"|'([^']*)')\s*""")
_ESCAPE = re.compile(
    r"""\\(?:(?P<shown>[nrt])|(?P<kept>[\\'abfv\n]|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|N\{[^}\n]+\})|(?P<other>))|(?P<quote>")|(?P<nul>\0)|(?P<return>\r)"""
)


class TemplateError(SyntaxError):
    """A template that cannot be understood: ``filename`` and ``lineno`` are the template's."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(message, (file, line, None, None))


class Line(NamedTuple):
    """A line of Python, and where it comes from."""

    text: str
    file: str
    number: int


class Page:
    """A template as Python. ``files`` lists what it was made from, the template first."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.files: list[str] = []
        self._indent = ""
        self._open = False
        """May another simple statement follow on the last line?"""

    @property
    def source(self) -> str:
        """The Python source."""
        return "".join(f"{line.text}\n" for line in self.lines)

    def compile(self, name: str) -> CodeType:
        """Code whose line numbers are those of the template ``name``. Raises SyntaxError, which names the template's line."""
        numbers = self._numbers(name)
        in_step = numbers == list(range(1, len(numbers) + 1))
        try:
            tree = ast.parse(self.source, name)
            if in_step:
                return _compiled(tree, self.source, name)
        except SyntaxError as error:
            if not error.lineno:
                raise
            line = self.lines[min(error.lineno, len(self.lines)) - 1]
            raise type(error)(error.msg, (line.file, line.number, None, error.text)) from None
        for node in ast.walk(tree):
            if isinstance(node, (ast.stmt, ast.expr, ast.ExceptHandler, ast.arg, ast.keyword, ast.alias)):
                last = node.end_lineno or node.lineno
                node.lineno, node.end_lineno = numbers[node.lineno - 1], numbers[last - 1]
                if (node.end_lineno, node.end_col_offset or 0) < (node.lineno, node.col_offset):
                    node.end_lineno, node.end_col_offset = node.lineno, node.col_offset
        return compile(_joined(tree), name, "exec", dont_inherit=True)

    def _numbers(self, name: str) -> list[int]:
        """For each line of Python the template's; for what an include brought, the line of the include."""
        numbers, last = [], 1
        for line in self.lines:
            if line.file == name:
                last = max(line.number, 1)
            numbers.append(last)
        return numbers

    def statement(self, text: str, file: str, number: int, simple: bool = True) -> None:
        """Add a statement at the present indentation; its lines follow one another in the template.

        Simple statements of one line of the template share a line of Python, so that both keep in step.
        """
        last = self.lines[-1] if self.lines else None
        if simple and self._open and last is not None and (last.file, last.number) == (file, number):
            self.lines.pop()
            text = f"{last.text}; {text}"
        else:
            text = self._indent + text
        self.lines += [Line(part, file, number + place) for place, part in enumerate(text.split("\n"))]
        self._open = simple

    def text(self, text: str, file: str, number: int) -> None:
        """Add text of the template."""
        if text:
            self.statement(f'req.write("""{_ESCAPE.sub(_escaped, text)}""",0)', file, number)
        else:
            self.statement("pass", file, number)

    def block(self, code: str, file: str, number: int) -> None:
        """Add a block of code as it stands, and take over the indentation that it ends with."""
        first, newline, rest = code.partition("\n")
        if not newline and first.lstrip().startswith("#"):
            # A comment alone, <% # end %>, closes the innermost block.
            self._indent = self._indent[:-1] if self._indent.endswith(_TAB) else ""
            self._open = False
            return
        if not newline and _BRANCH.match(first) and self._indent.endswith(_TAB):
            self._indent = self._indent[:-1]
        if first.strip():
            simple = not newline and not _COMPOUND.match(first)
            self.statement(first.strip().rstrip(";") if simple else first.strip(), file, number, simple)
        indent = self._indent
        if newline:
            lines = rest.split("\n")
            indent = _last_indent(lines)
            # What stands before the closing %> alone is no line of code: the text behind it takes that place.
            for place, line in enumerate(lines if lines[-1].strip() else lines[:-1], 1):
                self.lines.append(Line(line if line.strip() else "", file, number + place))
            self._open = False
        if code.rstrip().endswith(":"):
            opener = _indent_of(code.rstrip().rsplit("\n", 1)[-1])
            if not newline or len(indent) <= len(opener):
                indent += _TAB
        self._indent = indent


def _compiled(tree: ast.Module, source: str, name: str) -> CodeType:
    try:
        return compile(_joined(tree), name, "exec", dont_inherit=True)
    except RecursionError:
        # The source may be nested more deeply than a tree of Python's objects.
        return compile(source, name, "exec", dont_inherit=True)


def _joined(tree: ast.Module) -> ast.Module:
    """Writes the text of an expression and what follows it in the template at once. What stands before it must be written
    first: the expression may write something itself."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                _join(statements)
    return tree


def _join(statements: list[ast.stmt]) -> None:
    for place in range(len(statements) - 1, 0, -1):
        before, text = _written(statements[place - 1]), _written(statements[place])
        if (
            isinstance(text, ast.Constant)
            and isinstance(text.value, str)
            and isinstance(before, ast.Call)
            and isinstance(before.func, ast.Name)
            and before.func.id == "str"
        ):
            value = ast.FormattedValue(before, -1)
            call = statements[place - 1].value  # type: ignore[attr-defined]
            call.args[0] = ast.JoinedStr([value, text])
            for made in (value, call.args[0]):
                ast.copy_location(made, before)
            del statements[place]


def _written(statement: ast.stmt) -> Optional[ast.expr]:
    """What a statement writes, if that is all that it does: `req.write(…, 0)`."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or len(call.args) != 2 or call.keywords:
        return None
    function, flush = call.func, call.args[1]
    if not isinstance(function, ast.Attribute) or function.attr != "write" or not isinstance(function.value, ast.Name):
        return None
    is_plain = function.value.id == "req" and isinstance(flush, ast.Constant) and flush.value == 0
    return call.args[0] if is_plain else None


def _indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _last_indent(lines: list[str]) -> str:
    """The indentation at the closing ``%>``: its own; at the beginning of a line, that of the line before."""
    for line in reversed(lines) if lines[-1] else reversed(lines[:-1]):
        return _indent_of(line)
    return ""


def _escaped(match: re.Match[str]) -> str:
    """What a piece of text is in a literal with three quotes: only \\n, \\r and \\t are not what Python makes of them."""
    if match["quote"]:
        return '\\"'
    if match["nul"]:
        return "\\x00"
    if match["return"]:
        return "\\r"
    if match["shown"]:
        return "\\" + match[0]
    return match[0] if match["kept"] else "\\\\"


def parse(source: Union[str, bytes], file: str, directory: Optional[str] = None) -> Page:
    """Make Python of a template. Includes are looked for in the directory of the file that includes, then in ``directory``.

    Raises TemplateError for what is not closed, includes itself, or cannot be included.
    """
    page = Page()
    page.files.append(file)
    _parse(page, _decoded(source, file), file, directory, (file,))
    return page


def _decoded(source: Union[str, bytes], file: str) -> str:
    if isinstance(source, str):
        return source.replace("\r\n", "\n")
    try:
        return source.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        number = source[: error.start].count(b"\n") + 1
        raise TemplateError(f"the template is not UTF-8: {error}", file, number) from None


def _parse(page: Page, text: str, file: str, directory: Optional[str], stack: tuple[str, ...]) -> None:
    place, number = 0, 1
    written = False
    while True:
        tag = _TAG.search(text, place)
        plain = text[place : tag.start() if tag else len(text)]
        if plain or not written:
            page.text(plain, file, number)
        written = True
        number += plain.count("\n")
        if tag is None:
            return
        kind = tag[1] or ""
        closing = "--%>" if kind == "--" else "%>"
        end = text.find(closing, tag.end())
        if end < 0:
            raise TemplateError(f"{tag[0]} is never closed by {closing}", file, number)
        content = text[tag.end() : end]
        if "\0" in content:
            raise TemplateError(f"{tag[0]} holds a NUL", file, number)
        if kind == "":
            page.block(content.replace("\r", "\n"), file, number)
            written = False
        elif kind == "=":
            _expression(page, content.replace("\r", "\n"), file, number)
        elif kind == "@":
            _directive(page, content, file, number, directory, stack)
        number += content.count("\n")
        place = end + len(closing)


def _expression(page: Page, content: str, file: str, number: int) -> None:
    if not content.strip():
        raise TemplateError("<%= has no expression", file, number)
    # A comment at the end must not hide the closing parenthesis.
    end = "\n" if "#" in content.rsplit("\n", 1)[-1] else ""
    page.statement(f"req.write(str({content.strip()}{end}),0)", file, number)


def _directive(
    page: Page, content: str, file: str, number: int, directory: Optional[str], stack: tuple[str, ...]
) -> None:
    found = _INCLUDE.match(content)
    if found is None:
        return
    name = found[1] if found[1] is not None else found[2]
    candidates = list(_candidates(name, file, directory))
    path = next((path for path in candidates if os.path.isfile(path)), None)
    if path is None:
        raise TemplateError(f"cannot include {name!r}: there is no {' or '.join(candidates)}", file, number)
    if path in stack or len(stack) > _MAX_DEPTH:
        raise TemplateError(f"cannot include {name!r}: it would include itself", file, number)
    with open(path, "rb") as opened:
        source = opened.read()
    page.files.append(path)
    _parse(page, _decoded(source, path), path, directory, (*stack, path))


def _candidates(name: str, file: str, directory: Optional[str]) -> Iterator[str]:
    for place in dict.fromkeys((os.path.dirname(file), directory or "")):
        yield os.path.normpath(os.path.join(place, name))


def parsestring(source: Union[str, bytes]) -> str:
    """The Python source of a template."""
    return parse(source, "__psp__").source


def parsefile(filename: str, dir: Optional[str] = None) -> str:
    """The Python source of the template ``dir`` + ``filename``. Raises OSError."""
    path = (dir or "") + filename
    with open(path, "rb") as file:
        return parse(file.read(), path, dir).source
