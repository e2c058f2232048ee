"""Requests that have no file: `<Location>` with a handler, applications, and every other way to have none."""

from __future__ import annotations

import re
import subprocess

import pytest
from client import raw
from conftest import APPS, Serve, Server

from httpd import query_apxs

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
<Location /filtered>
    {HANDLER}::filtered
    Options +Includes
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


def test_what_filters_take_for_the_page_s_place(httpd: Server) -> None:
    """The document root, also for a filter that the handler adds itself."""
    assert httpd.ok("/filtered/x").text == "[6]"
    assert httpd.ok("/filtered/x?later").text == "[6]"
    page = b'[<!--#config sizefmt="bytes" --><!--#fsize file="page.html" -->]'
    assert httpd.ok("/ssi/page", "POST", body=page).text.endswith("[6]")


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


FOUND = "RewriteCond %{REQUEST_FILENAME} -f [OR]\nRewriteCond %{REQUEST_FILENAME} -d\nRewriteRule ^ - [F]\n"
MISSED = "RewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule ^ - [F]\n"
OWN = """
RewriteRule ^admin - [F]
RewriteRule ^$ - [G]
RewriteRule /admin$ - [R=405]
RewriteRule ^marked - [E=MARK:set]
RewriteRule ^moved$ /elsewhere [R]
RewriteRule ^old /handler/new [L]
RewriteRule ^proxied$ http://127.0.0.1:@PORT@/handler/proxied [P]
"""
SECTIONS = {
    "location": ("<Location %s>", "</Location>"),
    "match": ("<LocationMatch ^%s(/|$)>", "</LocationMatch>"),
}
KINDS = {
    "handler": HANDLER,
    "application": "",
}


def host(name: str, path: str, kind: str, section: str, rules: str) -> str:
    opening, closing = SECTIONS[section]
    mount = f"PythonWSGI {path} placed:environment\n" if kind == "application" else ""
    place = path if section == "location" or path != "/" else ""
    return (
        f"<VirtualHost *:@PORT@>\nServerName {name}\nPythonInterpreter main_interpreter\n{mount}{opening % place}\n"
        f"{KINDS[kind]}\nRewriteEngine On\n{rules}{closing}\n<Location /handler>\n{HANDLER}\n</Location>\n</VirtualHost>\n"
    )


@pytest.fixture(scope="module")
def ruled(serve_module: Serve) -> Server:
    """Hosts whose section has rules: those that ask the file system, and others."""
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\n"
    for kind in KINDS:
        for section in SECTIONS:
            for path, name in (("/", "root"), ("/etc", "etc"), ("/h", "h"), ("/hello", "hello")):
                end = f"{name}-{kind}-{section}"
                config += host(f"found-{end}", path, kind, section, FOUND)
                config += host(f"missed-{end}", path, kind, section, MISSED)
                config += host(f"own-{end}", path, kind, section, OWN)
                config += host(f"noslash-{end}", path, kind, section, "RewriteOptions AllowNoSlash\n" + OWN)
    return serve_module(config, modules=("rewrite", "proxy", "proxy_http"))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("section", list(SECTIONS))
def test_rules_that_ask_the_file_system(ruled: Server, kind: str, section: str) -> None:
    """What a client names is nowhere: not from the root of the machine's file system."""
    for name, paths in {
        "root": ("/etc/passwd", "/etc/nothing", "/home", "/etc", "/etc/", "/nothing", "/home/../etc"),
        "etc": ("/etc", "/etc/", "/etc/passwd", "/etc/nothing", "/etc/ssl/certs"),
        "hello": ("/hello", "/hello/", "/hello/x"),
        "h": ("/h/", "/h/x"),
    }.items():
        for path in paths:
            # Where a directory is asked for with its slash, no rule can tell.
            headers = {"Host": f"found-{name}-{kind}-{section}"}
            assert ruled.get(path, headers=headers).status == 200, (name, path)
            headers = {"Host": f"missed-{name}-{kind}-{section}"}
            assert ruled.get(path, headers=headers).status == 403, (name, path)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("rules", ["own", "noslash"])
def test_what_rules_see(ruled: Server, kind: str, rules: str) -> None:
    """The path below a `<Location>`; the whole of it in a `<LocationMatch>`, and at the section's own path."""
    for name in ("etc", "h", "hello"):
        headers = {"Host": f"{rules}-{name}-{kind}-location"}
        for path, status in {
            "": 200,
            "/": 410,
            "/admin": 403,
            "/admin/x": 403,
            "/x/admin": 405,
            "/passwd": 200,
            "/marked": 200,
            "/moved": 302,
            "/old": 200,
            "/proxied": 404 if kind == "none" else 200,
        }.items():
            answer = ruled.get(f"/{name}{path}", headers=headers)
            assert answer.status == status, (name, path, answer)
            if path == "/old":
                assert answer.text == "handler /handler/new None None True"
            if path == "/marked" and kind == "application":
                assert '"MARK": "set"' in answer.text
            if status == 200 and kind == "application" and path not in ("/old", "/proxied"):
                assert f'"PATH_INFO": "{path}"' in answer.text and '"filename": null' in answer.text
        headers = {"Host": f"{rules}-{name}-{kind}-match"}
        for path, status in {"": 200, "/": 200, "/admin": 405, "/x": 200}.items():
            assert ruled.get(f"/{name}{path}", headers=headers).status == status, (name, path)
    headers = {"Host": f"{rules}-root-{kind}-location"}
    for path, status in {"/": 410, "/admin": 403, "/x/admin": 405, "/etc/passwd": 200, "/etc": 200}.items():
        assert ruled.get(path, headers=headers).status == status, path


@pytest.mark.parametrize("modules", [(), ("rewrite",)], ids=["alone", "rewrite"])
def test_a_module_that_relies_on_a_name(serve: Serve, mpm: str, modules: tuple[str, ...]) -> None:
    """There is one in every phase after mapping; a rule that refuses leaves the one that there was."""
    server = serve("", mpm=mpm, modules=modules, start=False)
    module = server.root / "names.so"
    includes = [f"-I{query_apxs('INCLUDEDIR')}", f"-I{query_apxs('APR_INCLUDEDIR')}"]
    flags = ["-shared", "-fPIC", "-Werror", *query_apxs("EXTRA_CPPFLAGS").split(), *includes]
    subprocess.run(["cc", *flags, "-o", str(module), str(APPS / "names.c")], check=True)
    module.chmod(0o755)
    rules = "RewriteEngine On\nRewriteRule denied - [F]\nRewriteRule moved /x [R]\n" if modules else ""
    server.configure(
        f"LoadModule names_module {module}\nPythonPath \"sys.path+['@ROOT@/apps']\"\n"
        f"PythonWSGI /app placed:application\nPythonWSGI / placed:application\n"
        f"<Location /app>\nOptions FollowSymLinks\n{rules}</Location>\n<Location /h>\n{HANDLER}\n{rules}</Location>\n"
        f"<Location /etc>\n{rules}</Location>\n"
    )
    server.start()
    for path in ("/", "/x", "/app", "/app/", "/app/x", "/h", "/h/", "/h/x", "/etc", "/etc/passwd"):
        assert server.ok(path).status == 200
    if modules:
        for path in ("/app/denied", "/h/denied", "/etc/denied"):
            assert server.get(path).status == 403
        assert server.get("/app/moved").status == 302
    server.stop()
    log = server.log_text()
    assert "exit signal" not in log
    seen = re.findall(r"saw (\w+) (\S+) (\S+) (\S+) \d+", log)
    assert {phase for phase, *_ in seen} == {"type", "first", "middle", "last", "handler", "log"}
    for phase, uri, name, info in seen:
        if phase == "first" and modules and uri.startswith(("/app", "/h", "/etc")):
            assert uri == name + info.replace("-", ""), (phase, uri, name, info)
        elif not (phase == "log" and uri == "/app/moved"):
            assert name == "/dev/null/-" or name.endswith("/htdocs/.has-no-file"), (phase, uri, name, info)
            assert info in ("-", "/"), (phase, uri, name, info)


def test_names_that_make_no_interpreters(serve: Serve) -> None:
    """PythonInterpPerDirectory goes by what httpd has found, never by what a client can make up."""
    server = serve(
        """
PythonPath "sys.path+['@ROOT@/apps']"
PythonInterpPerDirectory On
PythonLogHandler placed::sees
PythonFixupHandler placed::sees
RewriteEngine On
RewriteRule ^/redirected/(.*) http://elsewhere.example/$1 [R=302]
ProxyPass /passed http://127.0.0.1:@PORT@/app
PythonWSGI /app placed:application
<Location /app>
    RewriteEngine On
    RewriteRule denied - [F]
    RewriteRule go/(.*) /other/$1 [R]
    ErrorDocument 403 /app/error
</Location>
<Directory @ROOT@/htdocs/a>
    RewriteEngine On
    RewriteRule ^to/(.*) /made/up/$1/x
    RewriteRule denied - [F]
</Directory>
""",
        modules=("rewrite", "proxy", "proxy_http"),
        interpreter=None,
        start=False,
    )
    for name in ("a/page.html", "b/page.html"):
        server.write(f"htdocs/{name}", "a file")
    server.start()
    for number in range(5):
        for path, status in {
            f"/redirected/{number}/x": 302,
            f"/passed/{number}/x": 200,
            f"/app/{number}/denied": 200,  # as its page says
            f"/app/{number}/x": 200,
            f"/app/go/{number}/x": 302,
            f"/app/{number}/.has-no-file": 200,
            f"/a/to/{number}/denied": 403,
            f"/a/{number}/x": 404,
            f"/a/{number}/.has-no-file": 404,
            "/a/.has-no-file": 404,
            "/a/page.html": 200,
            "/b/page.html": 200,
            "/b/": 404,
        }.items():
            assert server.get(path).status == status, path
    # The main one, and that of each directory: the document root and two below.
    said = re.findall(r"sees (\w+) (\S+) (.+?) (\S+) \((.*?)\) (\S+) (\d+)|sees (.+) (\d+)", server.log_text())
    assert said and max(int(words[6] or words[8]) for words in said) <= 4, said[-1]
    for uri in ("/a/.has-no-file", "/a/page.html"):
        server.wait_log(f"sees PythonLogHandler {uri} {server.root}/htdocs{uri} .* {server.root}/htdocs/a/ ")
    server.wait_log("sees PythonLogHandler /app/0/denied None .* main_interpreter ")
    server.wait_log(r"sees PythonFixupHandler /app/error None .* \(None, .*\) main_interpreter ")


def test_a_file_of_that_name(serve: Serve) -> None:
    server = serve(
        f"PythonPath \"sys.path+['@ROOT@/apps']\"\n<Directory @ROOT@/htdocs>\n{HANDLER}\n</Directory>\n", start=False
    )
    server.write("htdocs/.has-no-file", "a file")
    server.write("htdocs/a/.has-no-file", "a file")
    server.start()
    for name in ("/.has-no-file", "/a/.has-no-file", "/b/.has-no-file"):
        file = f"{server.root}/htdocs{name if not name.startswith('/b') else '/b'}"
        there = not name.startswith("/b")
        assert server.ok(name).text == f"handler {name} {file} {file} {not there}"
