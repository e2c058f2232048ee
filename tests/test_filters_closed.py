"""A filter that cannot do its work lets nothing pass; mod_filter; an answer that comes bit by bit."""

from __future__ import annotations

import http.client
import os
import socket
import time

import pytest
from conftest import Serve, Server

FILTERS = {
    "RAISES": "closed::raises",
    "WRITES": "closed::writes_then_raises",
    "MISSING": "closed::there_is_none",
    "BROKEN": "broken_filter",
    "NOMODULE": "there_is_no_such_module",
    "ASYNC": "closed::is_async",
    "YIELDS": "closed::yields",
    "LATER": "closed::later",
    "UPPY": "closed::upper",
    "PASSES": "closed::passes",
}
RETURNING = {
    "FORBIDS": "closed::forbids",
    "UNREAD": "closed::forbids_unread",
    "REDIRECTS": "closed::redirects",
    "LATEGONE": "closed::ends_late",
    "NOSTATUS": "closed::is_no_status",
    "ENDS": "closed::ends",
    "DONE": "closed::is_done",
    "FLUSHES": "closed::flushes",
    "ADDS": "closed::adds_while_read",
}
CGI = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\nfirst\\n'
while [ ! -e "$DOCUMENT_ROOT/go" ]; do sleep 0.02; done
printf 'second\\n'
"""


def section(path: str, handler: str, more: str) -> str:
    return f"<Location {path}>\nSetHandler mod_python\nPythonHandler closed::{handler}\n{more}\n</Location>\n"


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\n"
    for name, handler in FILTERS.items():
        config += f"PythonOutputFilter {handler} {name}\nPythonInputFilter {handler} IN{name}\n"
        config += section(f"/out/{name}", "content", f"SetOutputFilter {name}")
        config += section(f"/long/{name}", "long_content", f"SetOutputFilter {name}")
        config += section(f"/deflated/{name}", "content", f"SetOutputFilter {name};DEFLATE")
        config += section(f"/in/{name}", "echo", f"SetInputFilter IN{name}")
        config += f"<Location /static/{name}>\nSetOutputFilter {name}\n</Location>\n"
    for name, handler in RETURNING.items():
        config += f"PythonOutputFilter {handler} {name}\nPythonInputFilter {handler} IN{name}\n"
        config += section(f"/out/{name}", "content", f"SetOutputFilter {name}")
        config += section(f"/in/{name}", "reads", f"SetInputFilter IN{name}")
    config += section("/many", "many", "")
    config += "LimitInternalRecursion 30\n" + section("/redirected", "redirected", "LimitRequestBody 10")
    config += section("/in/caught", "catches", "SetInputFilter INRAISES")
    config += section("/bytype/one", "content", "AddOutputFilterByType UPPY text/plain")
    config += section("/bytype/two", "content", "AddOutputFilterByType PASSES;UPPY text/plain")
    config += section("/bytype/other", "content", "AddOutputFilterByType UPPY image/png")
    config += section("/bytype/fails", "content", "AddOutputFilterByType RAISES text/plain")
    config += 'FilterDeclare chain\nFilterProvider chain LATER "false"\nFilterProvider chain UPPY "true"\n'
    config += section("/chain", "content", "FilterChain chain")
    config += (
        "<Directory @ROOT@/htdocs>\nOptions +ExecCGI +Includes\nAddHandler cgi-script .cgi\n"
        "AddOutputFilter INCLUDES .shtml\n</Directory>\n<Files *.cgi>\nSetOutputFilter PASSES\n</Files>\n"
    )
    cgi = "cgi" if mpm == "prefork" else "cgid"
    socket_at = "" if mpm == "prefork" else "ScriptSock @ROOT@/run/cgisock\n"
    server = serve_module(
        config + socket_at, mpm=mpm, modules=("buffer", "deflate", "filter", "include", cgi), level="info", start=False
    )
    for name in FILTERS:
        server.write(f"htdocs/static/{name}/file.txt", "secret " * 1000)
    server.write("htdocs/slow.cgi", CGI).chmod(0o755)
    server.write("htdocs/page.shtml", 'before <!--#include virtual="/out/RAISES" --> after')
    for folder in (server.root / "htdocs").rglob("*"):
        folder.chmod(0o755)
    return server.start()


FAILING = ["RAISES", "WRITES", "MISSING", "BROKEN", "NOMODULE", "ASYNC", "YIELDS"]


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("path", ["out", "deflated", "static"])
def test_nothing_passes_and_500_says_so(httpd: Server, name: str, path: str) -> None:
    httpd.claims += ["PythonOutputFilter .*(Error|no such module)", "OSError: Write failed"]
    answer = httpd.get(f"/{path}/{name}" + ("/file.txt" if path == "static" else ""))
    assert answer.status == 500
    assert "secret" not in answer.text and "written" not in answer.text
    assert answer.header("Content-Encoding") is None


def test_an_answer_that_has_begun_is_broken_off(httpd: Server) -> None:
    httpd.claims += ["PythonOutputFilter closed::later", "OSError: Write failed"]
    connection = http.client.HTTPConnection("127.0.0.1", httpd.port, timeout=30)
    connection.request("GET", "/long/LATER")
    response = connection.getresponse()
    assert response.status == 200
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()


def test_an_included_part_that_fails(httpd: Server) -> None:
    httpd.claims += ["PythonOutputFilter closed::raises", "OSError: Write failed", "unable to include"]
    try:
        answer = httpd.get("/page.shtml")
    except http.client.IncompleteRead as error:
        # What stands before it has left.
        assert error.partial in (b"", b"before ")
    else:
        assert answer.status == 500 and "secret" not in answer.text


@pytest.mark.parametrize("name", [name for name in FAILING if name != "WRITES"])
def test_no_body_passes_a_filter_that_fails(httpd: Server, name: str) -> None:
    httpd.claims.append("PythonInputFilter .*(Error|no such module)")
    answer = httpd.get(f"/in/{name}", "POST", body=b"x" * 10000)
    assert answer.status == 500 and "got" not in answer.text
    assert httpd.get("/in/caught", "POST", body=b"x").status == 500


@pytest.mark.parametrize("path", ["/bytype/one", "/bytype/two", "/chain"])
def test_mod_filter_finds_its_provider(httpd: Server, path: str) -> None:
    assert httpd.ok(path).text == "SECRET " * 300


def test_mod_filter_leaves_others_alone(httpd: Server) -> None:
    assert httpd.ok("/bytype/other").text == "secret " * 300
    httpd.claims += ["PythonOutputFilter closed::raises", "OSError: Write failed"]
    assert httpd.get("/bytype/fails").status == 500


def test_pass_on_holds_nothing_back(httpd: Server) -> None:
    """The first line of a CGI script arrives while the script waits."""
    go = httpd.root / "htdocs/go"
    go.unlink(missing_ok=True)
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as client:
        client.sendall(b"GET /slow.cgi HTTP/1.0\r\nHost: localhost\r\n\r\n")
        received = b""
        limit = time.monotonic() + 20
        while b"first\n" not in received:
            assert time.monotonic() < limit
            received += client.recv(4096)
        assert b"second" not in received
        go.touch()
        os.chmod(go, 0o644)
        while block := client.recv(4096):
            received += block
    assert received.endswith(b"first\nsecond\n")


@pytest.mark.parametrize(("name", "status"), [("FORBIDS", 403), ("UNREAD", 403), ("REDIRECTS", 302), ("NOSTATUS", 500)])
def test_server_return_with_an_error_lets_nothing_pass(httpd: Server, name: str, status: int) -> None:
    httpd.claims += ["OSError: Write failed", "raised SERVER_RETURN with a value of type str"]
    for answer in (httpd.get(f"/out/{name}"), httpd.get(f"/in/{name}", "POST", body=b"a secret " * 10)):
        assert answer.status == status and "secret" not in answer.text
        assert status != 302 or answer.header("Location") == "/elsewhere"


def test_server_return_in_the_middle_breaks_the_answer_off(httpd: Server) -> None:
    httpd.claims.append("OSError: Write failed")
    connection = http.client.HTTPConnection("127.0.0.1", httpd.port, timeout=30)
    connection.request("GET", "/out/LATEGONE")
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        connection.getresponse().read()


@pytest.mark.parametrize("name", ["ENDS", "DONE"])
def test_server_return_that_is_no_error_ends_the_call(httpd: Server, name: str) -> None:
    assert httpd.ok(f"/out/{name}").text == "secret " * 300
    assert httpd.ok(f"/in/{name}", "POST", body=b"a body").text == "secret a body"


@pytest.mark.parametrize(
    "wanted", ["out,PASSES", "out,FLUSHES", "out,BUFFER", "own,mine", "in,INPASSES", "in,INFLUSHES"]
)
def test_filters_are_not_added_for_ever(httpd: Server, wanted: str) -> None:
    children = httpd.child_pids()
    text = httpd.ok(f"/many?{wanted}", "POST", body=b"a body", timeout=60).text
    added, _, rest = text.partition(" ")
    assert 80 < int(added) < 100 and rest.startswith("the request has 100 filters already"), text
    assert not wanted.startswith("in") or rest.endswith("a body")
    assert httpd.mpm == "prefork" or httpd.child_pids() == children
    assert "exit signal" not in httpd.log_text()


def test_an_output_filter_that_an_input_filter_adds(httpd: Server) -> None:
    assert httpd.ok("/in/ADDS", "POST", body=b"a body").text == "SECRET A BODY"


def test_a_body_that_is_refused_behind_many_redirects(httpd: Server) -> None:
    for number in (0, 3, 12, 25):
        answer = httpd.get(f"/redirected?{number}", "POST", body=b"x" * 100)
        assert answer.status == 413 and "secret" not in answer.text, number
        assert httpd.ok(f"/redirected?{number}", "POST", body=b"x" * 5).text == "secret xxxxx"
    httpd.claims.append("larger than the configured limit")


def test_mod_filter_tells_many_names_apart(serve: Serve) -> None:
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\n"
    config += "".join(f"PythonOutputFilter closed::{'upper' if n % 2 else 'passes'} NAME{n}\n" for n in range(256))
    numbers = (0, 31, 32, 33, 255)
    for number in numbers:
        config += section(f"/{number}", "content", f"AddOutputFilterByType NAME{number} text/plain")
    server = serve(config, modules=("filter",))
    for number in numbers:
        assert server.ok(f"/{number}").text == ("SECRET " if number % 2 else "secret ") * 300
    server.configure(config + "PythonOutputFilter closed::upper NAME7\n")
    assert server.check().returncode == 0
    server.configure(config + "PythonOutputFilter closed::upper another\n")
    text = server.check().stderr
    assert 'PythonOutputFilter: "another" is one name too many' in text and "256 different ones" in text
