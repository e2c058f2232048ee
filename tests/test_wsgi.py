"""WSGI, point by point."""

from __future__ import annotations

import ast
import hashlib
import http.client
import json
import re
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from client import Answer, raw
from conftest import APPS, Serve, Server

APPLICATIONS = [
    node.name
    for node in ast.parse((APPS / "wsgi_apps.py").read_text()).body
    if isinstance(node, ast.FunctionDef)
    and [argument.arg for argument in node.args.args] == ["environ", "start_response"]
]
VARIABLES = """
SetEnv FROM_SETENV "a value"
SetEnv HTTP_X_OPERATOR operator
SetEnv REQUEST_METHOD BREW
SetEnv PATH_INFO /elsewhere
<Location /environment/env>
    CGIPassAuth On
</Location>
<Location /hello>
    PythonOption mod_python.wsgi.application wsgi_apps::hello
</Location>
<Location /loc/ation>
    SetHandler mod_python
    PythonHandler mod_python.wsgi
    PythonOption mod_python.wsgi.application wsgi_apps::environment
</Location>
<Location /unset>
    SetHandler mod_python
    PythonHandler mod_python.wsgi
</Location>
<Location /slash>
    SetHandler mod_python
    PythonHandler mod_python.wsgi
    PythonOption mod_python.wsgi.application wsgi_apps::hello
    PythonOption mod_python.wsgi.base_uri /slash/
</Location>
<Location /elsewhere>
    SetHandler mod_python
    PythonHandler mod_python.wsgi
    PythonOption mod_python.wsgi.application wsgi_apps::hello
    PythonOption mod_python.wsgi.base_uri /nowhere
</Location>
<Location /missing>
    SetHandler mod_python
    PythonHandler mod_python.wsgi
    PythonOption mod_python.wsgi.application wsgi_apps::nothing_there
</Location>
<Location /limited>
    LimitRequestBody 1000
</Location>
PythonWSGI /limited wsgi_apps:swallows
PythonWSGI /class wsgi_apps:Class
PythonWSGI /module one_application
<Location /debug>
    PythonDebug On
</Location>
PythonWSGI /debug wsgi_apps:raises
"""


def config() -> str:
    return (
        "PythonPath \"sys.path+['@ROOT@/apps']\"\n"
        + "".join(f"PythonWSGI /{name} wsgi_apps:{name}\n" for name in APPLICATIONS)
        + VARIABLES
    )


@pytest.fixture(scope="module", params=["event", "prefork"])
def httpd(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    server = serve_module(config(), mpm=request.param, modules=("env",), start=False)
    server.write("apps/one_application.py", "def application(e, s):\n    s('200 OK', [])\n    return [b'one']\n")
    server.write("data", "0123456789" * 1000)
    return server.start()


def variables(answer: Answer) -> dict[str, Any]:
    found = json.loads(answer.text)
    assert isinstance(found, dict)
    return found


# environ


def test_environ(httpd: Server) -> None:
    headers = {"X-One": "1", "Content-Type": "text/x", "Content-Length": "0"}
    env = variables(httpd.ok("/environment/a%20b/c?q=%20x", "POST", headers=headers))
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/environment",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "q=%20x",
        "REQUEST_URI": "/environment/a%20b/c?q=%20x",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(httpd.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_ADDR": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_SCHEME": "http",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "0",
        "HTTP_X_ONE": "1",
        "HTTP_HOST": f"127.0.0.1:{httpd.port}",
        "DOCUMENT_ROOT": f"{httpd.root}/htdocs",
        "FROM_SETENV": "a value",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": httpd.mpm != "prefork",
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "mod_python.version": "4.0.0",
    }
    assert {key: env.get(key) for key in expected} == expected
    assert env["REMOTE_PORT"].isdigit() and env["SERVER_SOFTWARE"].startswith("Apache")
    for absent in (
        "HTTPS",
        "PATH",
        "LD_LIBRARY_PATH",
        "HTTP_CONTENT_TYPE",
        "HTTP_CONTENT_LENGTH",
        "REMOTE_USER",
        "AUTH_TYPE",
    ):
        assert absent not in env
    assert httpd.ok("/types").text == "ok"
    assert variables(httpd.ok("/environment"))["PATH_INFO"] == ""
    env = variables(httpd.ok("/environment/"))
    assert (env["PATH_INFO"], env["QUERY_STRING"]) == ("/", "")


def test_the_operator_covers_headers_but_not_the_request(httpd: Server) -> None:
    env = variables(httpd.ok("/environment/path", headers={"X-Operator": "client", "X-Other": "client"}))
    assert (env["HTTP_X_OPERATOR"], env["HTTP_X_OTHER"]) == ("operator", "client")
    assert (env["REQUEST_METHOD"], env["PATH_INFO"]) == ("GET", "/path")


def test_nothing_of_another_request_stays(httpd: Server) -> None:
    """The environ is made from the one before."""
    full = {"X-Secret": "one", "Cookie": "a=1", "Content-Type": "text/x", "User-Agent": "first"}
    httpd.ok("/environment/secret/path?token=1", "POST", headers=full)
    env = variables(httpd.ok("/environment"))
    assert (env["PATH_INFO"], env["QUERY_STRING"], env["REQUEST_METHOD"]) == ("", "", "GET")
    assert not {"HTTP_X_SECRET", "HTTP_COOKIE", "CONTENT_TYPE", "HTTP_USER_AGENT"} & env.keys()
    assert not any("token" in str(value) or "secret" in str(value) for value in env.values())


def test_headers_that_could_deceive(httpd: Server) -> None:
    request = (
        b"GET /environment HTTP/1.0\r\nX_Real_IP: forged\r\nX-Real-IP: true\r\nProxy: http://evil\r\nX.Y: dot\r\n"
        b"Authorization: Basic x\r\nCookie: a=1\r\nAccept: a\r\nAccept: b\r\nX-Latin: \xe9\r\n\r\n"
    )
    answer = raw(httpd.port, request)
    env = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert env["HTTP_X_REAL_IP"] == "true" and env["HTTP_ACCEPT"] == "a, b" and env["HTTP_X_LATIN"] == "é"
    assert env["HTTP_COOKIE"] == "a=1" and env["SERVER_PROTOCOL"] == "HTTP/1.0"
    for absent in ("HTTP_PROXY", "HTTP_X.Y", "HTTP_AUTHORIZATION"):
        assert absent not in env
    env = variables(httpd.ok("/environment/env", headers={"Authorization": "Basic x"}))
    assert env["HTTP_AUTHORIZATION"] == "Basic x"


def test_many_different_headers(httpd: Server) -> None:
    """Names are remembered, but not without end."""
    for turn in range(8):
        headers = {f"X-{turn}-{number}": str(number) for number in range(60)}
        env = variables(httpd.ok("/environment", headers=headers))
        assert all(env[f"HTTP_X_{turn}_{number}"] == str(number) for number in range(60))


def test_bytes_in_the_path(httpd: Server) -> None:
    env = variables(httpd.ok("/environment/%C3%A9%FF"))
    assert env["PATH_INFO"].encode("latin-1") == b"/\xc3\xa9\xff"
    assert httpd.get("/environment/a%2Fb").status == 404  # AllowEncodedSlashes Off


def test_where_an_application_lies(httpd: Server) -> None:
    env = variables(httpd.ok("/loc/ation/x"))
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/loc/ation", "/x")
    assert httpd.ok("/module").text == "one" and httpd.ok("/class").text == "a class"
    assert httpd.get("/unset").status == 500
    httpd.claim("no application: set PythonOption mod_python.wsgi.application")
    assert httpd.get("/slash").status == 500
    httpd.claim('mod_python.wsgi.base_uri: "/slash/" must not end with a slash')
    assert httpd.get("/elsewhere").status == 404
    httpd.wait_log("/elsewhere lies outside PythonOption mod_python.wsgi.base_uri /nowhere")
    assert httpd.get("/missing").status == 500
    httpd.claim("contains no 'nothing_there'")
    assert httpd.get("/environmental").status == 404


@pytest.mark.parametrize(
    "line",
    [
        "PythonWSGI x a:b",
        "PythonWSGI / a::",
        "PythonWSGI /a*b a:b",
        "PythonWSGI / a/b:c",
        "PythonWSGI /",
        "PythonWSGI / a:b c",
    ],
)
def test_mistakes_of_the_directive(serve: Serve, line: str) -> None:
    checked = serve(line + "\n", start=False).check()
    assert checked.returncode != 0 and "PythonWSGI" in checked.stderr


# wsgi.input


def test_reading(httpd: Server) -> None:
    body = b"onetwo\nthree\nfour\nfive\nsix\nseven"
    expected = [b"one", b"two\n", b"th", [b"ree\n", b"four\n"], [b"five\n", b"six\n", b"seven"], b""]
    assert httpd.ok("/reading", "POST", body=body).text == repr(expected)
    assert httpd.ok("/reading", "POST", body=iter([body[:4], body[4:]]), encode_chunked=True).text == repr(expected)
    assert httpd.ok("/unvalidated_reading", "POST", body=b"abcdef").text == repr([b"", b"", b"ab", b"cde", b"", b""])
    assert httpd.ok("/unvalidated_reading").text == repr([b"", b"", b"", b"", b"", b""])


def test_a_body_is_not_read_beyond_its_end(httpd: Server) -> None:
    request = b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = raw(httpd.port, request)
    assert hashlib.sha256(b"abc").hexdigest().encode() in answer and answer.endswith(b"Hello World!")


def test_100_continue_once(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(
            b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        first = connection.recv(1000)
        assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        rest = b""
        while part := connection.recv(1000):
            rest += part
    assert rest.startswith(b"HTTP/1.1 200 OK") and b"100 Continue" not in rest


def test_100_mb(serve: Serve) -> None:
    server = serve(config(), mpm="event", modules=("env",))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/digest")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    block, digest = bytes(range(256)) * 4096, hashlib.sha256()
    for _ in range(100):
        connection.send(block)
        digest.update(block)
    found, size, peak = connection.getresponse().read().decode().split()
    assert (found, size) == (digest.hexdigest(), str(100 << 20)) and int(peak) < 80 << 10
    # An application that never reads it.
    answer = server.get("/never_reads", "POST", body=b"x" * (20 << 20))
    assert answer.text == "not read"
    assert server.ok("/hello").text == "Hello World!"


def test_a_client_that_leaves_while_it_is_read(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"POST /lost_client HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    httpd.claim("lost: Client read error")
    assert httpd.ok("/hello").text == "Hello World!"


def test_a_body_that_httpd_refuses(httpd: Server) -> None:
    answer = httpd.get("/limited", "POST", body=iter([b"x" * 5000]), encode_chunked=True)
    assert answer.status == 413 and "framework" not in answer.text
    assert httpd.get("/limited", "POST", body=b"x" * 5000).status == 413
    assert httpd.ok("/limited", "POST", body=b"x").text == "read"
    httpd.claims.append("AH01588|AH01591|Requested content-length|Read content-length")
    answer = raw(
        httpd.port,
        b"POST /swallows HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 400")


def test_an_input_that_is_kept_too_long(httpd: Server) -> None:
    if httpd.mpm == "prefork":
        return  # another child would not have it
    assert httpd.ok("/keeps").text == "kept"
    seen: set[str] = set()

    def has_expired() -> bool:  # httpd ends the first request after the client has its answer
        seen.add(httpd.ok("/keeps").text)
        return "request object has expired" in seen

    httpd._wait(has_expired, "the request does not expire")
    assert seen <= {"request object has expired", "request object cannot be used between its phases"}


# wsgi.errors


def test_errors(httpd: Server) -> None:
    httpd.ok("/errors")
    for line in (
        "one line",
        "and another",
        r"\\xc3\\xa9",
        "printed",
        r"bytes \\xff",
        "to stdout",
        "flushed",
        "left at the end",
    ):
        found = httpd.claim(rf"\[python:error\].*\[client 127.0.0.1:\d+\] ({line})$")
        assert found
    threads = [threading.Thread(target=httpd.ok, args=(f"/much_logging?{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    httpd.claim("<0-19>")
    httpd.claims.append(r"<\d-\d+> x{50} end$")
    lines = [line for line in httpd.log_text().splitlines() if "x" * 50 in line]
    assert len(lines) >= 160 and all(re.search(r"\] <\d-\d+> x{50} end$", line) for line in lines)


# start_response and the body


def test_headers(httpd: Server) -> None:
    answer = httpd.get("/headers")
    assert (answer.status, answer.reason) == (299, "Très bien")
    assert answer.all("Set-Cookie") == ["a=1", "b=2"] and answer.header("X-Latin") == "é"


BODIES = [
    ("hello", b"Hello World!", "12"),
    ("chunks", b"onetwothree", None),
    ("writes", b"written twice and returned", None),
    ("writes_only", b"only written", None),
    ("empty", b"", "0"),
    ("empty_blocks", b"", "0"),
    ("single", b"a single block", "14"),
    ("late_start", b"late", None),
    ("latin_text", b"caf\xe9", "4"),
    ("closes", b"ab", None),
    ("readable", b"x" * 30, None),
    ("in_memory", b"in memory", None),
    ("compressed", b"unpacked", None),
    ("file_through_middleware", b"LOWER CASE", None),
]


@pytest.mark.parametrize(("name", "body", "length"), BODIES, ids=[row[0] for row in BODIES])
def test_bodies(httpd: Server, name: str, body: bytes, length: Any) -> None:
    answer = httpd.ok(f"/{name}")
    assert answer.body == body and answer.header("Content-Length") == length
    assert (answer.header("Transfer-Encoding") == "chunked") == (length is None)
    answer = httpd.ok(f"/{name}", "HEAD")
    assert answer.body == b""
    for _ in range(2 if name in ("closes", "readable") else 0):
        httpd.claim("closed (once|the readable)")
        httpd.new_log()
        httpd.get(f"/{name}")
    if name == "latin_text":
        httpd.wait_log("latin_text gives str where PEP 3333 wants bytes")


def test_answers_without_a_body(httpd: Server) -> None:
    for name, status in (("no_body_204", 204), ("no_body_304", 304)):
        request = f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = raw(httpd.port, request.encode())
        assert answer.startswith(f"HTTP/1.1 {status}".encode()) and b"ignored" not in answer
        assert answer.endswith(b"Hello World!") and answer.count(b"HTTP/1.1") == 2
    assert httpd.get("/no_body_304").header("ETag") == '"x"'


@pytest.mark.parametrize("status", ["404 Gone fishing", "500 Oops", "201 Made", "451 ", "600 Own"])
def test_the_application_s_own_status(httpd: Server, status: str) -> None:
    answer = httpd.get("/status?" + status.replace(" ", "%20"))
    assert (answer.status, answer.text) == (int(status[:3]), "a body of its own")


def test_a_block_is_sent_before_the_next_is_asked_for(httpd: Server) -> None:
    gate = httpd.root / "htdocs" / "gate"
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(f"GET /slow?{gate} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while b"first" not in received:
            received += connection.recv(1000)
        gate.touch()
        while part := connection.recv(1000):
            received += part
    gate.unlink()
    assert received.endswith(b"second\r\n0\r\n\r\n")


def test_a_second_start(httpd: Server) -> None:
    answer = httpd.get("/replaces")
    assert (answer.status, answer.reason, answer.body) == (500, "Sorry", b"replaced")
    assert answer.header("X-First") is None and answer.header("X-Second") == "2"
    assert answer.header("Content-Type") == "text/plain" and answer.header("Content-Length") == "8"
    assert httpd.get("/replaces_by_keyword").status == 503
    answer = httpd.get("/twice")
    assert (answer.status, answer.body, answer.header("X-First")) == (201, b"x", None)
    assert answer.header("Content-Length") == "1"
    assert broken(httpd, "/twice_too_late")
    httpd.claim("RuntimeError: start_response\\(\\) has been called already")


def broken(httpd: Server, path: str) -> bytes:
    """The answer of a connection that must break before the answer's end."""
    answer = raw(httpd.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    if b"chunked" in head:
        assert not body.endswith(b"0\r\n\r\n")
    else:
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length and len(body) < int(length[1])
    assert b"<html" not in body.lower()
    return body


def test_an_exception_after_output(httpd: Server) -> None:
    assert b"some" in broken(httpd, "/raises_later")
    httpd.claim("PythonHandler mod_python.wsgi: Traceback.*LookupError: after output")
    httpd.claim("closed after an exception")
    assert broken(httpd, "/raises_later_with_length") == b"some"
    httpd.claim("LookupError: after output")
    assert b"some" in broken(httpd, "/twice_after_output")
    httpd.claim("LookupError: the real reason")
    assert b"some" in broken(httpd, "/not_bytes_later")
    httpd.claim("TypeError: the application gives a value of type NoneType where bytes must be")
    httpd.claim("closed after a mistake")
    assert broken(httpd, "/too_short") == b"123"
    httpd.claim("gives 3 bytes where its Content-Length says 10")
    httpd.claim("closed too short")


def test_too_short_before_output(httpd: Server) -> None:
    assert broken(httpd, "/too_short_at_once") == b"123"
    httpd.claim("too_short_at_once gives 3 bytes where its Content-Length says 10")
    assert broken(httpd, "/too_short_empty") == b""
    httpd.claim("too_short_empty gives 0 bytes where its Content-Length says 10")


FAILING = [
    ("raises", "LookupError: before anything"),
    ("raises_after_start", "LookupError: after start_response"),
    ("not_started", "has not called start_response"),
    ("not_bytes", "a value of type int where bytes must be"),
    ("not_iterable", "TypeError: 'int' object is not iterable"),
    ("none", "'NoneType' object is not iterable"),
    ("exits", "SystemExit: 3"),
    ("interrupts", "KeyboardInterrupt"),
]


@pytest.mark.parametrize(("name", "reason"), FAILING)
def test_an_exception_before_output(httpd: Server, name: str, reason: str) -> None:
    before = set(httpd.child_pids())
    answer = httpd.get(f"/{name}")
    assert answer.status == 500 and answer.header("X-Never") is None and "Internal Server Error" in answer.text
    httpd.claim(f"PythonHandler mod_python.wsgi: .*{reason}")
    assert httpd.ok("/hello").text == "Hello World!" and before <= set(httpd.child_pids())


def test_debugging_shows_the_traceback(httpd: Server) -> None:
    answer = httpd.get("/debug")
    assert answer.status == 500 and "LookupError: before anything" in answer.text
    httpd.claim("LookupError: before anything")


def test_close_that_raises(httpd: Server) -> None:
    assert httpd.ok("/close_raises").text == "body"
    httpd.claim("LookupError: in close")


def test_more_than_was_said(httpd: Server) -> None:
    for name in ("too_long", "too_long_single"):
        assert httpd.ok(f"/{name}").text == "1234"[:4]
        httpd.claim("gives more than the 4 bytes of its Content-Length; the rest is cut off")


def test_what_start_response_refuses(httpd: Server) -> None:
    source = (APPS / "wsgi_apps.py").read_text()
    names: dict[str, Any] = {}
    exec(source[source.index("BAD_STARTS = [") : source.index("def bad_start")], names)
    for number in range(len(names["BAD_STARTS"])):
        assert httpd.ok(f"/bad_start?{number}").text != "accepted", names["BAD_STARTS"][number]


def test_a_client_that_leaves(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    httpd.claim("closed endless")
    assert "Traceback" not in httpd.new_log()
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        (httpd.root / "large").touch()
        with (httpd.root / "large").open("r+b") as large:
            large.truncate(1 << 30)
        connection.sendall(f"GET /file?{httpd.root}/large HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert httpd.ok("/hello").text == "Hello World!"


def test_files(httpd: Server) -> None:
    data = (httpd.root / "data").read_bytes()
    answer = httpd.ok(f"/file?{httpd.root}/data")
    assert answer.body == data and answer.header("Content-Length") == "10000"
    assert httpd.ok(f"/file?{httpd.root}/data&9990").body == data[9990:]
    assert httpd.ok(f"/file_part?{httpd.root}/data").body == data[3:7]
    assert httpd.ok(f"/write_then_file?{httpd.root}/data").body == b"before " + data
    answer = httpd.ok(f"/file?{httpd.root}/data", "HEAD")
    assert answer.body == b"" and answer.header("Content-Length") == "10000"
    # Descriptors are not left behind.
    (pid,) = httpd.child_pids() if httpd.mpm == "event" else httpd.child_pids()[:1]
    count = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for _ in range(50):
        httpd.ok(f"/file?{httpd.root}/data")
    # A connection's own is closed a moment after its end.
    httpd._wait(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) <= count + 5, "descriptors are left behind")


def test_the_bridge_to_apache(httpd: Server) -> None:
    assert httpd.ok("/bridge/x").text == "/bridge/x yes localhost"


def test_applications_of_virtual_hosts(serve: Serve) -> None:
    """Each host has its own interpreter, classes and globals, also under load."""
    hosts = "".join(
        f"<VirtualHost *:@PORT@>\nServerName v{number}\nPythonPath \"sys.path+['@ROOT@/apps']\"\nPythonWSGI / hosts\n</VirtualHost>\n"
        for number in range(3)
    )
    server = serve(hosts, threads=32, start=False, interpreter=None)
    application = """
from wsgiref.validate import validator

names = set()

@validator
def application(environ, start_response):
    names.add(environ["HTTP_HOST"])
    read = environ["wsgi.input"].read(100)
    body = f"{environ['mod_python.request'].interpreter} {sorted(names)} {read}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
    server.write("apps/hosts.py", application)
    server.start()
    wrong: list[str] = []

    def ask(host: str) -> None:
        for _ in range(100):
            text = server.get("/", "POST", body=b"abc", headers={"Host": host}).text
            if text != f"{host} ['{host}'] b'abc'":
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(f"v{number % 3}",)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
