"""Requests whose target is no path, or whose method is httpd's own: an application that takes the whole server gets none of them."""

from __future__ import annotations

import json
import socket
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from asgi_site import site
from client import raw
from conftest import Serve, Server

from httpd import PATIENCE

ASGI = "PythonASGI / asgi_apps:scoped"
HOSTS = {
    "asgi": ASGI,
    "wsgi": "PythonWSGI / wsgi_apps:hello",
    "section": """<Location />
        SetHandler mod_python
        PythonHandler mod_python.asgi
        PythonOption mod_python.asgi.application asgi_apps::scoped
    </Location>""",
    "around": f"{ASGI}\nSetHandler mod_python\nPythonHandler mod_python.asgi",
    "index": f"{ASGI}\nDirectoryIndex /x",
    "fallback": f"{ASGI}\nFallbackResource /x",
    "untraced": f"{ASGI}\nTraceEnable off",
}


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    page = f"{ASGI}\nErrorDocument 405 /page"
    hosts = {
        "canonical": f"{ASGI}\nUseCanonicalName On\nUseCanonicalPhysicalPort Off",
        "environ": "PythonWSGI / targets:environment",
        "handler": "<Location />\nSetHandler mod_python\nPythonHandler targets\n</Location>",
        "plain": "",
        "plain_untraced": "TraceEnable off",
        "page": page,
        **HOSTS,
    }
    config = "".join(
        f"<VirtualHost *:@PORT@>\nServerName {name}\n{text}\n</VirtualHost>\n" for name, text in hosts.items()
    )
    return site(serve_module, f"TraceEnable on\n{config}", mpm="event")


def ask(server: Server, line: str, host: str) -> tuple[int, bytes]:
    text = f"{line.replace('@', host)} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    head, _, body = raw(server.port, text.encode()).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("host", [host for host in HOSTS if host != "untraced"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("CONNECT @:443", 405),
        ("CONNECT @:80", 405),
        ("CONNECT /x", 400),
        ("CONNECT *", 400),
        ("OPTIONS *", 200),
        ("GET *", 400),
        ("GET @:80", 400),
        ("GET x", 400),
        ("GET ftp://@/x", 400),
        ("TRACE /x", 200),
        ("TRACE http://@/x", 200),
    ],
)
def test_httpd_answers_as_without_an_application(httpd: Server, host: str, line: str, status: int) -> None:
    assert ask(httpd, line, "plain")[0] == status
    found, body = ask(httpd, line, host)
    assert found == status and b"Hello" not in body
    assert not body.startswith(b"{")


def test_an_application_may_make_the_page_of_the_refusal(httpd: Server) -> None:
    scope = json.loads(ask(httpd, "CONNECT @:443", "page")[1])
    assert (scope["path"], scope["method"]) == ("/page", "GET")


def test_trace_is_httpds_where_it_is_refused(httpd: Server) -> None:
    assert ask(httpd, "TRACE /x", "plain_untraced")[0] == ask(httpd, "TRACE /x", "untraced")[0] == 405


def test_the_absolute_form_counts_more_than_the_host_field(httpd: Server) -> None:
    """RFC 9112, 3.2.2."""
    text = b"GET http://asgi:8080/a%20b/?c HTTP/1.1\r\nHost: wsgi\r\nConnection: close\r\n\r\n"
    scope = json.loads(raw(httpd.port, text).partition(b"\r\n\r\n")[2])
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b/", "/a%20b/", "c")
    assert [value for name, value in scope["headers"] if name == "host"] == ["asgi:8080"]
    text = b"GET http://asgi HTTP/1.1\r\nHost: asgi\r\nConnection: close\r\n\r\n"
    scope = json.loads(raw(httpd.port, text).partition(b"\r\n\r\n")[2])
    assert (scope["path"], scope["raw_path"]) == ("/", "/")


@pytest.mark.parametrize("method", ["BREW", "PROPFIND", "OPTIONS", "X-A.B"])
def test_other_methods_are_the_applications(httpd: Server, method: str) -> None:
    status, body = ask(httpd, f"{method} /x", "asgi")
    assert status == 200 and json.loads(body)["method"] == method


def test_the_server_is_the_address_that_the_client_is_connected_to(httpd: Server) -> None:
    """Whatever the client says, and whatever httpd calls itself: what that is called, the Host field says."""
    for line, host in (("GET /x", "asgi"), ("GET http://asgi:8080/x", "asgi:1"), ("GET /x", "asgi:81")):
        text = f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        scope = json.loads(raw(httpd.port, text.encode()).partition(b"\r\n\r\n")[2])
        assert scope["server"] == ["127.0.0.1", httpd.port] and scope["client"][0] == "127.0.0.1"
    scope = json.loads(raw(httpd.port, b"GET http://canonical/ HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2])
    assert scope["server"] == ["127.0.0.1", httpd.port]


COOKIES = [
    (["a=1", "b=2"], "a=1; b=2"),
    (["a=1; c=3", "b=2", "d="], "a=1; c=3; b=2; d="),
    (["a=Thu, 01 Jan", "b=2"], "a=Thu, 01 Jan; b=2"),
    (['a="x, y=z"', "b=2"], 'a="x, y=z"; b=2'),
    (["a=1, b=2"], "a=1, b=2"),
    (["a=x, y=z; b=2"], "a=x, y=z; b=2"),
]


@pytest.mark.parametrize(("fields", "expected"), COOKIES)
def test_cookie_fields_are_joined_as_cookies_are(httpd: Server, fields: list[str], expected: str) -> None:
    """httpd joins fields of one name with a comma (RFC 9113, 8.2.3 says how); one that has come as one stays as it is."""
    lines = "".join(f"X-A: 1\r\nCookie: {field}\r\nX-B: {'2' * 40}\r\n" for field in fields)

    def got(host: str) -> str:
        text = f"GET /x HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n"
        return raw(httpd.port, text.encode("latin-1")).partition(b"\r\n\r\n")[2].decode("latin-1")

    assert [value for name, value in json.loads(got("asgi"))["headers"] if name == "cookie"] == [expected]
    assert json.loads(got("environ"))["HTTP_COOKIE"] == expected
    assert got("handler") == expected


@pytest.mark.parametrize("host", ["asgi", "plain"])
def test_a_tunnel_over_http2_is_asked_for_in_vain(serve: Serve, host: str) -> None:
    config = f"Protocols h2c http/1.1\nH2WebSockets on\n{ASGI if host == 'asgi' else ''}\n"
    server = site(serve, config, mpm="event", modules=("http2",))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        http = h2.connection.H2Connection(h2.config.H2Configuration())
        http.initiate_connection()
        http.send_headers(1, [(":method", "CONNECT"), (":authority", "example.org:443")])
        connection.sendall(http.data_to_send())
        events: list[Any] = []
        while not any(isinstance(event, (h2.events.ResponseReceived, h2.events.StreamReset)) for event in events):
            data = connection.recv(65536)
            assert data, events
            events += http.receive_data(data)
    statuses = [dict(event.headers)[b":status"] for event in events if isinstance(event, h2.events.ResponseReceived)]
    assert statuses in ([], [b"400"], [b"405"]), statuses
