"""Where applications lie: PythonWSGI and PythonWSGIMatch among Alias, RewriteRule, ProxyPass, sections and virtual hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from beside import is_installed
from conftest import Serve, Server

from httpd import CHILD_USER, system_httpd

PATH = "PythonPath \"sys.path+['@ROOT@/apps']\"\n"
HANDLER = "SetHandler mod_python\nPythonHandler placed"
CONFIG = f"""
{PATH}
ExtendedStatus Off
<Location /server-status>
    SetHandler server-status
</Location>
<VirtualHost *:@PORT@>
ServerName site
PythonInterpreter one
RewriteEngine On
RewriteRule ^/\\.well-known/acme-challenge/([A-Za-z0-9_-]+)$ @ROOT@/challenges/$1 [END]
RewriteRule ^/rewritten$ @ROOT@/files/rewritten.txt
RewriteRule ^/through$ /other/through [PT]
RewriteRule ^/nothing - [L]
PythonWSGI / placed:application
Alias /static @ROOT@/files
Alias /other/static @ROOT@/files
ProxyPass /backend/own !
ProxyPass /backend http://127.0.0.1:@PORT@/proxied
ProxyPassReverse /backend http://127.0.0.1:@PORT@/proxied
UserDir @ROOT@/homes
PythonWSGI /other placed:other
PythonWSGI /other/environment placed:environment
PythonWSGI /handled/deep/er placed:other
<Location /other/environment>
    PythonOption Key value
    PythonInterpreter two
</Location>
<Location /handled>
    {HANDLER}
</Location>
<Location /handled/deep>
    PythonHandler nonsense
</Location>
<Location /handled/page>
    SetHandler none
</Location>
<Location /none>
    SetHandler none
</Location>
<Location /default>
    SetHandler default-handler
</Location>
<LocationMatch ^/matched/>
    {HANDLER}
</LocationMatch>
<Location /denied>
    Require all denied
</Location>
<If "%{{QUERY_STRING}} == 'handled'">
    {HANDLER}
</If>
PythonWSGI /factory placed:create_app()
PythonWSGI /dotted placed:Namespace.application
PythonWSGI /file "@ROOT@/a site/app.wsgi"
PythonWSGI /script @ROOT@/apps/placed.py:environment
PythonWSGI /named @ROOT@/files/named.py:app
PythonWSGI /beside ~/files/named.py:app
PythonWSGIMatch ^/sites/([^/]+) @ROOT@/sites/$1.wsgi
PythonWSGIMatch ^/modules/(\\w+) sites_$1:application
PythonWSGI /sites/plain placed:other
</VirtualHost>
<VirtualHost *:@PORT@>
ServerName handlers
<Location />
    {HANDLER}
</Location>
PythonWSGI /application placed:application
</VirtualHost>
<VirtualHost *:@PORT@>
ServerName both
PythonWSGI / placed:application
<Location />
    {HANDLER}
</Location>
</VirtualHost>
PythonWSGI /everywhere placed:application
PythonWSGI /own placed:application
<VirtualHost *:@PORT@>
ServerName inherits
PythonWSGI /own placed:other
</VirtualHost>
<VirtualHost *:@PORT@>
ServerName everything
SetHandler default-handler
PythonWSGI / placed:application
</VirtualHost>
"""
APPLICATION = (
    "def {}(e, s):\n    s('200 OK', [])\n    return [f\"{} {{e['SCRIPT_NAME']}}|{{e['PATH_INFO']}}\".encode()]\n"
)


@pytest.fixture(scope="module")
def httpd(mpm: str, serve_module: Serve) -> Server:
    modules = ("alias", "rewrite", "proxy", "proxy_http", "status", "userdir", "negotiation")
    server = serve_module(CONFIG, mpm=mpm, modules=modules, start=False)
    for name in ("challenges/token", "files/rewritten.txt", "files/page", "homes/anna/page"):
        server.write(name, f"file {name}")
    for name in ("none", "default", "handled/page"):
        server.write(f"htdocs/{name}.txt", "a file")
        server.write(f"htdocs/{name}/page.txt", "a file")
    server.write("a site/app.wsgi", APPLICATION.format("application", "script"))
    server.write("files/named.py", APPLICATION.format("app", "named"))
    server.write("sites/one.wsgi", APPLICATION.format("application", "one"))
    server.write("sites/deep/two.wsgi", APPLICATION.format("application", "two"))
    server.write("apps/sites_three.py", APPLICATION.format("application", "three"))
    server.write("apps/sites_broken.py", "import no_such_module\n")
    return server.start()


def text(httpd: Server, path: str, host: str = "site", **arguments: Any) -> str:
    return httpd.ok(path, headers={"Host": host}, **arguments).text


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/acme-challenge/token", "file challenges/token"),
        ("/.well-known/acme-challenge/to.ken", "application |/.well-known/acme-challenge/to.ken"),
        ("/rewritten", "file files/rewritten.txt"),
        ("/through", "other /other|/through"),
        ("/nothing", "application |/nothing"),
        ("/static/page", "file files/page"),
        ("/other/static/page", "file files/page"),
        ("/statics", "application |/statics"),
        ("/~anna/page", "file homes/anna/page"),
        ("/backend/own", "application |/backend/own"),
        ("/none/page.txt", "a file"),
        ("/default/page.txt", "a file"),
        ("/handled/page/page.txt", "a file"),
        ("/", "application |/"),
        ("//", "application |/"),
        ("/a%20b/c", "application |/a b/c"),
        ("/other", "other /other|"),
        ("/other/", "other /other|/"),
        ("/other/x", "other /other|/x"),
        ("/others", "application |/others"),
        ("/handled/x", "handler /handled/x None None True"),
        ("/handled", "handler /handled None None True"),
        ("/handled/deep/er", "other /handled/deep/er|"),
        ("/handled/deep/er/x", "other /handled/deep/er|/x"),
        ("/matched/x", "handler /matched/x None None True"),
        ("/dotted/x", "other /dotted|/x"),
        ("/file/x", "script /file|/x"),
        ("/named", "named /named|"),
        ("/beside", "named /beside|"),
        ("/sites/one", "one /sites/one|"),
        ("/sites/one/x", "one /sites/one|/x"),
        ("/sites/plain/x", "other /sites/plain|/x"),
        ("/modules/three/x", "three /modules/three|/x"),
        ("/everywhere/x", "application /everywhere|/x"),
    ],
)
def test_who_answers(httpd: Server, path: str, answer: str) -> None:
    assert text(httpd, path) == answer


def test_what_the_main_server_has(httpd: Server) -> None:
    status = text(httpd, "/server-status?auto")
    assert "ServerVersion" in status or "Total Accesses" in status or "BusyWorkers" in status
    assert text(httpd, "/everywhere", "inherits") == "application /everywhere|"
    assert text(httpd, "/own", "inherits") == "other /own|"
    assert httpd.get("/other/x", headers={"Host": "inherits"}).status == 404
    assert text(httpd, "/x", "everything") == "application |/x"


def test_a_proxy_in_front(httpd: Server) -> None:
    answer = httpd.get("/backend/x", headers={"Host": "site"})
    assert answer.text == "application |/proxied/x"


def test_a_handler_around_and_an_application_inside(httpd: Server) -> None:
    assert text(httpd, "/x", "handlers") == "handler /x None None True"
    assert text(httpd, "/application/x", "handlers") == "application /application|/x"
    assert text(httpd, "/applications", "handlers") == "handler /applications None None True"
    assert text(httpd, "/x", "both") == "handler /x None None True"
    assert "is never asked: <Location /> has a SetHandler" in httpd.check().stderr


def test_a_directory_of_handlers(serve: Serve, tmp_path: Path) -> None:
    """What `mod_python start` writes: a handler for everything, and an application beside it."""
    for name, body in (
        ("mp", "def handler(req):\n    req.write('mp')\n    return 0\n"),
        ("hello_wsgi", APPLICATION.format("application", "hello_wsgi")),
    ):
        (tmp_path / f"{name}.py").write_text(body)
    config = (
        f"PythonPath \"sys.path+['{tmp_path}']\"\n<Location />\nSetHandler mod_python\nPythonHandler mp\n</Location>\n"
    )
    config += "PythonWSGI /hello_wsgi hello_wsgi:application\n"
    server = serve("", start=False)
    for file in tmp_path.glob("*.py"):
        server.write(f"site/{file.name}", file.read_text())
    server.configure(config.replace(str(tmp_path), str(server.root / "site")))
    server.start()
    assert server.ok("/hello_wsgi/x").text == "hello_wsgi /hello_wsgi|/x"
    assert server.ok("/").text == server.ok("/x").text == "mp"


def test_sections_say_the_rest(httpd: Server) -> None:
    assert httpd.get("/denied/x", headers={"Host": "site"}).status == 403
    httpd.claim("client denied by server configuration")
    said = json.loads(text(httpd, "/other/environment/x"))
    assert said["options"]["Key"] == "value" and said["interpreter"] == "two"
    assert (said["SCRIPT_NAME"], said["PATH_INFO"]) == ("/other/environment", "/x")
    assert said["filename"] is None and "SCRIPT_FILENAME" not in said
    assert text(httpd, "/x?handled").startswith("handler /x ")


def test_a_factory_is_called_once(httpd: Server) -> None:
    assert text(httpd, "/factory/x") == "factory1 /factory|/x"
    assert len({text(httpd, "/factory/x") for _ in range(10)}) == 1


def test_the_file_of_a_script(httpd: Server) -> None:
    said = json.loads(text(httpd, "/script/x"))
    assert said["SCRIPT_FILENAME"] == f"{httpd.root}/apps/placed.py" and said["filename"] is None


def test_what_a_client_names(httpd: Server) -> None:
    """What there is not is not found; nothing else can be named."""
    for path in (
        "/modules/nope",
        "/sites/nope/x",
        "/modules/three.x",
        "/modules/os.path",
        "/sites/..%2fone",
        "/sites/deep%2ftwo",
        "/sites/a:b",
    ):
        answer = httpd.get(path, headers={"Host": "site"})
        assert answer.status == 404 or answer.text.startswith("application |"), (path, answer)
    for path in ("/modules/nope", "/sites/nope/x"):
        assert httpd.get(path, headers={"Host": "site"}).status == 404
    assert httpd.get("/modules/broken", headers={"Host": "site"}).status == 500
    httpd.claim("No module named 'no_such_module'")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("PythonWSGI /x a:b\nPythonWSGI /y a:b\nPythonWSGI /x/ c:d", "an application at this place already, on line "),
        ("PythonWSGI / a:b\nPythonWSGI / a:b", "an application at this place already, on line "),
        ("PythonWSGIMatch ^/(x) a$1\nPythonWSGIMatch ^/(x) b$1", "an application at this place already"),
        ("PythonWSGIMatch /x a:b", "must begin with ^/"),
        ("PythonWSGIMatch ^/(x a:b", "is no regular expression"),
        ("PythonWSGIMatch ^/(a) app$3:x", '"app$3:x" has $3, but the expression "^/(a)" has 1 groups'),
        ("PythonWSGIMatch ^/x /srv/$1.wsgi", 'has $1, but the expression "^/x" has 0 groups'),
        ("PythonWSGIMatch ^/x a$:b", "a $ must be followed by"),
        ("PythonWSGI /x a$1:b", "must be package.module"),
        ("PythonWSGI /x 'a:make(1)'", "a factory is called without arguments; write module:make()"),
        ("PythonWSGI /x srv/app.wsgi", "must be package.module"),
        ("PythonWSGI /a//b a:b", "must be a plain path"),
        ("PythonWSGI /a/../b a:b", "must be a plain path"),
        ("PythonWSGI /x a..b", "must be package.module"),
        ("<Location /x>\nPythonWSGI /x a:b\n</Location>", "not allowed in <Location> context"),
    ],
)
def test_mistakes(serve: Serve, lines: str, complaint: str) -> None:
    checked = serve(lines + "\n", start=False).check()
    assert checked.returncode != 0 and complaint in checked.stderr, checked.stderr


def test_a_second_line_names_both(serve: Serve) -> None:
    server = serve("PythonWSGI /x a:b\nPythonWSGI /x c:d\n", start=False)
    lines = (server.root / "httpd.conf").read_text().splitlines()
    first = lines.index("PythonWSGI /x a:b") + 1
    said = server.check().stderr
    assert f"line {first + 1} of" in said and f"on line {first} of" in said


def test_a_file_that_is_not_there(serve: Serve) -> None:
    checked = serve("PythonWSGI /x @ROOT@/none.wsgi\n", start=False).check()
    assert checked.returncode == 0 and "none.wsgi: No such file or directory" in checked.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="this user is the children's user, too")
@pytest.mark.parametrize(
    ("line", "directive"),
    [
        ("PythonWSGI / @ROOT@/shut/app.py", "the application on line"),
        ("<Location />\nSetHandler mod_python\nPythonHandler @ROOT@/shut/app.py\n</Location>", "PythonHandler on line"),
        ("<Directory />\nPythonOutputFilter @ROOT@/shut/app.py::filter F\n</Directory>", "PythonOutputFilter on line"),
        ("PythonImport @ROOT@/shut/app.py main_interpreter", "PythonImport on line"),
    ],
)
def test_a_file_that_the_children_cannot_pass(serve: Serve, line: str, directive: str) -> None:
    server = serve(line + "\n", start=False)
    server.write("shut/app.py", APPLICATION.format("application", "shut"))
    (server.root / "shut").chmod(0o700)
    checked = server.check()
    said = f"httpd's user {CHILD_USER} cannot pass {server.root}/shut (mode 0700); let it, with `chmod o+x {server.root}/shut`"
    assert checked.returncode == 0 and directive in checked.stderr and said in checked.stderr, checked.stderr
    (server.root / "shut").chmod(0o755)
    assert directive not in server.check().stderr
    (server.root / "shut/app.py").unlink()
    assert "is not there" in server.check().stderr


MISSING = """
PythonPath "sys.path+['@ROOT@/apps']"
PythonWSGI / placed:application
PythonWSGI /plain @ROOT@/htdocs/none.wsgi
PythonWSGIMatch ^/m/(.*)$ @ROOT@/htdocs/m/$1.wsgi
PythonWSGIMatch ^/s/(\\w+) sites.$1
<Location /m/secret>
    Require all denied
</Location>
"""


def test_what_an_expression_matches_belongs_to_it(serve: Serve, mpm: str) -> None:
    """Where there is no such application, the answer is 404, and not a file of that name in the document root."""
    server = serve(MISSING, mpm=mpm, start=False)
    server.write("htdocs/m/shop.wsgi", APPLICATION.format("application", "shop"))
    server.write("htdocs/s/nothing", "a file")
    server.write("apps/sites/__init__.py", "")
    server.write("apps/sites/one.py", APPLICATION.format("application", "one"))
    server.write("apps/sites/broken.py", "import no_such_module\n")
    server.write("apps/sites/unfinished.py", "import sites.nothing\n")
    server.start()
    assert server.ok("/m/shop").text == "shop /m/shop|"
    assert server.ok("/s/one/x").text == "one /s/one|/x"
    for path in (
        "/m/shop.wsgi",
        "/m/x/../shop.wsgi",
        "/m/",
        "/m/a:b",
        "/m/nope/x",
        f"/m/{'x' * 300}",
        "/s/nothing",
        "/s/__init__",
    ):
        answer = server.get(path)
        assert answer.status == 404 and "def " not in answer.text, (path, answer)
    server.wait_log(f":info.* there is no {server.root}/htdocs/m/shop.wsgi.wsgi::application")
    server.wait_log(":info.* there is no sites.nothing::application")
    server.wait_log(":info.* what the expression on line .* has matched can name no application")
    assert ":error" not in server.log_text()
    assert server.get("/m/secret").status == 403
    server.claim("client denied by server configuration")
    for path, complaint in (("/s/broken", "no_such_module"), ("/plain", "none.wsgi")):
        assert server.get(path).status == 500
        server.claim(complaint)


@pytest.mark.parametrize("other", ["vhost_alias", "file_cache"])
@pytest.mark.parametrize("first", [False, True])
def test_a_module_that_maps_everything(serve: Serve, mpm: str, other: str, first: bool) -> None:
    """Hooks that come before it come before an application, too, however httpd has sorted them."""
    libexec = Path(system_httpd().modules)
    lua = ("lua",) if is_installed(libexec, "lua") else ()
    server = serve("", mpm=mpm, modules=(*lua, *((other,) if first else ())), start=False)
    server.write("htdocs/page.html", "a page")
    server.write(
        "hook.lua",
        'function map(r)\n    if r.uri == "/lua" then\n        r.filename = r.document_root .. "/page.html"\n'
        "        return apache2.OK\n    end\n    return apache2.DECLINED\nend\n",
    )
    load = "" if first else f"LoadModule {other}_module {libexec}/mod_{other}.so\n"
    hook = "LuaHookTranslateName @ROOT@/hook.lua map\n" if lua else ""
    server.configure(f"{load}{PATH}PythonTransHandler placed::translates\n{hook}PythonWSGI / placed:application\n")
    server.start()
    assert server.ok("/translated").text == "a page"
    assert not lua or server.ok("/lua").text == "a page"
    assert server.ok("/x").text == "application |/x"


def test_factories_that_are_methods(serve: Serve) -> None:
    """Each is called once, though what is called may be another object each time it is looked up."""
    targets = {"/made": "Builder.made", "/make": "builder.make", "/any": "builder.any", "/instance": "Builder.make"}
    lines = "".join(f"PythonWSGI {path} placed:{target}()\n" for path, target in targets.items())
    server = serve(f"{PATH}{lines}", children=1)
    for path, name in (("/made", "built"), ("/make", "built"), ("/any", "any")):
        first = text(server, path)
        assert first.startswith(name) and {text(server, path) for _ in range(10)} == {first}
    assert server.get("/instance").status == 500
    server.claim(
        "TypeError: placed::Builder.make: make is a method of the instances of class Builder, .* or name a function"
    )
    # As a module that has been changed makes them anew.
    before = text(server, "/make")
    server.write("apps/placed.py", (server.root / "apps/placed.py").read_text() + "\ncreate_app.calls = 100\n")
    server._wait(lambda: text(server, "/make") != before, "the application was not made anew")
