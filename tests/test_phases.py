"""The phases of a request, handlers that are added to them, and what handlers have httpd do."""

from __future__ import annotations

import base64

import pytest
from conftest import Serve, Server, places

PHASES = """
PythonPostReadRequestHandler phases
PythonTransHandler phases
<Location /trace>
    SetHandler mod_python
    PythonHeaderParserHandler phases
    PythonInitHandler phases
    PythonAccessHandler phases
    PythonAuthenHandler phases
    PythonAuthzHandler phases
    PythonTypeHandler phases
    PythonFixupHandler phases
    PythonHandler phases
    PythonLogHandler phases
    PythonCleanupHandler phases
    AuthType Basic
    AuthName "a realm"
    Require valid-user
</Location>
<Location /module>
    SetHandler mod_python
    PythonHandlerModule phases
    AuthType Basic
    AuthName "a realm"
    Require valid-user
</Location>
<Location /added>
    SetHandler mod_python
    PythonHeaderParserHandler phases::add_phases
</Location>
<Location /lists>
    SetHandler mod_python
    PythonHandler phases::lists nowhere::second
</Location>
<Location /only_cleanup>
    PythonCleanupHandler phases
</Location>
<Location /bad_cleanup>
    PythonCleanupHandler phases::raising_cleanup
</Location>
<Location /forbidden>
    PythonAccessHandler phases::forbid
</Location>
<Location /nobody>
    PythonAuthenHandler phases::no_user
    AuthType Basic
    AuthName "a realm"
    Require valid-user
</Location>
<Location /somebody>
    SetHandler mod_python
    PythonHandler hello::unflushed
    PythonAuthenHandler phases::set_user
    AuthType Basic
    AuthName "a realm"
    Require user somebody
</Location>
<Location /nobody_else>
    PythonAuthenHandler phases::set_user
    AuthType Basic
    AuthName "a realm"
    Require user else
</Location>
<Location /made_ours>
    PythonFixupHandler phases::make_ours
    PythonHandler hello::unflushed
</Location>
"""
FAILING = ["HeaderParser", "Init", "Access", "Authen", "Authz", "Type", "Fixup", "", "Log"]
AUTHENTICATED = 'AuthType Basic\nAuthName "a realm"\nRequire valid-user\n'


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    failing = "".join(
        f"<Location /{kind}/{phase or 'Content'}>\nPython{phase}Handler phases::{kind}\n"
        + ("SetHandler mod_python\n" if not phase else "")
        + (AUTHENTICATED if phase == "Authen" else "")
        + (AUTHENTICATED + "PythonAuthenHandler phases::set_user\n" if phase == "Authz" else "")
        + "</Location>\n"
        for phase in FAILING
        for kind in ("raising", "rubbish")
    )
    failing += "<VirtualHost *:@PORT@>\nServerName localhost\n</VirtualHost>\n" + "".join(
        f"<VirtualHost *:@PORT@>\nServerName {kind}.{phase}\nPython{phase}Handler phases::{kind}\n"
        "PythonInterpreter main_interpreter\n</VirtualHost>\n"
        for phase in EARLY
        for kind in ("raising", "rubbish")
    )
    modules = ("auth_basic", "authn_file", "authz_user", "authz_host")
    server = serve_module(places("hello", "actions") + PHASES + failing, mpm=mpm, modules=modules, start=False)
    server.write("htdocs/file", "0123456789" * 1000)
    return server.start()


def credentials(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ORDER = "PostReadRequest Trans Init HeaderParser Access Authen Authz Type Fixup"


def test_every_phase_in_order(httpd: Server) -> None:
    answer = httpd.ok("/trace", headers=credentials("spam", "eggs"))
    # A section's PythonInitHandler runs before its header parsers (docs/differences.md#init-handlers-of-sections).
    # The content handler adds itself.
    assert answer.text.split() == ORDER.split()
    line = httpd.wait_log("trace: ")
    names = [f"Python{name}Handler" for name in ORDER.split()] + ["PythonHandler", "PythonLogHandler"]
    assert line.endswith("trace: " + " ".join(names))
    assert "PythonCleanupHandler" in httpd.wait_log("cleanup of /trace")


def test_handler_module_handles_every_phase(httpd: Server) -> None:
    assert httpd.ok("/module", headers=credentials("spam", "eggs")).text.split() == ORDER.split()


def test_401_has_its_challenge(httpd: Server) -> None:
    for headers in ({}, credentials("spam", "wrong")):
        answer = httpd.get("/trace", headers=headers)
        assert (answer.status, answer.header("WWW-Authenticate")) == (401, 'Basic realm="a realm"')


def test_authentication_and_httpds_own_authorization(httpd: Server) -> None:
    assert httpd.ok("/somebody").text == "Hello World!"
    assert httpd.get("/nobody_else").status in (401, 403)
    httpd.claim("AH01631")
    assert httpd.get("/nobody").status == 500
    httpd.claim("PythonAuthenHandler: returned OK, but req.user is not set")
    assert httpd.get("/forbidden").status == 403


def test_handlers_that_are_added(httpd: Server) -> None:
    assert httpd.ok("/added").text == "same added Fixup before "
    httpd.wait_log("trace: same added PythonFixupHandler before PythonHandler PythonLogHandler")
    # They belong to that request alone.
    assert httpd.get("/only_cleanup").status == 404


def test_the_handler_list(httpd: Server) -> None:
    text = httpd.ok("/lists").text
    assert text == (
        "[('phases::lists', 0, 1, '/lists'), ('nowhere::second', '/lists'), (None, '{}')] "
        "{'handler':'phases::lists','directory':'/lists','is_location':True,'silent':0}"
    )


def test_a_lone_cleanup_handler(httpd: Server) -> None:
    """docs/differences.md#a-lone-clean-up-handler"""
    httpd.get("/only_cleanup")
    httpd.wait_log("cleanup of /only_cleanup in PythonCleanupHandler")
    httpd.get("/bad_cleanup")
    httpd.claim("PythonCleanupHandler phases::raising_cleanup: Traceback.*LookupError: in a cleanup handler")


def test_a_fixup_can_choose_the_handler(httpd: Server) -> None:
    assert httpd.ok("/made_ours").text == "Hello World!"


@pytest.mark.parametrize("phase", FAILING)
def test_a_handler_that_raises_in_each_phase(httpd: Server, phase: str) -> None:
    expected = 404 if phase == "Log" else 500
    assert httpd.get(f"/raising/{phase or 'Content'}").status == expected
    httpd.claim(f"Python{phase}Handler phases::raising: Traceback.*LookupError: in Python{phase}Handler")
    assert httpd.get(f"/rubbish/{phase or 'Content'}").status == expected
    httpd.claim(f"Python{phase}Handler phases::rubbish: the handler returned a value of type str")


EARLY = ["PostReadRequest", "Trans", "Init"]


@pytest.mark.parametrize("phase", EARLY)
def test_a_handler_that_raises_before_the_sections_are_known(httpd: Server, phase: str) -> None:
    assert httpd.get("/", headers={"Host": f"raising.{phase}"}).status == 500
    httpd.claim(f"Python{phase}Handler phases::raising: Traceback.*LookupError: in Python{phase}Handler")
    assert httpd.get("/", headers={"Host": f"rubbish.{phase}"}).status == 500
    httpd.claim(f"Python{phase}Handler phases::rubbish: the handler returned a value of type str")


@pytest.mark.parametrize("name", ["remote_host", "file_info", "numbers", "server", "tree"])
def test_action(httpd: Server, name: str) -> None:
    assert httpd.ok(f"/actions/{name}").text == "ok"


def test_internal_redirect(httpd: Server) -> None:
    assert httpd.ok("/actions/redirect").text == "before;inner"


def test_sendfile(httpd: Server) -> None:
    answer = httpd.ok("/actions/whole_file")
    assert answer.text == "0123456789" * 1000
    assert httpd.ok("/actions/part_of_file").text == "<01234|56789>"


@pytest.mark.parametrize("settings", ["EnableSendfile On", "EnableMMAP Off", "EnableSendfile Off\nEnableMMAP On"])
def test_files_are_sent_as_httpd_is_told(serve: Serve, settings: str) -> None:
    server = serve(f"{settings}\n{places('actions')}")
    server.write("htdocs/file", "0123456789" * 1000)
    assert server.ok("/actions/whole_file").text == "0123456789" * 1000
    assert server.ok("/actions/part_of_file").text == "<01234|56789>"


def test_conditions(httpd: Server) -> None:
    answer = httpd.ok("/actions/conditions")
    assert (answer.text, answer.header("Last-Modified")) == ("fresh", "Sun, 09 Sep 2001 01:46:40 GMT")
    stamp = {"If-Modified-Since": "Sun, 09 Sep 2001 01:46:40 GMT"}
    assert httpd.get("/actions/conditions", headers=stamp).status == 304


def test_bodies_methods_and_variables(httpd: Server) -> None:
    assert httpd.ok("/actions/discard", "POST", body=b"x" * 100000).text == "ok"
    answer = httpd.get("/actions/methods")
    assert answer.status == 405 and set((answer.header("Allow") or "").split(",")) >= {"GET", "POST"}
    assert httpd.ok("/actions/cgi_vars?a=b").text == "ok"


def test_cleanups_of_the_child(serve: Serve, mpm: str) -> None:
    server = serve(places("actions"), mpm=mpm)
    server.ok("/actions/server")
    server.stop()
    text = server.log_text()
    assert text.index("child ends: apache's") < text.index("child ends: server's")
