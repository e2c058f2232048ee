"""CGI inside a server with threads: each thread has its own environment and standard streams while it runs a script.

`_environment` and `_streams` look at what the calling thread is doing; other threads see what they saw before.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING, Any, Optional

from mod_python import _environment, _shared_streams, _streams

if TYPE_CHECKING:
    from _apache import mp_request

_MAX_HEAD = 65536
"""Bytes of headers that a script may write."""


def build_cgi_env(req: mp_request) -> dict[str, str]:
    """The variables of RFC 3875 for a request, and Authorization: UTF-8 with surrogateescape, whatever they hold."""
    req.add_cgi_vars()
    environ = {name: value for name, value in req.subprocess_env.items() if value is not None}
    environ["GATEWAY_INTERFACE"] = "Python-CGI/1.1"
    if "authorization" in req.headers_in:
        environ["HTTP_AUTHORIZATION"] = _from_latin1(req.headers_in["authorization"])
    # The client must not set HTTP_PROXY for what a script starts (httpoxy).
    environ.pop("HTTP_PROXY", None)
    return environ


def _from_latin1(text: Any) -> str:
    """A header's bytes, read as UTF-8; a list of values has several of them."""
    if not isinstance(text, str):
        return ", ".join(map(_from_latin1, text))
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def setup_cgi(req: mp_request) -> tuple[Any, Any, Any]:
    """Give this thread a script's environment and streams; returns what it had, for ``restore_nocgi``."""
    script = _shared_streams.script
    variables = _environment.process_variables()
    for name, value in build_cgi_env(req).items():
        variables[name.encode("utf-8", "surrogateescape")] = value.encode("utf-8", "surrogateescape")
    # An internal redirect may lead from one script to another.
    before = (_environment.swap(_environment.Own(variables)), _streams.swap({}))
    if _streams.is_installed():
        streams = (script.stdin, script.stdout)
        script.stdin, script.stdout = CGIStdin(req), CGIStdout(req)
    else:
        # Outside httpd nobody shares them.
        streams = (sys.stdin, sys.stdout)
        sys.stdin, sys.stdout = CGIStdin(req), CGIStdout(req)
    return (before, *streams)


def output() -> CGIStdout:
    """What this thread's script writes to."""
    found: Any = _shared_streams.script.stdout if _streams.is_installed() else sys.stdout
    assert isinstance(found, CGIStdout)
    return found


def restore_nocgi(env: Any, si: Any, so: Any) -> None:
    """Give this thread back what ``setup_cgi`` returned."""
    variables, places = env
    _environment.swap(variables)
    _streams.swap(places)
    if _streams.is_installed():
        _shared_streams.script.stdin, _shared_streams.script.stdout = si, so
    else:
        sys.stdin, sys.stdout = si, so


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
        self.abandoned = False
        """Is nothing to come of what is still written?"""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        data = bytes(data)
        if self.abandoned:
            return len(data)
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
        if not self.closed and not self.abandoned and self._head is None:
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
        self._binary = io.BufferedWriter(self._answer)
        super().__init__(self._binary, encoding="utf-8", errors="surrogateescape", newline="\n", write_through=True)

    def finish(self) -> None:
        """Send what is left, though the script has closed or detached this object. Raises what sending raises."""
        with contextlib.suppress(ValueError):
            if not self.closed:
                self.flush()
        if not self._binary.closed:
            self._binary.flush()

    def abandon(self) -> None:
        """Forget what has not been sent: the script has failed, and an error's page may be the answer."""
        self._answer.abandoned = True

    @property
    def lacks_head(self) -> bool:
        """Has the script written something, but no empty line behind its headers?"""
        return self._answer.lacks_head
