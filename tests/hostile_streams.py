"""Clients of WebSockets and event streams that no honest one is like: what each gets, what it costs, and whether others are served meanwhile.

python tests/hostile_streams.py    writes the second half of docs/hostile.md (`make hostile` both)
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

import h2.config
import h2.connection
import h2.errors
import h2.events
from client import ask
from conftest import Server, alarms
from test_asgi_websocket import KEY, Raw, frame, request

from httpd import PATIENCE, PROJECT, resident

THREADS = 4
CONFIG = """
PythonPath "sys.path+['@ROOT@/apps']"
RequestReadTimeout header=1 body=1
Protocols h2c http/1.1
ServerLimit 1
AsyncRequestWorkerFactor 20
PythonOption mod_python.asgi.detach_after 0.01
<Location /pinged>
    PythonOption mod_python.asgi.ws_ping_interval 0.1
    PythonOption mod_python.asgi.ws_ping_timeout 0.1
</Location>
<Location /honest>
    PythonOption mod_python.asgi.ws_ping_interval 0
</Location>
<Location /small>
    PythonOption mod_python.asgi.ws_max_size 1000
</Location>
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
PythonASGI /hello asgi_apps:hello
PythonASGI /quiet asgi_sockets:quiet
PythonASGI /echo asgi_sockets:echo
PythonASGI /honest asgi_sockets:quiet
PythonASGI /pinged asgi_sockets:quiet
PythonASGI /small asgi_sockets:quiet
PythonASGI /floods asgi_sockets:floods
PythonASGI /sleeps asgi_sockets:sleeps
PythonASGI /waits stream_ends:waits
PythonASGI /much stream_ends:much
"""
MODULES = ("reqtimeout", "http2")
MOST = 24 << 10
"""So many KiB a client may make the child grow by, beside what it has grown by already: a message of 16 MiB, and what it comes from."""

Trick = Callable[[Server], Iterator[str]]
TRICKS: dict[str, tuple[Trick, str]] = {}
"""What a client does, and what it must get. The function yields that while its connections are open."""


def trick(name: str, expected: str) -> Callable[[Trick], Trick]:
    def add(function: Trick) -> Trick:
        TRICKS[name] = (function, expected)
        return function

    return add


def connected(server: Server, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    connection.sendall(data)
    return connection


def status(connection: socket.socket) -> str:
    """The status of the answer that comes, or how the connection ends without one."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return "closed"
            data += part
    except ConnectionResetError:
        return "closed"
    more = " with the version that would do" if b"Sec-WebSocket-Version: 13" in data else ""
    return data.split()[1].decode() + more


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def code(client: Raw) -> str:
    """The code that the server closes with, behind whatever comes first."""
    while True:
        first, data = client.frame()
        if first == 0x88:
            assert client.ends(data)
            return str(int.from_bytes(data[:2], "big"))


def fill(connection: socket.socket, data: bytes, most: int) -> bool:
    """Send until nobody takes any more; False where all of `most` bytes has been taken."""
    connection.settimeout(0.3)
    sent = 0
    try:
        while sent < most:
            sent += connection.send(data)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False


# the opening handshake


@trick("sends a handshake byte by byte, and not to its end", "408")
def slow_handshake(server: Server) -> Iterator[str]:
    with connected(server) as connection:
        for byte in request("/quiet")[:60]:
            connection.sendall(bytes([byte]))
        yield status(connection)


@trick("opens as many connections as there are workers, and sends half a handshake on each", "408")
def many_slow_handshakes(server: Server) -> Iterator[str]:
    many = [connected(server, request("/quiet")[:60]) for _ in range(THREADS)]
    yield ", ".join(sorted({status(one) for one in many}))
    for one in many:
        one.close()


for name, data, answer in (
    ("asks for version 12", request("/quiet", version="12"), "426 with the version that would do"),
    (
        "asks for no version",
        request("/quiet").replace(b"Sec-WebSocket-Version: 13\r\n", b""),
        "426 with the version that would do",
    ),
    ("has a key of 15 bytes", request("/quiet", key=b"MDEyMzQ1Njc4OWFiY2RlCg"), "400"),
    ("has a key that is no base64", request("/quiet", key=b"!" * 22 + b"=="), "400"),
    ("has two keys", request("/quiet", f"Sec-WebSocket-Key: {KEY.decode()}"), "400"),
    ("upgrades a POST", request("/quiet").replace(b"GET", b"POST"), "400"),
):

    def wrong_handshake(server: Server, data: bytes = data) -> Iterator[str]:
        with connected(server, data) as connection:
            yield status(connection)

    trick(f"{name} in its handshake", answer)(wrong_handshake)


def over_http2(server: Server, headers: list[tuple[str, str]]) -> str:
    """What a request of HTTP/2 is answered."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    with connected(server) as connection:
        client.initiate_connection()
        client.send_headers(1, headers, end_stream=("connection", "upgrade") in headers)
        connection.sendall(client.data_to_send())
        while data := connection.recv(65536):
            for event in client.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return str(dict(event.headers or ()).get(b":status", b"").decode())
                if isinstance(event, h2.events.StreamReset):
                    return f"the stream is reset ({h2.errors.ErrorCodes(event.error_code).name})"
                if isinstance(event, h2.events.ConnectionTerminated):
                    return f"the connection is ended ({h2.errors.ErrorCodes(event.error_code).name})"
            connection.sendall(client.data_to_send())
    return "closed"


SOCKET = [(":scheme", "http"), (":path", "/quiet"), (":authority", "h"), ("sec-websocket-version", "13")]


@trick(
    "connects by HTTP/2 with :protocol (RFC 8441), which is not offered",
    "the stream is reset (PROTOCOL_ERROR)",
)
def extended_connect(server: Server) -> Iterator[str]:
    yield over_http2(server, [(":method", "CONNECT"), (":protocol", "websocket"), *SOCKET])


@trick("asks for an upgrade inside HTTP/2, which has none", "200")
def upgrade_inside(server: Server) -> Iterator[str]:
    more = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-key", KEY.decode())]
    yield over_http2(server, [(":method", "GET"), *SOCKET[:1], (":path", "/hello"), *SOCKET[2:], *more])


# frames


@trick("sends half a frame, and is silent", "1011")
def half_a_frame(server: Server) -> Iterator[str]:
    client = Raw(server, "/pinged")
    client.socket.sendall(frame(2, b"x" * 100)[:50])
    yield code(client)
    client.socket.close()


@trick("sends a frame's first byte, and is silent", "1011")
def a_byte_of_a_frame(server: Server) -> Iterator[str]:
    client = Raw(server, "/pinged")
    client.socket.sendall(b"\x82")
    yield code(client)
    client.socket.close()


@trick("sends half a frame, and resets the connection; a hundred times", "nothing")
def half_frames(server: Server) -> Iterator[str]:
    for _ in range(100):
        client = Raw(server, "/quiet")
        client.socket.sendall(frame(2, b"x" * 100)[:50])
        reset(client.socket)
    yield "nothing"


for name, data, answer in (
    ("announces a frame of 4 EiB", b"\x82\xff" + (1 << 62).to_bytes(8, "big") + b"mask", "1009"),
    ("announces a frame of 2^63 bytes", b"\x82\xff" + (1 << 63).to_bytes(8, "big") + b"mask", "1002"),
    ("does not mask its frames", b"\x82\x01x", "1002"),
    ("sends a ping of 126 bytes", frame(9, b"x" * 126), "1002"),
    ("sends an HTTP request behind the handshake", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "1002"),
):

    def wrong_frame(server: Server, data: bytes = data) -> Iterator[str]:
        client = Raw(server, "/quiet")
        client.socket.sendall(data)
        yield code(client)
        client.socket.close()

    trick(name, answer)(wrong_frame)


@trick("sends a message without end, in fragments", "1009")
def endless_message(server: Server) -> Iterator[str]:
    client = Raw(server, "/quiet")
    client.socket.sendall(frame(2, b"x" * 65000, last=False))
    # The last of these is more than a message may have, 16 MiB.
    client.socket.sendall(frame(0, b"x" * 65000, last=False) * 258)
    yield code(client)
    client.socket.close()


@trick("sends 100,000 fragments of one byte", "its message")
def tiny_fragments(server: Server) -> Iterator[str]:
    client = Raw(server, "/quiet")
    client.socket.sendall(frame(2, b"x", last=False) + frame(0, b"x", last=False) * 99_998 + frame(0, b"x"))
    assert client.frame() == (0x82, b"x" * 100_000)
    yield "its message"
    client.socket.close()


@trick("sends 200,000 empty fragments, and no end", "nothing")
def empty_fragments(server: Server) -> Iterator[str]:
    client = Raw(server, "/quiet")
    client.socket.sendall(frame(2, b"", last=False) + frame(0, b"", last=False) * 200_000)
    client.socket.sendall(frame(9, b"still there"))
    assert client.frame() == (0x8A, b"still there")
    yield "nothing"
    client.socket.close()


def flooded(server: Server, path: str, piece: bytes) -> Iterator[str]:
    """Sends 100 MB, and reads nothing."""
    client = Raw(server, path)
    stopped = fill(client.socket, piece, 100 << 20)
    yield "it is not read any more" if stopped else "all is taken"
    reset(client.socket)


@trick("sends 100 MB of pings, and reads nothing", "it is not read any more")
def ping_flood(server: Server) -> Iterator[str]:
    return flooded(server, "/quiet", frame(9, b"x" * 125) * 500)


@trick("sends 100 MB of messages, and reads nothing of their echo", "it is not read any more")
def message_flood(server: Server) -> Iterator[str]:
    return flooded(server, "/quiet", frame(2, b"x" * 65536))


@trick("sends 100 MB to an application that does not receive", "it is not read any more")
def deaf_application(server: Server) -> Iterator[str]:
    return flooded(server, "/sleeps", frame(2, b"x" * 65536))


@trick("never reads, and its application sends 250 MB", "the application waits")
def never_reads(server: Server) -> Iterator[str]:
    many = [Raw(server, "/floods") for _ in range(THREADS + 1)]
    yield "the application waits"
    for one in many:
        reset(one.socket)


@trick("never reads an event stream of 13 MB", "the application waits")
def never_reads_events(server: Server) -> Iterator[str]:
    gate = server.root / "notes/never"
    gate.unlink(missing_ok=True)
    many = [connected(server, b"GET /much?never HTTP/1.1\r\nHost: h\r\n\r\n") for _ in range(THREADS + 1)]

    def have_left() -> bool:
        rows = json.loads(server.ok("/status?json").text)["interpreters"]
        return bool(sum(row["detached"] for row in rows) >= len(many))

    # An answer that is busy keeps its worker, as every handler of httpd's does.
    server._wait(have_left, "they have not left their workers")
    gate.touch()
    yield "the application waits"
    for one in many:
        reset(one)


@trick("resets an event stream in its middle; a hundred times", "the application is told")
def resets_streams(server: Server) -> Iterator[str]:
    for _ in range(100):
        connection = connected(server, b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n")
        data = b""
        while b"data: one" not in data:
            data += connection.recv(65536)
        reset(connection)
    server._wait((server.root / "notes/seen").exists, "the application is not told")
    yield "the application is told"


@trick("closes, and stays", "1000; the connection is closed after two seconds")
def stays(server: Server) -> Iterator[str]:
    client = Raw(server, "/quiet")
    client.socket.sendall(frame(8, struct.pack("!H", 1000)))
    found = code(client)

    # The server says nothing more, and lingers for what comes.
    def is_closed() -> bool:
        try:
            client.socket.sendall(b"x")
        except ConnectionError:
            return True
        return False

    server._wait(is_closed, "the connection is not closed")
    yield f"{found}; the connection is closed after two seconds"
    client.socket.close()


# compression


def deflated(server: Server, path: str, size: int, kind: int = 2) -> Raw:
    """Sends a message of so many zeros, compressed."""
    client = Raw(server, path, "Sec-WebSocket-Extensions: permessage-deflate")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    whole = frame(kind, data[:-4], bits=0x40)
    with contextlib.suppress(ConnectionError):
        client.socket.sendall(whole)
    return client


@trick("sends 128 MiB of zeros, compressed to 128 KB", "1009")
def bomb(server: Server) -> Iterator[str]:
    client = deflated(server, "/quiet", 128 << 20)
    yield code(client)
    client.socket.close()


@trick("sends 16 MiB of zeros, compressed to 16 KB, where a message may have 1,000 bytes", "1009")
def small_bomb(server: Server) -> Iterator[str]:
    client = deflated(server, "/small", 16 << 20)
    yield code(client)
    client.socket.close()


@trick("sends nonsense as a compressed message", "1002")
def nonsense(server: Server) -> Iterator[str]:
    client = Raw(server, "/quiet", "Sec-WebSocket-Extensions: permessage-deflate")
    client.socket.sendall(frame(2, b"\xff" * 64, bits=0x40))
    yield code(client)
    client.socket.close()


class Trial:
    """The server, and an honest client beside."""

    def __init__(self) -> None:
        self.server = Server(CONFIG, modules=MODULES, mpm="event", threads=THREADS)
        folder = self.server.root / "notes"
        folder.mkdir()
        folder.chmod(0o777)
        self.server.start()
        self.honest = Raw(self.server, "/honest")
        self.grown = 0

    def stop(self) -> None:
        self.honest.socket.close()
        self.server.stop()
        self.server.remove()

    def run(self, name: str) -> list[str]:
        """Have one client do its thing; what is wrong with what it gets."""
        wrong = []
        function, expected = TRICKS[name]
        [pid] = self.server.child_pids()
        before = resident(pid)
        acted = contextmanager(function)
        with acted(self.server) as shown:
            if shown != expected:
                wrong.append(f"{shown}, not {expected}")
            self.ask_honestly()
            grown = resident(pid) - before
            self.grown = max(self.grown, grown)
            if grown > MOST:
                wrong.append(f"the child has grown by {grown} KiB")
        self.ask_honestly()
        if self.server.child_pids() != [pid]:
            wrong.append("the child has been replaced")
        return wrong

    def ask_honestly(self) -> None:
        self.honest.socket.sendall(frame(1, b"spam"))
        assert self.honest.frame() == (0x81, b"spam")
        assert ask(self.server.port, "/hello", timeout=PATIENCE).status == 200


HEAD = "## WebSockets and event streams"


def section(trial: Any = None) -> tuple[str, list[str]]:
    """The section of docs/hostile.md, and what is wrong."""
    trial = trial or Trial()
    wrong = []
    rows = ["| a client that … | gets |", "| --- | --- |"]
    try:
        for name, (_, expected) in TRICKS.items():
            wrong += [f"{name}: {text}" for text in trial.run(name)]
            rows.append(f"| {name} | {expected} |")
        wrong += [line for line in alarms(trial.server.log_text()) if "[python:" in line]
    finally:
        trial.stop()
    text = (
        f"{HEAD}\n\nOne child of event with {THREADS} threads. While each of these clients had its connections open, and after it, an honest "
        "request was answered and\nan honest WebSocket echoed; the child was never replaced, and has grown by at most "
        f"{-(-trial.grown // 1024)} MiB by one of them. A number is the status of the answer\nor, from 1000 on, the code of the "
        "WebSocket's close frame.\n\n"
    )
    return text + "\n".join(rows) + "\n", wrong


def main() -> int:
    page = PROJECT / "docs/hostile.md"
    text, wrong = section()
    page.write_text(re.sub(rf"\n*({re.escape(HEAD)}.*)?\Z", "", page.read_text(), flags=re.S) + "\n\n" + text)
    print(*wrong or ["nothing is wrong"], sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
