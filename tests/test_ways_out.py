"""What an application gives goes out by the way of the request that is served, before its end, or not at all."""

from __future__ import annotations

import socket

import pytest
from conftest import Serve, Server, places

CONFIG = """
PythonOption mod_python.wsgi.application ways_out::filed
PythonOption mod_python.wsgi.base_uri ""
PythonWSGI /mixed ways_out:mixed
<Location /ways_out/logged>
    SetHandler mod_python
    PythonHandler ways_out::hello
    PythonLogHandler ways_out::late
    PythonCleanupHandler ways_out::late
</Location>
<Directory @ROOT@/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
</Directory>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(places("ways_out") + CONFIG, mpm=mpm, modules=("include",))
    server.write("htdocs/page.shtml", 'before <!--#include virtual="/ways_out/of_the_page" --> after')
    server.write("htdocs/file.txt", "a file\n" * 3000)
    return server


def pair(httpd: Server, path: str) -> bytes:
    """Two requests of one connection: nothing of the first may be taken for the second's answer."""
    request = "GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as connection:
        last = request.format("/ways_out/hello", "Connection: close\r\n")
        connection.sendall((request.format(path, "") + last).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("path", ["/ways_out/redirects", "/page.shtml", "/ways_out/logged", "/ways_out/registers"])
def test_an_application_answers_the_request_that_is_served(httpd: Server, path: str) -> None:
    pids = httpd.child_pids()
    got = pair(httpd, path)
    assert got.count(b"HTTP/1.1 200 ") == 2 and b"a file" not in got
    httpd.wait_log("refused: (another request is served|the request has been answered)")
    assert httpd.mpm == "prefork" or httpd.child_pids() == pids
    assert "exit signal" not in httpd.log_text()


@pytest.mark.parametrize("how", ["list", "iterator", "length", "file", "first", "raises"])
def test_nothing_of_an_application_follows_the_answer_s_end(httpd: Server, how: str) -> None:
    got = pair(httpd, f"/mixed?{how}")
    httpd.claims += ["LookupError: behind", "gives 0 bytes where its Content-Length says 6"]
    assert got.count(b"HTTP/1.1 200 ") == 2, got
    assert b"beh" not in got and b"a file" not in got and got.count(b"hello") == 2
