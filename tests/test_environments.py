"""os.environ: the process's in the main interpreter, a copy in every other one, a script's while it runs."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from conftest import APPS, Serve, Server


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\n"
    for interpreter in ("main_interpreter", "one", "two", "three"):
        for function in ("sets", "sees", "mistakes", "zone"):
            config += (
                f"<Location /{interpreter}/{function}>\nSetHandler mod_python\nPythonHandler environments::{function}\n"
                f"PythonInterpreter {interpreter}\n</Location>\n"
            )
    config += (
        "<Directory @ROOT@/htdocs/cgi>\nAddHandler mod_python .py\nPythonHandler mod_python.cgihandler\n"
        "PythonPath \"sys.path+['@ROOT@/apps']\"\n</Directory>\n"
        "<Location /captures>\nSetHandler mod_python\nPythonHandler captures\n</Location>\n"
        "<Location /cgi/leads.py>\nPythonFixupHandler captures::remembers\n</Location>\n"
        "<Location /cgi/named>\nPythonInterpreter one\n</Location>\n"
    )
    environment = ("env", "SITE_POPPED=popped", "SITE_UNSET=unset")
    server = serve_module(config, mpm=mpm, wrapper=environment, threads=1 if mpm == "prefork" else 2, start=False)
    for name in ("cgi", "cgi/named"):
        shutil.copytree(APPS / "cgi_scripts", server.root / "htdocs" / name, dirs_exist_ok=True)
    os.system(f"chmod -R a+rX {server.root}/htdocs")
    return server.start()


CLEAN = ["none none none none popped unset"] * 5


def test_each_interpreter_has_its_own(httpd: Server) -> None:
    sites = {"one": "one", "two": "two", "main_interpreter": "main"}
    for interpreter, site in sites.items():
        assert httpd.ok(f"/{interpreter}/sees").text.splitlines()[:5] == CLEAN
        assert httpd.ok(f"/{interpreter}/sets?{site}").text == interpreter
    for interpreter, site in sites.items():
        lines = httpd.ok(f"/{interpreter}/sees").text.splitlines()
        inside = f"{site} {site} {site} none none unset"
        # What os.putenv() sets is the children's, not os.environ's.
        assert lines[:3] == [inside] * 3, interpreter
        assert lines[3] == f"{site} {site} {site} {site} none none", interpreter
        assert lines[5] == "True True True True"


def test_one_that_is_made_later_starts_with_what_httpd_was_started_with(httpd: Server) -> None:
    assert httpd.ok("/main_interpreter/sets?main").text == "main_interpreter"
    lines = httpd.ok("/three/sees").text.splitlines()
    assert lines[:5] == CLEAN


@pytest.mark.parametrize("interpreter", ["main_interpreter", "one"])
def test_mistakes_are_the_same_everywhere(httpd: Server, interpreter: str) -> None:
    assert httpd.ok(f"/{interpreter}/mistakes").text == "ValueError ValueError TypeError KeyError TypeError"


@pytest.mark.parametrize("interpreter", ["main_interpreter", "one"])
def test_a_time_zone_takes_effect(httpd: Server, interpreter: str) -> None:
    assert httpd.ok(f"/{interpreter}/zone").text == "XYZ"


@pytest.mark.parametrize("place", ["/cgi", "/cgi/named"])
def test_a_script_sees_its_request_through_what_others_have_kept(httpd: Server, place: str) -> None:
    httpd.ok("/captures")
    httpd.claim("kept by a handler")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for number in range(3):
        answer = httpd.ok(f"{place}/kept.py?q={number}", "POST", body=b"a=1&b=%C3%A9", headers=headers)
        expected = f"q={number} POST q={number}\nwritten bytes \nTrue\n"
        assert answer.text == expected + ("1 é\n" if sys.version_info < (3, 13) else "no cgi\n")
        # And its children.
        assert httpd.ok(f"{place}/children.py?child{number}").text == f"child{number}\n" * 3
    httpd.ok("/captures")
    httpd.claim("kept by a handler")


@pytest.mark.parametrize(
    "way", ["wrapped", "detached", "closed", "none", "deleted", "buffer", "redirected", "reconfigured", "environ"]
)
def test_what_a_script_does_to_its_streams_is_its_own(httpd: Server, way: str) -> None:
    for _ in range(3):
        answer = httpd.ok(f"/cgi/bends.py?{way}")
        assert answer.text == f"first {way}\nsecond\n" if way != "closed" else f"first {way}\n"
        httpd.ok("/captures")
        httpd.claim("kept by a handler")
        assert httpd.ok("/cgi/children.py?x").text == "x\n" * 3
    if way == "buffer" and sys.version_info >= (3, 13):
        # It tells of a stream that cannot be closed, as everything that is closed by nobody.
        httpd.claim("Exception ignored (in|while).*<_io.BufferedWriter")
        httpd.claim("restore_nocgi.*ValueError: flush of closed file")


def test_a_script_that_leads_to_another(httpd: Server) -> None:
    assert httpd.ok("/cgi/leads.py?outer").text == "inner\n"


def test_paths_are_utf_8(httpd: Server) -> None:
    text = httpd.ok("/cgi/paths.py/caf%C3%A9/%FF?%C3%A9").text
    values = dict(ast_line.split(" ", 1) for ast_line in text.splitlines())
    assert values["PATH_INFO"] == ascii("/café/\udcff")
    assert values["REQUEST_URI"] == ascii("/cgi/paths.py/caf%C3%A9/%FF?%C3%A9")
    assert values["SCRIPT_NAME"] == ascii("/cgi/paths.py")
    assert values["ENVIRONB"] == ascii("/café/".encode() + b"\xff")
    assert values["HTTP_X_NAME"] == "None"
    text = httpd.ok("/cgi/paths.py/caf%C3%A9").text
    assert ascii("/htdocs/café")[1:] in text
    text = httpd.ok("/cgi/paths.py", headers={"X-Name": "caf\xe9"}).text
    assert f"HTTP_X_NAME {chr(0xDC00 + 0xE9).join(['caf', ''])!a}" in text


@pytest.mark.parametrize("mistake", ["print('\n", "print(\udcff)\n", "\0"])
def test_an_old_script_does_not_run_on(httpd: Server, mistake: str) -> None:
    script = httpd.root / "htdocs/cgi/changing.py"
    good = "print('Content-Type: text/plain\\n\\nfirst')\n"
    httpd.write("htdocs/cgi/changing.py", good)
    assert httpd.ok("/cgi/changing.py").text == "first\n"
    script.write_bytes(mistake.encode("utf-8", "surrogateescape"))
    for _ in range(4):
        assert httpd.get("/cgi/changing.py").status == 500
        httpd.claim("SyntaxError|ValueError")
    httpd.write("htdocs/cgi/changing.py", good.replace("first", "mended"))
    assert httpd.ok("/cgi/changing.py").text == "mended\n"


def test_a_script_that_can_be_read_no_more_does_not_run_on(httpd: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("the children run as this user, too")
    script = httpd.write("htdocs/cgi/secret.py", "print('Content-Type: text/plain\\n\\nfirst')\n")
    assert httpd.ok("/cgi/secret.py").text == "first\n"
    script.write_text("print('Content-Type: text/plain\\n\\nsecond')\n")
    script.chmod(0o600)
    for _ in range(4):
        assert httpd.get("/cgi/secret.py").status == 500
        httpd.claim("PermissionError")
    script.chmod(0o644)
    assert httpd.ok("/cgi/secret.py").text == "second\n"
