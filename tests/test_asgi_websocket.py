"""WebSockets: the messages of ASGI, and the frames of RFC 6455 and RFC 7692."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest
from asgi_site import applications, heard, open_gate, site
from conftest import Serve, Server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from httpd import PATIENCE

CONFIG = """
<Location /small>
    PythonOption mod_python.asgi.ws_max_size 1000
    PythonOption mod_python.asgi.ws_max_queue 2
</Location>
<Location /plain>
    PythonOption mod_python.asgi.ws_per_message_deflate off
</Location>
<Location /pinged>
    PythonOption mod_python.asgi.ws_ping_interval 0.05
</Location>
<Location /pinged/hastily>
    PythonOption mod_python.asgi.ws_ping_timeout 0.05
</Location>
PythonASGI /small asgi_sockets:quiet
PythonASGI /plain asgi_sockets:quiet
PythonASGI /pinged asgi_sockets:echo
PythonASGI /http asgi_apps:hello
"""


@pytest.fixture(scope="module")
def httpd(mpm: str, serve_module: Serve) -> Server:
    # The limits of mod_reqtimeout, and compression of answers, are for requests.
    config = applications("asgi_sockets") + CONFIG + "RequestReadTimeout header=5 body=1\nSetOutputFilter DEFLATE\n"
    config += "TransferLog @ROOT@/access_log\n"
    return site(serve_module, config, mpm=mpm, modules=("reqtimeout", "deflate", "filter"))


@pytest.fixture(autouse=True)
def nothing_is_noted(httpd: Server) -> None:
    (httpd.root / "notes/seen").unlink(missing_ok=True)


def opening(server: Server, path: str, **more: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{path}", open_timeout=PATIENCE, close_timeout=PATIENCE, **more)


# the client's library


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_come_back(httpd: Server, compression: Optional[str]) -> None:
    with opening(httpd, "/echo", compression=compression, max_size=None) as client:
        offered = client.response and client.response.headers.get("Sec-WebSocket-Extensions")
        assert bool(offered) == (compression is not None)
        for message in (
            "spam",
            "é" * 100,
            "",
            b"",
            bytes(range(256)),
            "x" * 200_000,
            os.urandom(200_000),
            "spam" * 50_000,
        ):
            client.send(message)
            assert client.recv(PATIENCE) == message
        assert client.ping().wait(PATIENCE)
        client.send(["in ", "fragments ", "é"])
        assert client.recv(PATIENCE) == "in fragments é"
    assert heard(httpd) == [1000, ""]


def test_scope(httpd: Server) -> None:
    with opening(httpd, "/scoped/a%20b?q", subprotocols=["one", "two"]) as client:
        found = json.loads(client.recv(PATIENCE))
        assert (found["type"], found["scheme"], found["subprotocols"]) == ("websocket", "ws", ["one", "two"])
        assert (found["path"], found["root_path"], found["query_string"]) == ("/scoped/a b", "/scoped", "q")
        assert "method" not in found and "websocket.http.response" in found["extensions"]


def test_subprotocol_headers_and_code(httpd: Server) -> None:
    with opening(httpd, "/chosen", subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "two" and client.response
        assert client.response.headers["X-Spam"] == "eggs" and client.response.headers["Set-Cookie"] == "a=b"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(PATIENCE)
        assert closed.value.rcvd and (closed.value.rcvd.code, closed.value.rcvd.reason) == (3001, "chosen")
    assert heard(httpd) == [3001]


def test_refusals(httpd: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opening(httpd, "/refused")
    assert refused.value.response.status_code == 403
    # The code is not sent.
    for code in (999, 1006, "x"):
        messages = repr([{"type": "websocket.close", "code": code}])
        with pytest.raises(InvalidStatus) as refused:
            opening(httpd, f"/script?{messages.encode().hex()}")
        assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as denied:
        opening(httpd, "/denied", compression=None)
    answer = denied.value.response
    assert (answer.status_code, answer.headers["X-Spam"], bytes(answer.body or b"")) == (418, "eggs", b"no coffee")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("raises", "LookupError: asgi_sockets raises"),
        ("returns", "neither accepted nor refused"),
    ],
)
def test_an_application_that_does_not_accept(httpd: Server, name: str, error: str) -> None:
    with pytest.raises(InvalidStatus) as failed:
        opening(httpd, f"/{name}")
    assert failed.value.response.status_code == 500
    httpd.claim("PythonHandler mod_python.asgi")
    httpd.claim(error)


def test_an_application_that_does_not_wait(httpd: Server) -> None:
    """It answers before it receives `websocket.connect`, which comes all the same."""
    with opening(httpd, "/hasty") as client:
        client.send("spam")
        assert client.recv(PATIENCE) == "websocket.connect, websocket.receive"
    with pytest.raises(InvalidStatus) as caught:
        opening(httpd, "/hasty?refuses").__enter__()
    assert caught.value.response.status_code == 403


def test_an_application_that_fails_later(httpd: Server) -> None:
    with opening(httpd, "/raises_late") as client:
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1011
    httpd.claim("asgi_sockets raises late")


def test_an_application_that_returns(httpd: Server) -> None:
    with opening(httpd, "/returns_late") as client:
        assert list(client) == ["bye"] and client.close_code == 1000


ACCEPT, SEND = {"type": "websocket.accept"}, {"type": "websocket.send", "text": "x"}
CLOSE = {"type": "websocket.close"}


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([SEND], 'RuntimeError: ASGI: "websocket.send" does not come before "websocket.accept"'),
        ([ACCEPT, ACCEPT], 'RuntimeError: ASGI: "websocket.accept" does not come when the websocket is open'),
        (
            [ACCEPT, CLOSE, SEND],
            'RuntimeError: ASGI: "websocket.send" does not come after the websocket has been closed',
        ),
        ([ACCEPT, CLOSE, CLOSE], "RuntimeError"),
        ([CLOSE, ACCEPT], "RuntimeError"),
        ([ACCEPT, {"type": "websocket.send"}], "ValueError"),
        ([ACCEPT, {"type": "websocket.send", "text": "a", "bytes": b"b"}], "ValueError"),
        ([ACCEPT, {"type": "websocket.send", "text": b"b"}], "TypeError"),
        ([ACCEPT, {"type": "websocket.send", "bytes": "b"}], "TypeError"),
        ([ACCEPT, {"type": "websocket.send", "text": "\ud800"}], "ValueError"),
        ([ACCEPT, {"type": "websocket.close", "code": 1005}], "ValueError"),
        ([ACCEPT, {"type": "websocket.close", "code": 99999}], "ValueError"),
        ([ACCEPT, {"type": "websocket.close", "code": "x"}], "ValueError"),
        ([ACCEPT, {"type": "websocket.http.response.start", "status": 200}], "RuntimeError"),
        ([{"type": "websocket.http.response.body"}], "RuntimeError"),
        ([{"type": "http.response.start", "status": 200}], "RuntimeError"),
        ([{"type": "websocket.accept", "subprotocol": "not offered"}], "ValueError"),
        ([{"type": "websocket.accept", "subprotocol": 3}], "TypeError"),
        ([{"type": "websocket.accept", "subprotocol": ""}, ACCEPT], "RuntimeError"),
        ([{"type": "websocket.accept", "headers": [(b"a", b"b\r\nc: d")]}], "ValueError"),
        ([{"type": "websocket.accept", "headers": [(b"Sec-WebSocket-Accept", b"b")]}], "ValueError"),
        ([{"type": "websocket.accept", "headers": [("a", "b")]}], "TypeError"),
    ],
)
def test_what_is_wrong_is_raised(httpd: Server, messages: list[Any], error: str) -> None:
    try:
        with (
            opening(httpd, f"/script?{repr(messages).encode('utf-8', 'surrogatepass').hex()}") as client,
            pytest.raises(ConnectionClosed),
        ):
            while True:
                client.recv(PATIENCE)
    except InvalidStatus as refused:
        assert refused.response.status_code in (403, 500)
    name, text = heard(httpd)
    assert f"{name}: {text}".startswith(error), (name, text)
    httpd.claim(f"{name}|after the answer")


def test_both_sides_at_once(httpd: Server) -> None:
    with opening(httpd, "/pushes") as client:
        assert [client.recv(PATIENCE) for _ in range(5)] == ["0", "1", "2", "3", "4"]
        client.send("stop")
        assert heard(httpd) == ["websocket.receive"]


def test_sending_when_the_client_has_gone(httpd: Server) -> None:
    with opening(httpd, "/gone"):
        pass
    assert heard(httpd) == [True, "websocket.disconnect"]


def test_pings_keep_it_open(httpd: Server) -> None:
    with opening(httpd, "/pinged", ping_interval=None) as client:
        for _ in range(3):
            client.send("spam")
            assert client.recv(PATIENCE) == "spam"
            assert client.ping().wait(PATIENCE)
    assert heard(httpd) == [1000, ""]


def test_an_application_for_http_refuses(httpd: Server) -> None:
    """It takes the scope for one of a request."""
    with pytest.raises(InvalidStatus) as failed:
        opening(httpd, "/http")
    assert failed.value.response.status_code == 500
    httpd.claim("is not a message that a websocket application can send")


# raw frames

KEY = base64.b64encode(b"0123456789abcdef")


def request(path: str, *lines: str, version: str = "13", key: bytes = KEY) -> bytes:
    head = [f"GET {path} HTTP/1.1", "Host: h", "Upgrade: WebSocket", "Connection: keep-alive, Upgrade"]
    head += [f"Sec-WebSocket-Version: {version}", f"Sec-WebSocket-Key: {key.decode()}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def frame(code: int, data: bytes = b"", *, last: bool = True, bits: int = 0, mask: bytes = b"\1\2\3\4") -> bytes:
    first = (0x80 if last else 0) | bits | code
    size = len(data)
    length = (
        bytes([0x80 | size])
        if size < 126
        else struct.pack("!BH", 0xFE, size)
        if size < 65536
        else struct.pack("!BQ", 0xFF, size)
    )
    return bytes([first]) + length + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))


class Raw:
    """A client that sends what it likes."""

    def __init__(self, server: Server, path: str, *lines: str, tls: Optional[ssl.SSLContext] = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)
        self.socket.sendall(request(path, *lines))
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        self.head = head.decode()

    def more(self) -> None:
        part = self.socket.recv(65536)
        assert part, self.data
        self.data += part

    def bytes(self, count: int) -> bytes:
        while len(self.data) < count:
            self.more()
        data, self.data = self.data[:count], self.data[count:]
        return data

    def frame(self) -> tuple[int, bytes]:
        first, size = self.bytes(2)
        if size == 126:
            (size,) = struct.unpack("!H", self.bytes(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.bytes(8))
        return first, self.bytes(size)

    def ends(self, data: bytes) -> bool:
        """Says that it closes, too. Does nothing but the end follow? The server waits two seconds for that."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(frame(8, data))
            return not self.socket.recv(1)
        return True

    def closed(self) -> tuple[int, str]:
        """The code and reason of the close frame that comes next; the connection's end follows."""
        first, data = self.frame()
        assert first == 0x88, (first, data)
        assert not self.data and self.ends(data)
        return (int.from_bytes(data[:2], "big") if data else 0), data[2:].decode()


@contextmanager
def talk(server: Server, path: str, *lines: str) -> Iterator[Raw]:
    client = Raw(server, path, *lines)
    try:
        yield client
    finally:
        client.socket.close()


def test_the_handshake(httpd: Server) -> None:
    with talk(httpd, "/quiet") as client:
        accept = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        assert client.head.startswith("HTTP/1.1 101 ") and f"Sec-WebSocket-Accept: {accept}" in client.head
        assert "Extensions" not in client.head


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/echo", version="12"), 426),
        (request("/echo", key=b"short"), 400),
        (request("/echo", key=KEY + b"="), 400),
        (request("/echo").replace(b"GET", b"POST"), 400),
    ],
)
def test_handshakes_that_are_wrong(httpd: Server, data: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), PATIENCE) as client:
        client.sendall(data)
        answer = client.recv(65536)
    assert int(answer.split()[1]) == status
    assert (b"Sec-WebSocket-Version: 13" in answer) == (status == 426)
    names = [line.split(b": ")[1].lower() for line in answer.split(b"\r\n") if line.startswith(b"Connection: ")]
    assert any(b"upgrade" in name for name in names) == (status == 426)


@pytest.mark.parametrize("wrong", [(b"keep-alive, Upgrade", b"close"), (b"HTTP/1.1", b"HTTP/1.0")])
def test_an_upgrade_that_is_none_is_ignored(httpd: Server, wrong: tuple[bytes, bytes]) -> None:
    """RFC 9110, 7.8: one of HTTP/1.0, and one that Connection does not name."""
    with socket.create_connection(("127.0.0.1", httpd.port), PATIENCE) as client:
        client.sendall(request("/http").replace(*wrong))
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.split()[1] == b"200" and answer.endswith(b"Hello World!")


def test_what_an_acceptance_cannot_say(httpd: Server) -> None:
    """A 101 has no length and nothing for the next hop but its own (RFC 9110, 8.6)."""
    with talk(httpd, "/lengthy") as client:
        assert client.head.startswith("HTTP/1.1 101 ") and "x-kept: 1" in client.head
        names = [line.partition(":")[0].lower() for line in client.head.splitlines()]
        assert not {"content-length", "te"} & set(names) and names.count("connection") == 1


def test_a_client_that_sends_nothing_more_hears_its_answers(httpd: Server) -> None:
    with talk(httpd, "/echo") as client:
        client.socket.sendall(frame(1, b"spam"))
        client.socket.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: client.socket.recv(65536), b""))
    assert b"spam" in data, data
    assert heard(httpd) == [1006, ""]


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_frames_however_they_arrive(httpd: Server, step: int) -> None:
    sent = (
        frame(1, "é".encode()[:1], last=False) + frame(9, b"ping") + frame(0, "é".encode()[1:]) + frame(2, b"x" * 300)
    )
    with talk(httpd, "/echo") as client:
        for place in range(0, len(sent), step):
            client.socket.sendall(sent[place : place + step])
        frames = [client.frame() for _ in range(3)]
        assert (0x8A, b"ping") in frames
        frames.remove((0x8A, b"ping"))
        assert frames == [(0x81, "é".encode()), (0x82, b"x" * 300)]
        client.socket.sendall(frame(8, struct.pack("!H", 4000) + b"bye"))
        assert client.frame() == (0x88, struct.pack("!H", 4000) + b"bye")
    assert heard(httpd) == [4000, "bye"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"x", bits=0x40), 1002),
        (frame(1, b"x", bits=0x20), 1002),
        (frame(3, b"x"), 1002),
        (frame(11), 1002),
        (frame(0, b"x"), 1002),
        (frame(1, b"a", last=False) + frame(1, b"b"), 1002),
        (frame(9, b"x", last=False), 1002),
        (frame(9, b"x" * 126), 1002),
        (b"\x81\x01x", 1002),
        (frame(8, b"x"), 1002),
        (frame(8, struct.pack("!H", 1005)), 1002),
        (frame(8, struct.pack("!H", 999)), 1002),
        (frame(8, struct.pack("!H", 1000) + b"\xff"), 1007),
        (frame(1, b"\xff"), 1007),
        (frame(1, b"\xce"), 1007),
        # It is wrong before it is complete.
        (frame(1, b"\xf4\x90", last=False), 1007),
        (b"\x81\xff\x80" + b"\0" * 11, 1002),
        (frame(2, b"")[:1] + b"\xff" + (1 << 40).to_bytes(8, "big") + b"mask", 1009),
    ],
)
def test_violations(httpd: Server, sent: bytes, code: int) -> None:
    with talk(httpd, "/echo") as client:
        client.socket.sendall(sent)
        assert client.closed()[0] == code
    assert heard(httpd)[0] == code


def test_messages_that_are_too_large(httpd: Server) -> None:
    for parts in ([frame(2, b"x" * 1001)], [frame(2, b"x" * 600, last=False), frame(0, b"x" * 600)]):
        with talk(httpd, "/small") as client:
            client.socket.sendall(b"".join(parts))
            assert client.closed()[0] == 1009
    with opening(httpd, "/small") as client:
        # It is small when it is compressed.
        client.send("x" * 1000)
        assert client.recv(PATIENCE) == "x" * 1000
        client.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1009


def test_offers_of_compression(httpd: Server) -> None:
    for offer, answer in (
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"),
        ("permessage-deflate; server_no_context_takeover", "server_no_context_takeover"),
        ("permessage-deflate; spam, permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=7", ""),
        ("x-webkit-deflate-frame", ""),
    ):
        with talk(httpd, "/quiet", f"Sec-WebSocket-Extensions: {offer}") as client:
            assert (answer in client.head) if answer else "Extensions" not in client.head, client.head
    with talk(httpd, "/plain", "Sec-WebSocket-Extensions: permessage-deflate") as client:
        assert "Extensions" not in client.head


def test_a_client_without_a_word(httpd: Server) -> None:
    for reset in (False, True):
        with talk(httpd, "/echo") as client:
            if reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert heard(httpd) == [1006, ""]


def test_a_client_that_answers_no_ping(httpd: Server) -> None:
    with talk(httpd, "/pinged/hastily") as client:
        assert client.frame() == (0x89, b"")
        code, reason = client.closed()
        assert (code, reason) == (1011, "no pong has come in time")
    assert heard(httpd)[0] == 1011


def test_a_client_that_does_not_read_is_waited_for(httpd: Server) -> None:
    with talk(httpd, "/floods") as client:
        client.frame()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (sent,) = heard(httpd)
    assert sent < 4000 * 65536


def test_an_application_that_does_not_receive_is_waited_for(httpd: Server) -> None:
    open_gate(httpd, "sleeps", shut=True)
    with opening(httpd, "/sleeps", compression=None) as client:
        for _ in range(100):
            client.send("spam")
        client.send("end")
        open_gate(httpd, "sleeps")
        assert client.recv(PATIENCE) == "101"


def processor_time(pids: list[int]) -> float:
    """Of these, in seconds."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(user) + int(system) for user, system in (field[11:13] for field in fields)) / os.sysconf(
        "SC_CLK_TCK"
    )


def test_a_reset_behind_the_end_costs_nothing(httpd: Server) -> None:
    """For two seconds the application might still answer; until then a reset is told of by each wait at once, where it is waited for."""
    open_gate(httpd, "sleeps", shut=True)
    log = httpd.root / "access_log"
    with talk(httpd, "/sleeps?reset") as client:
        client.socket.sendall(frame(1, b"end") + frame(9, b"x") + frame(8, struct.pack("!H", 1000)))
        # It has read all of that in one.
        assert client.frame() == (0x8A, b"x")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pids = httpd.child_pids()
    before = processor_time(pids)
    httpd._wait(lambda: "/sleeps?reset" in log.read_text(), "it does not end")
    # Looking for the gate takes some of it.
    assert processor_time(pids) - before < 1
    open_gate(httpd, "sleeps")


def test_a_graceful_restart_closes_what_does_not_end(serve: Serve, mpm: str) -> None:
    config = applications("asgi_sockets") + "PythonOption mod_python.asgi.shutdown_timeout 0.1\n"
    server = site(serve, config, mpm=mpm)
    with opening(server, "/echo") as client:
        client.send("spam")
        assert client.recv(PATIENCE) == "spam"
        server.graceful()
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1012
    assert heard(server) == [1012, "the server restarts"]
