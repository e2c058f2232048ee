"""Handlers that a section gives to a daemon, whatever section that is, answer as inside httpd: .htaccess files are the front's to read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from client import raw
from conftest import Serve, Server
from kept_daemons import PROXY, Daemon, user

PLACES = ("here", "away")
OPTION = {"here": "", "away": "PythonOption mod_python.daemon shop\n"}
SECTIONS = """
<Directory @ROOT@/htdocs/{place}/pub>
    SetHandler mod_python
    PythonHandler mod_python.publisher
    {option}
</Directory>
<Directory @ROOT@/htdocs/{place}/ext>
    AddHandler mod_python .py .psp
    PythonHandler mod_python.publisher | .py
    PythonHandler mod_python.psp | .psp
    {option}
</Directory>
<Directory @ROOT@/htdocs/{place}/auth>
    AuthType Basic
    AuthName "a place"
    Require valid-user
    PythonAuthenHandler whose::lets_in
    SetHandler mod_python
    PythonHandler whose::asks
    {option}
</Directory>
<LocationMatch "^/{place}/number\\d+">
    SetHandler mod_python
    PythonHandler whose
    {option}
</LocationMatch>
<FilesMatch "^{place}_.*\\.txt$">
    SetHandler mod_python
    PythonHandler whose
    {option}
</FilesMatch>
"""
CONFIG = f"""
PythonPath "['@ROOT@/apps']+sys.path"
PythonDaemon shop {user()} threads=8
<Directory @ROOT@/htdocs>
    AllowOverride All
    Options +Includes
    DirectoryIndex index.py index.html
    AddOutputFilter INCLUDES .shtml
</Directory>
""" + "".join(SECTIONS.format(place=place, option=OPTION[place]) for place in PLACES)
PUBLISHED = """
def index(req, a=None): return f"index {a!r} {req.filename.rsplit('/', 1)[-1]} {req.path_info}"
def form(req): return repr([(field.name, field.value) for field in req.form.list])
def boom(req): raise ValueError("on purpose")
def redirect(req):
    from mod_python import util
    util.redirect(req, "/elsewhere")
def parts(req):
    req.write("a")
    req.flush()
    req.write("b" * 100_000)
    return ""
def sent(req): req.sendfile(req.filename.replace("index.py", "data"))
def interim(req, status):
    req.status = int(status)
    return "interim"
def teapot(req):
    req.status = 418
    return "teapot"
"""
HTACCESS = "AddHandler mod_python .foo\nPythonHandler whose\nPythonOption said here\nOptions -Indexes\nRewriteEngine On\nRewriteRule ^old$ one.foo\n"
PATHS = (
    "pub/", "pub", "pub/index", "pub/index.py", "pub/index.py/form?a=1&b=2&a=3", "pub/nothing", "pub/boom", "pub/redirect", "pub/parts", "pub/sent",
    "pub/teapot", "ext/", "ext/index.py/teapot", "ext/page.psp", "ext/page.psp/more", "ext/none.psp", "ext/data", "number12/x",
    "@_a.txt", "@_a.txt/x", "@_none.txt", "ht/one.foo", "ht/one.foo/x", "ht/old", "ht/none.foo", "page.shtml",
)  # fmt: skip
METHODS = {
    "GET": "",
    "HEAD": "",
    "OPTIONS": "",
    "POST": "Content-Type: application/x-www-form-urlencoded\nContent-Length: 7\n",
    "GET ": "Range: bytes=1-3\n",
}


@pytest.fixture(scope="module")
def front(serve_module: Serve) -> Iterator[Server]:
    modules = (*PROXY, "rewrite", "include", "dir", "mime", "authn_core", "authz_user")
    server = serve_module(CONFIG, modules=modules, start=False, beside=False)
    for place in PLACES:
        for name in ("pub", "ext"):
            server.write(f"htdocs/{place}/{name}/index.py", PUBLISHED)
            server.write(f"htdocs/{place}/{name}/data", "D" * 300_000)
        (server.root / f"htdocs/{place}/auth").mkdir()
        server.write(f"htdocs/{place}/ext/page.psp", "<% for i in range(3): %>x<% %>\n<%= req.path_info %>")
        server.write(f"htdocs/{place}/{place}_a.txt", "")
        server.write(f"htdocs/{place}/ht/one.foo", "")
        server.write(f"htdocs/{place}/ht/.htaccess", HTACCESS + OPTION[place])
        server.write(
            f"htdocs/{place}/page.shtml",
            f'A<!--#include virtual="/{place}/pub/index?a=1" -->B<!--#include virtual="/{place}/number1" -->C',
        )
    server.start()
    Daemon(server).serves()
    yield server


def asked(front: Server, request: str, place: str) -> tuple[bytes, list[bytes], bytes]:
    """Status line, fields and body, without what differs between two requests or files."""
    answer = raw(front.port, request.replace("@", place).replace("\n", "\r\n").encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.replace(f"/{place}/".encode(), b"/@/").split(b"\r\n")
    body = body.replace(f"/{place}/".encode(), b"/@/").replace(f"{place}_a".encode(), b"@_a")
    fleeting = (b"date:", b"etag:", b"last-modified:", b"content-length:", b"transfer-encoding:")
    found = sorted(field for field in fields if not field.lower().startswith(fleeting))
    if b"chunked" in head.lower():
        # What comes in which chunk is nobody's promise.
        body = re.sub(rb"(?:\A|\r\n)[0-9a-f]+\r\n(?:\r\n\Z)?", b"", body)
    return first, found, re.sub(rb"\] \d+", b"]", body)


@pytest.mark.parametrize("path", PATHS)
def test_a_section_is_as_inside(front: Server, path: str) -> None:
    front.claims += ["on purpose", "Traceback", "publisher", "psp"]
    for method, fields in METHODS.items():
        body = "a=5&b=6" if method == "POST" else ""
        request = f"{method.strip()} /@/{path} HTTP/1.1\nHost: a\n{fields}Connection: close\n\n{body}"
        here, away = (asked(front, request, place) for place in PLACES)
        assert here == away, request


@pytest.mark.parametrize("status", [100, 102, 199])
def test_an_answer_has_the_status_of_one(front: Server, status: int) -> None:
    """The front would wait for another one behind an interim one."""
    assert front.get(f"/away/pub/interim?status={status}").status == 500
    front.claim(f"{status} is no status of an answer")
    front.ok("/away/pub/")


def test_a_handler_asks_for_the_password(front: Server) -> None:
    """AuthType and AuthName are the front's; without the first httpd gives nobody the password."""
    for place in PLACES:
        answer = front.ok(f"/{place}/auth/x", headers={"Authorization": "Basic YWxpY2U6c2VjcmV0"})
        assert answer.text == "Basic a place secret alice"
        assert front.get(f"/{place}/auth/x").status == 401


def test_what_htaccess_says_goes_along(front: Server) -> None:
    answer = front.ok("/away/ht/one.foo")
    said, _, pid = answer.text.rpartition(" ")
    assert said == "handler []  [('said', 'here')]" and int(pid) not in front.child_pids()
