"""The same ASGI applications over HTTPS and HTTP/2; WebSockets over TLS."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path

import pytest
from asgi_site import applications, heard, open_gate, site
from conftest import Serve, Server
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


def test_websockets(other: Other) -> None:
    server, scheme, _ = other
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"{'wss' if scheme == 'https' else 'ws'}://127.0.0.1:{server.port}"
    more = {"ssl": context} if scheme == "https" else {}
    with connect(f"{url}/socket", max_size=None, **more) as client:  # type: ignore[arg-type]
        for message in ("spam", b"x" * 500_000, "é" * 1000):
            client.send(message)
            assert client.recv(PATIENCE) == message
        assert client.ping().wait(PATIENCE)
    assert heard(server) == [1000, ""]
    with connect(f"{url}/sockets", **more) as client:  # type: ignore[arg-type]
        with pytest.raises(ConnectionClosed):
            for _ in range(5000):
                assert len(client.recv(PATIENCE)) == 65_536
        assert client.close_code == 1000
