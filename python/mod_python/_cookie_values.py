"""How the value of a cookie is sent that holds what RFC 6265 does not allow in one, and how that is undone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable, Optional

from mod_python._later import later

if TYPE_CHECKING:
    import urllib.parse as urllib_parse
else:
    urllib_parse = later("urllib.parse")

_VALUE = re.compile(r'[!#-+\--:<-\[\]-~]*|"[!#-+\--:<-\[\]-~]*"')
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_REFUSED = re.compile(r"[\0-\x1f\x7f;]")
_SPECIAL = re.compile(r"[^ !#-+\--:<-\[\]-~]")
_QUOTED = re.compile(r'"[^\\"]*(?:\\.[^\\"]*)*"', re.DOTALL)
_ESCAPED = re.compile(r"((?:\\[0-3][0-7][0-7])+)|\\(.)", re.DOTALL)


def _quoted(text: str) -> str:
    """As ``http.cookies`` writes it, in UTF-8; what needs no quotes gets none."""
    if (text.isalnum() and text.isascii()) or _VALUE.fullmatch(text):
        return text
    if _REFUSED.search(text):
        raise ValueError("holds a control character or a semicolon")
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return f"\\{character}" if character in '"\\' else "".join(f"\\{byte:03o}" for byte in _utf_8(character))


def _unquoted(text: str) -> str:
    """The value that was sent so. What needs no quotes keeps those that it has, and so does what could not be sent."""
    if _VALUE.fullmatch(text) or not _QUOTED.fullmatch(text):
        return text
    value = _ESCAPED.sub(_unescape, text[1:-1])
    return text if _REFUSED.search(value) else value


def _unescape(match: re.Match[str]) -> str:
    octal: Optional[str] = match[1]
    return match[2] if octal is None else _decoded(bytes(int(digits, 8) for digits in octal[1:].split("\\")))


def _percent_encoded(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("holds a control character")
    return urllib_parse.quote(_utf_8(text), safe="!#$&'()*+/:<=>?@[]^`{|}")


def _percent_decoded(text: str) -> str:
    if "%" not in text:
        return text
    value = _decoded(urllib_parse.unquote_to_bytes(text.encode("utf-8", "surrogatepass")))
    return text if _CONTROL.search(value) else value


def _utf_8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds half a character") from None


def _decoded(data: bytes) -> str:
    """UTF-8, or the latin-1 of those who know no better."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


ENCODINGS: dict[str, tuple[Callable[[str], str], Callable[[str], str], str]] = {
    "quoted": (_quoted, _unquoted, '"'),
    "percent": (_percent_encoded, _percent_decoded, "%"),
}
"""What encodes and what decodes, by name, and what a value holds that is not sent as it is. The first raises ValueError for what
it cannot send."""
