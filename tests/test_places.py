"""Sections, and httpd's own ways to a handler: DirectoryIndex, ErrorDocument, sub-requests, authentication modules."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from conftest import Serve, Server, places

CONFIG = """
<Directory @ROOT@/htdocs/*/x>
    AddHandler mod_python .py .psp
    AddHandler python-program .old
    AddHandler other .other
    PythonHandler places
    PythonOutputFilter places SAYS
    SetOutputFilter SAYS
</Directory>
<DirectoryMatch "/htdocs/reg[0-9]+">
    SetHandler mod_python
    PythonHandler places
    PythonInterpPerDirective On
</DirectoryMatch>
<Directory @ROOT@/htdocs/index>
    DirectoryIndex missing.html start.py
    AddHandler mod_python .py
    PythonHandler places
</Directory>
<Files special.txt>
    SetHandler mod_python
    PythonHandler places
</Files>
ErrorDocument 404 /document/of/errors
<Location /document>
    SetHandler mod_python
    PythonHandler places
</Location>
<Directory @ROOT@/htdocs/ssi>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
    PythonFixupHandler places::mark
</Directory>
<Location /inner>
    SetHandler mod_python
    PythonHandler places::inner
</Location>
<Location /digest>
    AuthType Digest
    AuthName private
    AuthDigestProvider file
    AuthUserFile @ROOT@/digest
    Require valid-user
    PythonAuthzHandler places::authz
    SetHandler mod_python
    PythonHandler places::digest_user
</Location>
<Location /basic>
    AuthType Basic
    AuthName private
    AuthBasicProvider file
    AuthUserFile @ROOT@/basic
    Require valid-user
    PythonAuthzHandler places::authz
    SetHandler mod_python
    PythonHandler places::digest_user
</Location>
"""
MODULES = ("include", "auth_basic", "auth_digest", "authn_file", "authz_user", "filter")


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(places("places") + CONFIG, mpm=mpm, modules=MODULES, start=False, interpreter=None)
    for name in ("a/x/one.py", "a/x/sub/two.py", "reg12/page", "index/start.py", "index/special.txt"):
        server.write(f"htdocs/{name}", "")
    server.write("htdocs/ssi/page.shtml", 'before <!--#include virtual="/inner" --> after')
    for folder in ("a", "a/x", "a/x/sub", "reg12", "index", "ssi"):
        (server.root / "htdocs" / folder).chmod(0o755)
    digest = {user: hashlib.md5(f"{user}:private:eggs".encode()).hexdigest() for user in ("good", "bad")}
    server.write("digest", "".join(f"{user}:private:{hashed}\n" for user, hashed in digest.items()))
    made = [
        subprocess.run(["htpasswd", "-nbB", "-C4", user, "eggs"], capture_output=True, text=True, check=True).stdout
        for user in ("good", "bad")
    ]
    server.write("basic", "".join(line.strip() + "\n" for line in made))
    return server.start()


def curl(server: Server, path: str, *options: str) -> str:
    """Status and body."""
    command = ["curl", "-sS", "-w", " %{http_code}", *options, server.url(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("path", ["/a/x/one.py", "/a/x/sub/two.py"])
def test_a_directory_with_wild_cards(httpd: Server, path: str) -> None:
    """The directory is the one that matched, for handlers and filters (docs/differences.md#places-with-wild-cards)."""
    text = httpd.ok(path).text
    here = f"{httpd.root}/htdocs/a/x/"
    assert f'"directory": "{here}"' in text and text.endswith(f"({here})")
    assert '"extensions": "old psp py"' in text


def test_a_directory_by_expression(httpd: Server) -> None:
    text = httpd.ok("/reg12/page").text
    here = f"{httpd.root}/htdocs/reg12/"
    assert f'"directory": "{here}"' in text and f'"interpreter": "{here}"' in text
    assert '"extensions": ""' in text


def test_an_index_and_a_file(httpd: Server) -> None:
    assert f'"filename": "{httpd.root}/htdocs/index/start.py"' in httpd.ok("/index/").text
    assert f'"filename": "{httpd.root}/htdocs/index/special.txt"' in httpd.ok("/index/special.txt").text


def test_an_error_document(httpd: Server) -> None:
    answer = httpd.get("/nothing/there")
    assert answer.status == 404
    assert '"uri": "/document/of/errors", "status": 404, "prev": ["/nothing/there", 404]' in answer.text


def test_a_sub_request(httpd: Server) -> None:
    assert httpd.ok("/ssi/page.shtml").text == "before [/ssi/page.shtml seen] after"


def test_digest_authentication(httpd: Server) -> None:
    assert curl(httpd, "/digest", "--digest", "-u", "good:eggs") == "good Digest None 200"
    assert curl(httpd, "/digest", "--digest", "-u", "bad:eggs").endswith(" 403")
    assert httpd.get("/digest").status == 401
    assert (httpd.get("/digest").header("WWW-Authenticate") or "").startswith('Digest realm="private"')
    assert curl(httpd, "/digest", "--digest", "-u", "good:wrong").endswith(" 401")
    httpd.claim("user good: password mismatch")


def test_basic_authentication_by_httpd(httpd: Server) -> None:
    assert curl(httpd, "/basic", "-u", "good:eggs") == "good Basic eggs 200"
    assert curl(httpd, "/basic", "-u", "bad:eggs").endswith(" 403")
    assert httpd.get("/basic").header("WWW-Authenticate") == 'Basic realm="private"'
    assert curl(httpd, "/basic", "-u", "good:wrong").endswith(" 401")
    httpd.claim("AH01617|authentication failure")


@pytest.mark.parametrize("name", ["capsules", "queries", "cleanups"])
def test_functions(httpd: Server, name: str) -> None:
    assert httpd.ok(f"/places/{name}").text == "ok"


HTTP2 = """
Protocols h2c http/1.1
PythonOutputFilter filters UPPER
PythonInputFilter filters INUP
<Location /up>
    SetHandler mod_python
    PythonHandler filters::echo
    SetInputFilter INUP
    SetOutputFilter UPPER
</Location>
<Location /large>
    SetHandler mod_python
    PythonHandler filters::large
    SetOutputFilter UPPER
</Location>
"""


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_handlers_and_filters_over_http_2(serve: Serve, mpm: str) -> None:
    server = serve(places("filters", "hello") + HTTP2, mpm=mpm, modules=("http2",))
    assert curl(server, "/hello/handler", "--http2-prior-knowledge") == "Hello World! 200"
    assert curl(server, "/up", "--http2-prior-knowledge", "-d", "some body") == "SOME BODY 200"
    checked = curl(
        server, "/large", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{size_download} %{http_version}"
    )
    assert checked == f"{1600 * 65536} 2"
