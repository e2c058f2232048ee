"""The same ASGI applications over HTTPS and HTTP/2; WebSockets over TLS."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest
from asgi_site import applications, heard, open_gate, site
from client import of_two_threads
from conftest import APPS, Serve, Server
from test_wsgi_protocols import certificate, fetch
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from httpd import PATIENCE

__all__ = ["certificate"]

Other = tuple[Server, str, list[str]]


@pytest.fixture(scope="module", params=["https", "h2c", "h2"])
def other(request: pytest.FixtureRequest, serve_module: Serve, certificate: Path) -> Other:
    kind = request.param
    config, options = applications("asgi_apps") + applications("asgi_extensions"), []
    config += "PythonASGI /socket asgi_sockets:echo\nPythonASGI /sockets asgi_sockets:floods\n"
    if kind != "h2c":
        config += (
            f"SSLEngine On\nSSLCertificateFile {certificate}/cert.pem\nSSLCertificateKeyFile {certificate}/key.pem\n"
        )
        config += "SSLSessionCache none\n"
    if kind != "https":
        config += "Protocols h2 h2c http/1.1\nH2EarlyHints on\n"
        options = ["--http2-prior-knowledge"] if kind == "h2c" else ["--http2"]
    modules = (*(("ssl", "socache_shmcb") if kind != "h2c" else ()), *(("http2",) if kind != "https" else ()))
    server = site(serve_module, config, mpm="event", modules=modules)
    return server, "http" if kind == "h2c" else "https", options


def test_the_same_over_other_protocols(other: Other) -> None:
    server, scheme, options = other
    status, protocol, body = fetch(other, "/hello")
    assert (status, body) == (200, b"Hello World!") and protocol == ("2" if options else "1.1")
    scope = json.loads(fetch(other, "/scoped/x?y")[2])
    assert (scope["scheme"], scope["http_version"]) == (scheme, "2" if options else "1.1")
    assert "host" in [name for name, _ in scope["headers"]]
    assert not [name for name, _ in scope["headers"] if name.startswith(":")]
    assert fetch(other, "/echo", "-d", "x" * 100_000)[2] == b"x" * 100_000
    assert len(fetch(other, "/large?100")[2]) == 100 * 65_536
    assert fetch(other, "/tasks")[2] == b"with a listener"
    assert heard(server) == ["http.disconnect"]
    assert fetch(other, "/hello", "-I")[0] == 200
    assert fetch(other, "/raises")[0] == 500
    server.claim("LookupError: asgi_apps raises")
    for name in ("raises_late", "half"):
        status, _, body = fetch(other, f"/{name}")
        assert status < 0, (name, status, body)
    server.claims.append("LookupError: asgi_apps raises late|before its answer was complete")
    assert fetch(other, "/hello")[0] == 200


def test_a_client_that_goes_is_heard_of(other: Other) -> None:
    server, scheme, options = other
    command = ["curl", "-ksSN", *options, f"{scheme}://127.0.0.1:{server.port}/listens?begun"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert heard(server) == ["listening"]
        assert client.stdout and client.stdout.read(5) == b"begun"
        client.kill()
    assert heard(server) == ["http.disconnect", "http.disconnect", True]


def fetched(other: Other, path: str, *more: str) -> tuple[list[str], bytes]:
    """The heads, and the body, as curl has them."""
    server, scheme, options = other
    command = ["curl", "-ksSi", *(options or ["--http1.1"]), *more, f"{scheme}://127.0.0.1:{server.port}{path}"]
    body, heads = subprocess.run(command, capture_output=True, check=True).stdout, []
    while body.startswith(b"HTTP/"):
        head, _, body = body.partition(b"\r\n\r\n")
        heads.append(head.decode().lower())
    return heads, body


def test_files(other: Other) -> None:
    data = bytes(range(256)) * 4096
    name = other[0].root / "data"
    name.write_bytes(data)
    (head,), body = fetched(other, f"/sends?{name}")
    assert body == data and f"content-length: {len(data)}" in head
    assert fetched(other, f"/sends?{name}", "-r", "1-3")[1] == data[1:4]
    assert fetched(other, f"/sends?{name}", "-I")[1] == b""


def test_hints(other: Other) -> None:
    for gate in ("hinted", "started", "begun"):
        open_gate(other[0], gate)
    (*hints, head), body = fetched(other, "/hints")
    assert hints and all(" 103" in hint.splitlines()[0] for hint in hints)
    text = "\n".join(hints)
    assert "link: </a.css>; rel=preload" in text and "</b.js>" in text and "</c.css>" in text
    assert " 201" in head.splitlines()[0] and head.count("link: ") == 1 and "link: </own>" in head and body == b"a page"


def trailers(other: Other, path: str, *more: str, takes: str = "deflate, Trailers") -> tuple[bytes, list[str]]:
    """The body, and what follows it: curl shows that behind the head."""
    server, scheme, options = other
    command = ["curl", "-ksS", "-D", "heads", "-H", f"TE: {takes}", *options, *more]
    command.append(f"{scheme}://127.0.0.1:{server.port}{path}")
    body = subprocess.run(command, capture_output=True, check=True, cwd=server.root).stdout
    return body, (server.root / "heads").read_text().partition("\n\n")[2].split("\n")


def test_trailers(other: Other) -> None:
    options = other[2]
    is_offered = "http.response.trailers" in json.loads(fetch(other, "/extensions")[2])
    assert is_offered == bool(options)
    if not is_offered:
        # httpd's own filter for chunks ends a body without trailers.
        assert fetch(other, "/trails")[2] == b"spameggs"
        return
    body, found = trailers(other, "/trails")
    assert body == b"spameggs" and "x-sum: 8" in found and [line for line in found if line.startswith("x-more: a")]
    # What follows them is ignored.
    many = repr([TRAILS, END, following(), following(), END])
    assert fetch(other, "/script", "-d", many)[::2] == (200, b"all")
    # A client that has not said that it takes any.
    body, found = trailers(other, "/trails", takes="deflate")
    assert body == b"spameggs" and not [line for line in found if line.startswith("x-")]
    assert trailers(other, "/trails?status")[0] == b"" and trailers(other, "/trails", "-I")[0]
    assert trailers(other, "/hello")[0] == b"Hello World!"


@pytest.mark.parametrize("path", ["/trails?length", "/trails_a_file"])
def test_trailers_behind_a_body_of_known_length(other: Other, path: str) -> None:
    """curl does not wait for them: the frames are read as they come."""
    server, scheme, options = other
    if not options or scheme == "https":
        pytest.skip("shown once, without TLS")
    fields = (":method", "GET", ":scheme", "http", ":path", path, ":authority", "h", "te", "trailers")
    pairs = zip(fields[::2], fields[1::2])
    block = b"".join(b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode()) for name, value in pairs)
    frame = len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + block
    kinds: list[tuple[int, int]] = []
    with (
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection,
        connection.makefile("rb") as file,
    ):
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + frame)
        body = b""
        while not kinds or not kinds[-1][1] & 1:
            head = file.read(9)
            data = file.read(int.from_bytes(head[:3], "big"))
            if head[8] == 1:
                kinds.append((head[3], head[4]))
                body += data if head[3] == 0 else b""
    # HEADERS, DATA …, and HEADERS that end the stream.
    assert kinds[0] == (1, 4) and kinds[-1] == (1, 5) and {kind for kind, _ in kinds[1:-1]} == {0}
    assert body == (b"spameggs" if path == "/trails?length" else (APPS / "asgi_extensions.py").read_bytes())


TRAILS = {"type": "http.response.start", "status": 200, "trailers": True}
END = {"type": "http.response.body", "body": b"all"}


def following(*headers: Any, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": list(headers), **more}


KIND = 'ASGI: "http.response.trailers"'


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([following()], f'RuntimeError: {KIND} comes before "http.response.start"'),
        ([TRAILS, following()], f"RuntimeError: {KIND} comes before the body is complete"),
        ([{**TRAILS, "trailers": False}, following()], f"RuntimeError: {KIND} comes without"),
        ([TRAILS, END, following((b"a", b"b\r\nc: d"))], f"ValueError: {KIND}: the value of the header a"),
        ([TRAILS, END, following((b":status", b"200"))], "ValueError"),
        (
            [TRAILS, END, following((b"Content-Length", b"3"))],
            f"ValueError: {KIND}: the header Content-Length cannot follow",
        ),
        ([TRAILS, END, following((b"transfer-encoding", b"chunked"))], "ValueError"),
        ([TRAILS, END, following(("a", "b"))], f"TypeError: {KIND}: the headers must be pairs of bytes"),
        (
            [TRAILS, END, following(*[(b"a", b"x" * 1000)] * 70)],
            f"ValueError: {KIND}: trailers have 65536 bytes at most",
        ),
        ([TRAILS, END, END], 'RuntimeError: ASGI: "http.response.body" comes after'),
        ([TRAILS, END, TRAILS], 'RuntimeError: ASGI: "http.response.start" comes again'),
        ([TRAILS, END], ""),
    ],
)
def test_what_is_wrong_with_trailers_is_raised(other: Other, messages: list[Any], error: str) -> None:
    server, _, options = other
    if not options:
        pytest.skip("not offered over HTTP/1.1")
    (server.root / "notes/seen").unlink(missing_ok=True)
    status = fetch(other, "/script", "-d", repr(messages))[0]
    assert status < 0 or status == 500
    if error:
        name, text = heard(server)
        assert f"{name}: {text}".startswith(error), (name, text)
    server.claim(f"{error.partition(':')[0]}|before its answer was complete")


def test_large_trailers_are_sent_or_end_the_stream_alone(other: Other) -> None:
    if other[2]:
        many = repr([TRAILS, END, following(*[(b"x-%d" % number, b"x" * 600) for number in range(90)])])
        fetch(other, "/script", "-H", "TE: trailers", "-d", many)
    assert fetch(other, "/hello")[2] == b"Hello World!"


def test_websockets(other: Other) -> None:
    server, scheme, _ = other
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"{'wss' if scheme == 'https' else 'ws'}://127.0.0.1:{server.port}"
    more = {"ssl": of_two_threads(context)} if scheme == "https" else {}
    with connect(f"{url}/socket", open_timeout=PATIENCE, max_size=None, **more) as client:  # type: ignore[arg-type]
        for message in ("spam", b"x" * 500_000, "é" * 1000):
            client.send(message)
            assert client.recv(PATIENCE) == message
        assert client.ping().wait(PATIENCE)
    assert heard(server) == [1000, ""]
    with connect(f"{url}/sockets", open_timeout=PATIENCE, **more) as client:  # type: ignore[arg-type]
        with pytest.raises(ConnectionClosed):
            for _ in range(5000):
                assert len(client.recv(PATIENCE)) == 65_536
        assert client.close_code == 1000


@pytest.mark.parametrize(
    ("slashes", "path"), [("Off", None), ("On", "/scoped/a/b//c"), ("NoDecode", "/scoped/a%2Fb//c")]
)
def test_slashes_of_a_path_are_as_httpd_is_told(serve: Serve, slashes: str, path: Optional[str]) -> None:
    config = f"AllowEncodedSlashes {slashes}\nMergeSlashes Off\nPythonASGI /scoped asgi_apps:scoped\n"
    answer = site(serve, config, mpm="event").get("/scoped/a%2Fb//c")
    assert (answer.status, path) == (404, None) or json.loads(answer.text)["path"] == path
