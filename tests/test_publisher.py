"""mod_python.publisher: what a URL reaches, and what it must not reach."""

from __future__ import annotations

import base64
import os
import shutil

import pytest
from conftest import APPS, Serve, Server


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = (
        "PythonPath \"sys.path+['@ROOT@/apps']\"\n<Directory @ROOT@/htdocs/pub>\nSetHandler mod_python\n"
        "PythonHandler mod_python.publisher\n</Directory>\n"
        "<Location /pub/strict>\nPythonOption mod_python.publisher.imported off\n</Location>\n"
        "Alias /pub/strict @ROOT@/htdocs/pub/index.py\n"
        "<Directory @ROOT@/htdocs/ext>\nAddHandler mod_python .html\nPythonHandler mod_python.publisher | .html\n</Directory>\n"
    )
    server = serve_module(config, mpm=mpm, modules=("alias",), start=False)
    shutil.copytree(APPS / "pub", server.root / "htdocs/pub")
    shutil.copytree(APPS / "pub", server.root / "htdocs/ext")
    server.write("htdocs/pub/sub/page.py", "def index(req):\n    return 'a page below'\n")
    server.write("htdocs/pub/broken.py", "def index(req:\n")
    os.system(f"chmod -R a+rX {server.root}/htdocs")
    return server.start()


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


SPAM, HAM, WRONG = basic("spam", "eggs"), basic("ham", "eggs"), basic("spam", "no")

FOUND = [
    ("/pub/", "the index"),
    ("/pub/index", "the index"),
    ("/pub/index.py", "the index"),
    ("/pub/index/index", "the index"),
    ("/pub/hello?name=spam", "hello spam default"),
    ("/pub/index.py/hello?name=a&other=b", "hello a b"),
    ("/pub/hello/?name=%C3%A9", "hello é default"),
    ("/pub/hello?name=a&req=forged&unknown=x", "hello a default"),
    ("/pub/form?a=1&b=&c=%41", "a=1,b=,c=A"),
    ("/pub/anything?b=1&a=2&a=3", "[('a', ['2', '3']), ('b', '1')]"),
    ("/pub/keyword_only?name=k", "k"),
    ("/pub/without_req?name=n", "no req n"),
    ("/pub/generated", "one 2"),
    ("/pub/lambda_result", "called again"),
    ("/pub/text", "some text"),
    ("/pub/number", "42"),
    ("/pub/helper", "helped"),
    ("/pub/thing", "the thing called"),
    ("/pub/thing/method?name=y", "method y"),
    ("/pub/thing.method", "method x"),
    ("/pub/thing/attribute", "an attribute"),
    ("/pub/sub/page", "a page below"),
    ("/pub/guarded/open_to_all", "open"),
    ("/ext/index.html", "the index"),
    ("/ext/index.html/hello?name=x", "hello x default"),
]


@pytest.mark.parametrize(("path", "text"), FOUND, ids=[path for path, _ in FOUND])
def test_found(httpd: Server, path: str, text: str) -> None:
    answer = httpd.get(path)
    assert (answer.status, answer.text) == (200, text)


REFUSED = [
    ("/pub/_hidden", 403),
    ("/pub/__doc__", 403),
    ("/pub/thing/_private", 403),
    ("/pub/thing/__class__", 403),
    ("/pub/thing/__init__/__globals__", 403),
    # The historical holes: modules and functions that a page imports, classes, and what hangs on functions.
    ("/pub/os", 403),
    ("/pub/os/system?command=true", 403),
    ("/pub/path", 403),
    ("/pub/path/exists", 403),
    ("/pub/system?command=true", 403),
    ("/pub/rmtree?path=/tmp/none", 403),
    ("/pub/wraps?wrapped=x", 403),
    ("/pub/apache/log_error?message=x", 403),
    ("/pub/util", 403),
    ("/pub/helpers", 403),
    ("/pub/logger/critical?msg=x", 403),
    ("/pub/Template?template=x", 403),
    ("/pub/Thing", 403),
    ("/pub/Thing/value", 403),
    ("/pub/hello/func_globals", 403),
    ("/pub/hello/__globals__", 403),
    ("/pub/hello/name", 403),
    ("/pub/text/upper", 403),
    ("/pub/table/clear", 403),
    ("/pub/thing/method/__func__", 403),
    ("/pub/strict/helper", 403),
    ("/pub/nothing_there", 404),
    ("/pub/thing..method", 404),
    ("/pub/thing/..method", 404),
    ("/pub/none/there", 404),
    ("/pub/sub/", 404),
    ("/pub/..%2fetc/passwd", 404),
    ("/pub/%2e%2e/%2e%2e/etc/passwd", 400),
    ("/pub/hello%00", 404),
    ("/pub/raising", 409),
]


@pytest.mark.parametrize(("path", "status"), REFUSED, ids=[path for path, _ in REFUSED])
def test_refused(httpd: Server, path: str, status: int) -> None:
    assert httpd.get(path).status == status
    if status == 403:
        httpd.wait_log("mod_python.publisher: cannot access|AH")
    httpd.claims.append("AH10244: invalid URI path")


def test_other_kinds_of_results(httpd: Server) -> None:
    answer = httpd.ok("/pub/data")
    assert answer.body == b"\x00bytes" and answer.header("Content-Type") == "text/plain"
    assert httpd.ok("/pub/page").header("Content-Type") == "text/html; charset=utf-8"
    assert httpd.ok("/pub/text").header("Content-Type") == "text/plain; charset=utf-8"
    assert httpd.ok("/pub/typed").header("Content-Type") == "application/x-own"
    assert httpd.ok("/pub/nothing_at_all").body == b"" == httpd.ok("/pub/nothing").body
    answer = httpd.get("/pub/text", "PUT")
    assert answer.status == 405 and set((answer.header("Allow") or "").split(",")) >= {"GET", "POST"}
    answer = httpd.ok("/pub/text", "HEAD")
    assert answer.body == b""
    assert httpd.get("/pub/hello").status == 500
    httpd.claim("TypeError: hello\\(\\) missing 1 required positional argument: 'name'")
    assert httpd.get("/pub/broken").status == 500
    httpd.claim("SyntaxError")


def test_posted_forms(httpd: Server) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert httpd.ok("/pub/hello", "POST", body=b"name=a+b&other=%C3%A9", headers=headers).text == "hello a b é"
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\n12345\r\n--b--'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert httpd.ok("/pub/upload", "POST", body=body, headers=headers).text == "f.txt 5"


GUARDED = [
    ("by_function", {}, 401),
    ("by_function", WRONG, 401),
    ("by_function", HAM, 401),
    ("by_function", SPAM, 200),
    ("by_dict", {}, 401),
    ("by_dict", WRONG, 401),
    ("by_dict", HAM, 403),
    ("by_dict", SPAM, 200),
    ("by_constants", {}, 401),
    ("by_constants", HAM, 403),
    ("by_constants", SPAM, 200),
    ("by_name", WRONG, 401),
    ("by_name", SPAM, 200),
    ("never", SPAM, 401),
    ("nobody", SPAM, 403),
    ("access_only", {}, 403),
    ("access_only", SPAM, 200),
    ("guarded/method", {}, 401),
    ("guarded/method", SPAM, 200),
    ("guarded/inner", SPAM, 403),
    *((f"in_{wrapper}", {}, 401) for wrapper in ("partial", "partials", "cache", "call", "called")),
    *((f"in_{wrapper}", WRONG, 401) for wrapper in ("partial", "partials", "cache", "call", "called")),
    *((f"in_{wrapper}", SPAM, 200) for wrapper in ("partial", "partials", "cache", "call", "called")),
]


@pytest.mark.parametrize(("path", "headers", "status"), GUARDED)
def test_guarded(httpd: Server, path: str, headers: dict[str, str], status: int) -> None:
    answer = httpd.get(f"/pub/guarded/{path}", headers=headers)
    assert answer.status == status
    if status == 401:
        realm = {"by_function": 'a \\"realm\\"', "guarded/method": "the class"}.get(path, "unknown")
        assert answer.header("WWW-Authenticate") == f'Basic realm="{realm}"'


def test_a_function_does_not_run_before_its_password(httpd: Server) -> None:
    """And its markers are found without running it (docs/differences.md#restrictions-of-the-publisher)."""
    before = httpd.ok("/pub/guarded/by_function", headers=SPAM).text.split()[1]
    for headers in ({}, WRONG):
        assert httpd.get("/pub/guarded/by_function", headers=headers).status == 401
    after = httpd.ok("/pub/guarded/by_function", headers=SPAM).text.split()[1]
    assert httpd.mpm == "prefork" or int(after) == int(before) + 1


def test_a_restriction_never_gets_lost(httpd: Server) -> None:
    assert httpd.get("/pub/guarded/late", headers=SPAM).status == 500
    httpd.claim("late: cannot tell what __auth__ is without running the function")
    assert httpd.get("/pub/decorated").status == 401
    assert httpd.ok("/pub/decorated", headers=SPAM).text == "decorated secret"


def test_a_module_s_password(httpd: Server) -> None:
    for path in ("/pub/closed", "/pub/closed/value", "/pub/closed.py/index"):
        answer = httpd.get(path)
        assert (answer.status, answer.header("WWW-Authenticate")) == (401, 'Basic realm="the module"')
        assert httpd.get(path, headers=SPAM).status == 200
    for bad in ("Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(), "Digest x", "Basic"):
        assert httpd.get("/pub/closed", headers={"Authorization": bad}).status == 400


def test_a_changed_page_is_loaded_again(httpd: Server) -> None:
    httpd.write("htdocs/pub/changes.py", "def index(req): return 'one'\n")
    assert httpd.ok("/pub/changes").text == "one"
    httpd.write("htdocs/pub/changes.py", "def index(req): return 'another'\n")
    assert httpd.ok("/pub/changes").text == "another"
