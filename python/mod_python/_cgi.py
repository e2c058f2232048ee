"""CGI inside a server with threads: each thread has its own environment and standard streams while it runs a script.

``os.environ``, ``sys.stdin`` and ``sys.stdout`` are replaced once, at first use, by objects that look at what the calling
thread is doing; other threads see what they saw before.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from _apache import mp_request

_MAX_HEAD = 65536
"""Bytes of headers that a script may write."""


class _Local(threading.local):
    environ: Optional[dict[str, str]] = None
    stdin: Any = None
    stdout: Any = None


_local = _Local()


class _Environment(MutableMapping[str, str]):
    """``os.environ``: the thread's own one while it runs a script."""

    def __init__(self, process: MutableMapping[str, str]) -> None:
        self._process = process

    @property
    def _now(self) -> MutableMapping[str, str]:
        return self._process if _local.environ is None else _local.environ

    def __getitem__(self, name: str) -> str:
        return self._now[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._now[name] = value

    def __delitem__(self, name: str) -> None:
        del self._now[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now)

    def __len__(self) -> int:
        return len(self._now)

    def __repr__(self) -> str:
        return repr(dict(self._now))

    def copy(self) -> dict[str, str]:
        """A copy as a dict."""
        return dict(self._now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)


class _Stream:
    """``sys.stdin`` or ``sys.stdout``: the thread's own one while it runs a script."""

    def __init__(self, process: Any, name: str) -> None:
        self._process, self._name = process, name

    @property
    def _now(self) -> Any:
        own = getattr(_local, self._name)
        return self._process if own is None else own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._now)


_install_lock = threading.Lock()


def install() -> None:
    """Put the objects in place."""
    with _install_lock:
        if not isinstance(os.environ, _Environment):
            os.environ = _Environment(os.environ)  # type: ignore[assignment]  # noqa: B003 # a view, not a copy
        if not isinstance(sys.stdin, _Stream):
            sys.stdin = _Stream(sys.stdin, "stdin")
        if not isinstance(sys.stdout, _Stream):
            sys.stdout = _Stream(sys.stdout, "stdout")


def build_cgi_env(req: mp_request) -> dict[str, str]:
    """The variables of RFC 3875 for a request, and Authorization."""
    req.add_cgi_vars()
    environ = {name: value for name, value in req.subprocess_env.items() if value is not None}
    path_info = req.path_info or ""
    uri = req.uri or ""
    environ["SCRIPT_NAME"] = uri[: len(uri) - len(path_info)] if path_info else uri
    environ["GATEWAY_INTERFACE"] = "Python-CGI/1.1"
    if "authorization" in req.headers_in:
        environ["HTTP_AUTHORIZATION"] = req.headers_in["authorization"]
    # The client must not set HTTP_PROXY for what a script starts (httpoxy).
    environ.pop("HTTP_PROXY", None)
    return environ


def setup_cgi(req: mp_request) -> tuple[Any, Any, Any]:
    """Give this thread a script's environment and streams; returns what it had, for ``restore_nocgi``."""
    install()
    before = (_local.environ, _local.stdin, _local.stdout)
    _local.environ = {**_process_environ(), **build_cgi_env(req)}
    _local.stdin, _local.stdout = CGIStdin(req), CGIStdout(req)
    return before


def restore_nocgi(env: Any, si: Any, so: Any) -> None:
    """Give this thread back what ``setup_cgi`` returned."""
    _local.environ, _local.stdin, _local.stdout = env, si, so


def _process_environ() -> dict[str, str]:
    process: Any = os.environ
    return dict(process._process)


class _Body(io.RawIOBase):
    """A request's body as a raw stream."""

    def __init__(self, req: mp_request) -> None:
        self._req = req

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._req.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Answer(io.RawIOBase):
    """A script's output: headers up to an empty line, then the body."""

    def __init__(self, req: mp_request) -> None:
        self._req = req
        self._head: Optional[bytearray] = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        data = bytes(data)
        if self._head is None:
            self._req.write(data, 0)
            return len(data)
        self._head += data
        ends = [(self._head.find(mark), len(mark)) for mark in (b"\r\n\r\n", b"\n\n")]
        found = [(place, size) for place, size in ends if place >= 0]
        if found:
            place, size = min(found)
            head, rest = bytes(self._head[:place]), bytes(self._head[place + size :])
            self._head = None
            self._take(head)
            if rest:
                self._req.write(rest, 0)
        elif len(self._head) > _MAX_HEAD:
            raise ValueError(f"a CGI script has written {_MAX_HEAD} bytes without an empty line behind its headers")
        return len(data)

    def _take(self, head: bytes) -> None:
        req = self._req
        has_status = False
        for line in head.replace(b"\r\n", b"\n").split(b"\n"):
            name, colon, value = line.decode("latin-1").partition(":")
            name, value = name.strip(), value.strip()
            if not colon or not name:
                raise ValueError(f"a CGI script has written {line!r} where a header should be")
            if name.lower() == "status":
                req.status, has_status = int(value.split()[0]), True
            elif name.lower() == "content-type":
                req.content_type = value
            elif name.lower() == "content-length":
                req.set_content_length(int(value))
            else:
                req.headers_out.add(name, value)
                if name.lower() == "location" and not has_status:
                    req.status = 302

    def flush(self) -> None:
        if not self.closed and self._head is None:
            self._req.flush()

    @property
    def lacks_head(self) -> bool:
        """Has something been written, but no empty line behind the headers?"""
        return bool(self._head)


class NullIO:
    """A file that takes nothing and gives nothing."""

    def tell(self) -> int:
        """0."""
        return 0

    def read(self, n: int = -1) -> str:
        """Nothing."""
        return ""

    def readline(self, length: Optional[int] = None) -> str:
        """Nothing."""
        return ""

    def readlines(self) -> list[str]:
        """Nothing."""
        return []

    def write(self, s: Any) -> int:
        """Forget it."""
        return len(s)

    def writelines(self, list: Any) -> None:
        """Forget them."""

    def isatty(self) -> int:
        """0."""
        return 0

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def seek(self, pos: int, mode: int = 0) -> None:
        """Do nothing."""


class CGIStdin(io.TextIOWrapper):
    """A request's body as a script's standard input: text, and bytes by its ``buffer``."""

    def __init__(self, req: mp_request) -> None:
        super().__init__(io.BufferedReader(_Body(req)), encoding="utf-8", errors="surrogateescape", newline="\n")


class CGIStdout(io.TextIOWrapper):
    """A script's standard output: text, and bytes by its ``buffer``."""

    def __init__(self, req: mp_request) -> None:
        self._answer = _Answer(req)
        super().__init__(
            io.BufferedWriter(self._answer),
            encoding="utf-8",
            errors="surrogateescape",
            newline="\n",
            write_through=True,
        )

    @property
    def lacks_head(self) -> bool:
        """Has the script written something, but no empty line behind its headers?"""
        return self._answer.lacks_head
