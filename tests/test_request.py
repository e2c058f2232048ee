"""The request object: attributes, tables, writing, reading."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct

import pytest
from client import raw
from conftest import DEFAULT_INTERPRETER, Serve, Server, places

CONFIG = """
PythonOption server level
PythonOption gone x
<Location /attributes/options>
    PythonOption here yes
    PythonOption Gone
    PythonDebug On
</Location>
<Location /reading/digest>
    LimitRequestBody 104857600
</Location>
<Location /reading/echo>
    LimitRequestBody 1000000
</Location>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    return serve_module(places("attributes", "tables", "writing", "reading") + CONFIG, mpm=mpm)


# Attributes


def test_request_line(httpd: Server) -> None:
    port = httpd.port
    values = json.loads(httpd.ok("/attributes/request_line?a=b%20c").text)
    assert values == {
        "the_request": "GET /attributes/request_line?a=b%20c HTTP/1.1",
        "method": "GET",
        "method_number": 0,
        "protocol": "HTTP/1.1",
        "proto_num": 1001,
        "uri": "/attributes/request_line",
        "unparsed_uri": "/attributes/request_line?a=b%20c",
        "args": "a=b%20c",
        "hostname": "127.0.0.1",
        "header_only": 0,
        "assbackwards": 0,
        "handler": "mod_python",
        "phase": "PythonHandler",
        "interpreter": DEFAULT_INTERPRETER or "localhost",
        "filename": None,
        "path_info": None,
        "parsed_uri": [None, None, None, None, None, port, "/attributes/request_line", "a=b%20c", None],
        "status": 200,
        "user": None,
        "ap_auth_type": None,
        "status_line": None,
        "main": None,
        "prev": None,
        "next": None,
        "extension": None,
        "range": None,
    }


@pytest.mark.parametrize(
    "name",
    ["written", "arbitrary", "names", "connection", "server", "times", "options", "documents"],
)
def test_attribute(httpd: Server, name: str) -> None:
    assert httpd.ok(f"/attributes/{name}").text == "ok"


def test_bytes_in_a_uri_that_are_no_text(httpd: Server) -> None:
    """Any byte that a client sends can be looked at (docs/differences.md#bytes-that-are-no-text)."""
    answer = raw(httpd.port, b"GET /attributes/request_line?\xff=%FF HTTP/1.0\r\n\r\n")
    # httpd itself may refuse the raw byte; what it lets through must not fail in Python.
    assert b"500" not in answer.split(b"\r\n", 1)[0], answer
    assert httpd.ok("/attributes/request_line?%FF").status == 200


def test_status(httpd: Server) -> None:
    assert httpd.get("/attributes/status").status == 202
    answer = httpd.get("/attributes/status_line")
    assert (answer.status, answer.reason) == (404, "Gone fishing")


def test_log_error(httpd: Server) -> None:
    httpd.ok("/attributes/logging")
    assert ":error]" in httpd.claim("plain error$") and "[client 127.0.0.1" in httpd.claim("plain error$")
    assert ":warn]" in httpd.wait_log("a warning$")
    assert "100% %s %n not a format" in httpd.wait_log("not a format")
    assert httpd.wait_log("two").count(r"\nlines? and \x1b[31m") == 1
    assert "[client" not in httpd.wait_log("without a request$")
    assert len(re.findall("x{100}", httpd.log_text())) >= 190, "a long message loses nothing"
    assert "python:notice" in httpd.wait_log("for a server$")
    assert "None" not in httpd.wait_log("a warning")


def test_cleanups_run_last_first(httpd: Server) -> None:
    httpd.ok("/attributes/cleanup")
    httpd.wait_log("cleanup 0")
    text = httpd.new_log()
    order = [int(number) for number in re.findall(r"cleanup (\d)", text)]
    assert order == [2, 1, 0]
    # A tuple is one argument (docs/differences.md#the-data-of-clean-ups).
    assert "data is (1, 2), uri /attributes/cleanup" in text


def test_a_cleanup_that_raises_is_logged(httpd: Server) -> None:
    httpd.ok("/attributes/bad_cleanup")
    httpd.claim("python_cleanup: Error calling cleanup object <function .*LookupError: in a cleanup")


def test_a_kept_request_expires(httpd: Server) -> None:
    """On prefork another child may get the second request: the same connection stays with its child."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", httpd.port)
    for path in ("/attributes/keep", "/attributes/expired"):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"ok"), httpd.log_text()[-2000:]
    connection.close()


def test_each_request_has_an_object_of_its_own(httpd: Server) -> None:
    """Though the module uses objects again: never one that looks or is held otherwise than a new one."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", httpd.port)
    for _ in range(20):
        for how in ("plain", "attribute", "class", "cycle", "thread"):
            connection.request("GET", f"/attributes/altered?{how}")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"ok"), httpd.log_text()[-2000:]
    connection.close()


def test_other_threads_may_use_the_request(httpd: Server) -> None:
    assert httpd.ok("/attributes/other_threads").text == "from a thread" * 3


# Tables


@pytest.mark.parametrize(
    "name",
    ["mapping", "several_values", "methods", "bad_values", "changing_while_iterating", "subclass", "checked_headers"],
)
def test_table(httpd: Server, name: str) -> None:
    assert httpd.ok(f"/tables/{name}").text == "ok"


def test_table_views(httpd: Server) -> None:
    answer = raw(httpd.port, b"GET /tables/views HTTP/1.0\r\nX-Sent: 1\r\nX-Sent: 2\r\n\r\n").decode()
    assert answer.endswith("ok") and "200 OK" in answer, answer
    for header in ("X-One: 1", "X-Two: a", "X-Two: b", "X-Err: e"):
        assert header in answer


def test_header_bytes_are_latin1(httpd: Server) -> None:
    answer = raw(httpd.port, b"GET /tables/bytes_of_a_client HTTP/1.0\r\nX-Raw: \xe9\xff\r\n\r\n")
    assert answer.endswith(b"ok"), answer


def test_crlf_in_a_header_is_refused(httpd: Server) -> None:
    answer = httpd.get("/tables/unchecked_crlf")
    assert answer.status == 500 and answer.header("Set-Cookie") is None
    httpd.claim("ValueError: the value of the header X holds a control character")


# Writing


def test_text_is_utf8(httpd: Server) -> None:
    assert httpd.ok("/writing/text").text == "grüße \N{SNOWMAN}"


def test_bytes_are_sent_as_they_are(httpd: Server) -> None:
    assert httpd.ok("/writing/octets").body == bytes(range(256)) + b"abcdef"
    assert httpd.ok("/writing/surrogates").body == b"\xff\xfe"


def test_other_types_are_refused(httpd: Server) -> None:
    assert httpd.ok("/writing/wrong_types").text == "ok"


def test_amounts(httpd: Server) -> None:
    assert httpd.ok("/writing/many").text == "".join(f"{number}\n" for number in range(20000))
    assert httpd.ok("/writing/flushed").text == "".join(f"{number} " for number in range(100))
    assert httpd.ok("/writing/large").body == bytes(20 << 20)


def test_lengths_and_counters(httpd: Server) -> None:
    answer = httpd.ok("/writing/length")
    assert (answer.text, answer.header("Content-Length")) == ("12345", "5")
    assert httpd.ok("/writing/counters").text == "123456"


def test_flushed_writes_do_not_grow_the_process(httpd: Server) -> None:
    grown = int(re.findall(r"grown (\d+)", httpd.ok("/writing/virtual_size").text)[0])
    assert grown <= 256, f"{grown} pages"


def test_a_client_that_leaves_is_no_error(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port)) as connection:
        connection.sendall(b"GET /writing/slow_client HTTP/1.0\r\n\r\n")
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line = httpd.wait_log("the client went away")
    assert ":info]" in line and "Write failed, client closed connection" in line and "slow_client" in line
    assert httpd.ok("/writing/text")


# Reading


def test_echo(httpd: Server) -> None:
    assert httpd.ok("/reading/echo", "POST", body=b"some bytes").body == b"some bytes"
    assert httpd.ok("/reading/echo").body == b""


def test_chunked_bodies_are_welcome(httpd: Server) -> None:
    blocks = [b"first ", b"second ", b"x" * 100000]
    answer = httpd.ok(
        "/reading/echo", "POST", body=iter(blocks), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert answer.body == b"".join(blocks)


def test_a_body_of_20_mb(httpd: Server) -> None:
    body = bytes(range(256)) * (20 << 12)
    expected = [len(body), hashlib.sha256(body).hexdigest()]
    assert len(body) == 20 << 20
    assert json.loads(httpd.ok("/reading/digest", "POST", body=body).text) == expected


def test_a_body_over_the_limit_is_413(httpd: Server) -> None:
    # httpd answers before it has read everything, and resets the connection: send what is announced by hand.
    head = b"POST /reading/echo HTTP/1.0\r\nContent-Length: 1000001\r\n\r\n"
    assert b" 413 " in raw(httpd.port, head).split(b"\r\n", 1)[0]


def test_lines(httpd: Server) -> None:
    body = b"one\ntwo two\nthree\nfour\nfive"
    text = httpd.ok("/reading/lines", "POST", body=body).text
    first, rest = json.JSONDecoder().raw_decode(text)
    assert first == ["one\n", "two", " two\n", "th"]
    assert json.loads(text[rest:]) == ["ree\n", "four\n", "five"]
    assert json.loads(httpd.ok("/reading/hint", "POST", body=b"12345\n" * 5).text) == [2, 3]
    assert httpd.ok("/reading/sizes", "POST", body=b"0123456789").text == "ok"


def test_expect_100_continue_is_answered_once_it_is_read(httpd: Server) -> None:
    head = b"POST /reading/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(head)
        interim = connection.recv(1000)
        assert interim.startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(b"ok")
        answer = b""
        while part := connection.recv(1000):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200") and b"ok" in answer and b"100 Continue" not in answer


def test_a_client_that_leaves_in_its_body(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port)) as connection:
        connection.sendall(b"POST /reading/lost HTTP/1.0\r\nContent-Length: 1000\r\n\r\nsome")
    httpd.wait_log("noticed: Client read error")
    httpd.claim("reading::lost: the client went away: Client read error")
    assert httpd.ok("/reading/echo")


def test_a_body_that_nobody_reads(httpd: Server) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", httpd.port)
    for _ in range(3):
        connection.request("POST", "/reading/nothing_read", body=b"x" * 5000)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"ignored")
    connection.close()


def test_bad_framing_is_400(httpd: Server) -> None:
    answer = raw(
        httpd.port,
        b"POST /reading/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    )
    assert b" 400 " in answer.split(b"\r\n", 1)[0], answer
