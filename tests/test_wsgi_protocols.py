"""The same WSGI applications over HTTP/1.0, HTTPS and HTTP/2, and behind httpd's filters."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from client import raw
from conftest import Serve, Server
from test_wsgi import BODIES, config, httpd

__all__ = ["httpd"]


def test_http_1_0(httpd: Server) -> None:
    for name, body in (
        ("hello", b"Hello World!"),
        ("chunks", b"onetwothree"),
        ("writes", b"written twice and returned"),
    ):
        answer = raw(httpd.port, f"GET /{name} HTTP/1.0\r\n\r\n".encode())
        assert answer.partition(b"\r\n\r\n")[2] == body and b"chunked" not in answer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module", params=["https", "h2c", "h2"])
def other(request: pytest.FixtureRequest, serve_module: Serve, certificate: Path) -> tuple[Server, str, list[str]]:
    kind = request.param
    more, options = "", []
    if kind != "h2c":
        more = "SSLEngine On\nSSLCertificateFile @ROOT@/cert.pem\nSSLCertificateKeyFile @ROOT@/key.pem\nSSLSessionCache none\nSSLOptions +StdEnvVars\n"
    if kind != "https":
        more += "Protocols h2 h2c http/1.1\n"
        options = ["--http2-prior-knowledge"] if kind == "h2c" else ["--http2"]
    modules = ("env", *(("ssl", "socache_shmcb") if kind != "h2c" else ()), *(("http2",) if kind != "https" else ()))
    server = serve_module(more + config(), mpm="event", modules=modules, start=False)
    for name in ("cert.pem", "key.pem"):
        server.write(name, (certificate / name).read_text())
    server.write("data", "0123456789" * 1000)
    server.start()
    return server, "http" if kind == "h2c" else "https", options


def fetch(other: tuple[Server, str, list[str]], path: str, *more: str) -> tuple[int, str, bytes]:
    """Status (or curl's own error, negative), protocol and body."""
    server, scheme, options = other
    url = f"{scheme}://127.0.0.1:{server.port}{path}"
    done = subprocess.run(
        ["curl", "-ksS", "-w", "\n%{http_code} %{http_version}", *options, *more, url], capture_output=True, check=False
    )
    body, _, tail = done.stdout.rpartition(b"\n")
    status, protocol = tail.decode().split()
    return (-done.returncode if done.returncode else int(status)), protocol, body


def test_the_same_over_other_protocols(other: tuple[Server, str, list[str]]) -> None:
    server, scheme, options = other
    status, protocol, body = fetch(other, "/hello")
    assert (status, body) == (200, b"Hello World!") and protocol == ("2" if options else "1.1")
    env = json.loads(fetch(other, "/environment/x?y")[2])
    assert env["wsgi.url_scheme"] == scheme and env.get("HTTPS") == ("on" if scheme == "https" else None)
    assert env["SERVER_PROTOCOL"] == ("HTTP/2.0" if options else "HTTP/1.1") and env["PATH_INFO"] == "/x"
    if scheme == "https":
        assert env["SSL_PROTOCOL"].startswith("TLS")
    for name, body, _ in BODIES:
        if name not in ("latin_text",):
            assert fetch(other, f"/{name}")[2] == body, name
    server.claims.append("closed (once|the readable)")
    assert fetch(other, "/reading", "-d", "onetwo\nthree\n")[2].startswith(b"[b'one', b'two")
    assert fetch(other, f"/file?{server.root}/data")[2] == b"0123456789" * 1000
    assert fetch(other, "/no_body_204")[0] == 204 and fetch(other, "/headers")[0] == 299
    assert fetch(other, "/hello", "-I")[0] == 200
    assert fetch(other, "/raises")[0] == 500
    server.claim("LookupError: before anything")
    for name in ("raises_later", "raises_later_with_length", "too_short"):
        status, _, body = fetch(other, f"/{name}")
        assert status < 0, (name, status, body)
    server.claims.append("LookupError: after output|gives 3 bytes where|closed (after|too)")
    assert fetch(other, "/hello")[0] == 200


def test_deflate_and_error_documents(serve: Serve) -> None:
    more = "SetOutputFilter DEFLATE\nErrorDocument 500 /hello\n"
    server = serve(config() + more, modules=("env", "deflate", "filter"))
    assert server.get("/raises").text == "Hello World!"
    server.claim("before anything")
    answer = server.ok("/chunks", headers={"Accept-Encoding": "gzip"})
    assert answer.header("Content-Encoding") == "gzip"
