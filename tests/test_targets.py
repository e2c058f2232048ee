"""Requests whose target is no path, or whose method is httpd's own: an application that takes the whole server gets none of them."""

from __future__ import annotations

import json

import pytest
from asgi_site import site
from client import raw
from conftest import Serve, Server

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
    hosts = {"plain": "", "plain_untraced": "TraceEnable off", "page": page, **HOSTS}
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
