"""Extensions of ASGI by which an application sends something: files by their paths, hints before the answer."""

from __future__ import annotations

import http.client
import os
import re
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from asgi_site import applications, heard, open_gate, site
from client import raw
from conftest import Serve, Server
from test_asgi import LENGTH_4, part, start, until

CONFIG = """
PythonASGI /script asgi_apps:script
<Location /deflated>
    SetOutputFilter DEFLATE
</Location>
PythonASGI /deflated asgi_extensions:sends
<Location /debugged>
    PythonDebug On
</Location>
PythonASGI /debugged/extensions asgi_extensions:extensions
PythonASGI /debugged asgi_apps:script
LogLevel python:debug
"""
DATA = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def httpd(mpm: str, serve_module: Serve) -> Server:
    server = site(serve_module, applications("asgi_extensions") + CONFIG, mpm=mpm, modules=("deflate", "filter"))
    for name, data in (("four", b"1234"), ("empty", b""), ("shut", b"secret"), ("päth", b"umlaut")):
        (server.root / name).write_bytes(data)
    server.write("data", "")
    (server.root / "data").write_bytes(DATA)
    (server.root / "shut").chmod(0)
    os.mkfifo(server.root / "pipe")
    (server.root / "pipe").chmod(0o666)
    (server.root / "turns").symlink_to(server.root / "turns")
    (server.root / "link").symlink_to(server.root / "four")
    return server


@pytest.fixture(autouse=True)
def nothing_is_noted(httpd: Server) -> None:
    (httpd.root / "notes/seen").unlink(missing_ok=True)


def path(name: Any, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": name, **more}


def test_it_is_offered(httpd: Server) -> None:
    assert '"http.response.pathsend": {}' in httpd.ok("/extensions").text


# http.response.pathsend


def test_a_file(httpd: Server) -> None:
    answer = httpd.ok(f"/sends?{httpd.root}/data")
    assert answer.body == DATA and answer.header("Content-Length") == str(len(DATA))
    assert httpd.ok(f"/sends?{httpd.root}/link").text == "1234"
    assert httpd.ok(f"/sends?{httpd.root}/päth".encode().decode("latin-1").replace("Ã¤", "%C3%A4")).text == "umlaut"
    empty = httpd.ok(f"/sends?{httpd.root}/empty")
    assert (empty.body, empty.header("Content-Length")) == (b"", "0")


def test_the_head_of_a_file_and_parts_of_it(httpd: Server) -> None:
    head = httpd.ok(f"/sends?{httpd.root}/data", "HEAD")
    assert (head.body, head.header("Content-Length")) == (b"", str(len(DATA)))
    ranged = httpd.get(f"/sends?{httpd.root}/data", headers={"Range": "bytes=10-19"})
    assert (ranged.status, ranged.body) == (206, DATA[10:20])
    for status in (204, 304):
        answer = httpd.get("/script", "POST", body=repr([start(status), path(f"{httpd.root}/data")]))
        assert (answer.status, answer.body) == (status, b"")


def test_a_file_passes_filters(httpd: Server) -> None:
    answer = httpd.ok(f"/deflated?{httpd.root}/data", headers={"Accept-Encoding": "gzip"})
    assert answer.header("Content-Encoding") == "gzip" and len(answer.body) < len(DATA) / 10


def test_connections_are_kept_behind_files(httpd: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", httpd.port, timeout=30)
    for name, expected in (("data", DATA), ("empty", b""), ("four", b"1234"), ("data", DATA)):
        connection.request("POST", f"/sends?{httpd.root}/{name}", body=b"spam")
        assert connection.getresponse().read() == expected and connection.sock is not None
    connection.close()
    # What is asked for at once is answered in turn.
    line = f"GET /sends?{httpd.root}/four HTTP/1.1\r\nHost: h\r\n".encode()
    assert raw(httpd.port, (line + b"\r\n") * 3 + line + b"Connection: close\r\n\r\n").count(b"\r\n\r\n1234") == 4


def test_with_a_length(httpd: Server) -> None:
    assert httpd.ok("/script", "POST", body=repr([start(**LENGTH_4), path(f"{httpd.root}/four")])).text == "1234"
    for name, size in (("data", len(DATA)), ("empty", 0)):
        assert httpd.get("/script", "POST", body=repr([start(**LENGTH_4), path(f"{httpd.root}/{name}")])).status == 500
        said = f'ASGI: "http.response.pathsend": the body has {size} bytes where the Content-Length says 4'
        assert heard(httpd) == ["RuntimeError", said]
        httpd.claim(said)


KIND = 'ASGI: "http.response.pathsend"'
WRONG: list[tuple[list[Any], str]] = [
    ([path("@/four")], f'RuntimeError: {KIND} comes before "http.response.start"'),
    ([path("@/nothing")], f'RuntimeError: {KIND} comes before "http.response.start"'),
    ([start(), path("@/nothing")], f"FileNotFoundError: [Errno 2] {KIND}: No such file or directory: '@/nothing'"),
    ([start(), path("@/four/x")], "NotADirectoryError: [Errno 20]"),
    ([start(), path("@/turns")], f"OSError: [Errno 40] {KIND}"),
    ([start(), path("@/" + "x" * 5000)], f"OSError: [Errno 36] {KIND}"),
    ([start(), path("@")], "IsADirectoryError: [Errno 21]"),
    ([start(), path("@/pipe")], f"OSError: {KIND}: it is no regular file"),
    ([start(), path("/dev/zero")], f"OSError: {KIND}: it is no regular file"),
    ([start(), path("")], "FileNotFoundError"),
    ([start(), path("@/four\0")], "ValueError: embedded null character"),
    ([start(), path("\ud800")], "ValueError"),
    ([start(), path(b"@/four")], f"TypeError: {KIND}: the path must be a str"),
    ([start(), path(3)], f"TypeError: {KIND}: the path must be a str"),
    ([start(), path(None)], "KeyError"),
    ([start(), {"type": "http.response.pathsend"}], "KeyError"),
]


@pytest.mark.parametrize(("messages", "error"), WRONG)
def test_what_is_wrong_with_a_path_is_raised(httpd: Server, messages: list[Any], error: str) -> None:
    answer = httpd.get("/script", "POST", body=repr(messages).replace("@", str(httpd.root)))
    assert answer.status == 500
    name, text = heard(httpd)
    assert f"{name}: {text}".startswith(error.replace("@", str(httpd.root))), (name, text)
    httpd.claim(f"PythonHandler mod_python.asgi|{name}")


@pytest.mark.skipif(os.geteuid() != 0, reason="the children are this user, who may change the mode")
def test_a_file_that_the_children_cannot_read(httpd: Server) -> None:
    assert httpd.get("/script", "POST", body=repr([start(), path(f"{httpd.root}/shut")])).status == 500
    assert heard(httpd)[0] == "PermissionError"
    httpd.claim("PermissionError")


def test_a_file_and_a_body_do_not_mix(httpd: Server) -> None:
    four = path(f"{httpd.root}/four")
    # What follows the complete answer is ignored.
    for behind in (part(b"more"), four, start()):
        assert httpd.ok("/script", "POST", body=repr([start(), four, behind])).text == "1234"
    for first in (part(b"a part", more_body=True), part(more_body=True)):
        body = repr([start(), first, four]).encode()
        lines = b"POST /script HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        answer = raw(httpd.port, lines % len(body) + body)
        assert b" 200 " in answer.split(b"\r\n", 1)[0] and not answer.endswith(b"0\r\n\r\n")
        said = f"{KIND} comes behind a part of the body, and is all of it itself"
        assert heard(httpd) == ["RuntimeError", said]
        httpd.claim(re.escape(said))
    assert httpd.ok("/script", "POST", body=repr([start(), part(b"all"), four])).text == "all"


def test_another_answer_in_place_of_a_file(httpd: Server) -> None:
    answer = httpd.ok(f"/falls_back?{httpd.root}/nothing")
    assert answer.text == "FileNotFoundError"


def test_a_file_that_is_removed_meanwhile(httpd: Server) -> None:
    """What has been opened is sent."""
    (httpd.root / "gone").write_bytes(b"still here")
    (httpd.root).chmod(0o777)
    assert httpd.ok(f"/removes?{httpd.root}/gone").text == "still here"
    assert heard(httpd) == ["removed"] and not (httpd.root / "gone").exists()


def test_a_file_that_becomes_shorter_is_broken_off(httpd: Server) -> None:
    name = httpd.root / "shrinks"
    name.write_bytes(b"x" * (64 << 20))
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(f"GET /sends?{name} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        until(connection, b"\r\n\r\n")
        os.truncate(name, 0)
        received = 0
        while data := connection.recv(1 << 20):
            received += len(data)
    assert received < 64 << 20
    httpd.claim("become shorter")
    assert httpd.ok(f"/sends?{httpd.root}/four").text == "1234"


def test_a_client_that_goes_in_the_middle_of_a_file(httpd: Server) -> None:
    name = httpd.root / "large"
    with name.open("wb") as file:
        file.truncate(1 << 30)
    connection = socket.create_connection(("127.0.0.1", httpd.port), 30)
    connection.sendall(f"GET /sends?{name} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    until(connection, b"\r\n\r\n")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    for _ in range(5):
        assert httpd.ok(f"/sends?{httpd.root}/four").text == "1234"


def test_a_file_is_not_read_into_memory(httpd: Server) -> None:
    name = httpd.root / "sparse"
    with name.open("wb") as file:
        file.truncate(512 << 20)
    before = max(resident(pid) for pid in httpd.child_pids())
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(f"GET /sends?{name} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        received, most = 0, 0
        while data := connection.recv(1 << 20):
            received += len(data)
            if not received % 64:
                most = max(most, *(resident(pid) for pid in httpd.child_pids()))
    assert received > 512 << 20
    assert max(most, *(resident(pid) for pid in httpd.child_pids())) < before + (64 << 20)


def resident(pid: int) -> int:
    """Bytes of memory that a process has of its own."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * 4096


# http.response.early_hint


def links(*values: Any, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": list(values), **more}


GATES = ("hinted", "started", "begun")


def test_hints_leave_before_the_answer(httpd: Server) -> None:
    for gate in GATES:
        open_gate(httpd, gate, shut=True)
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"GET /hints HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        first = until(connection, b"\r\n\r\n")
        lines = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n"
        assert first == lines
        open_gate(httpd, "hinted")
        second = until(connection, b"\r\n\r\n")
        assert second == b"HTTP/1.1 103 Early Hints\r\nLink: </c.css>; rel=preload\r\n\r\n"
        open_gate(httpd, "started")
        head, _, body = until(connection, b"a \r\n").partition(b"\r\n\r\n")
        open_gate(httpd, "begun")
        body += until(connection, b"0\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 Created\r\n") and head.lower().count(b"link: ") == 1 and b"</own>" in head
    assert body == b"2\r\na \r\n4\r\npage\r\n0\r\n\r\n"


def test_hints_are_counted_as_the_answer_alone(httpd: Server) -> None:
    """Connections are kept, and a client of HTTP/1.0 is told nothing."""
    for gate in GATES:
        open_gate(httpd, gate)
    line = b"GET /hints HTTP/1.1\r\nHost: h\r\n"
    answer = raw(httpd.port, (line + b"\r\n") * 2 + line + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 201 Created") == 3 and answer.count(b"HTTP/1.1 103 Early") >= 3
    assert answer.count(b"Link: </a.css>") == answer.count(b"Link: </c.css>") == 3
    old = raw(httpd.port, b"GET /hints HTTP/1.0\r\n\r\n")
    assert b" 103 " not in old and old.startswith(b"HTTP/1.1 201") and old.endswith(b"\r\n\r\na page")
    assert b"early_hint" not in raw(httpd.port, b"GET /extensions HTTP/1.0\r\n\r\n")
    assert '"http.response.early_hint": {}' in httpd.ok("/extensions").text


def test_more_hints_than_a_client_takes(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(b"GET /hints_much HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        received = until(connection, b"\r\n\r\ndone")
    assert received.count(b"Link: <xxx") == 3000


def test_a_client_that_goes_while_it_is_told(httpd: Server) -> None:
    connection = socket.create_connection(("127.0.0.1", httpd.port), 30)
    connection.sendall(b"GET /hints_much HTTP/1.1\r\nHost: h\r\n\r\n")
    until(connection, b"103")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    for _ in range(3):
        assert httpd.ok(f"/sends?{httpd.root}/four").text == "1234"


def test_a_client_that_waits_for_100_has_it_behind_hints(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(
            b"POST /hints_and_reads HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        received = until(connection, b" 100 Continue\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 103 Early Hints\r\n")
        connection.sendall(b"spam")
        until(connection, b"\r\n\r\nspam")


def test_an_error_behind_hints_is_a_500(httpd: Server) -> None:
    answer = raw(httpd.port, b"GET /hints_and_fails HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert first == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>" and rest.startswith(b"HTTP/1.1 500 ")
    httpd.claim("hints and fails")


HINT = 'ASGI: "http.response.early_hint"'


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "http.response.early_hint"}, f"KeyError: '{HINT} has no links"),
        (links(links=None), "KeyError"),
        (links(links=b"</a>"), f"TypeError: {HINT}: the links must be an iterable of bytes"),
        (links(links=3), f"TypeError: {HINT}: the links must be an iterable of bytes"),
        (links("</a>"), f"TypeError: {HINT}: the links must be an iterable of bytes"),
        (links(b"</a>", 3), "TypeError"),
        (links(b"</a>\r\nX: y"), f"ValueError: {HINT}: the value of the header Link"),
        (links(b"</a>\0"), "ValueError"),
    ],
)
def test_what_is_wrong_with_a_hint_is_raised(httpd: Server, message: dict[str, Any], error: str) -> None:
    body = repr([message]).encode()
    lines = b"POST /script HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert raw(httpd.port, lines + body).startswith(b"HTTP/1.1 500 ")
    name, text = heard(httpd)
    assert f"{name}: {text}".startswith(error), (name, text)
    httpd.claim(f"PythonHandler mod_python.asgi|{name}")


def test_no_hint_comes_behind_the_end(httpd: Server) -> None:
    assert (
        httpd.ok("/script", "POST", body=repr([links(), start(), links(), part(b"all"), links(b"</a>")])).text == "all"
    )


def test_a_part_of_a_page_has_no_hints(serve: Serve, mpm: str) -> None:
    config = (
        applications("asgi_extensions")
        + "<Directory @ROOT@/htdocs>\nOptions +Includes\nSetOutputFilter INCLUDES\n</Directory>\n"
    )
    server = site(serve, config, mpm=mpm, modules=("include", "filter"))
    server.write(
        "htdocs/page.html", "begin <!--#include virtual='/extensions' --> <!--#include virtual='/hints' --> end"
    )
    for gate in GATES:
        open_gate(server, gate)
    lines = raw(server.port, b"GET /page.html HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert b"early_hint" not in lines and b"103 Early" not in lines and b"a page" in lines and b" end" in lines


# http.response.debug


class Shy:
    """Its `repr` raises; the application's module is asked for it."""

    def __repr__(self) -> str:
        return "(lambda name: type(name, (), {'__repr__': lambda self: 1 / 0})())('Shy')"


def debug(*values: Any) -> dict[str, Any]:
    return {"type": "http.response.debug", **({"info": values[0]} if values else {})}


def test_what_is_shown_to_a_developer_is_in_the_log(httpd: Server) -> None:
    assert '"http.response.debug": {}' in httpd.ok("/debugged/extensions").text
    assert "http.response.debug" not in httpd.ok("/extensions").text
    for info, shown in (
        ({"template": "spam.html", "context": {"eggs": 17}}, "{'template': 'spam.html', 'context': {'eggs': 17}}"),
        (Shy(), "an object that cannot be shown"),
        ("%s%n\n[error] forged", re.escape("'%s%n\\\\n[error] forged'")),
    ):
        answer = httpd.get("/debugged", "POST", body=repr([debug(info), start(200), part(b"spam")]))
        assert (answer.status, answer.text) == (200, "spam")
        httpd.wait_log(f"ASGI: http.response.debug: {shown}")


@pytest.mark.parametrize(
    ("where", "messages", "error"),
    [
        ("/script", [debug({})], "is not a message that an http application can send"),
        ("/debugged", [debug()], 'KeyError: \'ASGI: "http.response.debug" has no info'),
        ("/debugged", [start(200), debug({})], "comes again, when the answer has been started"),
        ("/debugged", [{"type": "http.response.spam"}], "is not a message that an http application can send"),
    ],
)
def test_what_is_wrong_with_it_is_raised(httpd: Server, where: str, messages: list[Any], error: str) -> None:
    assert httpd.get(where, "POST", body=repr(messages)).status == 500
    name, text = heard(httpd)
    assert error in f"{name}: {text}", text
    httpd.claim(f"PythonHandler mod_python.asgi|{name}")
