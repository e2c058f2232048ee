"""The charsets that text of a form may be in.

A client names them, so a name is looked up among those that Python brings, and never reaches ``codecs.lookup`` otherwise:
that imports modules, and remembers every name that it does not know.
"""

from __future__ import annotations

import codecs
import functools
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Optional, Union

UTF_8 = "utf-8"

_LONGEST = 40
"""Characters of a charset's name."""

_NEVER = {"idna", "mbcs", "oem", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7"}
"""Codecs of text that are no charsets, or that hide what a text is."""

_MORE = {
    # What browsers call them.
    "iso_8859_8_i": "iso8859_8",
    "unicode_1_1_utf_8": "utf_8",
    "windows_874": "cp874",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_sjis": "shift_jis",
    # Those for which Python has a module, but no other name.
    **{name: name for name in ("cp874", "koi8_t", "koi8_u", "utf_8_sig")},
}
_NAMES = {**{name: name for name in aliases.values()}, **aliases, **_MORE}


def charset(name: Union[str, bytes, bytearray, None]) -> Optional[str]:
    """Python's name of a charset, or None for one that is not known, is no charset, or is no more than ASCII.

    ASCII is a part of every other one that a form can be in: that it has been named says nothing.
    """
    if isinstance(name, (bytes, bytearray)):
        name = name[: _LONGEST + 1].decode("latin-1")
    if not name or len(name) > _LONGEST or not name.isascii():
        return None
    known = _NAMES.get(normalize_encoding(name.strip()).lower())
    return None if known is None or known in _NEVER else _checked(known)


def form_charset(name: Union[str, bytes, bytearray, None]) -> Optional[str]:
    """The same for a whole form, whose names and marks are ASCII whatever its text is in: UTF-16 is none."""
    found = charset(name)
    return found if found is not None and _holds_ascii(found) else None


@functools.cache
def _checked(module: str) -> Optional[str]:
    try:
        found = codecs.lookup(module)
    except LookupError:
        return None
    if not getattr(found, "_is_text_encoding", False) or found.name == "ascii":
        return None
    return found.name


@functools.cache
def _holds_ascii(name: str) -> bool:
    printable = bytes(range(32, 127))
    return printable.decode(name, "replace").encode("utf-8") == printable
