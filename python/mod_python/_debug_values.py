"""Values as short texts for a page that shows where an error was raised: cut, with secrets hidden, whatever the values do.

What can run an application's code (``__repr__``) runs under a time limit, and whatever it raises is caught. The limit ends what
runs as Python code; nothing can end a call of C code that does not return.
"""

from __future__ import annotations

import builtins
import re
import sys
import time
from collections import OrderedDict, deque
from itertools import islice
from types import FrameType, MappingProxyType, ModuleType
from typing import Any, Callable, Optional, cast
from urllib.parse import unquote

HIDDEN = "(hidden)"
"""What stands in place of a secret."""

_MOST = 400
"""So many characters of a value are shown."""
_LOOKED = 16
"""So many times as long as what is shown of it may a text be that is shown to its end."""
_BEHIND = 300
"""How far behind its beginning a pattern may have to look, to see that there is a secret."""
_ITEMS = 12
_DEPTH = 3
_VARIABLES = 40
_SECONDS = 0.25
"""How long one value may take; all of a page have eight times as long."""

_WORD = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|authorization|cookie|session|credential|signature|csrf|(?:api|private|access)[_\-]?key)"
_SHORT = "auth|bearer|creds|cvv|jwt|mfa|o?auth2?|otp|pin|pswd|pw|sid|ssn|totp"
_SECRET = re.compile(rf"{_WORD}|(?:^|[^a-z])(?:{_SHORT}|keys?)(?:$|[^a-z])", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Values behind such a name, in a text: `password='x'`, `"token": "x"`, `('token', 'x')`, `?token=x`. All is bounded: a text may be
# anybody's, and a search that tries each place for each length would take for ever.
_NAME = rf"(?:{_WORD}|(?<![a-z])(?:{_SHORT})(?![a-z]))[\w.\-]{{0,40}}"
# "unknown key: 'x'" tells of none.
_KEY = r"(?<![a-z])keys?(?![a-z])[\w.\-]{0,40}(?:[\"']\s{0,3}[=:]|\s{0,3}=)"
# A literal: also one with escapes, or quotes that are doubled, or one that is cut before its end.
_LITERAL = r"""(?:(?:"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z))+|(?:'[^'\\]*(?:\\.[^'\\]*)*(?:'|\\?\Z))+)"""
_PREFIX = r"[bru]{0,2}"
_IN_RECORD = rf"[\"'],\s{{0,3}}{_PREFIX}[\"']val(?:ue)?[\"']\s{{0,3}}:"
"""`{'name': 'token', 'value': 'x'}`"""
_QUOTED = re.compile(
    rf"((?:{_NAME}(?:[\"']?\s{{0,3}}[=:]|{_IN_RECORD}|[\"'],(?=\s?{_PREFIX}{_LITERAL}(?!\s{{0,3}}:)))|{_KEY})"
    rf"\s{{0,3}}[(\[]{{0,2}}{_PREFIX}){_LITERAL}",
    re.IGNORECASE | re.DOTALL,
)
_BARE = re.compile(
    # An exception of that name has a message, and a file a line.
    rf"((?:{_NAME}(?:[\"']?\s{{0,3}}=|{_IN_RECORD}|(?<!error)(?<!exception)(?<!warning)(?<!\.py)[\"']?\s{{0,3}}:)|{_KEY})\s{{0,3}})"
    r"([^\s'\",;&<>()\[\]{}#]+)",
    re.IGNORECASE,
)
# Headers of requests: `Authorization: Basic x`, `Cookie: a=x; b=y`; and what stands in such a one alone. They may have quotes in
# them: only those in which the whole header stands end it.
_HEADER = r"(?:authorization|cookie)"
_IN_HEADER = re.compile(
    rf"((?:(')[\w\-]{{0,40}}|(\")[\w\-]{{0,40}}|){_HEADER}:(?!\s{{0,3}}\(hidden\))\s{{0,3}})"
    r"(?(2)(?:\\.|[^'\\\r\n])+|(?(3)(?:\\.|[^\"\\\r\n])+|[^\r\n]+))",
    re.IGNORECASE,
)
_BEHIND_HEADER = re.compile(
    rf"({_HEADER}[\"']:(?!\s{{0,3}}(?:\(hidden\)|(?:None|True|False)\b))\s{{0,3}})[^\r\n]+", re.IGNORECASE
)
_IN_SCHEME = re.compile(r"\b((?:bearer|basic)\s{1,3})(?=[^\s'\"]{0,40}[\d=.])([^\s'\",;]+)", re.IGNORECASE)
# `postgres://user:password@host`; a password may have an @, but no port is one.
_IN_URL = re.compile(r"(?<=//)[^/\s:@'\"]{0,100}:(?!\d{1,5}(?:/|\Z))[^\s'\"<>]{1,200}(?=@)")
_IN_URI = re.compile(r"(?<=[?&;#])([^=&;#?\s]{1,100})=([^&;#\s]*)")
_IN_QUOTED_URI = re.compile(r"(?<=[?&])([^=&;#?\s'\"]{1,100})=([^&;#\s'\"<>]*)")


_STEMS = (
    *("pass", "pwd", "secret", "token", "auth", "cookie", "session", "credential", "signature", "csrf", "key"),
    *("bearer", "basic", "creds", "cvv", "jwt", "mfa", "otp", "pin", "pswd", "pw", "sid", "ssn"),
)
"""A text without any of them has nothing for the slow patterns."""


class _TooLong(BaseException):
    """Ends a ``__repr__`` that takes too long."""


def is_secret(name: str) -> bool:
    """Does a value of this name stay hidden? ``_`` and ``-`` end a word of it, and so does a capital letter."""
    return bool(_SECRET.search(_CAMEL.sub("_", name[:200])))


def without_secrets(text: str, *, only_quoted: bool = False) -> str:
    """Hide values behind names of secrets in a text; in source, what is not quoted names values, and is none."""
    has_names = _has_names(text)
    text = _IN_URL.sub(HIDDEN, _QUOTED.sub(rf"\1{HIDDEN}", text) if has_names else text)
    text = _IN_QUOTED_URI.sub(_without_value, text)
    if has_names and not only_quoted:
        for pattern in (_IN_HEADER, _BEHIND_HEADER, _IN_SCHEME, _BARE):
            text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def _has_names(text: str) -> bool:
    # As the patterns do, it takes the Kelvin sign for a letter of ASCII.
    folded = text.casefold()
    return any(stem in folded for stem in _STEMS)


def uri_without_secrets(uri: str) -> str:
    """Hide the values of secret fields in the query of a URI, or of several in a text."""
    return _IN_URI.sub(_without_value, uri)


def _without_value(pair: re.Match[str]) -> str:
    return f"{pair[1]}={HIDDEN}" if is_secret(unquote(pair[1])) else pair[0]


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


def without_secrets_cut(text: str, most: int = _MOST) -> str:
    """A text as it may be shown, and not too long: what is cut away may be what tells that the rest is a secret.

    Of a very long one only the beginning is looked at, and shown.
    """
    length = str.__len__(text)
    if length <= _LOOKED * most:
        return cut(without_secrets(str.__getitem__(text, slice(None))), most)
    # What is at its end may go on behind it.
    head = without_secrets(str.__getitem__(text, slice(0, _LOOKED * most)))[:-_BEHIND][: most - most // 4]
    return f"{head} … {length - len(head)} characters …"


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
        return visible(without_secrets_cut(text))

    def message(self, error: BaseException) -> str:
        """What an exception says of itself."""
        try:
            return visible(without_secrets_cut(self._timed(lambda: str(error)), 4000))
        except BaseException as raised:
            return f"<its str() raises {type_name(raised)}>"

    def _text(self, value: Any, depth: int) -> str:
        kind = type(value)
        if issubclass(kind, str):
            # Before quotes in it are escaped.
            return _named(kind, str, repr(without_secrets_cut(value)))
        if issubclass(kind, (bytes, bytearray)):
            base: Any = bytes if issubclass(kind, bytes) else bytearray
            head = bytes(base.__getitem__(value, slice(0, _MOST)))
            rest = base.__len__(value) - len(head)
            head = without_secrets(head.decode("latin-1")).encode("latin-1")
            return _named(kind, bytes, repr(head)) + (f" … {rest} bytes" if rest > 0 else "")
        for base in (dict, list, tuple, set, frozenset, deque):
            if issubclass(kind, base):
                text = self._items(value, base, depth)
                is_record = base is tuple and _field_names(value)
                return type_name(value) + text if is_record else _named(kind, base, text)
        if kind in _VIEWS:
            return f"{type_name(value)}({self._items(value, kind, depth)})"
        if kind is MappingProxyType:
            count, found = self._timed(lambda: (len(value), dict(islice(value.items(), _ITEMS))))
            rest = f" … {count - len(found)} more" if count > len(found) else ""
            return f"{type_name(value)}({self._items(found, dict, depth)}{rest})"
        if issubclass(kind, BaseException) and _shows_its_arguments(kind):
            # A group whose members are groups may be there more than once, and so on: nothing ends its repr().
            arguments = BaseException.__dict__["args"].__get__(value)
            text = self._items(arguments, tuple, depth)
            return type_name(value) + (text[:-2] + ")" if text.endswith(",)") else text)
        if issubclass(kind, int) and int.bit_length(value) > 1000:
            return f"<{type_name(value)} of {int.bit_length(value)} bits>"
        return without_secrets_cut(self._timed(lambda: repr(value)), 4 * _MOST)

    def _items(self, value: Any, base: Any, depth: int) -> str:
        """What a container holds: the base class's view of it, so that no code of a subclass runs."""
        if time.monotonic() >= self._end:
            raise _TooLong
        begin, end = "[]" if base in (list, deque, *_VIEWS) else "()" if base is tuple else "{}"
        count: int = base.__len__(value)
        if not count:
            return "{}" if base is dict else begin + end if end != "}" else f"{base.__name__}()"
        if depth == 0:
            return f"{begin}…{end}"
        parts = []
        if base is dict:
            pairs = list(islice(dict.items(value), _ITEMS))
            is_record = any(_is_one_of(key, ("name", "key", "field")) and _is_secret_key(item) for key, item in pairs)
            for key, item in pairs:
                hides = _is_secret_key(key) or (is_record and _is_one_of(key, ("value", "val")))
                shown = HIDDEN if hides else self._text(item, depth - 1)
                parts.append(f"{self._text(key, depth - 1)}: {shown}")
        else:
            # A view may run what a subclass of OrderedDict has.
            items = self._timed(lambda: list(islice(base.__iter__(value), _ITEMS)))
            names = _field_names(value) if base is tuple else []
            hidden = _hidden(items, count, names) if base in (list, tuple) else [False] * len(items)
            parts = [HIDDEN if hides else self._text(item, depth - 1) for item, hides in zip(items, hidden)]
            parts = [f"{name}={part}" for name, part in zip(names, parts)] or parts
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
            # A jump to the line that it is in is no event of that line before Python 3.12.
            frame.f_trace_opcodes = True
            return trace

        before = sys.gettrace()
        sys.settrace(cast(Any, trace))
        try:
            return call()
        finally:
            sys.settrace(before)


_EMPTY: tuple[dict[str, str], ...] = ({}, OrderedDict())
_VIEWS: list[Any] = [type(view) for one in _EMPTY for view in (one.keys(), one.values(), one.items())]
"""What ``repr()`` would show whole."""
_OF_EXCEPTIONS = [
    one.__dict__["__repr__"]
    for one in (BaseException, getattr(builtins, "BaseExceptionGroup", BaseException))
    if "__repr__" in one.__dict__
]


def _shows_its_arguments(kind: type) -> bool:
    """Is an exception of this class shown as Python shows them?"""
    classes = type.__dict__["__mro__"].__get__(kind)
    return next(one.__dict__["__repr__"] for one in classes if "__repr__" in one.__dict__) in _OF_EXCEPTIONS


def _field_names(value: tuple[Any, ...]) -> list[str]:
    """The names of a named tuple's fields; none of another tuple's."""
    classes = type.__dict__["__mro__"].__get__(type(value))
    names = next((one.__dict__["_fields"] for one in classes if "_fields" in one.__dict__), ())
    is_named = type(names) is tuple and len(names) == tuple.__len__(value) and all(type(name) is str for name in names)
    return list(names) if is_named else []


def _hidden(items: list[Any], count: int, names: list[str]) -> list[bool]:
    """Which of a sequence's items are secrets: by their own names, or by the item before."""
    hidden = [is_secret(name) for name in names[: len(items)]] or [False] * len(items)
    for place, item in enumerate(items[:-1]):
        # Pairs, as of headers and forms; and options of a command line.
        kind = type(item)
        is_option = (issubclass(kind, str) and str.startswith(item, "-")) or (
            issubclass(kind, bytes) and bytes.startswith(item, b"-")
        )
        hidden[place + 1] |= (count == 2 or is_option) and _is_secret_key(item)
    return hidden


def _is_one_of(key: object, names: tuple[str, ...]) -> bool:
    """Of what `{'name': 'token', 'value': 'x'}` has."""
    if type(key) is bytes:
        key = key.decode("latin-1")
    return type(key) is str and key.lower() in names


def _is_secret_key(key: object) -> bool:
    kind = type(key)
    if issubclass(kind, str):
        return is_secret(cut(cast(str, key)))
    return issubclass(kind, bytes) and is_secret(
        bytes.decode(bytes.__getitem__(cast(bytes, key), slice(200)), "latin-1")
    )


def _named(kind: type, base: type, text: str) -> str:
    """The text of what a base class shows, with the name of the class that it is of."""
    return text if kind is base else f"{type.__dict__['__name__'].__get__(kind)}({text})"


def request_header(name: str, value: str) -> Optional[str]:
    """A header's value as it may be shown; None where it is a secret."""
    if is_secret(name):
        return None
    return visible(without_secrets_cut(uri_without_secrets(value), 1000))
