"""``sys.stdout`` and ``sys.stderr`` inside httpd: the error log, with the decoration of the request at hand."""

from __future__ import annotations

import io
import sys
from typing import Any

import _apache


class _Log(io.RawIOBase):
    """Takes bytes; whole lines are entries of the error log."""

    def __init__(self, stream: int) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return _apache._stream_write(self._stream, bytes(data))

    def flush(self) -> None:
        if not self.closed:
            _apache._stream_flush(self._stream)


class _Stream(io.TextIOWrapper):
    """Text for it. A flush asks for the line that has not ended yet, too."""

    def __init__(self, stream: int, name: str) -> None:
        raw: Any = _Log(stream)
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)
        self._name = name

    @property
    def mode(self) -> str:
        """It is for writing."""
        return "w"

    @property
    def name(self) -> str:
        """``<stdout>`` or ``<stderr>``."""
        return self._name


def install() -> None:
    """Put them in place."""
    sys.stdout = _Stream(0, "<stdout>")
    sys.stderr = _Stream(1, "<stderr>")
