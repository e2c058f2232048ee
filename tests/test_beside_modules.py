"""httpd's own modules beside an application and a handler that have no file: they may rely on `r->filename`."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from pathlib import Path

import pytest
from beside import is_installed
from beside_rows import ROWS, Row
from conftest import Serve, Server

from httpd import CHILD_USER, system_httpd

LIBEXEC = Path(system_httpd().modules)
KINDS = {
    "application": "PythonWSGI / beside_app:application\n<Location />\n%s\n</Location>",
    "handler": "<Location />\nSetHandler mod_python\nPythonHandler beside_app\n%s\n</Location>",
}


def configuration(row: Row) -> str:
    """The base server has neither application nor handler; each has a virtual host of its own, and the row's settings."""
    hosts = "".join(
        f"<VirtualHost *:@PORT@>\nServerName {kind}.test\nPythonInterpreter main_interpreter\n{row.host}\n{settings % row.section}\n</VirtualHost>\n"
        for kind, settings in KINDS.items()
    )
    return f"PythonPath \"sys.path+['@ROOT@/apps']\"\n{row.server}\n{hosts}"


def made(serve: Serve, row: Row) -> Server:
    """A server with files that modules would find if they were asked for."""
    needed = (*row.needs.split(), row.module)
    for name in needed:
        if not is_installed(LIBEXEC, name):
            pytest.skip(f"mod_{name} is not installed")
    server = serve(configuration(row), modules=needed, beside=False, start=False)
    for name in (
        "index.html",
        "some/page.html",
        "some/page.en.html",
        "some/page.cgi",
        "some/index.html",
        "some/page.asis",
    ):
        server.write(f"htdocs/{name}", name.replace("/", " ").partition(".")[0])
    server.write("htdocs/some/.htaccess", "Require all denied\n")
    server.write("htdocs/some/.web/page.html.meta", "X-Meta: found\n")
    for name in (
        "homes/anna/public/index.html",
        "virtual/application.test/some/page",
        "virtual/handler.test/some/page",
    ):
        server.write(name, "another one's")
    server.write("passwords", "anna:{SHA}vREdy0s0PeTsCnnS1exVo5GcecQ=\n")
    server.write("groups", "friends: anna\n")
    server.write("magic", "0\tstring\tsome\ttext/x-magic\n")
    server.write("hook.lua", "function fixup(r)\n    local name = r.filename\n    return apache2.DECLINED\nend\n")
    (server.root / "cache").mkdir()
    if os.geteuid() == 0:
        os.chown(server.root / "cache", pwd.getpwnam(CHILD_USER).pw_uid, -1)
    return server.start()


@pytest.fixture(params=ROWS, ids=[row.name for row in ROWS])
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_module_beside(serve: Serve, row: Row, kind: str) -> None:
    server = made(serve, row)
    headers = {"Host": f"{kind}.test", "Connection": "close", **row.headers}
    body = row.body.encode() if row.body else None
    answer = None
    for _ in range(row.times):
        with contextlib.suppress(OSError):
            answer = server.get(row.path, row.method, headers=headers, body=body)
    server.stop()
    died = [line for line in server.log_text().splitlines() if "exit signal" in line]
    assert not died, died[0]
    assert answer is not None
    server.claims.append(":error")  # of httpd's modules: what they refuse
    ours = [line for line in server.log_text().splitlines() if "[python:error" in line]
    assert not ours, ours
    own = f"{kind} {row.method} {row.path} [{row.mark}] [{row.user}] {row.body}"
    text = own.upper() if row.text == "UPPER" else row.text.replace("KIND", kind) if row.text else own
    if row.status:
        assert answer.status == row.status, (answer, server.log_text()[-2000:])
    else:
        assert answer.status >= 400, answer
    if row.text is not None:
        assert answer.text == text
    if row.header[0]:
        assert re.search(row.header[1], answer.header(row.header[0]) or ""), answer
    for kept in ("index.html", "some/page.html"):
        assert (server.root / "htdocs" / kept).exists()
    assert not (server.root / "htdocs/some/page").exists() and not (server.root / "htdocs/made").exists()
