"""mod_python.publisher: kinds of objects that no URL reaches, however a page comes by them; functions that wait."""

from __future__ import annotations

import base64
import os
import shutil

import pytest
from conftest import APPS, Serve, Server


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = (
        "PythonPath \"sys.path+['@ROOT@/apps']\"\n<Directory @ROOT@/htdocs/_site/pub>\nSetHandler mod_python\n"
        "PythonHandler mod_python.publisher\n</Directory>\nAlias /pub @ROOT@/htdocs/_site/pub\n"
    )
    server = serve_module(config, mpm=mpm, modules=("alias",), threads=1 if mpm == "prefork" else 16, start=False)
    pages = server.root / "htdocs/_site/pub"
    shutil.copytree(APPS / "reach", pages)
    for name in ("_private.py", "_below/page.py", "below/_private.py", "__init__.py", "a.b.py"):
        server.write(f"htdocs/_site/pub/{name}", "def index(req): return 'a page'\ndef f(req): return 'f'\n")
    os.system(f"chmod -R a+rX {server.root}/htdocs")
    return server.start()


REFUSED = [
    "Abstract",
    "Abstract/name",
    "Colour",
    "Colour/RED",
    "Colour/RED/name",
    "Meta",
    "lazy",
    "lazy/system",
    "lazy/path/exists",
    "bound_partial",
    "bound_partial/func",
    "nested_partial",
    "own_partial",
    "own_partial/func",
    "partial_of_method",
    "cached",
    "cached/func",
    "remembered",
    "remembered/cache_clear",
    "own_remembered/cache_clear",
    "own_remembered/cache_parameters",
    "static",
    "wrapped",
    "method_of_logger",
    "method_of_builtin",
    "logger",
    "logger/critical",
    "logger/manager",
    "environ",
    "environ/copy",
    "environb",
    "opened",
    "lock",
    "getter/name",
    "getter",
    "caller",
    "template_class",
    "job/start",
    "job/run",
    "finder",
    "with_builtin",
    "with_static",
    "with_method",
    "descriptor",
    "descriptor/fget",
    "class_method",
    "upper",
    "code",
    "generating/gi_frame",
    "generating/gi_code/co_consts",
    "namespace/cr_frame",
    "unit/with_traceback",
    "unit/args",
    "server",
    "server/get_config",
    "Record",
    "Record/_make",
    "point/_asdict",
    "text_list/append",
    "mapping/get",
    "table/clear",
    "proxy/system",
    "proxy/path/exists",
    "thing/__init__",
    "thing/method/__self__",
    "thing/method/__func__",
    "words/upper",
    "cycle",
    "spec",
    "flags",
    "__class__",
    "x.__class__",
    "Typed",
    "decimal_class",
    "counter",
    "sleep",
]


@pytest.mark.parametrize("path", REFUSED)
def test_nothing_of_the_library_is_reached(httpd: Server, path: str) -> None:
    answer = httpd.get(f"/pub/{path}")
    assert answer.status == 403, answer.text
    httpd.wait_log("mod_python.publisher: cannot access")


FOUND = [
    ("day", "2026-01-31"),
    ("price", "1.50"),
    ("favourite", "Colour.RED"),
    ("favourite/value", "1"),
    ("point/x", "1"),
    ("mapping", "{'a': 1}"),
    ("own_partial_call?name=x", "partly x"),
    ("own_remembered", "remembered"),
    ("unit", "x"),
    ("own_static", "static"),
    ("proxy/hello", "from a proxy"),
    ("thing/seen", "a property"),
    ("thing/computed", "computed"),
    ("thing/hello", "hello of thing"),
    ("thing", "called"),
    ("called_by_method", "by a method"),
    ("words", "words of one's own"),
    ("generating", "12"),
    ("a.b/f", "f"),
    ("folder", "a folder"),
]


@pytest.mark.parametrize(("path", "text"), FOUND, ids=[path for path, _ in FOUND])
def test_what_is_the_page_s_own_is_found(httpd: Server, path: str, text: str) -> None:
    answer = httpd.get(f"/pub/{path}")
    assert (answer.status, answer.text) == (200, text)


@pytest.mark.parametrize(
    "path",
    [
        "_private",
        "_private.py",
        "_private/f",
        "_private.py/f",
        "_below/page",
        "_below/page/f",
        "below/_private.py/f",
        "__init__",
        "__init__.py/f",
        "index.py/_hidden",
        "index.py/__class__",
        "index/__dict__",
        "%5fprivate.py/f",
    ],
)
def test_names_with_an_underscore_are_nobody_s(httpd: Server, path: str) -> None:
    assert httpd.get(f"/pub/{path}").status == 403
    httpd.wait_log("begins with an underscore")


def test_odd_names(httpd: Server) -> None:
    for path in ("hello%00", "index.py/hello%00", "hello%ff", "hello/%ed%a0%80", "index.py/%ef%bc%bfhidden"):
        assert httpd.get(f"/pub/{path}").status in (403, 404), path
    httpd.claims.append("AH10244|AH00026")


def test_the_table_of_rules_overrules_the_kinds(httpd: Server) -> None:
    assert httpd.get("/pub/Opened").status == 403
    assert httpd.ok("/pub/overrule").text == "done"
    assert httpd.ok("/pub/special").text == "special"
    assert httpd.get("/pub/special/attribute").status == 403
    assert httpd.ok("/pub/overrule?back=1").text == "done"
    httpd.wait_log("cannot access")


WAITING = [
    ("waits?name=x", "waited x"),
    ("yields", "one two 3"),
    ("nested", "inner and outer"),
    ("makes_a_waiter", "waited y"),
    ("custom", "from __await__"),
    ("partly", "waited y"),
    ("calls_back", "waited b"),
    ("task", "from a task"),
    ("returns_yields", "one two 3"),
    ("object_that_waits", "called and waited"),
]


@pytest.mark.parametrize(("path", "text"), WAITING, ids=[path for path, _ in WAITING])
def test_functions_that_wait(httpd: Server, path: str, text: str) -> None:
    for _ in range(2):
        answer = httpd.get(f"/pub/waiting/{path}")
        assert (answer.status, answer.text) == (200, text)


def test_what_cannot_be_waited_for(httpd: Server) -> None:
    assert httpd.get("/pub/waiting/fails").status == 500
    httpd.claim("ZeroDivisionError")
    assert httpd.get("/pub/waiting/foreign_future").status == 500
    httpd.claim("attached to a different loop|no running event loop")
    assert httpd.get("/pub/waiting/conflict").status == 409
    assert "never awaited" not in httpd.log_text()


def test_no_loop_is_left_behind(httpd: Server) -> None:
    for _ in range(20):
        httpd.ok("/pub/waiting/yields")
        httpd.ok("/pub/waiting/leaves_a_task")
    assert httpd.ok("/pub/waiting/loops").text == "0"


def test_a_password_that_is_waited_for(httpd: Server) -> None:
    def basic(user: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:eggs".encode()).decode()}

    for path in ("guarded", "accessible"):
        assert httpd.ok(f"/pub/waiting/{path}", headers=basic("spam")).text == "secret"
        assert httpd.get(f"/pub/waiting/{path}", headers=basic("ham")).status in (401, 403)
