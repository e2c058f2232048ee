"""`req.write()` has what it is given on its way soon, and a page of many writes is one packet nevertheless."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from client import raw
from conftest import Serve, Server, places
from test_wsgi_protocols import certificate

__all__ = ["certificate"]

SITE = (
    places("soon")
    + """
PythonInterpreter main_interpreter
PythonOption mod_python.flush soon
PythonOutputFilter soon::upper UPPER
<Location /now>
    SetHandler mod_python
    PythonOption mod_python.flush now
</Location>
<Location /now/page>
    PythonHandler soon::page
</Location>
<Location /logged>
    SetHandler mod_python
    PythonHandler soon::busy_anywhere
    PythonLogHandler soon::logs
</Location>
<Location /filtered>
    SetHandler mod_python
    PythonHandler soon::page
    SetOutputFilter UPPER
</Location>
"""
)


@pytest.fixture(scope="module")
def site(serve_module: Serve, mpm: str) -> Server:
    # Forks need an interpreter that is alone.
    return serve_module(SITE, mpm=mpm, threads=8, children=1, interpreter=None)


PAGE = "".join(f"{number}\n" for number in range(20))


def test_a_page_of_writes_has_a_length(site: Server, mpm: str) -> None:
    def has_length() -> bool:
        answer = site.ok("/soon/page")
        assert answer.text == PAGE
        return answer.header("Content-Length") == str(len(PAGE))

    # A signal ends a child of prefork in the middle of anything: there each write is sent by itself.
    if mpm == "prefork":
        has_length()
    else:
        # A handler that is held up for longer than a first write waits has it sent.
        site._wait(has_length, "no answer has a length")
    answer = site.ok("/now/page")
    assert answer.text == PAGE and answer.header("Transfer-Encoding") == "chunked"


def test_what_is_more_than_a_buffer(site: Server) -> None:
    assert site.ok("/soon/large").text == "".join(f"{number % 10}" * 1000 for number in range(100))


def stream(server: Server, client: socket.socket, name: str) -> None:
    """Read a stream whose handler goes on when its last line has arrived."""
    with client.makefile("rb") as lines:
        client.sendall(b"GET /soon/streams?%s&8 HTTP/1.0\r\n\r\n" % name.encode())
        while lines.readline().strip():
            pass
        for number in range(8):
            assert lines.readline() == b"%d\n" % number
            server.write(f"htdocs/{name}{number}", "")
        assert lines.read() == b""


def test_every_write_arrives_by_itself(site: Server) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 60) as client:
        stream(site, client, "plain")


@pytest.mark.parametrize(
    ("kind", "rest"),
    [("header", "end"), ("status", "end"), ("type", "end"), ("length", "end"), ("table", "two;end"), ("none", "end")],
)
def test_the_head_has_left(site: Server, kind: str, rest: str) -> None:
    for _ in range(20):
        answer = site.ok(f"/soon/head?{kind}")
        assert answer.text == "one;" + rest and answer.header("X-Early") == "yes"
        assert answer.header("X-Late") is None and answer.header("Content-Type") != "text/x-late"


def test_how_much_has_been_sent(site: Server) -> None:
    assert site.ok("/soon/head?sent").text == "one;1;True;end"


def test_a_status_that_comes_too_late(site: Server) -> None:
    answer = site.ok("/soon/head?return")
    assert answer.text == "one;"


@pytest.mark.parametrize("name", ["fails", "not_found"])
def test_an_error_behind_a_write_breaks_the_answer_off(site: Server, name: str) -> None:
    for _ in range(10):
        got = raw(site.port, f"GET /soon/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert got.startswith(b"HTTP/1.1 200 ") and b"one;" in got and b"\r\n0\r\n" not in got
    site.claim("soon::fails: .*LookupError" if name == "fails" else "404 comes too late")


def test_what_comes_behind_is_behind(site: Server) -> None:
    assert site.ok("/soon/reads", "POST", body=b"body").text == "one;body"
    assert site.ok("/soon/redirects").text == "one;" + PAGE
    text = site.ok("/soon/sends").text
    assert text.startswith('one;"""Handlers that write') and text.endswith(";end")
    assert site.ok("/soon/adds_filter").text == "one;TWO;"
    assert site.ok("/filtered").text == PAGE.upper()


def test_threads_write(site: Server) -> None:
    for _ in range(5):
        text = site.ok("/soon/threads").text
        assert sorted(text) == sorted("abcde" * 200)
    for _ in range(3):
        assert site.ok("/soon/busy").text == "x" * 3000


def test_pipelined_requests(site: Server) -> None:
    """The end of the request before, with its log handler, is not for the thread that sends: it would wait for Python."""
    count = 20
    with socket.create_connection(("127.0.0.1", site.port), 60) as client, client.makefile("rb") as answers:
        request = b"GET /logged HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
        client.sendall(request % b"" * (count - 1) + request % b"Connection: close\r\n")
        assert answers.read().count(b"HTTP/1.1 200 OK") == count


def test_a_filter_that_comes_later(site: Server) -> None:
    """A filter in Python is not run by the thread that sends, which would have the turn and wait for Python."""
    assert site.ok("/soon/adds_filter_later").text == "one;" + "TWO;" * 200


def test_what_goes_beside_the_answer(site: Server) -> None:
    got = raw(site.port, b"GET /soon/writes_by_connection HTTP/1.0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"one;RAW;")
    assert site.ok("/soon/address").text == "one;two;"


def test_forks(site: Server) -> None:
    for _ in range(5):
        assert site.ok("/soon/forks").text == "x" * 60
    site.claim("in the child")


def test_a_client_that_is_gone(site: Server, mpm: str) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 60) as client:
        client.sendall(b"GET /soon/until_gone HTTP/1.0\r\n\r\n")
        assert client.recv(100)
    site._wait(lambda: site.ok("/soon/was_gone").text == "True", "the handler was not told")


TLS = "SSLEngine On\nSSLCertificateFile @ROOT@/cert.pem\nSSLCertificateKeyFile @ROOT@/key.pem\nSSLSessionCache none\n"


def test_over_tls(serve: Serve, mpm: str, certificate: Path) -> None:
    server = serve(TLS + SITE, mpm=mpm, modules=("ssl", "socache_shmcb"), threads=8, start=False)
    for name in ("cert.pem", "key.pem"):
        server.write(name, (certificate / name).read_text())
    server.start()
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", server.port), 60) as plain,
        context.wrap_socket(plain) as client,
    ):
        stream(server, client, "tls")
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=context)
    for _ in range(20):
        connection.request("GET", "/soon/page")
        assert connection.getresponse().read().decode() == PAGE
    connection.close()


def test_over_http_2(serve: Serve) -> None:
    """A stream of HTTP/2 is sent as it was: write by write."""
    server = serve("Protocols h2c http/1.1\n" + SITE, mpm="event", modules=("http2",), threads=8)
    url = f"http://127.0.0.1:{server.port}/soon"
    command = ["curl", "-sSN", "--http2-prior-knowledge", "-w", "%{http_version}"]
    for path, text in (("page", PAGE), ("large", "".join(f"{number % 10}" * 1000 for number in range(100)))):
        done = subprocess.run([*command, f"{url}/{path}"], capture_output=True, check=True, text=True)
        assert done.stdout == text + "2"
    with subprocess.Popen([*command, f"{url}/streams?h2&8"], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for number in range(8):
            assert client.stdout.readline() == f"{number}\n"
            server.write(f"htdocs/h2{number}", "")
        assert client.stdout.read() == "2"


def test_keep_alive(site: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    for path in ["/soon/page", "/soon/head?none", "/now/page"] * 20:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
    connection.close()
