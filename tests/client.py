"""A small HTTP client for the tests: http.client, and raw sockets for what it would not send."""

from __future__ import annotations

import http.client
import socket
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
        connection.request(method, path, **arguments)
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.getheaders(), response.read())
    finally:
        connection.close()


def raw(port: int, data: bytes, *, timeout: float = 30) -> bytes:
    """Send bytes, and receive until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(data)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)
