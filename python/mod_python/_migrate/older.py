"""Python 2's grammar: where a source has it, and the same source as Python 3 can parse it, line by line, for the rules that look at a tree.

What is made is for reading alone: nobody runs it, and not all of it means what it meant."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple, Optional

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\f]+|\\\n)|(?P<comment>\#[^\n]*)|(?P<line>\n)
    |(?P<text>[bBfFrRtTuU]{0,2}(?:'''|\"\"\"|'|"))
    |(?P<number>0[xXbBoO][0-9a-fA-F_]+[lL]?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?[jJlL]?)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign><>|>>=?|<<=?|\*\*=?|//=?|[-+*/%&|^=!<>@:]=|->|.)""",
    re.X,
)
_HEADS = ("if", "elif", "else", "for", "while", "try", "except", "finally", "with", "def", "class")
_KEYWORDS = ("True", "False", "None")
_WRITES = re.compile(r"""[-+~\[{`\d"'.]|[^\W\d]""")
"""How what print writes may begin, apart from a parenthesis."""
_JOINS = ("in", "and", "or", "is", "if", "for")
_MOST = 500
"""Tokens of parameters that are looked at."""
_OPEN, _CLOSE = "([{", ")]}"


class Told(NamedTuple):
    """A place that Python 3 cannot parse, or reads otherwise."""

    line: int
    what: str
    remedy: str


class Token(NamedTuple):
    """A piece of a source."""

    kind: str
    text: str
    start: int
    depth: int
    """In how many brackets it stands; a bracket itself stands outside of its own."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def mended(text: str) -> tuple[str, list[Told]]:
    """A source without Python 2's grammar, with the same lines, and what was in it. Its lines end with \\n."""
    reader = _Reader(text)
    tokens = list(_tokens(text))
    reader.everywhere(tokens)
    for statement in _statements(tokens):
        reader.statement(statement)
    return reader.made(), sorted(set(reader.told))


def _tokens(text: str) -> Iterator[Token]:
    place, depth, ticks = 0, 0, False
    while place < len(text):
        found = _TOKEN.match(text, place)
        kind, piece = (str(found.lastgroup), found[0]) if found else ("sign", text[place])
        if kind == "text":
            piece = text[place : _end_of_text(text, place + len(piece), piece.lstrip("bBfFrRtTuU"))]
        if piece in _CLOSE:
            depth = max(depth - 1, 0)
        if piece == "`":
            ticks = not ticks
            depth = max(depth - (not ticks), 0)
        if kind not in ("blank", "comment") and not (kind == "line" and depth):
            yield Token(kind, piece, place, depth)
        if piece in _OPEN or (piece == "`" and ticks):
            depth += 1
        place += len(piece)


def _end_of_text(text: str, place: int, quote: str) -> int:
    """Behind a text's closing quote; an open one ends with its line, an open triple one with the file."""
    while place < len(text):
        if text[place] == "\\":
            place += 2
        elif text.startswith(quote, place):
            return place + len(quote)
        elif text[place] == "\n" and len(quote) == 1:
            return place
        else:
            place += 1
    return len(text)


def _statements(tokens: list[Token]) -> Iterator[list[Token]]:
    """The simple statements, and the heads of compound ones with their colons."""
    found: list[Token] = []
    lambdas = 0
    for token in tokens:
        if token.kind == "line" or (token.text == ";" and not token.depth):
            if found:
                yield found
            found, lambdas = [], 0
            continue
        found.append(token)
        if token.text == "lambda" and not token.depth:
            lambdas += 1
        elif token.text == ":" and not token.depth:
            if lambdas:
                lambdas -= 1
            elif found[0].text in _HEADS:
                yield found
                found = []
    if found:
        yield found


class _Reader:
    """Collects what is told of a source, and what is put into it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.told: list[Told] = []
        self.edits: list[tuple[int, int, str]] = []
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def made(self) -> str:
        parts, last = [], 0
        for start, end, new in sorted(self.edits):
            if start >= last:
                parts += [self.text[last:start], new]
                last = end
        return "".join([*parts, self.text[last:]])

    def tell(self, token: Token, what: str, remedy: str) -> None:
        self.told.append(Told(bisect_right(self.lines, token.start), what, remedy))

    def change(self, token: Token, new: str) -> None:
        self.edits.append((token.start, token.end, new))

    def wrap(self, first: Token, last: Token) -> None:
        self.edits += [(first.start, first.start, " ("), (last.end, last.end, ")")]

    def everywhere(self, tokens: list[Token]) -> None:
        """What may stand in any expression."""
        ticks = False
        for place, token in enumerate(tokens):
            after = tokens[place + 1].text if place + 1 < len(tokens) else "\n"
            if token.text == "`":
                ticks = not ticks
                if ticks:
                    self.tell(token, "backticks are gone", "repr(…)")
                self.change(token, "(" if ticks else ")")
            elif token.text == "<>":
                self.tell(token, "<> is gone", "!=")
                self.change(token, "!=")
            elif token.kind == "number":
                self._number(token)
            elif token.kind == "text" and token.text[:2].lower() == "ur":
                self.tell(token, 'ur"" is gone', 'r""')
                self.change(token, token.text[1:])
            elif token.text == "lambda":
                self._parameters(tokens[place + 1 : place + _MOST], token.depth, ":")
            elif token.text in ("async", "await") and self._is_name(
                tokens[place - 1].text if place else "", token, after
            ):
                self.tell(token, f"{token.text} is a keyword", "another name")
                self.change(token, f"{token.text}_")

    @staticmethod
    def _is_name(before: str, token: Token, after: str) -> bool:
        return (
            before == "." or after in ("=", ",", ")", ".", "]", ":", "\n") or (token.text == "async" and after == "(")
        )

    def _number(self, token: Token) -> None:
        text = token.text
        if text[-1] in "lL":
            self.tell(token, "a long is an int", "without the L")
            text = text[:-1]
        if re.fullmatch(r"0\d+", text) and text.strip("0"):
            self.tell(token, "an octal number has another form", f"0o{text.lstrip('0')}")
            text = f"0o{text.lstrip('0')}"
        if text != token.text:
            self.change(token, text)

    def _parameters(self, tokens: list[Token], depth: int, last: str) -> None:
        """Parameters that are tuples, of a function's or a lambda's, up to what closes them."""
        before = "("
        inner: Optional[int] = None
        for token in tokens:
            if token.depth <= depth and token.text in (last, "\n"):
                return
            if inner is not None:
                if token.depth == inner and token.text == ")":
                    self.change(token, " ")
                    inner = None
            elif token.text == "(" and before in "(,":
                self.tell(token, "a parameter that is a tuple is gone", "unpack it in the function")
                self.change(token, " ")
                inner = token.depth
            before = token.text

    def statement(self, found: list[Token]) -> None:
        """What is about a whole statement."""
        first = found[0].text
        method = getattr(self, f"_{first}", None) if first in ("print", "except", "raise", "exec", "def") else None
        if method is not None and found[0].kind == "name":
            method(found)
        elif first in _KEYWORDS and len(found) > 1 and found[1].text in ("=", ","):
            for token in found:
                if token.text == "=":
                    break
                if token.text in _KEYWORDS:
                    self.tell(token, f"{token.text} is a keyword", "nothing: it is there")
                    self.change(token, "_")

    def _print(self, found: list[Token]) -> None:
        if len(found) == 1:
            self.tell(found[0], "a lone print prints nothing", "print()")
            self.change(found[0], "print()")
            return
        second, last = found[1], found[-1]
        if second.text == ">>":
            self.tell(found[0], "print >>file is gone", "print(…, file=file)")
            self.edits += [(second.start, second.end, "("), (last.end, last.end, ")")]
        elif second.text == "(":
            behind = _behind(found[1:])
            if behind is not None and behind.text not in (*_JOINS, ":"):
                self.tell(found[0], "print is a function", "print(…)")
                self.wrap(second, last)
        elif (_WRITES.match(second.text) and second.text not in (".", *_JOINS)) and not second.text.endswith("="):
            self.tell(found[0], "print is a function", "print(…)")
            self.wrap(second, last)

    def _except(self, found: list[Token]) -> None:
        comma = next((place for place, token in enumerate(found) if token.text == "," and not token.depth), 0)
        if not comma or found[-1].text != ":":
            return
        self.tell(found[0], "`except X, e` is gone", "except X as e:")
        named = found[comma + 1 : -1]
        self.change(found[comma], " as ")
        if len(named) != 1 or named[0].kind != "name":
            self.edits.append((named[0].start if named else found[-1].start, found[-1].start, "_"))

    def _raise(self, found: list[Token]) -> None:
        if len(found) > 1 and found[1].kind == "text":
            self.tell(found[0], "a text is no exception", "raise a class's instance")
        elif any(token.text == "," and not token.depth for token in found):
            self.tell(found[0], "`raise X, text` is gone", "raise X(text)")
        if any(token.text == "," and not token.depth for token in found):
            self.wrap(found[1], found[-1])

    def _exec(self, found: list[Token]) -> None:
        inside = next((token for token in found if token.text == "in" and not token.depth), None)
        if inside is not None:
            self.tell(found[0], "`exec … in` is gone", "exec(code, names)")
            self.change(inside, ",")
        elif len(found) > 1 and found[1].kind in ("text", "name"):
            self.tell(found[0], "exec is a function", "exec(code, names)")
        else:
            return
        self.wrap(found[1], found[-1])

    def _def(self, found: list[Token]) -> None:
        if len(found) > 3 and found[2].text == "(":
            self._parameters(found[3:_MOST], 0, ")")


def _behind(found: list[Token]) -> Optional[Token]:
    """What follows a parenthesis in a statement."""
    for place, token in enumerate(found[1:], 1):
        if token.depth == found[0].depth and token.text == ")":
            return found[place + 1] if place + 1 < len(found) else None
    return None
