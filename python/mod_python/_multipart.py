"""A multipart/form-data parser that is fed with bytes and keeps no more of them than it must (RFC 7578, RFC 2046).

Our own, since the package is installed beside the module and has no dependencies; and it has to take what mod_python's
took: lines that end with a bare LF, a last boundary without a line end, and a body that ends without one. Every byte is
looked at a fixed number of times, however the body is made and wherever its blocks end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Optional, Union

MAX_BOUNDARY = 200
"""Characters; RFC 2046 allows 70."""

MAX_LINES = 32
"""Lines of the headers of one part, folded ones too; browsers send two."""


class MultipartError(ValueError):
    """The body is not what multipart/form-data must be."""


class PartHeaders(list[tuple[bytes, bytes]]):
    """The headers of a part that begins: names as they were sent, and values."""


class PartEnd:
    """A part has ended."""


Event = Union[PartHeaders, bytes, PartEnd]


class MultipartParser:
    """Feed it with the body, block by block; it yields what the parts are made of.

    ``PartHeaders`` when a part begins, ``bytes`` for its content, ``PartEnd`` behind it. A body that ends within a part
    ends that part, or forgets it where its headers are not complete. Raises MultipartError.
    """

    def __init__(self, boundary: bytes, max_header: int = 16384) -> None:
        if not 0 < len(boundary) <= MAX_BOUNDARY:
            raise MultipartError(f"the boundary is empty or longer than {MAX_BOUNDARY} characters")
        self._delimiter = b"--" + boundary
        # In C, since a body can be full of what looks like a boundary and is none.
        pattern = b"(" + re.escape(self._delimiter) + b")(--|\r?\n)"
        self._boundary_here, self._boundary = re.compile(pattern), re.compile(b"\n" + pattern)
        self._max_header = max_header
        self._buffer, self._place = b"", 0
        self._state = self._preamble
        self._at_line_start = True
        self._parts = 0
        self.ended = False
        """Has the closing boundary, or the body's end, been seen?"""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that follow from more data."""
        self._buffer, self._place = self._buffer[self._place :] + data, 0
        return self._run(False)

    def finish(self) -> Iterator[Event]:
        """The events that follow from the body's end. Raises MultipartError where no part has been seen before it."""
        return self._run(True)

    def _run(self, last: bool) -> Iterator[Event]:
        while not self.ended:
            event = self._state(last)
            if event is None:
                return
            if event != b"":
                yield event
        self._buffer, self._place = b"", 0

    def _preamble(self, last: bool) -> Optional[Event]:
        found = self._find(last)
        if found is None:
            return None
        _, closed = found
        if closed is not None:
            self._begin(closed)
        return b""

    def _begin(self, closed: bool) -> None:
        """Behind a boundary: the next part's headers, or nothing any more."""
        self.ended = closed
        self._found: list[tuple[bytes, list[bytes]]] = []
        self._lines = self._size = 0
        self._state = self._header

    def _header(self, last: bool) -> Optional[Event]:
        """One line of the headers of a part."""
        end = self._buffer.find(b"\n", self._place)
        length = (len(self._buffer) if end < 0 else end) - self._place
        if self._size + length > self._max_header:
            raise MultipartError(f"the headers of a part are longer than {self._max_header} bytes")
        if end < 0:
            if not last:
                return None
            if not self._parts:
                raise MultipartError("the body ends in the headers of its first part")
            self.ended = True
            return b""
        line = self._buffer[self._place : end].rstrip(b"\r")
        self._place = end + 1
        self._size += length + 1
        self._lines += 1
        if not line:
            return self._headers_end()
        if self._lines > MAX_LINES:
            raise MultipartError(f"the headers of a part have more than {MAX_LINES} lines")
        if line.startswith(self._delimiter) and line[len(self._delimiter) :] in (b"", b"--"):
            # The part has no content, not even an empty one.
            self._begin(line != self._delimiter)
        elif line[:1] in (b" ", b"\t") and self._found:
            self._found[-1][1].append(line.strip())
        else:
            name, colon, value = line.partition(b":")
            if not colon or not name.strip():
                raise MultipartError("a header of a part has no name")
            self._found.append((name.strip(), [value.strip()]))
        return b""

    def _headers_end(self) -> Event:
        self._parts += 1
        self._at_line_start = True
        self._state = self._content
        return PartHeaders((name, b" ".join(values)) for name, values in self._found)

    def _content(self, last: bool) -> Optional[Event]:
        found = self._find(last)
        if found is None:
            return None
        data, closed = found
        if closed is not None:
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
        buffer, place = self._buffer, self._place
        match = self._boundary_here.match(buffer, place) if self._at_line_start else None
        match = match or self._boundary.search(buffer, place)
        if match is not None:
            data = buffer[place : match.start(1)]
            self._place = match.end()
            return (data[:-2] if data.endswith(b"\r\n") else data), match[2] == b"--"
        return self._last() if last else self._rest()

    def _last(self) -> tuple[bytes, Optional[bool]]:
        """The body ends without its closing boundary: what has come is the last part's."""
        data = self._buffer[self._place :]
        for cut in (b"", b"-", b"\r"):
            boundary = self._delimiter + cut
            if data.endswith(b"\n" + boundary) or (self._at_line_start and data == boundary):
                data = data[: -len(boundary)]
                break
        else:
            if self._state == self._preamble:
                raise MultipartError("the body has no boundary")
        return (data[:-2] if data.endswith(b"\r\n") else data), True

    def _keep_from(self, place: int) -> Optional[tuple[bytes, Optional[bool]]]:
        data = self._buffer[self._place : place]
        if not data:
            return None
        self._place = place
        self._at_line_start = False
        return data, None

    def _rest(self) -> Optional[tuple[bytes, Optional[bool]]]:
        """No boundary in sight: everything but what may be the beginning of one."""
        buffer, longest = self._buffer, len(self._delimiter) + 2
        start = buffer[self._place :] if self._at_line_start and len(buffer) - self._place < longest else b""
        if start and (start.startswith(self._delimiter) or self._delimiter.startswith(start)):
            return None
        tail = max(len(buffer) - longest - 2, self._place)
        places = [place for place in (buffer.find(b"\r", tail), buffer.find(b"\n", tail)) if place >= 0]
        return self._keep_from(min(places) if places else len(buffer))
