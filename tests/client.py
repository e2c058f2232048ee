"""A small HTTP client for the tests: http.client, and raw sockets for what it would not send."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Optional


@dataclass
class Answer:
    """A whole response. `headers` keeps every header, in order."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def header(self, name: str) -> Optional[str]:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def ask(port: int, path: str, method: str = "GET", *, timeout: float = 30, **arguments: Any) -> Answer:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        # Who refuses a body does not wait for all of it; what it has said is there.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, **arguments)
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.getheaders(), response.read())
    finally:
        connection.close()


def attempt(port: int, path: str, **arguments: Any) -> Optional[Answer]:
    """As `ask`; None where the connection breaks. At a graceful restart httpd itself loses one now and then, which an old child has accepted
    (soak.py counts them)."""
    try:
        return ask(port, path, **arguments)
    except (OSError, http.client.HTTPException):
        return None


def raw(port: int, data: bytes, *, timeout: float = 30) -> bytes:
    """Send bytes, and receive until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(data)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def of_two_threads(context: ssl.SSLContext) -> ssl.SSLContext:
    """For a client that reads in one thread and writes in another, as that of websockets.sync does.

    OpenSSL allows it as long as nothing but data is under way. The tickets of TLS 1.3 come behind the handshake: what is written
    while they are read can be lost (one connection of 400).
    """
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
