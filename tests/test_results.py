"""What handlers return and raise, and what becomes of it."""

from __future__ import annotations

import pytest
from conftest import Serve, Server, places

CONFIG = """
<Location /debug>
    SetHandler mod_python
    PythonHandler results::exception
    PythonDebug On
</Location>
<Location /debug/again>
    PythonHandler results::unprintable
</Location>
<Location /two>
    SetHandler mod_python
    PythonHandler hello::unflushed hello::unflushed
    PythonHandler results::done results::exception
</Location>
<Location /two/declined>
    PythonHandler hello::unflushed results::declined hello::unflushed
</Location>
<Location /missing/module>
    SetHandler mod_python
    PythonHandler nowhere_to_be_found
</Location>
<Location /missing/function>
    SetHandler mod_python
    PythonHandler hello::no_such_function
</Location>
<Location /missing/attribute>
    SetHandler mod_python
    PythonHandler hello::keeper.nothing
</Location>
<Location /broken>
    SetHandler mod_python
    PythonHandler broken_syntax
</Location>
<Location /raising>
    SetHandler mod_python
    PythonHandler raising_at_import
</Location>
<Location /bad_path>
    SetHandler mod_python
    PythonHandler hello
    PythonPath "sys.path + undefined_name"
</Location>
<Location /odd_path>
    SetHandler mod_python
    PythonHandler hello
    PythonPath "42"
</Location>
<Location /silent>
    SetHandler mod_python
    PythonHandlerModule hello
</Location>
ErrorDocument 404 /hello/unflushed
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(places("hello", "results") + CONFIG, mpm=mpm, start=False)
    server.write("apps/broken_syntax.py", "def handler(req:\n")
    server.write("apps/raising_at_import.py", "raise LookupError('at import')\n")
    server.start()
    return server


def test_ok_and_done(httpd: Server) -> None:
    assert httpd.ok("/results/done").text == "done"
    assert httpd.ok("/hello/nothing").text == ""


def test_several_handlers_go_on_after_ok_only(httpd: Server) -> None:
    assert httpd.ok("/two").text == "Hello World!Hello World!done"


def test_declined_goes_to_the_next_handler_of_httpd(httpd: Server) -> None:
    """DECLINED ends a content list (docs/differences.md#declined-among-content-handlers)."""
    assert httpd.get("/results/declined").status in (404, 405)
    answer = httpd.get("/two/declined")
    assert answer.text.startswith("Hello World!")
    httpd.claims.append("AH00127|AH00128|File does not exist")


def test_statuses(httpd: Server) -> None:
    assert httpd.get("/results/gone").status == 410
    answer = httpd.get("/results/redirect")
    assert (answer.status, answer.header("Location")) == (302, "/hello")


def test_error_documents_are_handlers_too(httpd: Server) -> None:
    answer = httpd.get("/results/not_found")
    assert (answer.status, answer.text) == (404, "Hello World!")


def test_an_error_document_takes_the_place_of_unsent_output(httpd: Server) -> None:
    answer = httpd.get("/results/written_then_forbidden")
    assert answer.status == 403 and "before;" not in answer.text and "Forbidden" in answer.text


def test_200_is_an_error_document(httpd: Server) -> None:
    answer = httpd.get("/results/status_200")
    assert answer.status == 200 and answer.text.startswith("x<!DOCTYPE")


def test_server_return_with_a_status(httpd: Server) -> None:
    answer = httpd.get("/results/return_ok_with_status")
    assert (answer.status, answer.text) == (201, "made")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "returned a value of type NoneType"),
        ("text", "returned a value of type str"),
        ("true", "returned a value of type bool"),
        ("huge", "returned a value of type int"),
        ("return_pair", "raised SERVER_RETURN with a value of type tuple"),
        ("return_nothing", "tuple index out of range"),
        ("system_exit", "SystemExit: 3"),
        ("keyboard_interrupt", "KeyboardInterrupt"),
        ("exception", "ValueError: a <b> & the rest"),
        ("unprintable", "Strange: <exception str\\(\\) failed>"),
        ("deep", "RecursionError"),
        ("memory", "MemoryError"),
    ],
)
def test_mistakes_are_500_with_a_log_line(httpd: Server, name: str, message: str) -> None:
    answer = httpd.get(f"/results/{name}")
    assert answer.status == 500 and "Traceback" not in answer.text
    line = httpd.claim(message)
    assert f"PythonHandler results::{name}: " in line and "[client 127.0.0.1" in line
    assert httpd.ok("/hello/unflushed")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing/module", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("/missing/function", "AttributeError: module '.*hello.py' contains no 'no_such_function'"),
        ("/missing/attribute", "AttributeError: module '.*hello.py' contains no 'keeper.nothing'"),
        ("/broken", "SyntaxError"),
        ("/raising", "LookupError: at import"),
        ("/bad_path", "NameError: PythonPath 'sys.path . undefined_name' cannot be evaluated"),
        ("/odd_path", "TypeError: PythonPath '42' must be a list of str"),
    ],
)
def test_what_cannot_be_loaded_is_500(httpd: Server, path: str, message: str) -> None:
    for _ in range(2):
        assert httpd.get(path).status == 500
        assert "PythonHandler " in httpd.claim(message)
    assert httpd.ok("/hello/unflushed")


def test_debug_shows_the_traceback_escaped(httpd: Server) -> None:
    answer = httpd.get("/debug", headers={"Accept": "text/html"})
    httpd.claim("ValueError: a <b>")
    assert answer.status == 500 and (answer.header("Content-Type") or "").startswith("text/html")
    assert "Mod_python error: &quot;PythonHandler results::exception&quot;" in answer.text
    assert "ValueError: a &lt;b&gt; &amp; the rest" in answer.text and "<b>" not in answer.text
    assert httpd.get("/debug/again").status == 500
    httpd.claim("Strange")


def test_handler_module(httpd: Server) -> None:
    """Phases that the module has no function for are skipped (docs/differences.md#handler-modules)."""
    assert httpd.ok("/silent").text == "Hello World!"
