"""A parser of queries and application/x-www-form-urlencoded bodies that is fed with bytes, as _multipart's is."""

from __future__ import annotations

from typing import Callable, Optional, Union

from _apache import parse_qsl


class EncodedParser:
    """Feed it with the text, block by block; ``pairs`` are the names and values, decoded, once it has been finished.

    ``count`` is told how many fields begin in a block before anything is made of it. Empty fields, which are
    separators in a row, cost nothing. Values that are empty are left out unless ``keep_blank_values``.
    """

    def __init__(self, count: Callable[[int], None], keep_blank_values: int) -> None:
        self._count, self._keep_blank = count, keep_blank_values
        self._open = False
        # The field at a block's end: what may be half an escape, its name, and its value once "=" has been seen.
        self._rest = b""
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
        held = 1 if block.endswith(b"%") else 2 if block[-2:-1] == b"%" and self._open else 0
        block, self._rest = block[: len(block) - held], block[len(block) - held :]
        if self._name or self._value is not None:
            first, separator, block = block.partition(b"&")
            self._take(first)
            if not separator:
                return
            self._end()
        whole, separator, tail = block.rpartition(b"&")
        if separator:
            self.pairs += parse_qsl(whole, self._keep_blank)
        self._take(tail)

    def finish(self) -> None:
        """The text has ended."""
        rest, self._rest = self._rest, b""
        self._take(rest)
        self._end()

    def _take(self, piece: bytes) -> None:
        if self._value is None:
            name, equals, piece = piece.partition(b"=")
            self._name += _decoded(name)
            if not equals:
                return
            self._value = bytearray()
        self._value += _decoded(piece)

    def _end(self) -> None:
        name, value = self._name, self._value
        if value or (self._keep_blank and (name or value is not None)):
            self.pairs.append((bytes(name), value or b""))
        self._name, self._value = bytearray(), None


def _decoded(piece: bytes) -> bytes:
    """``+`` and ``%xx`` of a piece without separators decoded."""
    if not piece:
        return b""
    value: bytes = parse_qsl(b"=" + piece, 1)[0][1]
    return value
