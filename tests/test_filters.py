"""Python as an input and output filter."""

from __future__ import annotations

import gzip
import hashlib

import pytest
from conftest import Serve, Server, places

FILTERS = """
PythonOutputFilter filters UPPER
PythonOutputFilter filters::lines LINES
PythonOutputFilter filters::passes PASSES
PythonOutputFilter filters::never_reads NEVER
PythonOutputFilter filters::disables DISABLES
PythonOutputFilter filters::properties
PythonOutputFilter filters::keeps KEEPS
PythonOutputFilter filters::status STATUS
PythonInputFilter filters INUP
PythonInputFilter filters::passes INPASS
PythonInputFilter filters::never_reads INNEVER
"""
HELLO = [
    ("upper", "UPPER", "HELLO\nWORLD\n"),
    ("lines", "LINES", "1:hello\n2:world\n"),
    ("both", "LINES;UPPER", "1:HELLO\n2:WORLD\n"),
    ("passes", "PASSES", "hello\nworld\n"),
    ("never", "NEVER", ""),
    ("disables", "DISABLES", "[1]hello\nworld\n"),
    ("status", "STATUS", ""),
    ("properties", "filters::properties", "filters::properties 0 filters::properties None /hello/properties None"),
]


def location(path: str, handler: str, more: str) -> str:
    return f"<Location {path}>\nSetHandler mod_python\nPythonHandler filters::{handler}\n{more}\n</Location>\n"


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = places("filters") + FILTERS
    config += "".join(location(f"/hello/{path}", "hello", f"SetOutputFilter {names}") for path, names, _ in HELLO)
    config += location("/keeps", "tell_expired", "SetOutputFilter KEEPS")
    config += location("/large", "large", "SetOutputFilter UPPER")
    config += location("/deflated", "echo", "SetOutputFilter UPPER;DEFLATE")
    for name in ("INUP", "INPASS", "INNEVER"):
        config += location(f"/in/{name}", "echo", f"SetInputFilter {name}")
    config += location("/in/both", "echo", "SetInputFilter INUP\nSetOutputFilter LINES")
    config += location("/in/digest", "digest", "SetInputFilter INPASS")
    config += (
        "<Location /static>\nSetOutputFilter UPPER\n</Location>\n<Location /big>\nSetOutputFilter PASSES\n</Location>\n"
    )
    config += "<Location /unknown>\nSetOutputFilter nobody_knows\n</Location>\n"
    modules = ("deflate", "filter")
    server = serve_module(config, mpm=mpm, modules=modules, start=False)
    server.write("htdocs/static/file.txt", "a file of httpd's own\n" * 1000)
    (server.root / "htdocs/static").chmod(0o755)
    with (server.root / "htdocs/big").open("wb") as file:
        file.truncate(100 << 20)
    return server.start()


@pytest.mark.parametrize(("path", "expected"), [(path, expected) for path, _, expected in HELLO])
def test_output_filter(httpd: Server, path: str, expected: str) -> None:
    answer = httpd.get(f"/hello/{path}")
    assert answer.text == expected
    assert answer.status == (201 if path == "status" else 200)


def test_a_filter_over_what_httpd_serves(httpd: Server) -> None:
    assert httpd.ok("/static/file.txt").text == "A FILE OF HTTPD'S OWN\n" * 1000


def test_a_filter_object_expires(httpd: Server) -> None:
    assert httpd.ok("/keeps").text == "onetwofilter object has expired"


def test_a_filter_before_deflate(httpd: Server) -> None:
    answer = httpd.ok("/deflated", "POST", body=b"some text " * 1000, headers={"Accept-Encoding": "gzip"})
    assert answer.header("Content-Encoding") == "gzip"
    assert gzip.decompress(answer.body) == b"SOME TEXT " * 1000


def test_100_mb_are_never_in_memory(httpd: Server) -> None:
    """And what a loop of writes gives on is what was written (docs/differences.md#what-a-filter-writes)."""
    answer = httpd.ok("/large")
    assert len(answer.body) == 1600 * 65536 and answer.body[:8] == b"ABCDEFGH" == answer.body[-8:]
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(b"ABCDEFGH" * (8192 * 1600)).digest()
    assert len(httpd.ok("/big").body) == 100 << 20
    assert int(httpd.ok("/filters/memory").text) < 80 << 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [("INUP", b"SOME BODY"), ("INPASS", b"some body"), ("INNEVER", b"some body")],
)
def test_input_filter(httpd: Server, name: str, expected: bytes) -> None:
    assert httpd.ok(f"/in/{name}", "POST", body=b"some body").body == expected
    if name == "INNEVER":
        httpd.claim("neither reads nor writes nor closes")


def test_input_and_output_filters_together(httpd: Server) -> None:
    body = b"one\ntwo\n"
    assert httpd.ok("/in/both", "POST", body=body).body == b"1:ONE\n2:TWO\n"
    large = bytes(range(256)) * 40000
    assert httpd.ok("/in/digest", "POST", body=large).text == hashlib.sha256(large).hexdigest()


def test_filters_of_a_request_s_own(httpd: Server) -> None:
    assert httpd.ok("/filters/dynamic", "POST", body=b"some text").text == "BODY: SOME TEXT"
    httpd.claims.append("unknown filter was not added: no_such_filter")
