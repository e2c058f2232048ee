"""What becomes of an answer whose handler fails: an error's page, or an end that the client can see."""

from __future__ import annotations

import http.client
import re
import socket
from pathlib import Path

import pytest
from client import raw
from conftest import Serve, Server, places
from test_wsgi_protocols import certificate, fetch

__all__ = ["certificate"]

DEBUG = "<LocationMatch /late/>\nPythonDebug ${DEBUG}\n</LocationMatch>\n"


@pytest.fixture(scope="module", params=["Off", "On"])
def httpd(request: pytest.FixtureRequest, serve_module: Serve, mpm: str) -> Server:
    text = places("late", "hello") + DEBUG.replace("${DEBUG}", request.param)
    server = serve_module(text, mpm=mpm)
    server.debug = request.param == "On"  # type: ignore[attr-defined]
    return server


def test_what_has_not_left_is_forgotten(httpd: Server) -> None:
    answer = httpd.get("/late/unsent")
    httpd.claim("PythonHandler late::unsent: Traceback.*LookupError: late")
    assert answer.status == 500 and "abc" not in answer.text and answer.header("ETag") is None
    assert ("Mod_python error" in answer.text) == httpd.debug  # type: ignore[attr-defined]
    assert answer.text.rstrip().endswith("LookupError: late" if httpd.debug else "</html>")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["sent", "sent_whole_length", "head_sent", "filled"])
def test_a_late_failure_is_seen_by_the_client(httpd: Server, name: str) -> None:
    with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)):
        httpd.get(f"/late/{name}")
    httpd.claim(f"PythonHandler late::{name}: Traceback.*LookupError: late")
    got = raw(httpd.port, f"GET /late/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 200 ") and b"\r\n0\r\n" not in got and b"<html" not in got
    # With PythonDebug On what went wrong is its last part, where that is not taken for the rest of a stated length.
    shown = httpd.debug and name != "sent_whole_length"  # type: ignore[attr-defined]
    assert (b"<pre" in got, b"LookupError: late" in got) == (shown, shown)
    assert httpd.ok("/hello/unflushed")


def test_a_late_failure_over_http_1_0(httpd: Server) -> None:
    """Where the end of the connection is the answer's end, nothing is added at least."""
    got = raw(httpd.port, b"GET /late/sent HTTP/1.0\r\n\r\n")
    httpd.claim("late::sent: Traceback")
    assert got.endswith(b"</pre>\n" if httpd.debug else b"first;")  # type: ignore[attr-defined]
    assert b"second;" not in got


def test_wrong_results_are_shown_under_debug(httpd: Server) -> None:
    for path, text in (
        ("forgotten", "the handler returned a value of type NoneType"),
        ("no_status", "the handler returned 1, which is no status"),
        ("wrong_return", "the handler raised SERVER_RETURN with a value of type NoneType"),
    ):
        answer = httpd.get(f"/late/{path}")
        assert f"PythonHandler late::{path}: " in httpd.claim(text)
        assert answer.status == 500 and "abc" not in answer.text
        shown = f'Mod_python error: "PythonHandler late::{path}"' in answer.text and text in answer.text
        assert shown == httpd.debug  # type: ignore[attr-defined]
    got = raw(httpd.port, b"GET /late/forgotten?sent HTTP/1.1\r\nHost: localhost\r\n\r\n")
    httpd.claim("a value of type NoneType")
    assert b"abc" in got and b"\r\n0\r\n" not in got
    assert (b"a value of type NoneType" in got) == httpd.debug  # type: ignore[attr-defined]


def test_statuses_that_come_too_late(httpd: Server) -> None:
    with pytest.raises(http.client.IncompleteRead):
        httpd.get("/late/not_found")
    httpd.claim("PythonHandler: 404 comes too late")
    answer = httpd.get("/late/told")
    assert answer.status == 404 and answer.text.startswith("told;")
    assert httpd.ok("/late/done").text == "whole"


@pytest.mark.parametrize(
    "name", ["no_content", "not_modified", "to_missing", "to_failing", "to_file", "declined", "moved"]
)
def test_an_error_s_page_never_follows_a_part(httpd: Server, name: str) -> None:
    """Not behind a head without a body, not from a request that the answer is redirected to, not from httpd itself."""
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        request = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(request % f"/late/{name}".encode() + request % b"/hello/unflushed")
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    httpd.claims += ["comes too late", "late::fails: Traceback", "LookupError: late"]
    assert got.count(b"HTTP/1.1 ") <= 1 and b"<html" not in got.lower() and b"\r\n0\r\n" not in got
    if name not in ("no_content", "not_modified"):
        assert b"first;" in got
        httpd.wait_log("comes too late|late::fails: Traceback")


def test_a_failure_behind_a_complete_answer(httpd: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        request = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
        connection.sendall(request % (b"/late/redirected", b""))
        connection.sendall(request % (b"/hello/unflushed", b"Connection: close\r\n"))
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    httpd.claim("late::redirected: Traceback.*LookupError: late")
    assert got.count(b"HTTP/1.1 200 ") == 2 and b"whole" in got and got.rstrip(b"\r\n0").endswith(b"Hello World!")


@pytest.mark.parametrize("name", ["reading", "reading_later"])
def test_a_client_that_stops_sending(httpd: Server, name: str) -> None:
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        connection.sendall(f"POST /late/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc".encode())
        connection.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    if httpd.debug:  # type: ignore[attr-defined]
        httpd.claim(f"PythonHandler late::{name}: Traceback.*OSError: Client read error")
    else:
        httpd.wait_log(f"PythonHandler late::{name}: the client went away: Client read error")
    if name == "reading_later":
        assert got.startswith(b"HTTP/1.1 200 ") and b"\r\n0\r\n" not in got
        assert (b"<pre" in got) == httpd.debug  # type: ignore[attr-defined]
    elif httpd.debug:  # type: ignore[attr-defined]
        assert got.startswith(b"HTTP/1.1 500 ") and b"Traceback" in got and b"OSError: Client read error" in got
    else:
        assert got.startswith(b"HTTP/1.1 400 ") and b"Traceback" not in got


def test_an_included_part_that_fails_leaves_the_page(serve: Serve, mpm: str) -> None:
    server = serve(
        places("late")
        + "<Directory @ROOT@/htdocs>\nOptions +Includes\nAddOutputFilter INCLUDES .shtml\n</Directory>\n",
        mpm=mpm,
        modules=("include",),
    )
    server.write("htdocs/page.shtml", "before<!--#include virtual='/late/included' -->after")
    text = server.ok("/page.shtml").text
    server.claim("late::included: Traceback")
    server.claims.append("unable to include")
    assert text.startswith("before") and text.endswith("after") and "part;" not in text


def test_http_2(serve: Serve, certificate: Path) -> None:
    server = serve("Protocols h2c http/1.1\n" + places("late"), mpm="event", modules=("http2",))
    other = (server, "http", ["--http2-prior-knowledge"])
    assert fetch(other, "/late/unsent")[0] == 500
    for name in ("sent", "filled", "not_found"):
        assert fetch(other, f"/late/{name}")[0] < 0, name
    assert fetch(other, "/late/done")[2] == b"whole"
    server.claims += ["LookupError: late", "404 comes too late"]


def test_with_filters(serve: Serve, mpm: str) -> None:
    """What a filter keeps has not left: the error's page is the whole answer."""
    server = serve("SetOutputFilter DEFLATE\n" + places("late"), mpm=mpm, modules=("deflate", "filter"))
    answer = server.get("/late/unsent", headers={"Accept-Encoding": "gzip"})
    assert answer.status == 500
    with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)):
        server.get("/late/sent", headers={"Accept-Encoding": "gzip"})
    server.claims.append("LookupError: late")


def test_a_traceback_is_an_entry_a_line(serve: Serve, mpm: str) -> None:
    text = places("late")
    server = serve(
        f"{text}<VirtualHost *:@PORT@>\nServerName own\nErrorLog @ROOT@/own.log\n{text}</VirtualHost>\n", mpm=mpm
    )
    assert server.get("/late/chained").status == 500
    log = server.root / "own.log"
    server._wait(lambda: "KeyError: 'outer'" in log.read_text(), "no traceback in the virtual host's log")
    lines = [line for line in log.read_text().splitlines() if ":error]" in line]
    decoration = re.compile(r"\[[^]]+\] \[python:error\] \[pid \d+[^]]*\] \[client 127\.0\.0\.1:\d+\] (.*)")
    shown = [found[1] for line in lines if (found := decoration.fullmatch(line))]
    assert len(shown) == len(lines)
    assert shown[0] == "PythonHandler late::chained: Traceback (most recent call last):"
    assert shown[1].startswith('  File "') and shown[-1] == "KeyError: 'outer'"
    assert "LookupError: late" in shown and "" not in shown and not any("\\n" in line for line in shown)
    assert not any("/mod_python/" in line and "File" in line for line in shown)
    assert "late" not in server.log_text()


def test_what_an_exception_says_is_one_line(serve: Serve, mpm: str) -> None:
    """A message may hold what a client has sent: no line of the log begins with it."""
    server = serve(places("late"), mpm=mpm)
    assert server.get("/late/long_message?x").status == 500
    server.claim("ValueError: first")
    lines = [line for line in server.log_text().splitlines() if ":error]" in line]
    assert lines[-1].endswith(r"ValueError: first\nsecond [python:error] forged\nthird x")
    assert not any("second" in line for line in lines[:-1] if "raise ValueError" not in line)
