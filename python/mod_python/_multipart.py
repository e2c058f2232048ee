"""A multipart/form-data parser that is fed with bytes and keeps no more of them than it must (RFC 7578, RFC 2046).

Our own, since the package is installed beside the module and has no dependencies; and it has to take what mod_python's
took: lines that end with a bare LF, and a last boundary without a line end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional, Union

MAX_BOUNDARY = 200
"""Characters; RFC 2046 allows 70."""


class MultipartError(ValueError):
    """The body is not what multipart/form-data must be."""


class PartHeaders(list[tuple[bytes, bytes]]):
    """The headers of a part that begins: names as they were sent, and values."""


class PartEnd:
    """A part has ended."""


Event = Union[PartHeaders, bytes, PartEnd]


class MultipartParser:
    """Feed it with the body, block by block; it yields what the parts are made of.

    ``PartHeaders`` when a part begins, ``bytes`` for its content, ``PartEnd`` behind it. Raises MultipartError.
    """

    def __init__(self, boundary: bytes, max_header: int = 16384) -> None:
        if not 0 < len(boundary) <= MAX_BOUNDARY:
            raise MultipartError(f"the boundary is empty or longer than {MAX_BOUNDARY} characters")
        self._delimiter = b"--" + boundary
        self._max_header = max_header
        self._buffer = b""
        self._state = self._preamble
        self._at_line_start = True
        self.ended = False
        """Has the closing boundary been seen?"""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that follow from more data."""
        self._buffer += data
        return self._run(False)

    def finish(self) -> Iterator[Event]:
        """The events that follow from the body's end. Raises MultipartError where the closing boundary is missing."""
        yield from self._run(True)
        if not self.ended:
            raise MultipartError("the body ends before its closing boundary")

    def _run(self, last: bool) -> Iterator[Event]:
        while not self.ended:
            event = self._state(last)
            if event is None:
                return
            if event != b"":
                yield event
        self._buffer = b""

    def _preamble(self, last: bool) -> Optional[Event]:
        found = self._find(last)
        if found is None:
            return None
        _, closed = found
        if closed is None:
            return b""
        self._begin(closed)
        return b""

    def _begin(self, closed: bool) -> None:
        """Behind a boundary: the next part's headers, or nothing any more."""
        self.ended = closed
        self._state = self._headers

    def _headers(self, last: bool) -> Optional[Event]:
        headers = PartHeaders()
        place = 0
        while True:
            end = self._buffer.find(b"\n", place)
            if max(end, len(self._buffer) if end < 0 else 0) > self._max_header:
                raise MultipartError(f"the headers of a part are longer than {self._max_header} bytes")
            if end < 0:
                if last:
                    raise MultipartError("the body ends in the headers of a part")
                return None
            line = self._buffer[place:end].rstrip(b"\r")
            place = end + 1
            if not line:
                break
            if line[:1] in (b" ", b"\t") and headers:
                name, value = headers[-1]
                headers[-1] = (name, value + b" " + line.strip())
                continue
            name, colon, value = line.partition(b":")
            if not colon or not name.strip():
                raise MultipartError("a header of a part has no name")
            headers.append((name.strip(), value.strip()))
        self._buffer = self._buffer[place:]
        self._at_line_start = True
        self._state = self._content
        return headers

    def _content(self, last: bool) -> Optional[Event]:
        found = self._find(last)
        if found is None:
            return None
        data, closed = found
        if closed is None:
            return data
        self._closing = closed
        self._state = self._part_end
        return data

    def _part_end(self, last: bool) -> Optional[Event]:
        self._begin(self._closing)
        return PartEnd()

    def _find(self, last: bool) -> Optional[tuple[bytes, Optional[bool]]]:
        """Data up to a boundary, and whether that is the closing one; (data, None) where more data may follow.

        None when nothing can be said without more data. The line end before a boundary belongs to it, if it is CRLF;
        a bare LF does not, as mod_python had it.
        """
        buffer, delimiter = self._buffer, self._delimiter
        start = 0
        first = self._at_line_start and buffer.startswith(delimiter)
        while True:
            if first:
                # Once: what looks like a boundary need not be one.
                first, begin, after = False, 0, len(delimiter)
            else:
                newline = buffer.find(b"\n" + delimiter, start)
                if newline < 0:
                    return self._rest(last)
                begin, after = newline + 1, newline + 1 + len(delimiter)
            tail = buffer[after : after + 4]
            if len(tail) < 4 and not last and not tail.startswith((b"\n", b"\r\n")):
                return self._keep_from(max(begin - 2, 0))
            closing = tail.startswith(b"--")
            end = tail[2:] if closing else tail
            if closing or end.startswith((b"\r\n", b"\n")):
                size = 2 if end.startswith(b"\r\n") else 1
                data = buffer[:begin]
                self._buffer = buffer[after + (2 if closing else 0) + size :]
                return (data[:-2] if data.endswith(b"\r\n") else data), closing
            start = begin

    def _keep_from(self, place: int) -> Optional[tuple[bytes, Optional[bool]]]:
        data = self._buffer[:place]
        if not data:
            return None
        self._buffer = self._buffer[place:]
        self._at_line_start = False
        return data, None

    def _rest(self, last: bool) -> Optional[tuple[bytes, Optional[bool]]]:
        """No boundary in sight: everything but what may be the beginning of one."""
        buffer, delimiter = self._buffer, self._delimiter
        if last:
            raise MultipartError("the body ends before its closing boundary")
        if self._at_line_start and len(buffer) < len(delimiter) and delimiter.startswith(buffer):
            return None
        keep = len(delimiter) + 2
        tail = max(len(buffer) - keep, 0)
        places = [place for place in (buffer.find(b"\r", tail), buffer.find(b"\n", tail)) if place >= 0]
        return self._keep_from(min(places) if places else len(buffer))
