"""mod_python.publisher remembers what it has found out about a page: whatever changes counts at the next request."""

from __future__ import annotations

import os

import pytest
from conftest import Serve, Server

PAGE = """
from mod_python import apache, publisher

CALLS = 0


def hello(req, name="nobody"):
    return f"hello {name}"


def other(req, town="nowhere"):
    return f"other {town}"


def changes(req, what):
    global hello
    if what == "rebound":
        hello = other
    elif what == "code":
        hello.__code__ = other.__code__
    elif what == "attribute":
        hello.__wrapped__ = print
    elif what == "auth":
        globals()["__auth__"] = {"spam": "eggs"}
    elif what == "access":
        globals()["__access__"] = False
    elif what == "getattr":
        globals()["__getattr__"] = lambda name: {"__access__": False}[name] if name == "__access__" else missing(name)
    elif what == "rules":
        publisher.tp_rules[type(hello)] = (False, False)
    elif what == "deleted":
        del globals()["hello"]
    elif what == "value":
        hello = 42
    return what


def missing(name):
    raise AttributeError(name)
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = (
        "<Directory @ROOT@/htdocs/pub>\nSetHandler mod_python\nPythonHandler mod_python.publisher\n</Directory>\n"
        "<Directory @ROOT@/htdocs/kept>\nSetHandler mod_python\nPythonHandler mod_python.publisher\nPythonAutoReload off\n</Directory>\n"
    )
    return serve_module(config, mpm=mpm, threads=1 if mpm == "prefork" else 16)


def written(server: Server, name: str, text: str, time: int = 0) -> str:
    path = server.write(f"htdocs/{name}.py", text)
    path.parent.chmod(0o755)
    if time:
        os.utime(path, (time, time))
    return "/" + name


CHANGES = [
    ("rebound", 200, "other nowhere"),
    ("code", 200, "other nobody"),
    ("attribute", 403, None),
    ("auth", 401, None),
    ("access", 403, None),
    ("getattr", 403, None),
    ("rules", 403, None),
    ("deleted", 404, None),
    ("value", 200, "42"),
]


@pytest.mark.parametrize(("what", "status", "text"), CHANGES, ids=[what for what, _, _ in CHANGES])
def test_what_a_page_changes_while_it_runs(httpd: Server, what: str, status: int, text: str | None) -> None:
    page = written(httpd, f"pub/{what}", PAGE)
    for _ in range(3):
        assert httpd.ok(f"{page}/hello?name=spam").text == "hello spam"
    assert httpd.ok(f"{page}/changes?what={what}").text == what
    if what == "rules":
        assert httpd.get(f"{page}/changes?what=none").status == status
        # The rules are all pages'.
        written(
            httpd,
            "pub/resetting",
            "from mod_python import publisher\npublisher.tp_rules[type(lambda: 0)] = (False, True)\n",
        )
    httpd.claims.append("cannot access")
    answer = httpd.get(f"{page}/hello")
    assert answer.status == status and text in (None, answer.text)
    if what == "rules":
        assert httpd.get("/pub/resetting").status == 404
        assert httpd.ok(f"{page}/hello").text == "hello nobody"


def test_files_that_come_and_go(httpd: Server) -> None:
    written(httpd, "pub/index", "def page(req): return 'of the index'\n")
    assert [httpd.ok("/pub/page").text for _ in range(3)] == ["of the index"] * 3
    written(httpd, "pub/page", "def index(req): return 'of its own'\n")
    assert [httpd.ok("/pub/page").text for _ in range(3)] == ["of its own"] * 3
    written(httpd, "pub/page", "def index(req): return 'as changed'\n", 1_000_000_000)
    assert [httpd.ok("/pub/page").text for _ in range(3)] == ["as changed"] * 3
    (httpd.root / "htdocs/pub/page.py").unlink()
    assert [httpd.ok("/pub/page").text for _ in range(3)] == ["of the index"] * 3
    (httpd.root / "htdocs/pub/index.py").unlink()
    assert httpd.get("/pub/page").status == 404


def test_without_reloading(httpd: Server) -> None:
    written(httpd, "kept/page", "def index(req): return 'first'\n")
    assert [httpd.ok("/kept/page").text for _ in range(3)] == ["first"] * 3
    written(httpd, "kept/page", "def index(req): return 'second'\n", 1_000_000_000)
    assert [httpd.ok("/kept/page").text for _ in range(3)] == ["first"] * 3
    (httpd.root / "htdocs/kept/page.py").unlink()
    assert httpd.get("/kept/page").status == 404


def test_spellings_of_one_page(httpd: Server) -> None:
    written(
        httpd,
        "pub/spelled",
        "def index(req, a='0'): return f'index {a} {req.filename[-10:]} {sorted(req.form.keys())}'\n",
    )
    for _ in range(2):
        for path in (
            "/pub/spelled",
            "/pub/spelled.py",
            "/pub/spelled/",
            "/pub/spelled/index",
            "/pub/spelled.py/index/",
        ):
            assert httpd.ok(f"{path}?a=1&b=").text == "index 1 spelled.py ['a', 'b']", path
            assert httpd.ok(path, method="POST", body=b"a=2").text == "index 2 spelled.py ['a']", path
            assert httpd.get(path, method="HEAD").status == 200
            assert httpd.get(path, method="PUT").status == 405
