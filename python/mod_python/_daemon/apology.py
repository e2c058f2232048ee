"""What a client is told while a daemon cannot start: 503, at once, instead of nothing until it gives up."""

from __future__ import annotations

import contextlib
import socket

_BODY = b"The application cannot be started at the moment.\n"
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    b"Retry-After: 5\r\nConnection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)
_PATIENCE = 0.2
_LARGEST = 1 << 20
_MOST = 64


def answer(listener: socket.socket) -> int:
    """Answer the requests that wait (RFC 9110, 15.6.4); how many."""
    count = 0
    while count < _MOST:
        try:
            peer, _ = listener.accept()
        except OSError:
            return count
        count += 1
        with peer, contextlib.suppress(OSError):
            peer.settimeout(_PATIENCE)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < _LARGEST:
                data = peer.recv(1 << 16)
                if not data:
                    break
                head += data
            peer.sendall(_ANSWER)
            peer.shutdown(socket.SHUT_WR)
            # What is not read would have the answer taken back.
            while len(head) < _LARGEST:
                data = peer.recv(1 << 16)
                if not data:
                    break
                head += data
    return count
