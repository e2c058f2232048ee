"""A parser of queries and application/x-www-form-urlencoded bodies that is fed with bytes, as _multipart's is."""

from __future__ import annotations

from typing import Callable, Optional, Union

from _apache import parse_qsl

_LONG = 65536
"""Bytes of a field beyond which it is decoded while it comes."""


class EncodedParser:
    """Feed it with the text, block by block; ``pairs`` are the names and values, decoded, once it has been finished.

    ``count`` is told how many fields begin in a block before anything is made of it. Empty fields, which are
    separators in a row, cost nothing. Values that are empty are left out unless ``keep_blank_values``.
    """

    def __init__(self, count: Callable[[int], None], keep_blank_values: int) -> None:
        self._count, self._keep_blank = count, keep_blank_values
        self._open = False
        # The field at a block's end: as it came, or where that is long, decoded but for half an escape.
        self._rest, self._long = b"", False
        self._name = bytearray()
        self._value: Optional[bytearray] = None
        self.pairs: list[tuple[bytes, Union[bytes, bytearray]]] = []

    def feed(self, block: bytes) -> None:
        """Take more of the text."""
        block = block.replace(b";", b"&")
        while b"&&" in block:
            block = block.replace(b"&&", b"&")
        if not block:
            return
        joined = self._open and not block.startswith(b"&")
        self._count(block.count(b"&") + 1 - block.startswith(b"&") - block.endswith(b"&") - joined)
        self._open = not block.endswith(b"&")
        block = self._rest + block
        if self._long:
            end = block.find(b"&")
            if end < 0:
                self._take(block)
                return
            self._take(block[:end])
            self._end()
            block = block[end + 1 :]
        whole, separator, tail = block.rpartition(b"&")
        if separator:
            self.pairs += parse_qsl(whole, self._keep_blank)
        if len(tail) < _LONG:
            self._rest = tail
        else:
            self._long = True
            self._take(tail)

    def finish(self) -> None:
        """The text has ended."""
        if self._long:
            self._end()
        elif self._rest:
            self.pairs += parse_qsl(self._rest, self._keep_blank)

    def _take(self, piece: bytes) -> None:
        """More of a long field, but for half an escape at its end."""
        held = 1 if piece.endswith(b"%") else 2 if piece[-2:-1] == b"%" else 0
        self._rest = piece[len(piece) - held :]
        self._add(piece[: len(piece) - held])

    def _add(self, piece: bytes) -> None:
        if self._value is None:
            name, equals, piece = piece.partition(b"=")
            self._name += _decoded(name)
            if not equals:
                return
            self._value = bytearray()
        self._value += _decoded(piece)

    def _end(self) -> None:
        """A long field has ended."""
        self._add(self._rest)
        if self._value or self._keep_blank:
            self.pairs.append((bytes(self._name), self._value or b""))
        self._rest, self._name, self._value, self._long = b"", bytearray(), None, False


def _decoded(piece: bytes) -> bytes:
    """``+`` and ``%xx`` of a piece without separators decoded."""
    if not piece:
        return b""
    value: bytes = parse_qsl(b"=" + piece, 1)[0][1]
    return value
