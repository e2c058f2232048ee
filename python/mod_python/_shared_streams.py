"""``sys.stdout`` and ``sys.stderr`` inside httpd: the error log, with the decoration of the request at hand.

All applications of an interpreter share these objects, so that none of them can be closed, detached or bent by one. While
a thread runs a CGI script, ``stdout`` is the script's there, whoever has kept the object before. `_streams` makes them
what ``sys`` has.
"""

from __future__ import annotations

import io
import threading
from typing import Any, Optional

import _apache


class Thread(threading.local):
    """What a script that runs in this thread has for standard streams."""

    stdin: Any = None
    stdout: Any = None


script = Thread()


class _Shared:
    """What no application may do to the others: close, detach, or put something in a method's place."""

    @property
    def closed(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Only flush."""
        self.flush()  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(type(self), name):
            raise AttributeError(
                f"{name!r} of a stream that all applications share; put another object into sys instead"
            )
        super().__setattr__(name, value)

    def __del__(self) -> None:
        """It is nobody's to close."""


class _Raw(_Shared, io.RawIOBase):
    """Takes bytes; whole lines are entries of the error log."""

    _number: int

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        own = self._own
        if own is not None:
            written: int = own.write(data)
            return written
        return _apache._stream_write(self._number, bytes(data))

    def flush(self) -> None:
        own = self._own
        if own is not None:
            own.flush()
        else:
            _apache._stream_flush(self._number)

    @property
    def _own(self) -> Any:
        """The script's, of bytes."""
        return script.stdout.buffer if self._number == 0 and script.stdout is not None else None


class _Output(_Raw):
    _number = 0


class _Error(_Raw):
    _number = 1


class _Binary(_Shared, io.BufferedIOBase):
    """``buffer`` of a stream; keeps nothing back."""

    _raw: _Raw

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        return self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()

    @property
    def raw(self) -> Any:
        """What is below."""
        return self._raw

    def detach(self) -> Any:
        """What is below; this goes on working."""
        return self._raw


class _BinaryOutput(_Binary):
    _raw = _Output()


class _BinaryError(_Binary):
    _raw = _Error()


class _Stream(_Shared, io.TextIOWrapper):
    """Text for it. A flush asks for the line that has not ended yet, too."""

    _binary: _Binary
    name: str
    mode = "w"
    newlines = None

    def __init__(self) -> None:
        binary: Any = self._binary
        super().__init__(binary, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)

    @property
    def _own(self) -> Any:
        return script.stdout if self._binary is _StandardOutput._binary else None

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        own = self._own
        return "utf-8" if own is None else own.encoding

    @property
    def errors(self) -> Any:  # type: ignore[override]
        own = self._own
        return "backslashreplace" if own is None else own.errors

    @property
    def buffer(self) -> Any:
        """The same for bytes."""
        return self._binary

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        own = self._own
        if own is None:
            self._binary.write(text.encode("utf-8", "backslashreplace"))
            return len(text)
        written: int = own.write(text)
        return written

    def flush(self) -> None:
        own = self._own
        (self._binary if own is None else own).flush()

    def detach(self) -> Any:
        """The same for bytes; this goes on working."""
        return self._binary

    def reconfigure(self, **settings: Any) -> None:
        """Only a script's can be changed."""
        own = self._own
        if own is not None:
            own.reconfigure(**settings)

    def __repr__(self) -> str:
        return f"<{type(self).__module__} {self.name}>"


class _StandardOutput(_Stream):
    _binary = _BinaryOutput()
    name = "<stdout>"


class _StandardError(_Stream):
    _binary = _BinaryError()
    name = "<stderr>"


stdout = _StandardOutput()
stderr = _StandardError()


class _BinaryInput(_Shared, io.BufferedIOBase):
    """``sys.stdin.buffer``: the script's, or the process's."""

    @property
    def _now(self) -> Any:
        return _input().buffer

    def readable(self) -> bool:
        return True

    def read(self, size: Optional[int] = -1, /) -> Any:
        return self._now.read(size)

    def read1(self, size: int = -1, /) -> Any:
        return self._now.read1(size)

    def readinto(self, buffer: Any, /) -> Any:
        return self._now.readinto(buffer)

    def readinto1(self, buffer: Any, /) -> Any:
        return self._now.readinto1(buffer)

    def readline(self, size: Optional[int] = -1, /) -> Any:
        return self._now.readline(size)

    def fileno(self) -> Any:
        return self._now.fileno()

    def flush(self) -> None:
        """There is nothing to flush."""

    def detach(self) -> Any:
        """This goes on working, whoever detaches it."""
        return self


class _StandardInput(_Shared, io.TextIOWrapper):
    """``sys.stdin``: the script's, or the process's."""

    name = "<stdin>"
    mode = "r"

    def __init__(self) -> None:
        binary: Any = _binary_input
        super().__init__(binary, encoding="utf-8", errors="surrogateescape", newline="\n")

    @property
    def buffer(self) -> Any:
        """The same for bytes."""
        return _binary_input

    def read(self, size: Optional[int] = -1, /) -> Any:
        return _input().read(size)

    def readline(self, size: int = -1, /) -> Any:  # type: ignore[override]
        return _input().readline(size)

    def __next__(self) -> str:  # type: ignore[override]
        line: str = self.readline()
        if not line:
            raise StopIteration
        return line

    def flush(self) -> None:
        """There is nothing to flush."""

    def detach(self) -> Any:
        """The same for bytes; this goes on working."""
        return _binary_input

    def reconfigure(self, **settings: Any) -> None:
        """Only a script's can be changed."""
        if script.stdin is not None:
            script.stdin.reconfigure(**settings)


_nothing = io.TextIOWrapper(io.BytesIO())
_process: list[Any] = []
"""What was there before, while it is open."""


def read_from(stream: Any) -> None:
    """Say what ``stdin`` is outside scripts."""
    _process[:] = [stream]


def _input() -> Any:
    if script.stdin is not None:
        return script.stdin
    before = _process[0] if _process else None
    return _nothing if before is None or before.closed else before


_binary_input = _BinaryInput()
stdin = _StandardInput()
