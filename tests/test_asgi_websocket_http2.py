"""WebSockets over HTTP/2 (RFC 8441), with `H2WebSockets on`; and requests of ASGI whose worker does not attach."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from asgi_site import applications, heard, site
from client import ask
from conftest import Serve, Server
from test_asgi_websocket import frame

from httpd import PATIENCE

CONFIG = """
Protocols h2c http/1.1
H2WebSockets on
<Location /pinged>
    PythonOption mod_python.asgi.ws_ping_interval 0.05
    PythonOption mod_python.asgi.ws_ping_timeout 60
</Location>
PythonASGI /pinged asgi_sockets:quiet
PythonASGI /http asgi_apps:hello
"""


@pytest.fixture(scope="module", params=["event", "worker"])
def httpd(request: Any, serve_module: Serve) -> Server:
    config = applications("asgi_sockets") + CONFIG
    server = site(serve_module, config, mpm=request.param, modules=("http2",), level="info")
    client = Http2(server)
    if not client.offers:
        pytest.skip("this mod_http2 has no WebSockets")
    client.socket.close()
    return server


class Http2:
    """A connection, and the one stream of it that is looked at."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration())
        self.http.initiate_connection()
        self.status, self.headers = 0, {}
        self.data, self.ended, self.over = b"", False, False
        self.offers = False
        self.stream = 0
        self._settled = False
        self.until(lambda: self._settled)

    def until(self, done: Callable[[], bool]) -> None:
        """Read until then."""
        self.socket.sendall(self.http.data_to_send())
        while not done():
            data = self.socket.recv(65536)
            self.over |= not data
            for event in self.http.receive_data(data) if data else ():
                self.take(event)
            if data:
                self.socket.sendall(self.http.data_to_send())
            assert not self.over or done(), "the connection has ended"

    def take(self, event: Any) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._settled, self.offers = True, bool(self.http.remote_settings.enable_connect_protocol)
        elif isinstance(event, h2.events.ResponseReceived):
            self.headers = {name.decode(): value.decode() for name, value in event.headers or ()}
            self.status = int(self.headers.pop(":status"))
        elif isinstance(event, h2.events.DataReceived):
            self.data += event.data or b""
            self.http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.ended = True

    def open(self, path: str, *headers: tuple[str, str], method: str = "CONNECT") -> int:
        """Ask for a WebSocket, or another thing; the status."""
        self.stream = self.http.get_next_available_stream_id()
        self.status, self.headers, self.data, self.ended = 0, {}, b"", False
        kind = [(":method", "CONNECT"), (":protocol", "websocket")] if method == "CONNECT" else [(":method", method)]
        place = [(":scheme", "http"), (":path", path), (":authority", "h")]
        version = [("sec-websocket-version", "13")] if method == "CONNECT" else []
        self.http.send_headers(self.stream, [*kind, *place, *version, *headers], end_stream=method != "CONNECT")
        self.until(lambda: self.status != 0)
        return self.status

    def send(self, data: bytes) -> None:
        while data:
            self.until(lambda: self.http.local_flow_control_window(self.stream) > 0)
            room = min(self.http.local_flow_control_window(self.stream), self.http.max_outbound_frame_size)
            self.http.send_data(self.stream, data[:room])
            self.socket.sendall(self.http.data_to_send())
            data = data[room:]

    def read(self, length: int) -> bytes:
        self.until(lambda: len(self.data) >= length)
        found, self.data = self.data[:length], self.data[length:]
        return found


@pytest.fixture
def client(httpd: Server) -> Iterator[Http2]:
    client = Http2(httpd)
    yield client
    client.socket.close()


def close(code: int) -> bytes:
    return b"\x88\x02" + code.to_bytes(2, "big")


def test_messages_go_back_and_forth(client: Http2) -> None:
    assert client.open("/quiet") == 200
    assert "upgrade" not in client.headers
    assert "sec-websocket-accept" not in client.headers
    for text in (b"hello", b"", b"again"):
        client.send(frame(1, text))
        assert client.read(2 + len(text)) == bytes((0x81, len(text))) + text
    client.send(frame(8, (1000).to_bytes(2, "big")))
    assert client.read(4) == close(1000)
    client.until(lambda: client.ended)


def test_a_message_is_larger_than_the_window(client: Http2) -> None:
    assert client.open("/quiet") == 200
    data = bytes(range(256)) * 1000
    client.send(frame(2, data))
    assert client.read(10 + len(data)) == b"\x82\x7f" + len(data).to_bytes(8, "big") + data


def test_the_server_speaks_first(client: Http2) -> None:
    """Pings wake the worker, and leave the pipe by which the client does."""
    assert client.open("/pinged") == 200
    for _ in range(2):
        assert client.read(2) == b"\x89\x00"
        client.send(frame(10, b""))
    client.send(frame(1, b"spam"))
    client.until(lambda: b"\x81\x04spam" in client.data)


def test_two_streams_of_a_connection(client: Http2) -> None:
    assert client.open("/quiet") == 200
    first = client.stream
    assert client.open("/quiet") == 200
    client.send(frame(1, b"second"))
    assert client.read(8) == b"\x81\x06second"
    client.stream = first
    client.send(frame(1, b"first"))
    assert client.read(7) == b"\x81\x05first"


def test_a_scope(client: Http2) -> None:
    assert client.open("/scoped") == 200
    client.until(lambda: client.data.endswith(close(1000)))
    client.send(frame(8, (1000).to_bytes(2, "big")))
    client.until(lambda: client.ended)
    for part in (b'"http_version": "2"', b'"type": "websocket"', b'"scheme": "ws"', b'"path": "/scoped"'):
        assert part in client.data


def test_a_subprotocol(httpd: Server, client: Http2) -> None:
    assert client.open("/chosen", ("sec-websocket-protocol", "a, b")) == 200
    assert client.headers["sec-websocket-protocol"] == "b"
    assert client.headers["x-spam"] == "eggs"
    assert client.read(10) == b"\x88\x08" + (3001).to_bytes(2, "big") + b"chosen"
    client.send(frame(8, (3001).to_bytes(2, "big")))
    client.until(lambda: client.ended)
    heard(httpd)


@pytest.mark.parametrize(("path", "status", "text"), [("/refused", 403, b""), ("/denied", 418, b"no coffee")])
def test_a_refusal(client: Http2, path: str, status: int, text: bytes) -> None:
    assert client.open(path) == status
    client.until(lambda: client.ended)
    assert text in client.data


def test_a_page_is_no_websocket(client: Http2) -> None:
    """An extended CONNECT of another kind of application is mod_http2's to answer."""
    assert client.open("/http", method="GET") == 200


@pytest.mark.parametrize("how", ["ends the stream", "resets the stream", "closes the connection"])
def test_a_client_that_goes(httpd: Server, client: Http2, how: str) -> None:
    assert client.open("/echo") == 200
    client.send(frame(1, b"spam"))
    assert client.read(6) == b"\x81\x04spam"
    if how == "ends the stream":
        client.http.end_stream(client.stream)
    elif how == "resets the stream":
        client.http.reset_stream(client.stream)
    client.socket.sendall(client.http.data_to_send())
    if how == "closes the connection":
        client.socket.close()
    assert heard(httpd)[0] == 1006


def test_others_are_served_meanwhile(httpd: Server, client: Http2) -> None:
    assert client.open("/quiet") == 200
    assert ask(httpd.port, "/http").status == 200
    client.send(frame(1, b"spam"))
    assert client.read(6) == b"\x81\x04spam"
