"""The clients of `make apifuzz`: conversations that a seed describes whole, over HTTP/1.0, 1.1, 2 and bare connections.

Conversation N has requests with the seeds 10 N, 10 N + 1 …; nothing is expected of an answer but that it ends.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Optional

import h2.config
import h2.connection
import h2.events
import h2.exceptions

PATIENCE = 60.0
"""Seconds without a byte after which a request counts as one that hangs. Its worker may act for 8, and wait for 5."""
PATHS = (
    "/all/x",
    "/all/x",
    "/all/x/info",
    "/filtered/x",
    "/filtered/x",
    "/wsgi/x",
    "/wsgi/x",
    "/wsgi/x",
    "/files/",
    "/files/",
)
PATHS += (
    "/files/document",
    "/files/page.shtml",
    "/files/page.shtml",
    "/files/static.html",
    "/files/sub/",
    "/files/script.py/info",
)
PATHS += (
    "/files/filtered/static.html",
    "/missing",
    "/other/x",
    "/other/x",
    "/pub/fuzzpub.py/plain",
    "/pub/fuzzpub",
    "/psp/page.psp",
)
PATHS += ("/plain/static.html", "/all", "/files", "/psp/", "/files/nothing", "/loaded/x", "/loaded/x")
PATHS += ("/cgi/script.py", "/cgi/broken.py", "/test/x", "/status/x", "/pub/fuzzpub.py/odd", "/pub/fuzzpub.py/later")
PATHS += (
    "/pub/fuzzpub.py/page",
    "/pub/fuzzpub.py/data/a",
    "/pub/",
    "/psp/odd.psp",
    "/psp/page.psp_",
    "/psp/nothing.psp",
)
SESSIONS = [f"{number:032x}" for number in range(6)]


class Hang(Exception):
    """No byte came for too long."""


@dataclass
class Plain:
    """One request."""

    seed: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: Optional[bytes]
    cut: int = 0
    """So many bytes of the body are not sent."""


@dataclass
class Conversation:
    """One connection: `kind` is h1, old (HTTP/1.0), pipelined, h2 or bare."""

    seed: int
    kind: str
    requests: list[Plain] = field(default_factory=list)
    slow: bool = False
    """Sent to where the error log is slow, if there is such a place."""
    leaves: str = ""
    """How the client goes before the answer has come: "" (it waits), close, reset or half."""


def conversation(seed: int, http2: bool) -> Conversation:
    """What a seed stands for."""
    lots = random.Random(seed)
    kinds = ["h1"] * 6 + ["old", "pipelined", "pipelined", "bare"] + (["h2"] * 10 if http2 else [])
    found = Conversation(seed, lots.choice(kinds))
    count = lots.randint(2, 4) if found.kind in ("pipelined", "h2") else 1
    found.requests = [_request(lots, seed * 10 + number) for number in range(count)]
    found.slow = lots.random() < 0.3
    if lots.random() < 0.12:
        found.leaves = lots.choice(("close", "reset", "half"))
    if found.kind != "h2" and found.requests[-1].cut:
        found.leaves = lots.choice(("close", "half"))
    return found


def _request(lots: random.Random, seed: int) -> Plain:
    method = lots.choice(("GET", "GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "PUT", "OPTIONS", "BREW"))
    query = lots.choice(("", "&a=1&b=2", "&a=%00%ff", "&x=" + "y" * 500))
    headers = [("Cookie", f"pysid={lots.choice(SESSIONS)}; a=b"), ("X-Name", "x"), ("X-Name", "y")]
    for header in (
        ("Authorization", "Basic dTpw"),
        ("Range", lots.choice(("bytes=0-3", "bytes=1-2,5-9", "bytes=-1", "bytes=x"))),
        ("Accept-Encoding", "gzip"),
        ("If-Modified-Since", "Thu, 01 Jan 2037 00:00:00 GMT"),
        ("X-Latin", "\u00e9\u00ff"),
        ("Accept", "text/html, */*;q=0.1"),
    ):
        if lots.random() < 0.3:
            headers.append(header)
    body, cut = None, 0
    if method in ("POST", "PUT") or lots.random() < 0.05:
        body = lots.choice(
            (b"", b"a=1&b=2&c=%ff", b"line\n" * 50, _multipart(), lots.randbytes(lots.choice((10, 9000, 60_000))))
        )
        kind = (
            "multipart/form-data; boundary=x"
            if body == _multipart()
            else lots.choice(("application/x-www-form-urlencoded", "a/b"))
        )
        headers.append(("Content-Type", kind))
        cut = len(body) // 2 if lots.random() < 0.15 else 0
    return Plain(seed, method, f"{lots.choice(PATHS)}?seed={seed}{query}", headers, body, cut)


def _multipart() -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="f"; filename="n"\r\n\r\ncontent\0\r\n--x--\r\n'


def hold(found: Conversation, port: int, bare: int, slow: int, statuses: Counter[str]) -> None:
    """Hold a conversation on one of three ports. Raises Hang; that the server cuts it off is all right."""
    with contextlib.suppress(ConnectionError, BrokenPipeError, h2.exceptions.ProtocolError):
        address = ("127.0.0.1", bare if found.kind == "bare" else slow if found.slow else port)
        with socket.create_connection(address, PATIENCE) as connection:
            try:
                if found.kind == "h2":
                    _hold_h2(found, connection, statuses)
                else:
                    _hold_plain(found, connection, statuses)
            except TimeoutError:
                raise Hang(f"no byte in {PATIENCE:.0f} s") from None


def _hold_plain(found: Conversation, connection: socket.socket, statuses: Counter[str]) -> None:
    if found.kind == "bare":
        connection.sendall(b"seed=%d\n" % (found.seed * 10) + b"some text\r\n" * (found.seed % 50))
        connection.shutdown(socket.SHUT_WR)
    else:
        connection.sendall(b"".join(_wire(found, number) for number in range(len(found.requests))))
    if found.leaves == "half" and found.kind != "bare":
        connection.shutdown(socket.SHUT_WR)
    elif found.leaves:
        _leave(found, connection)
        return
    first = b""
    while part := connection.recv(65536):
        first = first or part
    statuses[_status(first) if found.kind != "bare" else "bare"] += 1


def _leave(found: Conversation, connection: socket.socket) -> None:
    connection.settimeout(0.02)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)
    if found.leaves == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _status(first: bytes) -> str:
    words = first[:20].split()
    return words[1].decode("latin-1") if len(words) > 1 and words[0].startswith(b"HTTP/") else "other"


def _wire(found: Conversation, number: int) -> bytes:
    """A request of HTTP/1."""
    request, last = found.requests[number], number == len(found.requests) - 1
    headers = [("Host", "localhost"), *request.headers]
    body = request.body or b""
    if found.kind == "old":
        version = "1.0"
    else:
        version = "1.1"
        headers.append(("Connection", "close" if last else "keep-alive"))
    if request.body is not None:
        if version == "1.1" and request.seed % 3 == 0:
            headers.append(("Transfer-Encoding", "chunked"))
            halves = (body[: len(body) // 3], body[len(body) // 3 :])
            body = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves if half) + b"0\r\n\r\n"
        else:
            headers.append(("Content-Length", str(len(body))))
        if request.seed % 11 == 0 and version == "1.1":
            headers.append(("Expect", "100-continue"))
    if last and request.cut:
        body = body[: -request.cut]
    lines = [
        f"{request.method} {request.path} HTTP/{version}",
        *(f"{name}: {value}" for name, value in headers),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1") + body


def _hold_h2(found: Conversation, connection: socket.socket, statuses: Counter[str]) -> None:
    config = h2.config.H2Configuration(validate_inbound_headers=False, header_encoding="latin-1")
    http = h2.connection.H2Connection(config)
    http.initiate_connection()
    open_streams = set()
    for request in found.requests:
        stream = http.get_next_available_stream_id()
        open_streams.add(stream)
        headers = [
            (":method", request.method),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", request.path),
        ]
        headers += [(name.lower(), value) for name, value in request.headers]
        body = (request.body or b"")[:16_000]
        http.send_headers(
            stream, [(a.encode(), b.encode("latin-1")) for a, b in headers], end_stream=request.body is None
        )
        if request.body is not None:
            http.send_data(stream, body, end_stream=not request.cut)
            if request.cut:
                http.reset_stream(stream)
                open_streams.discard(stream)
    connection.sendall(http.data_to_send())
    if found.leaves:
        _leave(found, connection)
        return
    limit = time.monotonic() + 2 * PATIENCE
    while open_streams:
        if time.monotonic() > limit:
            raise Hang(f"streams {sorted(open_streams)} do not end")
        data = connection.recv(65536)
        if not data:
            return
        for event in http.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                statuses[dict(event.headers).get(":status", "other")] += 1
            elif isinstance(event, h2.events.DataReceived):
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                open_streams.discard(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                return
        with contextlib.suppress(OSError):
            connection.sendall(http.data_to_send())
