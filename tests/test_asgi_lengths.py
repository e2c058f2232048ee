"""An ASGI answer whose Content-Length is not what its body has: of requests, of HEAD, without a body, and where a WebSocket is denied."""

from __future__ import annotations

import http.client
import socket
from typing import Any, Optional

import pytest
from asgi_site import heard, site
from client import raw
from conftest import Serve, Server

from httpd import PATIENCE

CONFIG = "PythonASGI /http asgi_apps:script\nPythonASGI /socket asgi_sockets:script\n"


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    return site(serve_module, CONFIG, mpm="event")


def start(status: int, length: Optional[int], kind: str = "") -> dict[str, Any]:
    headers = [(b"content-length", b"%d" % length)] if length is not None else []
    return {"type": f"{kind}http.response.start", "status": status, "headers": headers}


def part(body: bytes, kind: str = "", **more: Any) -> dict[str, Any]:
    return {"type": f"{kind}http.response.body", "body": body, **more}


def asked(method: str, messages: list[Any], close: bool = True) -> bytes:
    text = repr(messages)
    lines = f"{method} /http HTTP/1.1\r\nHost: h\r\nContent-Length: {len(text)}\r\n"
    return (lines + ("Connection: close\r\n" if close else "") + f"\r\n{text}").encode()


def upgrade(messages: list[Any]) -> bytes:
    return (
        f"GET /socket?{repr(messages).encode().hex()} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    ).encode()


BODIES = [
    (4, [b"12345"], 5),
    (4, [b"123"], 3),
    (4, [b"12", b"345"], 5),
    (4, [b"12", b"3"], 3),
    (4, [b""], 0),
    (0, [b"1"], 1),
]


@pytest.mark.parametrize(("length", "parts", "found"), BODIES)
@pytest.mark.parametrize("kind", ["", "websocket."])
def test_a_body_of_another_length(httpd: Server, kind: str, length: int, parts: list[bytes], found: int) -> None:
    """The application hears of it, and the client can tell: by a 500, or by an answer that is not complete."""
    messages = [start(418, length, kind)]
    messages += [part(body, kind, more_body=True) for body in parts[:-1]] + [part(parts[-1], kind)]
    head, _, body = raw(httpd.port, upgrade(messages) if kind else asked("POST", messages)).partition(b"\r\n\r\n")
    says = f"the body has {found} bytes where the Content-Length says {length}"
    assert heard(httpd) == ["RuntimeError", f'ASGI: "{kind}http.response.body": {says}']
    httpd.claim(says)
    if b" 418 " in head.splitlines()[0]:
        assert len(parts) > 1 and b"12".startswith(body) and b"content-length: 4" in head.lower()
        httpd.claims.append("before its answer was complete")
    else:
        assert b" 500 " in head.splitlines()[0] and b"content-length: 4\r" not in head.lower()


@pytest.mark.parametrize("kind", ["", "websocket."])
def test_a_body_of_that_length(httpd: Server, kind: str) -> None:
    messages = [start(418, 4, kind), part(b"12", kind, more_body=True), part(b"34", kind)]
    head, _, body = raw(httpd.port, upgrade(messages) if kind else asked("POST", messages)).partition(b"\r\n\r\n")
    assert b" 418 " in head.splitlines()[0] and body == b"1234"
    assert head.lower().count(b"content-length: 4") == 1 and b"chunked" not in head.lower()


def test_a_denial_without_a_body(httpd: Server) -> None:
    for status in (204, 304):
        messages = [start(status, 4, "websocket."), part(b"", "websocket.")]
        answer = raw(httpd.port, upgrade(messages))
        assert answer.startswith(b"HTTP/1.1 %d " % status) and answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("length", [None, 0, 4, 9])
@pytest.mark.parametrize("body", [b"", b"1234"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("HEAD", 404), ("POST", 204), ("POST", 304)])
def test_an_answer_without_a_body(httpd: Server, method: str, status: int, body: bytes, length: Optional[int]) -> None:
    """Whatever its length says, which is that of another answer, and whatever body the application gives. The connection goes on."""
    with socket.create_connection(("127.0.0.1", httpd.port), PATIENCE) as connection:
        for close in (False, True):
            connection.sendall(asked(method, [start(status, length), part(body)], close))
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            assert answer.status == status and answer.read() == b""
            # httpd leaves that of a 204 and 304 out, and a zero for HEAD (HttpContentLengthHeadZero).
            if method == "POST":
                assert answer.getheader("Content-Length") is None
            elif length:
                assert answer.getheader("Content-Length") == str(length)
        assert connection.recv(1) == b""
