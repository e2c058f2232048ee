"""Header values with options, such as Content-Type and Content-Disposition, and the names of files in them."""

from __future__ import annotations

import re
from typing import Any

_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = ("utf-8", "iso-8859-1")


def parse_header(line: Any) -> Any:
    r"""Split ``value; option=text; option="text"``: the value in lower case, and a dict of the options.

    A ``str`` gives ``(str, dict of str)``. ``bytes`` give ``(bytes, dict)`` with names in bytes and texts in str, as
    mod_python does. ``\"`` and ``\\`` in quotes stand for the second character; a backslash before another one stays,
    since old browsers send paths of Windows. ``option*=utf-8''text`` (RFC 8187) becomes ``option``. Raises TypeError for
    other types.
    """
    if isinstance(line, (bytes, bytearray)):
        value, options = parse_header(bytes(line).decode("latin-1"))
        return value.encode("latin-1"), {name.encode("latin-1"): text for name, text in options.items()}
    if not isinstance(line, str):
        raise TypeError("a header must be str or bytes")
    return split(line)


def split(line: str, most: int = 0) -> tuple[str, dict[str, str]]:
    """The same for text. Raises ValueError where it has more than ``most`` options (0: any number)."""
    found: dict[str, str] = {}
    extended: dict[str, str] = {}
    end = _until(line, ";", 0)
    value = line[:end].strip().lower()
    count = 0
    while end < len(line):
        place, end = end + 1, _until(line, ";", end + 1)
        equals = line.find("=", place, end)
        if equals < 0:
            continue
        count += 1
        if most and count > most:
            raise ValueError(f"a header has more than {most} options")
        name = line[place:equals].strip().lower()
        text = line[equals + 1 : end].lstrip()
        if text.startswith('"'):
            text, end = _quoted(line, end - len(text), end)
        else:
            text = text.rstrip()
        if not name or any(character.isspace() or character == '"' for character in name):
            continue
        if name.endswith("*"):
            from urllib.parse import unquote

            charset, _, encoded = text.partition("'")
            if charset.lower() in _EXTENDED:
                extended[name[:-1]] = unquote(encoded.partition("'")[2], charset, "replace")
        else:
            found.setdefault(name, text)
    return value, {**found, **extended}


def _until(line: str, mark: str, start: int) -> int:
    place = line.find(mark, start)
    return len(line) if place < 0 else place


def _quoted(line: str, start: int, end: int) -> tuple[str, int]:
    """The text in quotes that begin at ``start``, and the semicolon behind them."""
    match = _QUOTED.match(line, start)
    if match is not None:
        return _ESCAPED.sub(r"\1", match[1]), _until(line, ";", match.end())
    # Only a backslash can keep them from ending: that of a directory's name.
    text = line[start:end].rstrip()
    return (text[1:-1] if len(text) > 1 and text.endswith('"') else text), end


def base_name(name: str) -> str:
    """The last part of a file name that a client gave, without control characters; never empty, ``.`` or ``..``."""
    last = name[max(name.rfind("/"), name.rfind("\\")) + 1 :]
    kept = "".join(character for character in last if character.isprintable()).strip()
    return kept if kept.strip(".") else "unnamed"
