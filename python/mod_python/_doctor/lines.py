"""The lines of an httpd configuration and their words, as httpd reads them (ap_cfg_getline, ap_getword_conf in server/util.c)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# What is repeated never overlaps with what follows, so that no line takes longer than its length.
_VARIABLE = re.compile(r"\$\{([^${}:\s]{1,200})\}")
_WORD = re.compile(r"""[ \t]*(?:"((?:[^"\\]|\\.)*)"?|'((?:[^'\\]|\\.)*)'?|([^ \t]+))""", re.S)


class Line(NamedTuple):
    """A line with what continues it."""

    first: int
    """The number of its first line, from 1."""
    last: int
    """The number of its last line, which is the one that httpd names."""
    text: str


def lines(text: str) -> Iterator[Line]:
    """The lines of a configuration with their continuations joined, without blanks around; empty ones and comments, too."""
    pending, first = "", 0
    number = 0
    for number, raw in enumerate(text.split("\n"), 1):
        raw = raw[:-1] if raw.endswith("\r") else raw
        first = first or number
        # An odd number of backslashes, or rather: one that none escapes, joins the next line.
        if raw.endswith("\\") and not raw.endswith("\\\\"):
            pending += raw[:-1]
            continue
        yield Line(first, number, (pending + raw).strip(" \t\r\v\f"))
        pending, first = "", 0
    if first:
        yield Line(first, number, pending.strip(" \t\r\v\f"))


def words(text: str) -> list[str]:
    """The arguments of a directive: at blanks, but for what quotes hold together."""
    found = []
    for match in _WORD.finditer(text):
        double, single, plain = match.groups()
        quote = '"' if double is not None else "'"
        inner = double if double is not None else single
        found.append(plain if inner is None else inner.replace(f"\\{quote}", quote).replace("\\\\", "\\"))
    return found


def resolved(text: str, variables: Mapping[str, str]) -> str:
    """A text with the values of `${NAME}` in it; a name that is not known stays as it is."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), text)


def quoted(word: str) -> str:
    """A word as an argument of a directive."""
    if word and not re.search(r"[\s\"'\\]", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
