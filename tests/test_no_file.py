"""Requests that have no file: `<Location>` with a handler, applications, and every other way to have none."""

from __future__ import annotations

import pytest
from client import raw
from conftest import Serve, Server

HANDLER = "SetHandler mod_python\nPythonHandler placed"
SSI = '<!--#echo var="DOCUMENT_NAME" -->,<!--#echo var="SCRIPT_FILENAME" -->'
RULES = """
RewriteEngine On
RewriteRule ^secret - [F]
RewriteRule ^gone/?$ - [G]
RewriteRule ^deep/secret$ - [F]
RewriteRule ^moved$ /elsewhere [R=301]
RewriteRule ^old/(.*) /handler/new/$1
RewriteRule ^same$ /%s/same
RewriteRule ^marked - [E=MARK:set]
RewriteCond %%{REQUEST_FILENAME} passwd
RewriteRule . - [F]
"""
CONFIG = f"""
PythonPath "sys.path+['@ROOT@/apps']"
PythonTransHandler placed::claims
<Location /named>
    {HANDLER}
    Options +MultiViews
</Location>
PythonWSGI /application placed:environment
<Location /handler>
    {HANDLER}
    Options +MultiViews
    {RULES % "handler"}
</Location>
<Location /application>
    Options +MultiViews
    {RULES % "application"}
</Location>
<Location /closed>
    {HANDLER}
    RewriteEngine On
    RewriteRule ^ - [F]
</Location>
<Location /proxying>
    {HANDLER}
    RewriteEngine On
    RewriteRule ^proxied/(.*) http://127.0.0.1:@PORT@/handler/$1 [P]
    RewriteRule ^chosen - [H=other-handler]
</Location>
<Location /typed>
    PythonTypeHandler placed::chooses
</Location>
PythonWSGI /typed placed:environment
ErrorDocument 400 /application/bad
PythonLogHandler beside_app::look
PythonPostReadRequestHandler placed::declines
<Location /forgets>
    {HANDLER}::forgets
    Options +MultiViews
</Location>
<Location /early>
    {HANDLER}
    PythonHeaderParserHandler placed::forgets
    PythonFixupHandler placed::forgets
    Options +MultiViews
</Location>
<Directory @ROOT@/htdocs/files>
    {HANDLER}
    PythonAccessHandler placed::forgets
    Options +MultiViews
</Directory>
<Location /claimed>
    Options +MultiViews
</Location>
<Location /claimed/handler>
    {HANDLER}
</Location>
<Location /redirects>
    {HANDLER}::redirects
    Options +MultiViews
</Location>
<Location /denied>
    Require all denied
    ErrorDocument 403 /application/error
</Location>
<Location /ssi>
    SetHandler mod_python
    PythonHandler beside_app
    Options +Includes
    SetOutputFilter INCLUDES
</Location>
<Directory @ROOT@/htdocs/index>
    DirectoryIndex /application/index
</Directory>
<Directory @ROOT@/htdocs/relative>
    DirectoryIndex nothing.html inner/
</Directory>
PythonWSGI /relative/inner placed:environment
<Location /relative/handler>
    {HANDLER}
</Location>
<Directory @ROOT@/htdocs/handled>
    DirectoryIndex /handler/index
</Directory>
<Directory @ROOT@/htdocs/fallback>
    FallbackResource /application/fallback
</Directory>
<Directory @ROOT@/htdocs/fallen>
    FallbackResource /handler/fallback
</Directory>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    server = serve_module(
        CONFIG, modules=("negotiation", "rewrite", "include", "env", "autoindex", "proxy", "proxy_http"), start=False
    )
    for name in ("handler", "application", "forgets", "files/x", "claimed", "page", "relative/x"):
        server.write(f"htdocs/{name}.html", "a file")
    for name in ("index", "handled", "fallback", "fallen"):
        server.write(f"htdocs/{name}/page.html", "a file")
    return server.start()


@pytest.mark.parametrize("place", ["handler", "application"])
def test_rules_of_a_section(httpd: Server, place: str) -> None:
    """A rule that denies does so, anchored or not."""
    for path in ("secret", "secrets/x", "deep/secret", "etc/passwd"):
        assert httpd.get(f"/{place}/{path}").status == 403, path
    assert httpd.get(f"/{place}/gone").status == 410
    moved = httpd.get(f"/{place}/moved")
    assert moved.status == 301 and (moved.header("Location") or "").endswith("/elsewhere")
    assert httpd.ok(f"/{place}/old/x").text == "handler /handler/new/x None None True"
    assert httpd.ok(f"/{place}/same").text
    for path in ("", "/", "/insecret", "/deep/secrets", "/page.html"):
        assert httpd.ok(f"/{place}{path}").text
    assert '"MARK": "set"' in httpd.ok("/application/marked").text


def test_rules_that_close_a_section(httpd: Server) -> None:
    """Its own path, too, which mod_rewrite leaves to mod_dir where it is a directory's."""
    for path in ("/closed", "/closed/", "/closed/x", "//closed", "/closed/../closed"):
        assert httpd.get(path).status == 403, path


def test_rules_that_hand_on(httpd: Server) -> None:
    assert httpd.ok("/proxying/proxied/x").text == "handler /handler/x None None True"
    assert httpd.ok("/proxying/x").text == "handler /proxying/x None None True"


def test_a_handler_that_chooses_another(httpd: Server) -> None:
    """A type handler may still name who answers: here nobody can."""
    assert httpd.get("/typed/other").status == 404
    assert httpd.ok("/typed/x").text


def test_requests_that_are_none(httpd: Server) -> None:
    for line in (
        b"GARBAGE",
        b"GET",
        b"GET http://[::1 HTTP/1.1",
        b"GET x HTTP/1.1",
        b"GET /%zz HTTP/1.1",
        b"GET * HTTP/1.1",
    ):
        said = raw(httpd.port, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 404 " in said or b"/bad" in said or b"400 Bad Request" in said, (line, said)
    httpd.claim("invalid URI path")
    assert httpd.ok("/handler/x").text


def test_what_is_said_of_the_file(httpd: Server) -> None:
    assert httpd.ok("/handler/x").text == "handler /handler/x None None True"
    said = httpd.ok("/application/x").text
    assert '"filename": null' in said and "SCRIPT_FILENAME" not in said and "/dev/null" not in said
    assert "/dev/null" not in httpd.ok("/ssi/page", "POST", body=SSI.encode()).text


def test_a_name_that_is_taken_away(httpd: Server) -> None:
    for place in ("forgets", "early", "files/x.html"):
        assert httpd.ok(f"/{place}").text == f"handler /{place} None None True"
    assert httpd.ok("/forgets/x").text == "handler /forgets/x None None True"


def test_a_translation_without_a_name(httpd: Server) -> None:
    assert httpd.ok("/claimed/handler/x").text == "handler /claimed/handler/x None None True"
    assert httpd.get("/claimed").status == 404
    assert httpd.get("/claimed/x").status == 404


def test_a_translation_to_what_is_not_there(httpd: Server) -> None:
    for path in ("/named", "/named/secret", "/named/"):
        assert httpd.ok(path).text == f"handler {path} /named /named True"


def test_redirects_and_error_documents(httpd: Server) -> None:
    assert httpd.ok("/redirects/x").text == "handler /handler/inner None None True"
    answer = httpd.get("/denied/x")
    httpd.claim("client denied by server configuration")
    assert '"PATH_INFO": "/error"' in answer.text and '"REDIRECT_URL": "/denied/x"' in answer.text


def test_methods_without_a_resource(httpd: Server) -> None:
    assert httpd.get("*", "OPTIONS").status == 200
    assert httpd.get("/handler/x", "TRACE").status in (200, 405)


@pytest.mark.parametrize(
    ("path", "script", "info"),
    [
        ("/index/", "/application", "/index"),
        ("/relative/", "/relative/inner", "/"),
        ("/fallback/no/such/page", "/application", "/fallback"),
        ("/fallback/nothing?a=b", "/application", "/fallback"),
    ],
)
def test_an_index_and_a_fallback_that_are_applications(httpd: Server, path: str, script: str, info: str) -> None:
    said = httpd.ok(path).text
    assert f'"SCRIPT_NAME": "{script}"' in said and f'"PATH_INFO": "{info}"' in said, said
    assert f'"REQUEST_URI": "{path}"' in said and '"filename": null' in said


def test_an_index_and_a_fallback_that_are_handlers(httpd: Server) -> None:
    assert httpd.ok("/handled/").text == "handler /handler/index None None True"
    assert httpd.ok("/fallen/nothing").text == "handler /handler/fallback None None True"
    assert httpd.ok("/fallback/page.html").text == "a file"
