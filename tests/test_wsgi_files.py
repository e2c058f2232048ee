"""What `wsgi.file_wrapper` sends from a descriptor, and what it must read."""

from __future__ import annotations

import codecs

import pytest
from client import raw
from conftest import Serve, Server

CONFIG = """
PythonPath "sys.path+['@ROOT@/apps']"
PythonOutputFilter wsgi_limits::shrink SHRINK
PythonWSGI /files wsgi_limits:files
PythonWSGI /own wsgi_limits:own_wrapper
PythonWSGI /shrinks wsgi_limits:shrinks
PythonWSGI /environment wsgi_limits:environment
"""
DATA = "the quick brown fox"


@pytest.fixture(scope="module", params=["event", "worker", "prefork", "event, by the kernel"])
def httpd(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    mpm, _, kernel = request.param.partition(", ")
    return serve_module(("EnableSendfile On\n" if kernel else "") + CONFIG, mpm=mpm)


SENT = {
    "plain": DATA,
    "raw": DATA,
    "proxy": DATA,
    "peeked": DATA[3:],
    "unflushed": DATA[3:],
    "appended": (DATA + "!")[2:],
    "temporary": "orary",
}
"""These have a length: they are sent from their descriptor."""

ROT13 = codecs.encode(DATA, "rot13")
READ = {
    "decrypting": ROT13,
    "impostor": ROT13,
    "named": ROT13,
    "wrapped": ROT13,
    "patched": ROT13,
    "patched_temporary": ROT13,
    "text": DATA,
    "pipe": "from a pipe",
    "memory": "in memory",
    "compressed": "unpacked",
    "beyond": "",
}


@pytest.mark.parametrize("kind", SENT)
def test_real_files_are_sent(httpd: Server, kind: str) -> None:
    (httpd.root / "data").write_text(DATA)
    (httpd.root / "data").chmod(0o666)
    answer = httpd.ok(f"/files?{kind}&{httpd.root}/data")
    assert answer.text == SENT[kind] and answer.header("Content-Length") == str(len(SENT[kind]))


@pytest.mark.parametrize("kind", READ)
def test_others_are_read(httpd: Server, kind: str) -> None:
    (httpd.root / "data").write_text(DATA)
    assert httpd.ok(f"/files?{kind}&{httpd.root}/data").text == READ[kind]
    if kind == "text":
        httpd.wait_log("gives str where PEP 3333 wants bytes")


def test_files_of_the_kernel_are_read(httpd: Server) -> None:
    assert b"\0" in httpd.ok("/files?proc").body
    assert "[" in httpd.ok("/files?sys").text


@pytest.mark.parametrize("kind", ["closed", "closed_below", "write_only"])
def test_what_cannot_be_read_is_an_error(httpd: Server, kind: str) -> None:
    (httpd.root / "data").write_text(DATA)
    assert httpd.get(f"/files?{kind}&{httpd.root}/data").status == 500
    httpd.claim("ValueError: .*closed|Bad file descriptor|UnsupportedOperation")


def test_a_wrapper_of_ones_own(httpd: Server) -> None:
    (httpd.root / "data").write_text(DATA)
    assert httpd.ok(f"/own?{httpd.root}/data").text == "something else"


def test_a_file_that_becomes_shorter(httpd: Server) -> None:
    """The client can tell, and the child lives."""
    before = set(httpd.child_pids())
    answer = raw(httpd.port, b"GET /shrinks HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(answer) < 600_000 and b"\0" not in answer
    httpd.claim("gives a file that has become shorter while it was sent")
    assert httpd.ok("/environment").status == 200 and before <= set(httpd.child_pids())
