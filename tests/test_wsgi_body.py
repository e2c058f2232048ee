"""Bodies that httpd refuses or has no length for, and heads that are not quite what PEP 3333 asks for."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
from typing import Any

import pytest
from client import Answer, raw
from conftest import MPMS, Serve, Server

CONFIG = """
PythonPath "sys.path+['@ROOT@/apps']"
PythonWSGI /framework wsgi_limits:framework
PythonWSGI /end wsgi_limits:to_the_end
PythonWSGI /count wsgi_limits:count
PythonWSGI /limited wsgi_limits:framework
PythonWSGI /small wsgi_limits:framework
PythonWSGI /none wsgi_limits:framework
PythonWSGI /begins wsgi_limits:begins_early
PythonWSGI /hops wsgi_limits:hops
PythonWSGI /lenient wsgi_limits:lenient
PythonWSGI /ranges wsgi_limits:ranges
PythonWSGI /environment wsgi_limits:environment
PythonWSGI /page wsgi_limits:to_the_end
<LocationMatch "^/(limited|begins|asked)">
    LimitRequestBody 1000
</LocationMatch>
<Location /small>
    PythonOption mod_python.wsgi.chunked_buffer 10
</Location>
<Location /none>
    PythonOption mod_python.wsgi.chunked_buffer 0
</Location>
<Location /asked>
    SetHandler mod_python
    PythonHandler wsgi_limits::handler
    ErrorDocument 413 /page
</Location>
Timeout 3
"""


@pytest.fixture(scope="module", params=MPMS)
def httpd(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    return serve_module(CONFIG, mpm=request.param, modules=("env",))


def calls(httpd: Server) -> int:
    """How often the application has been called: of one child."""
    return int(httpd.ok("/count").text)


def seen(answer: Answer) -> list[Any]:
    found = json.loads(answer.text)
    assert isinstance(found, list)
    return found


# Chunked bodies.


def test_a_chunked_body_has_a_length(httpd: Server) -> None:
    answer = httpd.ok("/framework", "POST", body=iter([b"one ", b"two"]), encode_chunked=True)
    assert seen(answer) == ["7", "one two", None, True]
    answer = httpd.ok(
        "/framework", "POST", body=iter([]), headers={"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert seen(answer) == ["0", "", None, True]
    assert seen(httpd.ok("/framework", "POST", body=b"plain")) == ["5", "plain", None, True]
    # Its beginning has been read ahead, its rest has not.
    for size in (1 << 20, (1 << 20) + 1, 3 << 20):
        length, read = seen(httpd.ok("/end", "POST", body=iter([b"x" * size]), encode_chunked=True))
        assert read == size and length == (str(size) if size <= 1 << 20 else None)


def test_the_limit_is_an_option(httpd: Server) -> None:
    body = [b"0123456789"]
    assert seen(httpd.ok("/small", "POST", body=iter(body), encode_chunked=True))[0] == "10"
    assert seen(httpd.ok("/small", "POST", body=iter([*body, b"x"]), encode_chunked=True))[0] == "0"
    assert seen(httpd.ok("/none", "POST", body=iter(body), encode_chunked=True))[0] == "0"


def test_a_body_that_httpd_unpacks(serve: Serve) -> None:
    """Its length is not what its header says, and nobody has to unpack it again."""
    more = "SetInputFilter DEFLATE\n"
    server = serve(more + CONFIG, mpm="event", modules=("deflate", "filter", "env"))
    headers = {"Content-Encoding": "gzip"}
    text = "unpacked " * 1000
    answer = seen(server.ok("/framework", "POST", body=gzip.compress(text.encode()), headers=headers))
    assert answer == [str(len(text)), text, None, True]
    packed = gzip.compress(os.urandom(3 << 20), 1)
    assert seen(server.ok("/end", "POST", body=packed, headers=headers)) == [None, 3 << 20]
    assert seen(server.ok("/framework", "POST", body=b"plain"))[:2] == ["5", "plain"]
    env = json.loads(server.ok("/environment", "POST", body=packed[:0], headers={"X-Other": "x"}).text)
    assert "HTTP_CONTENT_ENCODING" not in env
    env = json.loads(server.ok("/environment", "POST", body=gzip.compress(b"x"), headers=headers).text)
    assert (env["CONTENT_LENGTH"], env.get("HTTP_CONTENT_ENCODING")) == ("1", None)
    server = serve(CONFIG, mpm="event", modules=("env",))
    env = json.loads(server.ok("/environment", "POST", body=b"x", headers=headers).text)
    assert (env["CONTENT_LENGTH"], env["HTTP_CONTENT_ENCODING"]) == ("1", "gzip")


def test_http_2(serve: Serve) -> None:
    """A body without a length, and without chunks."""
    server = serve("Protocols h2c http/1.1\n" + CONFIG, mpm="event", modules=("http2", "env"))
    command = ["curl", "-sS", "--http2-prior-knowledge", "-T", "-", f"{server.url('/framework')}"]
    done = subprocess.run(command, input=b"a body", capture_output=True, check=True)
    assert json.loads(done.stdout) == ["6", "a body", None, True]


# Bodies that are refused.

AH = "AH01592|AH01588|AH01591|AH02539|Unknown Transfer-Encoding|Requested content-length|Read content-length"


def test_httpd_answers_before_the_application_is_called(httpd: Server) -> None:
    httpd.claims.append(AH)
    before = calls(httpd) if httpd.mpm != "prefork" else None
    assert httpd.get("/limited", "POST", body=b"x" * 5000).status == 413
    assert httpd.get("/limited", "POST", body=iter([b"x" * 5000]), encode_chunked=True).status == 413
    head = b"POST /framework HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: "
    assert raw(httpd.port, head + b"gzip, identity\r\n\r\nx").split()[1] in (b"501", b"400")
    assert raw(httpd.port, head + b"chunked\r\n\r\nzz\r\n").split()[1] == b"400"
    assert before is None or calls(httpd) == before


def test_a_refusal_is_an_error_of_the_file(httpd: Server) -> None:
    """An application that catches it answers in vain, unless it has begun: nobody has seen the whole body."""
    httpd.claims.append(AH)
    large = [b"x" * 900, b"y" * (2 << 20)]
    answer = httpd.get("/begins", "POST", body=iter(large), encode_chunked=True)
    assert answer.status == 413
    length = raw(httpd.port, b"POST /begins HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n")
    assert length.split()[1] == b"413"


def slowly(httpd: Server, head: bytes) -> bytes:
    """The answer to a body of which only the beginning comes."""
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(head)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
)
def test_a_body_that_comes_too_slowly(httpd: Server, framing: bytes) -> None:
    assert slowly(httpd, b"POST /framework HTTP/1.1\r\nHost: x\r\n" + framing).split()[1] == b"408"
    if framing.startswith(b"Content"):
        httpd.claim("framework: OSError: Client read error")
    assert b"begun and ended" in slowly(httpd, b"POST /begins HTTP/1.0\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")


def test_a_handler_s_body_that_comes_too_slowly(httpd: Server) -> None:
    answer = slowly(httpd, b"POST /asked HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    assert answer.split()[1] == b"408"
    httpd.claim("handler: OSError False True: Client read error")


def test_a_client_that_closes_its_side(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"POST /framework HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).split()[1] == b"400"
    httpd.claim("framework: OSError: Client read error")


def test_a_handler_s_refused_body(httpd: Server) -> None:
    """For handlers it is a SERVER_RETURN, and an OSError; the page that says so may be an application."""
    httpd.claims.append(AH)
    answer = httpd.get("/asked", "POST", body=b"x" * 5000)
    assert answer.text.startswith("[")  # the page's own
    httpd.claim("handler: _RefusedBody True True: the request's body is refused with status 413")


# Heads.


@pytest.mark.parametrize(
    "names", ["Connection", "Keep-Alive,keep-alive", "Trailer", "TE", "proxy-authenticate", "Proxy-Connection,X-Mine"]
)
def test_headers_between_neighbours_are_left_out(httpd: Server, names: str) -> None:
    for _ in range(2):
        answer = httpd.ok(f"/hops?{names}")
        assert answer.text == "hops" and answer.header("X-End") == "1"
        assert "keep-alive" not in [value for name, value in answer.headers if name != "X-Mine"]
    assert (answer.header("X-Mine") == "keep-alive") == ("X-Mine" in names)


def test_it_is_said_once(serve: Serve) -> None:
    server = serve(CONFIG, modules=("env",))
    for names in ("Connection", "TE", "Trailer"):
        server.ok(f"/hops?{names}")
    line = server.wait_log(r"\[python:warn.*wsgi_limits::hops sets a header that is the server's own to set")
    assert line.endswith("it is left out: Connection") and server.log_text().count("own to set") == 1


@pytest.mark.parametrize("name", ["Transfer-Encoding", "upgrade"])
def test_framing_is_refused(httpd: Server, name: str) -> None:
    assert httpd.get(f"/hops?{name}").status == 500
    httpd.claim(f"ValueError: the header {name} is the server's own to set")


@pytest.mark.parametrize(
    ("status", "line"),
    [("200", (200, "OK")), ("404", (404, "Not Found")), ("299", (299, "Unassigned"))],
)
def test_a_bare_status(httpd: Server, status: str, line: tuple[int, str]) -> None:
    answer = httpd.get(f"/lenient?{status}")
    assert ((answer.status, answer.reason), answer.text) == (line, "lenient")


def test_ranges_are_for_get(httpd: Server) -> None:
    part = {"Range": "bytes=2-4"}
    answer = httpd.get("/ranges", headers=part)
    assert (answer.status, answer.text, answer.header("Content-Range")) == (206, "234", "bytes 2-4/10")
    assert httpd.get("/ranges", headers={"Range": "bytes=90-"}).status == 416
    for method, headers in (("POST", part), ("POST", {"Range": "bytes=90-"}), ("PUT", part), ("DELETE", part)):
        answer = httpd.get("/ranges", method, headers=headers)
        assert (answer.status, answer.text) == (200, "0123456789"), method
    answer = httpd.get("/ranges", "HEAD", headers={"Range": "bytes=90-"})
    assert (answer.status, answer.header("Content-Length")) == (200, "10")
    for none in ("none", "NONE", "%20None%20"):
        answer = httpd.get(f"/ranges?{none}", headers=part)
        assert (answer.status, answer.text) == (200, "0123456789"), none
    assert httpd.get("/ranges?bytes", headers=part).status == 206
