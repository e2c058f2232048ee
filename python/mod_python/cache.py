"""Caches: of values that are built on demand, of files, modules, and function results. Safe for threads."""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Optional

from mod_python._later import later

if TYPE_CHECKING:
    import email.utils as email_utils
    import urllib.error as urllib_error
    import urllib.request as urllib_request
else:
    email_utils, urllib_error, urllib_request = map(later, ("email.utils", "urllib.error", "urllib.request"))

_EMPTY = object()


class Entry:
    """A value, or the place for one, and what tells whether it is still good."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.lock = threading.RLock()
        self.used = 0
        """When it was asked for, as a number that rises."""
        self.timestamp: Any = None
        self._value: Any = _EMPTY

    @property
    def is_built(self) -> bool:
        """Is there a value?"""
        return self.value is not _EMPTY

    @property
    def value(self) -> Any:
        """The value."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = value


class _WeakEntry(Entry):
    """Keeps its value only while somebody else does."""

    @property
    def value(self) -> Any:
        return _EMPTY if self._value is _EMPTY else _or_empty(self._value())

    @value.setter
    def value(self, value: Any) -> None:
        self._value = weakref.ref(value)


def _or_empty(value: Any) -> Any:
    return _EMPTY if value is None else value


def _used(entry: Entry) -> int:
    return entry.used


class Cache:
    """Values by name, built when they are first asked for; ``max_size`` values at most (0: any number), the least recently
    used ones go first.

    A subclass says ``key(name)``, ``check(key, name, entry)`` (None: still good; anything else: what ``build`` gets as
    ``opened``) and ``build(key, name, opened, entry)``. One value is built by one thread at a time.
    """

    _entry: type[Entry] = Entry

    def __init__(self, max_size: int = 0) -> None:
        self._max_size = int(max_size)
        self._entries: dict[Any, Entry] = {}
        self._times = itertools.count(1)

    def __getitem__(self, name: Any) -> Any:
        key = self.key(name)
        # No lock: comparing keys may call what asks this cache again. Each step is whole by itself.
        entry = self._entries.get(key)
        if entry is None:
            fresh = self._entry(key)
            fresh.used = next(self._times)
            entry = self._entries.setdefault(key, fresh)
            if 0 < self._max_size < len(self._entries):
                self._shrink()
        entry.used = next(self._times)
        with entry.lock:
            opened = self.check(key, name, entry)
            value = entry.value
            if opened is not None or value is _EMPTY:
                value = self.build(key, name, opened, entry)
                entry.value = value
                self.commit()
            return value

    def _shrink(self) -> None:
        known = sorted(self._entries.copy().values(), key=_used)
        for entry in known[: -self._max_size]:
            self._entries.pop(entry.key, None)

    def __contains__(self, name: Any) -> bool:
        entry = self._entries.get(self.key(name))
        return entry is not None and entry.is_built

    def __len__(self) -> int:
        return len(self._entries)

    def __delitem__(self, name: Any) -> None:
        del self._entries[self.key(name)]

    def key(self, name: Any) -> Any:
        """What a value is found by."""
        return name

    def check(self, key: Any, name: Any, entry: Entry) -> Any:
        """None while the entry's value is good."""
        return None

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        """A new value."""
        raise NotImplementedError

    def commit(self) -> None:
        """Called after a value has been built."""

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def mru(self) -> Any:
        """The key that was used last, or None."""
        entry = max(self._entries.copy().values(), key=_used, default=None)
        return entry and entry.key

    def lru(self) -> Any:
        """The key that has not been used for the longest time, or None."""
        entry = min(self._entries.copy().values(), key=_used, default=None)
        return entry and entry.key


class WeakCache(Cache):
    """Keeps values only while somebody else does."""

    _entry = _WeakEntry


def signature(status: os.stat_result) -> tuple[int, int, int]:
    """What tells a file from what it was before."""
    return status.st_mtime_ns, status.st_size, status.st_ino


class FileCache(Cache):
    """The content of files; read again when a file has changed."""

    def __init__(self, max_size: int = 0, mode: str = "rb") -> None:
        super().__init__(max_size)
        self.mode = mode

    def check(self, key: Any, name: Any, entry: Entry) -> Any:
        # A number would be a descriptor, which reading closes: another's.
        now = signature(os.stat(os.fspath(key)))
        if entry.timestamp == now and entry.is_built:
            return None
        entry.timestamp = now
        return open(key, self.mode)

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        with opened:
            return opened.read()


class ModuleCache(FileCache):
    """Modules, each executed from its file in a namespace of its own, and not entered into ``sys.modules``."""

    def __init__(self, max_size: int = 0) -> None:
        super().__init__(max_size, "rb")

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        with opened:
            source = opened.read()
        module = ModuleType(re.sub(r"\W+", "_", str(key)))
        module.__file__ = str(key)
        try:
            exec(compile(source, str(key), "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            # The next request tries again.
            entry.timestamp = None
            raise
        return module


class HTTPEntity:
    """What a server answered, and its headers."""

    def __init__(self, entity: bytes, metadata: Any) -> None:
        self.entity, self.metadata = entity, metadata


class HTTPCache(Cache):
    """Answers of HTTP servers, asked again when they have expired (Expires, Cache-Control, ETag, Last-Modified)."""

    timeout = 30
    """Seconds."""

    def check(self, key: Any, name: Any, entry: Entry) -> Any:
        request = urllib_request.Request(key)
        if entry.is_built:
            expires, etag, modified = entry.timestamp
            if expires is not None and time.time() < expires:
                return None
            if etag:
                request.add_header("If-None-Match", etag)
            if modified:
                request.add_header("If-Modified-Since", modified)
        try:
            answer = urllib_request.urlopen(request, timeout=self.timeout)
        except urllib_error.HTTPError as error:
            if error.code == 304:
                return None
            raise
        entry.timestamp = (_expiry(answer.headers), answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
        return answer

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        with opened:
            return HTTPEntity(opened.read(), opened.headers)


def _expiry(headers: Any) -> Optional[float]:
    found = re.search(r"max-age\s*=\s*(\d+)", headers.get("Cache-Control", ""), re.I)
    if found:
        return time.time() + int(found[1])
    parsed = email_utils.parsedate_tz(headers.get("Expires", ""))
    return float(email_utils.mktime_tz(parsed)) if parsed else None


class HttpModuleCache(HTTPCache):
    """Modules whose source comes by HTTP. Whoever controls that server runs code here."""

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        source = super().build(key, name, opened, entry).entity
        module = ModuleType(re.sub(r"\W+", "_", str(key)))
        module.__file__ = str(key)
        exec(compile(source, str(key), "exec", dont_inherit=True), module.__dict__)
        return module


class FunctionCache(Cache):
    """Results of a function, by its arguments; these must be hashable."""

    def __init__(self, function: Callable[..., Any], max_size: int = 0) -> None:
        super().__init__(max_size)
        self.function = function

    def __call__(self, *args: Any, **kw: Any) -> Any:
        """The result for these arguments."""
        return self[args, tuple(sorted(kw.items()))]

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        args, kw = name
        return self.function(*args, **dict(kw))
