"""What comes from httpd's parent: a socket that carries lines, and, with a line, the descriptor of a log that was opened anew."""

from __future__ import annotations

import array
import contextlib
import os
import socket

from mod_python._daemon.journal import Journal
from mod_python._daemon.task import Order, read

_LARGEST = 1 << 22


class Orders:
    """Reads them."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._rest = b""
        self.ended = False
        """Has the parent gone?"""

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def first(self, journal: Journal) -> Order:
        """Wait for the first one. Raises EOFError where there is none."""
        while not self.ended:
            for order in self.read(journal):
                return order
        raise EOFError

    def read(self, journal: Journal) -> list[Order]:
        """Those that have come; a log that comes with them becomes standard error. Blocks where there is nothing to read."""
        data = self._receive()
        self.ended = self.ended or not data or len(self._rest) > _LARGEST
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in lines:
            try:
                found.append(read(line))
            except ValueError as error:
                journal.say("error", f"httpd's parent has said what the keeper does not understand: {error}")
        return found

    def _receive(self) -> bytes:
        size = array.array("i").itemsize
        try:
            data, messages, _, _ = self._socket.recvmsg(1 << 16, socket.CMSG_SPACE(size))
        except OSError:
            return b""
        for level, kind, content in messages:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(content[: len(content) // size * size])
                for descriptor in descriptors:
                    with contextlib.suppress(OSError):
                        os.dup2(descriptor, 2)
                    os.close(descriptor)
        return data
