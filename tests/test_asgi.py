"""ASGI over HTTP, point by point."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
from typing import Any

import pytest
from asgi_site import applications, heard, open_gate, site
from client import Answer, raw
from conftest import Serve, Server

from httpd import PROJECT

CONFIG = """
SetEnv FROM_SETENV "a value"
<Location /loc/ation>
    SetHandler mod_python
    PythonHandler mod_python.asgi
    PythonOption mod_python.asgi.application asgi_apps::scoped
</Location>
<Location /unset>
    SetHandler mod_python
    PythonHandler mod_python.asgi
</Location>
<Location /proxied>
    PythonOption mod_python.asgi.trusted_proxies 127.0.0.1
    PythonOption mod_python.asgi.trusted_headers "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-prefix"
</Location>
<Location /limited>
    LimitRequestBody 1000
</Location>
<Location /debug>
    PythonDebug On
</Location>
PythonASGI /proxied asgi_apps:scoped
PythonASGI /limited asgi_apps:echo
PythonASGI /debug asgi_apps:raises
PythonASGI /instance asgi_apps:instance
PythonASGI /Double asgi_apps:Double
PythonASGI /double asgi_apps:double
PythonASGI /plain asgi_apps:plain
PythonASGI /made asgi_apps:create()
PythonASGI /missing asgi_apps:nothing_there
PythonASGI /file @ROOT@/apps/asgi_apps.py:hello
"""


@pytest.fixture(scope="module")
def httpd(mpm: str, serve_module: Serve) -> Server:
    return site(serve_module, applications("asgi_apps") + CONFIG, mpm=mpm, modules=("env",))


@pytest.fixture(autouse=True)
def nothing_is_noted(httpd: Server) -> None:
    (httpd.root / "notes/seen").unlink(missing_ok=True)


def scope(answer: Answer) -> dict[str, Any]:
    found = json.loads(answer.text)
    assert isinstance(found, dict)
    return found


# scope


def test_scope(httpd: Server) -> None:
    found = scope(httpd.ok("/scoped/a%20b/%C3%A9?q=%20x", headers={"X-One": "1", "x-ONE": "2"}))
    expected = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/scoped/a b/é",
        "raw_path": "/scoped/a%20b/%C3%A9",
        "query_string": "q=%20x",
        "root_path": "/scoped",
        "server": ["127.0.0.1", httpd.port],
        "method_of_request": "GET",
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["client"][0] == "127.0.0.1" and isinstance(found["client"][1], int)
    assert "mod_python" in found["extensions"]


def test_headers_keep_their_order(httpd: Server) -> None:
    # httpd itself joins those of one name.
    lines = b"X-B: 1\r\nx-a: 2\r\nX-B: 3\r\nProxy: evil\r\nX_Under: 4\r\n"
    answer = raw(httpd.port, b"GET /scoped HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + lines + b"\r\n")
    found = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert found["headers"] == [
        ["host", "h"],
        ["connection", "close"],
        ["x-b", "1, 3"],
        ["x-a", "2"],
        ["x_under", "4"],
    ]


def test_an_answer_that_says_it_is_chunked(httpd: Server) -> None:
    """It is as httpd frames it."""
    assert httpd.ok("/chunked").text == "one two"
    old = raw(httpd.port, b"GET /chunked HTTP/1.0\r\n\r\n")
    assert b"Transfer-Encoding" not in old and old.endswith(b"\r\n\r\none two")


def test_old_and_odd_requests(httpd: Server) -> None:
    found = raw(httpd.port, b"BREW /scoped/x HTTP/1.0\r\n\r\n")
    assert b'"http_version": "1.0"' in found and b'"method": "BREW"' in found and b'"headers": []' in found
    assert b"Transfer-Encoding" not in found
    for version in ("2.0", "3.0"):
        line = f"GET /scoped HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n"
        odd = raw(httpd.port, line.encode())
        assert b'"http_version": "1.1"' in odd and b"trailers" not in odd
    absolute = raw(httpd.port, b"GET http://h:1/scoped/y?z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert b'"raw_path": "/scoped/y"' in absolute


def test_a_path_that_is_no_utf8_is_refused(httpd: Server) -> None:
    assert httpd.get("/scoped/%ff").status == 400


def test_the_password_of_httpd_is_its_own_and_a_token_is_the_applications(httpd: Server) -> None:
    found = scope(httpd.ok("/scoped", headers={"Authorization": "Bearer spam"}))
    assert ["authorization", "Bearer spam"] in found["headers"]


def test_trusted_proxies(httpd: Server) -> None:
    sent = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    found = scope(httpd.ok("/proxied/x", headers={**sent, "X-Forwarded-Prefix": "/out", "X-Forwarded-Port": "9"}))
    assert (found["scheme"], found["client"], found["server"]) == ("https", ["192.0.2.7", 0], ["shop.example", 443])
    assert (found["root_path"], found["path"]) == ("/out/proxied", "/out/proxied/x")
    names = [name for name, _ in found["headers"]]
    assert "x-forwarded-port" not in names and ["host", "shop.example"] in found["headers"]
    plain = scope(httpd.ok("/scoped", headers=sent))
    assert plain["scheme"] == "http" and plain["client"][0] == "127.0.0.1"


def test_the_long_form(httpd: Server) -> None:
    found = scope(httpd.ok("/loc/ation/x"))
    assert (found["root_path"], found["path"]) == ("/loc/ation", "/loc/ation/x")
    assert httpd.get("/unset").status == 500
    httpd.claim("no application: set PythonOption mod_python.asgi.application")


# applications


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/hello", "Hello World!"),
        ("/instance", "an object"),
        ("/Double/x", "double /Double/x"),
        ("/double", "a function, double"),
        ("/plain", "Hello World!"),
        ("/made", "an object"),
        ("/file", "Hello World!"),
        ("/timed", "timed out"),
        ("/blocking", "spam\n"),
    ],
)
def test_applications(httpd: Server, path: str, text: str) -> None:
    assert httpd.ok(path).text == text


def test_an_application_that_is_not_there(httpd: Server) -> None:
    assert httpd.get("/missing").status == 500
    httpd.claim("contains no 'nothing_there'")


def test_one_loop_an_interpreter(httpd: Server) -> None:
    first, second = (json.loads(httpd.ok("/place").text) for _ in range(2))
    if first[0] == second[0]:
        assert first == second


def test_contexts_do_not_leak(httpd: Server) -> None:
    for _ in range(3):
        seen = json.loads(httpd.ok("/context").text)
        assert seen[0] == "nothing" and set(seen[1:]) == {"mine"}


def test_the_request_object(httpd: Server) -> None:
    answer = httpd.ok("/requested")
    assert (answer.text, answer.header("X-Apache")) == ("a value", "/requested")
    httpd.wait_log("asgi was here")
    assert heard(httpd) == ["request object has expired"]


# receive


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies(httpd: Server, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    data: Any = iter([body[:10], body[10:]]) if chunked else body
    assert httpd.ok("/echo", "POST", body=data, encode_chunked=chunked).body == body


def test_a_body_comes_in_blocks(httpd: Server) -> None:
    sizes = json.loads(httpd.ok("/blocks", "POST", body=b"x" * 1_000_000).text)
    assert sum(sizes) == 1_000_000 and max(sizes) <= 65_536
    assert heard(httpd) == ["http.disconnect", "http.disconnect"]


def test_both_ways_at_once(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"POST /duplex HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"spam", b"eggs"):
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            until(connection, part)
        connection.sendall(b"0\r\n\r\n")
        until(connection, b"0\r\n\r\n")


# A client that sends nothing more (shutdown(2)) is answered, unless the application asks whether it is there.


def whole(httpd: Server, data: bytes) -> bytes:
    """What comes of a client that sends nothing more."""
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("size", [3, 20_000, 200_000])
def test_a_body_and_then_nothing_more(httpd: Server, size: int) -> None:
    for _ in range(5):
        answer = whole(httpd, b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert answer.endswith(b"\r\n\r\n" + b"x" * size), (len(answer), answer[:200])


def test_parts_for_a_client_that_sends_nothing_more(httpd: Server) -> None:
    for number in range(3):
        open_gate(httpd, f"tick{number}", shut=True)
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"GET /ticks HTTP/1.1\r\nHost: h\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        for number in range(3):
            until(connection, b"data: %d\n\n" % number)
            open_gate(httpd, f"tick{number}")
        until(connection, b"0\r\n\r\n")


def test_two_requests_and_nothing_more(httpd: Server) -> None:
    answer = whole(httpd, b"GET /large?3 HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and answer.endswith(b"Hello World!"), len(answer)


def test_100_continue(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        until(connection, b"100 Continue\r\n\r\n")
        connection.sendall(b"spam")
        until(connection, b"\r\n\r\nspam")
    # Of an application that does not read, the client is not asked to send.
    answer = raw(
        httpd.port,
        b"POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    )
    assert b"100 Continue" not in answer and answer.endswith(b"Hello World!")


def test_a_body_that_is_too_large_is_refused(httpd: Server) -> None:
    assert httpd.get("/limited", "POST", body=b"x" * 1001).status == 413
    late = httpd.get("/limited", "POST", body=iter([b"x" * 900, b"x" * 900]), encode_chunked=True)
    assert late.status == 413
    httpd.claim(r"AH01587|AH01588|LimitRequestBody|larger than the configured limit")


def test_a_broken_chunk_is_refused(httpd: Server) -> None:
    answer = raw(httpd.port, b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    httpd.wait_log("asgi_apps::echo POST '/echo': its body was refused .400.: Traceback")


def until(connection: socket.socket, end: bytes) -> bytes:
    """Receive until that has come."""
    data = b""
    while end not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    return data


# send


def test_a_complete_answer_has_a_length(httpd: Server) -> None:
    assert httpd.ok("/hello").header("Content-Length") == "12"
    head = httpd.ok("/hello", "HEAD")
    assert (head.body, head.header("Content-Length")) == (b"", "12")


def test_parts_leave_when_the_application_waits(httpd: Server) -> None:
    for number in range(3):
        open_gate(httpd, f"tick{number}", shut=True)
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"GET /ticks HTTP/1.1\r\nHost: h\r\n\r\n")
        for number in range(3):
            until(connection, b"data: %d\n\n" % number)
            open_gate(httpd, f"tick{number}")
        until(connection, b"0\r\n\r\n")


def test_an_answer_is_larger_than_any_buffer(httpd: Server) -> None:
    assert len(httpd.ok("/large?300").body) == 300 * 65_536


def test_a_client_that_does_not_read_is_waited_for(httpd: Server) -> None:
    connection = socket.create_connection(("127.0.0.1", httpd.port), 30)
    connection.sendall(b"GET /large?2000 HTTP/1.1\r\nHost: h\r\n\r\n")
    until(connection, b"\r\n\r\n")
    # Others are served meanwhile.
    if httpd.mpm != "prefork":
        assert httpd.ok("/hello").text == "Hello World!"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    sent, is_os_error = heard(httpd)
    assert sent < 2000 * 65_536 and is_os_error


def start(status: Any = 200, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, **more}


def part(body: Any = b"", **more: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, **more}


LENGTH_4 = {"headers": [(b"content-length", b"4")]}
WRONG: list[tuple[list[Any], str]] = [
    ([part(b"x")], 'RuntimeError: ASGI: "http.response.body" comes before "http.response.start"'),
    ([start(), start()], 'RuntimeError: ASGI: "http.response.start" comes again'),
    ([{"type": "http.response.spam"}], 'RuntimeError: ASGI: "http.response.spam" is not a message'),
    ([{"type": "websocket.accept"}], 'RuntimeError: ASGI: "websocket.accept" is not a message'),
    ([{"type": 3}], "TypeError: ASGI: the type of a message must be a str"),
    ([{}], "TypeError: ASGI: a message must have a type"),
    ([["type"]], "TypeError: ASGI: a message must be a dict"),
    ([{"type": "http.response.start"}], "KeyError"),
    ([start("200")], 'TypeError: ASGI: "http.response.start": the status must be an int'),
    ([start(100)], 'ValueError: ASGI: "http.response.start": an application cannot answer with a status below 200'),
    ([start(10**6)], "ValueError"),
    ([start(10**30)], "TypeError"),
    ([start(-1)], "ValueError"),
    ([start(headers=[("a", "b")])], 'TypeError: ASGI: "http.response.start": the headers must be pairs of bytes'),
    ([start(headers=[(b"a",)])], "TypeError"),
    ([start(headers=3)], "TypeError"),
    ([start(headers=[(b"a", b"b\r\nc: d")])], 'ValueError: ASGI: "http.response.start": the value of the header a'),
    ([start(headers=[(b"a\n", b"b")])], "ValueError"),
    ([start(headers=[(b"", b"b")])], "ValueError"),
    ([start(headers=[(b"transfer-encoding", b"gzip, chunked")])], "ValueError"),
    ([start(headers=[(b"upgrade", b"h2c")])], "ValueError"),
    ([start(headers=[(b"content-length", b"spam")])], "ValueError"),
    (
        [start(headers=[(b"content-length", b"2"), (b"Content-Length", b"3")])],
        'ValueError: ASGI: "http.response.start": it has two different Content-Lengths',
    ),
    ([start(), part("text")], 'TypeError: ASGI: the body of "http.response.body" must be bytes, not str'),
    ([start(), part(3)], "TypeError"),
    (
        [start(**LENGTH_4), part(b"12345")],
        'RuntimeError: ASGI: "http.response.body": the body has 5 bytes where the Content-Length says 4',
    ),
    (
        [start(**LENGTH_4), part(b"123")],
        'RuntimeError: ASGI: "http.response.body": the body has 3 bytes where the Content-Length says 4',
    ),
]


@pytest.mark.parametrize(("messages", "error"), WRONG)
def test_what_is_wrong_is_raised(httpd: Server, messages: list[Any], error: str) -> None:
    answer = httpd.get("/script", "POST", body=repr(messages))
    assert answer.status == 500
    name, text = heard(httpd)
    assert f"{name}: {text}".startswith(error), (name, text)
    httpd.claim(f"PythonHandler mod_python.asgi|{name}")


def test_what_follows_the_end_is_ignored(httpd: Server) -> None:
    """As the specification says of `more_body`."""
    messages = [start(), part(b"all"), part(b"more"), start(500), {"type": "http.response.trailers"}, {"type": "spam"}]
    assert httpd.ok("/script", "POST", body=repr([*messages, {"type": 3}])).text == "all"
    # It has come to the last, which is no message at all.
    assert heard(httpd) == ["TypeError", "ASGI: the type of a message must be a str"]
    httpd.claim("after the answer")


@pytest.mark.parametrize("behind", [[{"type": 3}], []])
def test_what_was_sent_has_been_sent(httpd: Server, behind: list[Any]) -> None:
    """Whether or not the application has waited for anything since."""
    httpd.claims.append("the type of a message must be a str|before its answer was complete")
    for first in (b"a part", b""):
        messages = repr([start(), part(first, more_body=True), *behind])
        for _ in range(10):
            sent = f"POST /script HTTP/1.1\r\nHost: h\r\nContent-Length: {len(messages)}\r\nConnection: close\r\n\r\n"
            answer = raw(httpd.port, (sent + messages).encode())
            assert answer.startswith(b"HTTP/1.1 200 ") and first in answer and not answer.endswith(b"0\r\n\r\n"), answer


def test_equal_lengths_are_one(httpd: Server) -> None:
    messages = [start(headers=[(b"content-length", b"4")] * 2), part(b"1234")]
    answer = httpd.ok("/script", "POST", body=repr(messages))
    assert [value for name, value in answer.headers if name.lower() == "content-length"] == ["4"]


@pytest.mark.parametrize("value", [b"close", b"x-spam, Close"])
def test_an_application_can_close_the_connection(httpd: Server, value: bytes) -> None:
    messages = repr([start(headers=[(b"connection", value), (b"content-length", b"3")]), part(b"end")])
    sent = f"POST /script HTTP/1.1\r\nHost: h\r\nContent-Length: {len(messages)}\r\n\r\n{messages}"
    # It ends without the client's asking for it.
    answer = raw(httpd.port, sent.encode())
    assert answer.endswith(b"end") and answer.lower().count(b"\r\nconnection: close\r\n") == 1


def test_what_is_wrong_can_be_caught(httpd: Server) -> None:
    answer = httpd.ok("/catches", "POST", body=repr([part(b"x")]))
    assert answer.text.startswith("RuntimeError: ASGI")


def test_bytes_of_other_classes_and_messages_with_more(httpd: Server) -> None:
    messages = "[{'type': 'http.response.start', 'status': __import__('http').HTTPStatus.CREATED, 'spam': 1, 'headers': iter([[b'X-A', b'b']])},"
    messages += "{'type': 'http.response.body', 'body': bytearray(b'ab'), 'more_body': 1}, {'type': 'http.response.body', 'body': memoryview(b'cd')}]"
    answer = httpd.get("/script", "POST", body=messages)
    assert (answer.status, answer.text, answer.header("X-A")) == (201, "abcd", "b")


def test_headers_of_the_server_are_left_out(httpd: Server) -> None:
    messages = [start(headers=[(b"connection", b"keep-alive"), (b"keep-alive", b"9"), (b"a", b"b")]), part()]
    answer = httpd.ok("/script", "POST", body=repr(messages))
    assert answer.header("A") == "b" and answer.header("Keep-Alive") is None


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(httpd: Server, status: int) -> None:
    answer = httpd.get("/script", "POST", body=repr([start(status), part(b"not sent")]))
    assert (answer.status, answer.body) == (status, b"")


def test_a_body_in_parts_with_a_length(httpd: Server) -> None:
    messages = [start(**LENGTH_4), part(b"12", more_body=True), part(b"34", more_body=True), part()]
    answer = httpd.ok("/script", "POST", body=repr(messages))
    assert (answer.text, answer.header("Content-Length")) == ("1234", "4")


def test_a_connection_is_kept(httpd: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", httpd.port, timeout=30)
    for path in ("/hello", "/large?3", "/hello", "/echo", "/hello"):
        connection.request("POST", path, body=b"spam")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200 and connection.sock is not None
    connection.close()


# errors


def test_an_exception_is_a_500(httpd: Server) -> None:
    assert httpd.get("/raises").status == 500
    httpd.claim("PythonHandler mod_python.asgi: Traceback")
    httpd.claim("LookupError: asgi_apps raises")


def test_an_exception_is_shown_where_that_is_asked_for(httpd: Server) -> None:
    assert "LookupError: asgi_apps raises" in httpd.get("/debug").text
    httpd.claim("LookupError: asgi_apps raises")


@pytest.mark.parametrize("name", ["raises_late", "half"])
def test_an_answer_that_fails_is_broken_off(httpd: Server, name: str) -> None:
    with pytest.raises(http.client.IncompleteRead):
        httpd.get(f"/{name}")
    httpd.claim("raises late|before its answer was complete")


def test_an_exception_behind_the_end_is_logged(httpd: Server) -> None:
    assert httpd.ok("/raises_after").text == "complete"
    httpd.claim("asgi_apps::raises_after GET '/raises_after': after the answer: Traceback")
    httpd.claim("raises after its answer")


@pytest.mark.parametrize("name", ["nothing", "cancelled", "exits"])
def test_no_answer_is_a_500(httpd: Server, name: str) -> None:
    assert httpd.get(f"/{name}").status == 500
    httpd.claim("ended without an answer|CancelledError|SystemExit")
    assert httpd.ok("/hello").text == "Hello World!"


# clients that go


@pytest.mark.parametrize("query", ["", "?begun"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_is_heard_of(httpd: Server, query: str, reset: bool) -> None:
    connection = socket.create_connection(("127.0.0.1", httpd.port), 30)
    connection.sendall(b"GET /listens%s HTTP/1.1\r\nHost: h\r\n\r\n" % query.encode())
    assert heard(httpd) == ["listening"]
    if query:
        until(connection, b"begun")
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    assert heard(httpd) == ["http.disconnect", "http.disconnect", True]


def test_nothing_can_be_sent_to_a_client_that_has_gone(httpd: Server) -> None:
    """Whatever has been sent before."""
    connection = socket.create_connection(("127.0.0.1", httpd.port), 30)
    connection.sendall(b"GET /gone HTTP/1.1\r\nHost: h\r\n\r\n")
    assert heard(httpd) == ["listening"]
    connection.close()
    assert heard(httpd) == ["ConnectionError"] * 5


def test_a_client_that_goes_before_its_body_is_complete(httpd: Server) -> None:
    connection = socket.create_connection(("127.0.0.1", httpd.port), 30)
    connection.sendall(b"POST /listens HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345")
    assert heard(httpd) == ["listening"]
    connection.close()
    assert heard(httpd) == ["http.disconnect", "http.disconnect", True]


def test_the_next_request_is_no_sign_of_going(httpd: Server) -> None:
    open_gate(httpd, "patient", shut=True)
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        request = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"
        connection.sendall(request % b"patient" + request % b"hello")
        assert heard(httpd) == ["listening"]
        open_gate(httpd, "patient")
        assert b"still here" in until(connection, b"Hello World!")


def test_a_listener_hears_of_the_end(httpd: Server) -> None:
    assert httpd.ok("/tasks").text == "with a listener"
    assert heard(httpd) == ["http.disconnect"]


def test_what_follows_the_answer_holds_no_worker(httpd: Server) -> None:
    open_gate(httpd, "background", shut=True)
    connection = http.client.HTTPConnection("127.0.0.1", httpd.port, timeout=30)
    for path, text in (("/background", b"answered"), ("/hello", b"Hello World!")):
        connection.request("GET", path)
        assert connection.getresponse().read() == text
    connection.close()
    open_gate(httpd, "background")
    assert heard(httpd) == ["background"]


def test_many_at_once(httpd: Server) -> None:
    """Requests come in batches, while the loop is busy."""
    texts: list[str] = []

    def client(path: str) -> None:
        for _ in range(10):
            texts.append(httpd.ok(path).text)

    threads = [threading.Thread(target=client, args=(path,)) for path in ("/slow", "/hello", "/hello", "/echo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == sorted(["slow"] * 10 + ["Hello World!"] * 20 + [""] * 10)


def test_the_chapters_example(serve: Serve) -> None:
    chapter = (PROJECT / "docs/asgi.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", chapter, re.S)
    (block,) = re.findall(r"```apache\n(.*?)```", chapter, re.S)
    server = serve(block.replace("/srv/site", "@ROOT@/apps"), start=False)
    server.write("apps/hello_asgi.py", code)
    assert server.start().ok("/").text == "Hello World!"


def test_options_are_checked(serve: Serve) -> None:
    for option, value in (("lifespan", "yes"), ("loop", "trio"), ("ws_max_size", "0"), ("ws_ping_interval", "-1")):
        server = serve(f"PythonOption mod_python.asgi.{option} {value}\n", start=False)
        checked = server.check()
        assert checked.returncode and f"PythonOption mod_python.asgi.{option}" in checked.stderr, checked.stderr
