"""Values as short texts for a page that shows where an error was raised: cut, with secrets hidden, whatever the values do.

What can run an application's code (``__repr__``) runs under a time limit, and whatever it raises is caught. The limit ends what
runs as Python code; nothing can end a call of C code that does not return.
"""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from itertools import islice
from types import FrameType, ModuleType
from typing import Any, Callable, Optional, cast
from urllib.parse import unquote

HIDDEN = "(hidden)"
"""What stands in place of a secret."""

_MOST = 400
"""So many characters of a value are shown."""
_ITEMS = 12
_DEPTH = 3
_VARIABLES = 40
_SECONDS = 0.25
"""How long one value may take; all of a page have eight times as long."""

_WORD = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|authorization|cookie|session|credential|signature|csrf|(?:api|private|access)_?key)"
_SECRET = re.compile(rf"{_WORD}|(?:^|[^a-z])(?:auth|keys?|otp|pin|pw|sid)(?:$|[^a-z])", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Values behind such a name, in a text: `password='x'`, `"token": "x"`, `?token=x`. All is bounded: a text may be anybody's, and a
# search that tries each place for each length would take for ever.
_REST = r"[\w.\-]{0,40}[\"']?\s{0,3}"
_QUOTED = re.compile(rf"""({_WORD}{_REST}(?:=|:)\s{{0,3}}[bru]{{0,2}})("[^"]*"?|'[^']*'?)""", re.IGNORECASE)
_BARE = re.compile(rf"({_WORD}{_REST}=\s{{0,3}})([^\s'\",;&<>()\[\]{{}}#]+)", re.IGNORECASE)
# `postgres://user:password@host`.
_IN_URL = re.compile(r"(?<=://)[^/\s:@'\"]{0,100}:[^@/\s'\"]{1,200}(?=@)")
_IN_URI = re.compile(r"(?<=[?&;])([^=&;#?\s]{1,100})=([^&;#\s]*)")


class _TooLong(BaseException):
    """Ends a ``__repr__`` that takes too long."""


def is_secret(name: str) -> bool:
    """Does a value of this name stay hidden? ``_`` and ``-`` end a word of it, and so does a capital letter."""
    return bool(_SECRET.search(_CAMEL.sub("_", name[:200])))


def without_secrets(text: str, *, only_quoted: bool = False) -> str:
    """Hide values behind names of secrets in a text."""
    text = _IN_URL.sub(HIDDEN, _QUOTED.sub(rf"\1{HIDDEN}", text))
    return text if only_quoted else _BARE.sub(rf"\1{HIDDEN}", text)


def uri_without_secrets(uri: str) -> str:
    """Hide the values of secret fields in the query of a URI, or of several in a text."""
    return _IN_URI.sub(lambda pair: f"{pair[1]}={HIDDEN}" if is_secret(unquote(pair[1])) else pair[0], uri)


def visible(text: str) -> str:
    """Escape what cannot be seen, or changes how others are seen: control characters, surrogates, marks of direction."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text)


def cut(text: str, most: int = _MOST) -> str:
    """The beginning and the end of a long text. A subclass of ``str`` is not asked."""
    length = str.__len__(text)
    if length <= most:
        return str.__getitem__(text, slice(None))
    end = most // 4
    head, tail = str.__getitem__(text, slice(0, most - end)), str.__getitem__(text, slice(length - end, length))
    return f"{head} … {length - most} characters … {tail}"


def type_name(value: object) -> str:
    """The name of its class, which the class cannot change."""
    name: str = type.__dict__["__name__"].__get__(type(value))
    return visible(cut(name, 80))


class Values:
    """The values of one page, which have their time together."""

    def __init__(self) -> None:
        self._end = time.monotonic() + 8 * _SECONDS

    def variables(self, frame: FrameType) -> tuple[list[tuple[str, str, str]], int]:
        """Name, class and text of a frame's local variables; and how many more there are."""
        try:
            # What a class body or exec() runs in may be a mapping of the application's.
            names = frame.f_locals
            found = list(names.items()) if type(names) is dict else self._timed(lambda: list(dict(names).items()))
        except BaseException:
            return [], 0
        wanted = [
            (name, value)
            for name, value in found
            if type(name) is str and not name.startswith("__") and not issubclass(type(value), ModuleType)
        ]
        shown = [
            (visible(cut(name, 80)), type_name(value), HIDDEN if is_secret(name) else self.text(value))
            for name, value in wanted[:_VARIABLES]
        ]
        return shown, len(wanted) - len(shown)

    def text(self, value: object) -> str:
        """A value as a short text."""
        try:
            text = self._text(value, _DEPTH)
        except BaseException as error:
            text = f"<{type_name(value)}: its repr() raises {type_name(error)}>"
        return visible(cut(without_secrets(cut(text, 4 * _MOST))))

    def message(self, error: BaseException) -> str:
        """What an exception says of itself."""
        try:
            text = cut(self._timed(lambda: str(error)), 4000)
            return visible(without_secrets(text, only_quoted=True))
        except BaseException as raised:
            return f"<its str() raises {type_name(raised)}>"

    def _text(self, value: Any, depth: int) -> str:
        kind = type(value)
        if issubclass(kind, str):
            return _named(kind, str, repr(cut(value)))
        if issubclass(kind, (bytes, bytearray)):
            base: Any = bytes if issubclass(kind, bytes) else bytearray
            head = bytes(base.__getitem__(value, slice(0, _MOST)))
            rest = base.__len__(value) - len(head)
            return _named(kind, bytes, repr(head)) + (f" … {rest} bytes" if rest > 0 else "")
        for base in (dict, list, tuple, set, frozenset, deque):
            if issubclass(kind, base):
                return _named(kind, base, self._items(value, base, depth))
        if issubclass(kind, int) and int.bit_length(value) > 1000:
            return f"<{type_name(value)} of {int.bit_length(value)} bits>"
        return cut(self._timed(lambda: repr(value)), 4 * _MOST)

    def _items(self, value: Any, base: Any, depth: int) -> str:
        """What a container holds: the base class's view of it, so that no code of a subclass runs."""
        begin, end = {list: ("[", "]"), deque: ("[", "]"), tuple: ("(", ")")}.get(base, ("{", "}"))
        count: int = base.__len__(value)
        if not count:
            return "{}" if base is dict else begin + end if end != "}" else f"{base.__name__}()"
        if depth == 0:
            return f"{begin}…{end}"
        parts = []
        if base is dict:
            for key, item in list(islice(dict.items(value), _ITEMS)):
                shown = HIDDEN if _is_secret_key(key) else self._text(item, depth - 1)
                parts.append(f"{self._text(key, depth - 1)}: {shown}")
        else:
            items = list(islice(base.__iter__(value), _ITEMS))
            # Pairs, as of headers and forms.
            if base is tuple and count == 2 and _is_secret_key(items[0]):
                items = [items[0], _Hidden()]
            parts = [HIDDEN if type(item) is _Hidden else self._text(item, depth - 1) for item in items]
        if count > len(parts):
            parts.append(f"… {count - len(parts)} more")
        comma = "," if base is tuple and count == 1 else ""
        return f"{begin}{', '.join(parts)}{comma}{end}"

    def _timed(self, call: Callable[[], Any]) -> Any:
        """Call what may run code of the application's; it has until its time, or all values' time, is over."""
        end = min(self._end, time.monotonic() + _SECONDS)
        if time.monotonic() >= self._end:
            raise _TooLong

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if time.monotonic() > end:
                raise _TooLong
            return trace

        before = sys.gettrace()
        sys.settrace(cast(Any, trace))
        try:
            return call()
        finally:
            sys.settrace(before)


class _Hidden:
    """Stands for a secret in a pair."""


def _is_secret_key(key: object) -> bool:
    if isinstance(key, str):
        return is_secret(cut(key))
    return isinstance(key, bytes) and is_secret(bytes.decode(key[:200], "latin-1"))


def _named(kind: type, base: type, text: str) -> str:
    """The text of what a base class shows, with the name of the class that it is of."""
    return text if kind is base else f"{type.__dict__['__name__'].__get__(kind)}({text})"


def request_header(name: str, value: str) -> Optional[str]:
    """A header's value as it may be shown; None where it is a secret."""
    if is_secret(name):
        return None
    return visible(cut(without_secrets(uri_without_secrets(value)), 1000))
