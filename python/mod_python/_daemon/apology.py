"""What a client is told while a daemon cannot start: 503, at once, instead of nothing until it gives up.

Nobody is waited for: whoever sends slowly, or does not read, keeps neither others nor the keeper from what they are at.
"""

from __future__ import annotations

import contextlib
import socket
import time

_BODY = b"The application cannot be started at the moment.\n"
_ANSWER = (
    # The mark of an error without a page of the application's: the operator's httpd makes one, or has an ErrorDocument.
    b"HTTP/1.1 503 Service Unavailable\r\nX-Mod-Python-Front: 503\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    b"Retry-After: 5\r\nConnection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)
_PATIENCE = 5.0
"""Seconds that one may take to send its head, and to hear the answer."""
_LARGEST = 1 << 20
_MOST = 64
"""At once; whoever comes later waits in the socket's queue."""


class _Peer:
    """A connection that has been accepted: its head is read, it is answered, and what it still sends is read and forgotten."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.socket.setblocking(False)
        self.until = time.monotonic() + _PATIENCE
        self._head = b""
        self._read = 0
        self._answered = False

    def go_on(self) -> bool:
        """Do what can be done at once; whether more is to come."""
        with contextlib.suppress(BlockingIOError):
            while time.monotonic() < self.until and self._read < _LARGEST:
                data = self.socket.recv(1 << 16)
                self._read += len(data)
                if not self._answered:
                    self._head = self._head[-3:] + data
                    if b"\r\n\r\n" in self._head:
                        self._answered = True
                        # It takes that at once.
                        self.socket.sendall(_ANSWER)
                        self.socket.shutdown(socket.SHUT_WR)
                # What is not read would have the answer taken back.
                if not data:
                    return False
            return False
        return time.monotonic() < self.until


class Apology:
    """Answers those who have come while nothing serves."""

    def __init__(self) -> None:
        self._peers: list[_Peer] = []

    def is_full(self) -> bool:
        """Whether nobody else can be answered at the moment."""
        return len(self._peers) >= _MOST

    def descriptors(self) -> list[int]:
        """What is readable when there is something to do."""
        return [peer.socket.fileno() for peer in self._peers]

    def go_on(self) -> None:
        """Go on with those that have been accepted."""
        for peer in list(self._peers):
            goes_on = False
            with contextlib.suppress(OSError):
                goes_on = peer.go_on()
            if not goes_on:
                peer.socket.close()
                self._peers.remove(peer)

    def accept(self, listener: socket.socket) -> None:
        """Accept who waits, and answer."""
        with contextlib.suppress(OSError):
            while not self.is_full():
                self._peers.append(_Peer(listener.accept()[0]))
        self.go_on()
