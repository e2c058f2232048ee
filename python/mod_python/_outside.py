"""What stands for the native module ``_apache`` outside httpd.

The parts that need no server work as they do inside: tables, SERVER_RETURN, query strings, constants. Everything else
says, when it is used, that it needs httpd.
"""

from __future__ import annotations

import os
import stat as _status
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, NoReturn, Optional, Union

AP_CONN_UNKNOWN, AP_CONN_CLOSE, AP_CONN_KEEPALIVE = range(3)
APR_NOFILE, APR_REG, APR_DIR, APR_CHR, APR_BLK, APR_PIPE, APR_LNK, APR_SOCK = range(8)
APR_UNKFILE = 127
MODULE_MAGIC_NUMBER_MAJOR = 20120211
MODULE_MAGIC_NUMBER_MINOR = 0

_Text = Union[str, bytes]


class SERVER_RETURN(Exception):
    """Ends a handler: SERVER_RETURN(result), or SERVER_RETURN(result, status) to set req.status too."""


def _needs_httpd(name: str) -> NoReturn:
    raise RuntimeError(f"{name} works only inside httpd; mod_python.testing.FakeRequest stands in for a request")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_: Any, **__: Any) -> NoReturn:
        _needs_httpd(f"_apache.{name}()")

    return missing


def log_error(message: Optional[_Text], level: int = 3, server: Any = None, /) -> None:
    """Write to standard error."""
    import sys

    if message is not None:
        print(message if isinstance(message, str) else message.decode("utf-8", "replace"), file=sys.stderr)


def _log(
    level: int,
    text: _Text,
    logger: Optional[str] = None,
    message: Optional[str] = None,
    exception: Optional[str] = None,
    fields: Optional[str] = None,
    traceparent: Optional[str] = None,
    server: Any = None,
    /,
) -> None:
    """Write to standard error, a marked line end (``_tracebacks.in_line``) as it is."""
    log_error(text.replace("\r\n", "\n") if isinstance(text, str) else text, level)


def _logs_objects() -> bool:
    """There is no log."""
    return False


def exists_config_define(name: str, /) -> bool:
    """Nothing is defined."""
    return False


def mpm_query(code: int, /) -> int:
    """One process, one thread."""
    return 0


def server_root() -> str:
    """The current directory."""
    return os.getcwd()


def _global_held(server: object, key: object, index: int, function: Callable[[], Any], /) -> Any:
    """Nobody else is there."""
    return function()


def _global_lock(server: object, key: object, index: int = -1, /) -> None:
    """Nobody else is there."""


def _global_trylock(server: object, key: object, index: int = -1, /) -> bool:
    """Nobody else is there."""
    return True


def _global_unlock(server: object, key: object, index: int = -1, /) -> None:
    """Nobody else is there."""


def _global_place(key: object, /) -> int:
    """There is one place."""
    return 1


def _session_lock(req: object, key: object, seconds: float, /) -> int:
    """Nobody else is there."""
    return 1


def _session_unlock(req: object, key: object, /) -> int:
    """Nobody else is there."""
    return 0


def _initial_environment() -> dict[bytes, bytes]:
    """Nobody has kept it: the process's environment as it is."""
    return dict(os.environb)


def _own_directory() -> bool:
    """A thread outside httpd keeps the process's working directory."""
    return False


def parse_qsl(query: _Text, keep_blank_values: int = 0, strict_parsing: int = 0, /) -> list[tuple[Any, Any]]:
    """Names and values of a query string, in order. Text gives text, bytes bytes. Raises TypeError for other types."""
    if isinstance(query, str):
        text, unquote = True, urllib.parse.unquote_to_bytes
        raw = query.encode("utf-8", "surrogateescape")
    elif isinstance(query, bytes):
        text, unquote, raw = False, urllib.parse.unquote_to_bytes, query
    else:
        raise TypeError("not an ISO-8859-1 string")
    found: list[tuple[Any, Any]] = []
    for part in raw.replace(b";", b"&").split(b"&"):
        if not part:
            continue
        name, _, value = (unquote(half.replace(b"+", b" ")) for half in part.partition(b"="))
        if value or keep_blank_values:
            found.append((name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) if text else (name, value))
    return found


def parse_qs(query: _Text, keep_blank_values: int = 0, strict_parsing: int = 0, /) -> dict[Any, list[Any]]:
    """The same as a dict of lists."""
    found: dict[Any, list[Any]] = {}
    for name, value in parse_qsl(query, keep_blank_values, strict_parsing):
        found.setdefault(name, []).append(value)
    return found


def _options(req: Any, names: tuple[str, ...], /) -> tuple[Optional[str], ...]:
    """The values of these options."""
    options = req.get_options()
    return tuple(options.get(name, None) for name in names)


def _switches(req: Any, /) -> tuple[bool, bool]:
    """Are PythonDebug and PythonAutoReload on?"""
    config = req.get_config()
    return str(config.get("PythonDebug", "0")) == "1", str(config.get("PythonAutoReload", "1")) != "0"


def _place(req: object, /) -> Optional[bytes]:
    """Nothing is remembered."""
    return None


def _page(req: object, /) -> Optional[tuple[bool, bool, bool, Optional[bytes]]]:
    """Left to the caller."""
    return None


def _signature(path: str, /) -> Optional[tuple[int, int, int]]:
    """What tells a regular file from what it was before."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if _status.S_ISREG(status.st_mode) else None


def _query_texts(
    req: object, keep_blank_values: object, most: int, block: int, /
) -> Union[list[tuple[str, str]], bytes, None]:
    """Looks closer."""
    return None


def _text_fields(texts: list[tuple[str, str]], name: object, cls: Callable[[str], Any], attribute: str, /) -> list[Any]:
    """The texts of a name as instances of a class."""
    made = [(known, cls(text)) for known, text in texts if known == name]
    for known, field in made:
        object.__setattr__(field, attribute, known)
    return [field for _, field in made]


def _form_fields(
    data: _Text, keep_blank_values: object, most: int, decode: object, /
) -> tuple[int, Optional[list[tuple[Any, Any]]], bool]:
    """How many fields an urlencoded form has, names and values if there are not too many, and whether all of that is text: it
    is not where the form names a charset, ``decode`` is false, or a value is no UTF-8."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    count = sum(1 for part in raw.replace(b";", b"&").split(b"&") if part)
    if 0 <= most < count:
        return count, None, False
    pairs = parse_qsl(raw, bool(keep_blank_values))
    if decode and not any(name == b"_charset_" for name, _ in pairs):
        pairs = [(name.decode("utf-8", "replace"), _text_or_bytes(value)) for name, value in pairs]
        return count, pairs, all(isinstance(value, str) for _, value in pairs)
    return count, pairs, not pairs


def _text_or_bytes(data: bytes) -> _Text:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _cookie_pairs(text: str, /) -> Optional[list[tuple[str, str]]]:
    """Left to the caller."""
    return None


def _cookies_sent(req: object, cls: type, names: tuple[str, ...], /) -> Optional[dict[str, Any]]:
    """Left to the caller, and so are the following ones."""
    return None


def _cookie_value(req: object, name: str, /) -> Union[str, bool, None]:
    return False


def _cookie_set(req: object, name: object, value: object, attributes: dict[str, Any], /) -> bool:
    return False


def _is_sid(text: str, /) -> bool:
    """32 hexadecimal digits in lower case?"""
    return len(text) == 32 and not text.strip("0123456789abcdef")


def _record_pack(record: object, /) -> Optional[bytes]:
    return None


def _record_unpack(data: object, /) -> Optional[dict[str, Any]]:
    return None


class table:
    """An ordered, case-insensitive table of text that keeps several values of a name, as httpd's are (apr_table_t)."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, items: Union[Mapping[Any, Any], Iterable[tuple[Any, Any]]] = ()) -> None:
        self._entries: list[tuple[str, str]] = []
        self.update(items)

    @staticmethod
    def _text(value: object) -> str:
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if type(value) is not str:
            raise TypeError("not an ISO-8859-1 string")
        if any(ord(character) > 255 or (ord(character) < 32 and character != "\t") for character in value):
            raise ValueError("a header holds a character that it must not hold")
        return value

    def _all(self, name: object) -> list[str]:
        wanted = self._text(name).lower()
        return [value for key, value in self._entries if key.lower() == wanted]

    def __getitem__(self, name: _Text) -> Any:
        found = self._all(name)
        if not found:
            raise KeyError(name)
        return found[0] if len(found) == 1 else found

    def __setitem__(self, name: _Text, value: _Text) -> None:
        name, value = self._text(name), self._text(value)
        places = [place for place, (key, _) in enumerate(self._entries) if key.lower() == name.lower()]
        if not places:
            self._entries.append((name, value))
            return
        self._entries[places[0]] = (self._entries[places[0]][0], value)
        for place in reversed(places[1:]):
            del self._entries[place]

    def __delitem__(self, name: _Text) -> None:
        wanted = self._text(name).lower()
        self._entries = [(key, value) for key, value in self._entries if key.lower() != wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, (str, bytes)) and bool(self._all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (table, Mapping)):
            return NotImplemented
        return {key: self[key] for key in self} == {key: other[key] for key in other}

    def __repr__(self) -> str:
        return repr({key: self[key] for key in self})

    def add(self, name: _Text, value: _Text, /) -> None:
        """Add a value beside those that are there."""
        self._entries.append((self._text(name), self._text(value)))

    def get(self, name: _Text, default: Any = None, /) -> Any:
        """The first value, or the default."""
        found = self._all(name)
        return found[0] if found else default

    def setdefault(self, name: _Text, value: _Text = "", /) -> Any:
        """The value; it is set if the name is missing."""
        if name not in self:
            self[name] = value
        return self[name]

    def has_key(self, name: _Text, /) -> int:
        """1 if the name is there."""
        return int(name in self)

    def keys(self) -> list[str]:
        """The names, each as often as it has values."""
        return [key for key, _ in self._entries]

    def values(self) -> list[Optional[str]]:
        """The values."""
        return [value for _, value in self._entries]

    def items(self) -> list[tuple[str, Optional[str]]]:
        """Names and values."""
        return list(self._entries)

    def iterkeys(self) -> Iterator[str]:
        """An iterator over the names."""
        return iter(self.keys())

    def itervalues(self) -> Iterator[Optional[str]]:
        """An iterator over the values."""
        return iter(self.values())

    def iteritems(self) -> Iterator[tuple[str, Optional[str]]]:
        """An iterator over names and values."""
        return iter(self.items())

    def update(self, items: Union[Mapping[Any, Any], Iterable[tuple[Any, Any]]], /) -> None:
        """Set every name of a mapping or of an iterable of pairs."""
        keys = getattr(items, "keys", None)
        pairs = [(key, items[key]) for key in keys()] if keys else items  # type: ignore[index]
        for key, value in pairs:
            self[str(key)] = str(value)

    def popitem(self) -> tuple[str, Optional[str]]:
        """Remove and return a pair. Raises KeyError when there is none."""
        if not self._entries:
            raise KeyError("popitem(): table is empty")
        return self._entries.pop(0)

    def clear(self) -> None:
        """Remove everything."""
        self._entries.clear()

    def copy(self) -> table:
        """An independent table with the same entries."""
        result = table()
        result._entries = list(self._entries)
        return result
