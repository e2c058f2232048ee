"""`mod_python migrate`: mod_wsgi's directives in the shapes that sites have, and that nothing of them is dropped in silence."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from mod_python._migrate.source import parse
from mod_python._migrate.wsgi import Translator
from test_migrate import said, translated

CASES = {
    "relative entries are looked for from home": (
        "WSGIDaemonProcess d home=/srv/app python-path=lib:../x:/y",
        "PythonDaemon d working-directory=/srv/app python-path=/srv/app/lib:/srv/x:/y",
        [],
    ),
    "values that PythonDaemon refuses": (
        "WSGIPythonHome /v\nWSGIDaemonProcess d home=rel umask=0777 python-home=venv\nWSGIDaemonProcess e home=${X}/y umask=${U}\nWSGIDaemonProcess f umask=8",
        "PythonHome /v\nPythonDaemon d\nPythonDaemon e working-directory=${X}/y umask=${U} python-home=/v\nPythonDaemon f python-home=/v",
        ["MP1004"],
    ),
    "a colon in a file's name": ("WSGIScriptAlias /x /srv/a:b.wsgi", "", ["MP1004"]),
    "what mod_wsgi never reached": (
        "WSGIScriptAlias /x /a.wsgi\nWSGIScriptAlias /x/ /b.wsgi\nWSGIScriptAlias /y /b.wsgi",
        "PythonWSGI /x /a.wsgi\nPythonWSGI /y /b.wsgi\n<Location /x>\nPythonInterpreter site-x\n</Location>\n<Location /y>\nPythonInterpreter site-y\n</Location>",
        ["MP1006"],
    ),
    "the same place under two conditions": (
        "<IfDefine A>\nWSGIScriptAlias /x /a.wsgi\n</IfDefine>\n<IfDefine !A>\nWSGIScriptAlias /x /b.wsgi\n</IfDefine>",
        "<IfDefine A>\nPythonWSGI /x /a.wsgi\n</IfDefine>\n<IfDefine !A>\nPythonWSGI /x /b.wsgi\n</IfDefine>",
        ["MP1004"],
    ),
    "a daemon does not watch what is left out": (
        "WSGIDaemonProcess d\nWSGIProcessGroup d\nWSGIScriptAlias /y a.wsgi\nWSGIScriptAlias /z /z.wsgi\nWSGIScriptAlias /z /b.wsgi",
        "PythonDaemon d reload=/z.wsgi\nPythonWSGI /z /z.wsgi daemon=d",
        ["MP1004", "MP1006"],
    ),
    "no path": ("WSGIScriptAlias x /a.wsgi\nWSGIScriptAlias /y a.wsgi", "", ["MP1004"]),
    "an expression that is none here has no sections either": (
        "WSGIScriptAliasMatch (?i)^/Case /a.wsgi\nWSGIScriptAlias /x /b.wsgi",
        "PythonWSGI /x /b.wsgi",
        ["MP1004"],
    ),
    "a daemon for each condition": (
        "<IfDefine P>\nWSGIDaemonProcess d processes=5\n</IfDefine>\n<IfDefine !P>\nWSGIDaemonProcess d processes=1\n</IfDefine>\n"
        "WSGIScriptAlias / /a.wsgi process-group=d",
        "<IfDefine P>\nPythonDaemon d processes=5 reload=/a.wsgi\n</IfDefine>\n<IfDefine !P>\nPythonDaemon d processes=1 reload=/a.wsgi\n</IfDefine>\n"
        "PythonWSGI / /a.wsgi daemon=d",
        [],
    ),
    "a daemon by a condition": (
        "<IfModule mod_wsgi.c>\nWSGIDaemonProcess a\nWSGIDaemonProcess b\n</IfModule>\n<IfDefine P>\nWSGIProcessGroup a\n</IfDefine>\n"
        "<IfDefine !P>\nWSGIProcessGroup b\n</IfDefine>\nWSGIScriptAlias / /a.wsgi",
        "<IfModule python_module>\nPythonDaemon a\nPythonDaemon b reload=/a.wsgi\n</IfModule>\n<IfDefine P>\n</IfDefine>\n<IfDefine !P>\n</IfDefine>\n"
        "PythonWSGI / /a.wsgi daemon=b",
        ["MP1004"],
    ),
    "a daemon under mod_wsgi's own condition": (
        "<IfModule mod_wsgi.c>\nWSGIDaemonProcess a\nWSGIProcessGroup a\n</IfModule>\nWSGIScriptAlias / /a.wsgi",
        "<IfModule python_module>\nPythonDaemon a reload=/a.wsgi\n</IfModule>\nPythonWSGI / /a.wsgi daemon=a",
        [],
    ),
    "a daemon by the host's name": (
        "<VirtualHost *>\nServerName a.example:80\nWSGIDaemonProcess a.example\nWSGIProcessGroup %{SERVER}\nWSGIScriptAlias / /a.wsgi\n"
        "WSGIImportScript /i.py application-group=%{SERVER}\n</VirtualHost>",
        "<VirtualHost *>\nServerName a.example:80\nPythonDaemon a.example reload=/a.wsgi\nPythonWSGI / /a.wsgi daemon=a.example\n"
        "PythonImport /i.py a.example\n</VirtualHost>",
        [],
    ),
    "what is chosen for each request": (
        "WSGIScriptAlias / /a.wsgi process-group=%{ENV:A}\nWSGIImportScript /i.py application-group=%{ENV:B}",
        "PythonWSGI / /a.wsgi",
        ["MP1004"],
    ),
    "an interpreter that is chosen for each request": (
        "WSGIScriptAlias / /a.wsgi application-group=%{HOST}",
        "PythonWSGI / /a.wsgi",
        ["MP1004"],
    ),
    "a daemon for a part of an application": (
        "WSGIDaemonProcess a\nWSGIScriptAlias / /a.wsgi\n<Location /admin>\nWSGIProcessGroup a\n</Location>",
        "PythonDaemon a\nPythonWSGI / /a.wsgi\n<Location /admin>\n</Location>",
        ["MP1004"],
    ),
    "headers that cannot be trusted": (
        "WSGITrustedProxyHeaders X-Forwarded-For X-Real-IP",
        "PythonOption mod_python.wsgi.trusted_headers X-Forwarded-For",
        ["MP1004"],
    ),
    "variables with a full stop, and by expressions": (
        "WSGIDaemonProcess t\nSetEnv trac.env_path /srv\nSetEnvIfExpr true A=1\nRewriteRule ^ - [env=B:1]\nWSGIScriptAlias / /a.wsgi process-group=t",
        "PythonDaemon t reload=/a.wsgi pass-environment=trac.env_path,A,B\nSetEnv trac.env_path /srv\nSetEnvIfExpr true A=1\n"
        "RewriteRule ^ - [env=B:1]\nPythonWSGI / /a.wsgi daemon=t",
        [],
    ),
    "passwords by mod_wsgi, of every kind": (
        "<Location /x>\nAuthType Digest\nAuthDigestProvider wsgi\nRequire valid-user\n</Location>",
        "<Location /x>\nRequire all denied\nAuthType Digest\n</Location>",
        ["MP1003"],
    ),
    "programs by their type": (
        "<Files a.py>\nForceType application/x-httpd-wsgi\n</Files>\nAddType application/x-httpd-wsgi .wsg",
        '<Files a.py>\nRequire all denied\n</Files>\n<FilesMatch "\\\\.(wsg)(\\\\.|$)">\nRequire all denied\n</FilesMatch>',
        ["MP1003"],
    ),
    "a rule in a macro": (
        "<Macro S $n $d>\n<VirtualHost *>\nWSGIScriptAlias / $d/a.wsgi\n<Directory $d>\nRequire ip ::1\n</Directory>\n</VirtualHost>\n</Macro>",
        "<Macro S $n $d>\n<VirtualHost *>\nPythonWSGI / $d/a.wsgi\n<Location />\nRequire ip ::1\n</Location>\n<Directory $d>\nRequire ip ::1\n</Directory>\n"
        "</VirtualHost>\n</Macro>",
        ["MP1008"],
    ),
    "packages of Python 2": (
        "WSGIDaemonProcess d python-path=/srv:/v/lib/python2.7/site-packages\nWSGIPythonPath /v/lib/python2.7/site-packages",
        "PythonDaemon d python-path=/srv",
        ["MP1004"],
    ),
    "where mod_wsgi is asked for by a directive": (
        "<IfDirective WSGIScriptAlias>\nWSGIScriptAlias / /a.wsgi\n</IfDirective>",
        "<IfDirective PythonWSGI>\nPythonWSGI / /a.wsgi\n</IfDirective>",
        [],
    ),
    "directives of old versions": ("WSGIReloadMechanism Process\nWSGIOutputBuffering On\nWSGIPy3kWarningFlag On", "", []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    config, expected, codes = CASES[name]
    assert translated(tmp_path, capsys, config) == (expected, codes)


def test_what_mod_python_had_and_nobody_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".htaccess").write_text(
        "PythonOption mod_python.importer.path \"['/x']\"\nPythonOption mod_python.legacy.importer *\nPythonOption mod_python.sesion.cookie_name x\n"
        "PythonOption my.own x\nPythonHander x\nPythonHandler mod_python.servlet\nPythonHandler mod_python.publisher x::y.z | .py\n"
    )
    found = said(capsys, str(tmp_path / ".htaccess"))[1]
    assert [(one["line"], one["code"]) for one in found] == [
        (1, "MP1004"), (2, "MP1005"), (3, "MP1004"), (5, "MP1004"), (6, "MP1004"),
    ]  # fmt: skip
    assert "cookie_name" in found[2]["text"] and "PythonHandler" in found[3]["remedy"]


def with_htaccess(tmp_path: Path, capsys: pytest.CaptureFixture[str], htaccess: str) -> tuple[str, str]:
    """What becomes of two applications, one of which has a .htaccess file in its directory, and of that file."""
    site, new = tmp_path / "site", tmp_path / "new"
    for name in "ab":
        (site / name).mkdir(parents=True)
    (site / "x.conf").write_text(
        f"WSGIDaemonProcess d\nWSGIScriptAlias /a {site}/a/a.wsgi\nWSGIScriptAlias /b {site}/b/b.wsgi process-group=d application-group=%{{GLOBAL}}\n"
    )
    (site / "a/.htaccess").write_text(htaccess)
    said(capsys, str(site), "--write", str(new))
    conf, other = ((new / "site" / name).read_text() for name in ("x.conf", "a/.htaccess"))
    made = "\n".join(line for line in (" ".join(line.split()) for line in conf.split("\n")) if line and line[0] != "#")
    return made.replace(str(site), ""), other


def test_an_htaccess_file_is_about_its_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another application gets neither its settings nor credentials, and none of its rules."""
    made, other = with_htaccess(
        tmp_path,
        capsys,
        "WSGICallableObject only_a\nWSGIPassAuthorization On\nWSGIApplicationGroup own\nSetEnv A 1\n<Files *.wsgi>\nRequire ip ::1\n</Files>\n",
    )
    assert made == (
        "PythonDaemon d reload=/b/b.wsgi\nPythonWSGI /a /a/a.wsgi:only_a\nPythonWSGI /b /b/b.wsgi daemon=d\n"
        "<Location /a>\nPythonInterpreter own\nCGIPassAuth On\n</Location>\n<Location /a>\nRequire ip ::1\n</Location>"
    )
    # Its requests have no file: nobody would look at it there.
    assert "\nPythonInterpreter" not in other and "CGIPassAuth" not in other


def test_an_htaccess_file_is_nearer_than_a_section_for_its_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.htaccess").write_text("WSGICallableObject near\n")
    (tmp_path / "x.conf").write_text(
        f"WSGIScriptAlias /a {tmp_path}/a/a.wsgi\n<Directory {tmp_path}/a>\nWSGICallableObject far\n</Directory>\n"
    )
    said(capsys, str(tmp_path), "--write")
    assert f"\nPythonWSGI /a {tmp_path}/a/a.wsgi:near\n" in (tmp_path / "x.conf.new").read_text()


def test_an_htaccess_file_gets_no_location(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """httpd would refuse the file, with every request."""
    made, other = with_htaccess(tmp_path, capsys, "SetHandler wsgi-script\nOptions +ExecCGI\n")
    assert "<Location" not in other and "\nRequire all denied\n" in other
    assert "<Location /a>\nRequire all denied\n</Location>" in made and "/b>" not in made


def test_many_virtual_hosts() -> None:
    """What is done for twice as many is not eight times as much."""

    def done(count: int) -> int:
        text = "".join(
            f"<VirtualHost *>\nServerName h{place}\nWSGIDaemonProcess d{place}\nWSGIProcessGroup d{place}\n"
            f"WSGIScriptAlias / /srv/{place}/x.wsgi\n<Directory /srv/{place}>\nRequire all granted\n</Directory>\n</VirtualHost>\n"
            for place in range(count)
        )
        calls = 0

        def note(frame: Any, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event == "call"

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            made = Translator([parse("/x.conf", text)], []).translate()
        finally:
            sys.setprofile(before)
        assert sum("daemon=d" in line for new in made.replaced.values() for line in new) == count
        return calls

    assert done(40) < 4.5 * done(20)


def test_lines_end_as_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.conf").write_bytes(
        b"WSGIScriptAlias / \\\r\n /srv/x.wsgi\r\n<Directory /srv>\r\nRequire ip ::1\r\n</Directory>\r\n"
    )
    said(capsys, str(tmp_path / "x.conf"), "--write")
    made = (tmp_path / "x.conf.new").read_bytes()
    assert b"Location" in made and made.count(b"\r\n") == made.count(b"\n") == made.count(b"\r")


def test_a_daemon_with_variables_of_any_name_is_served(
    serve: Serve, capsys: pytest.CaptureFixture[str], mpm: str
) -> None:
    """Variables as Trac has them reach the application in its daemon."""
    server = serve("", start=False, modules=("env", "proxy", "proxy_http"), mpm=mpm, interpreter=None, beside=False)
    script = server.root / "trac/trac.wsgi"
    script.parent.mkdir(mode=0o755)
    script.write_text(
        "import sys\n\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [repr((environ['trac.env_path'], 'found' in sys.path[0])).encode()]\n"
    )
    (script.parent / "found").mkdir(mode=0o755)
    user = " user=www-data" if os.geteuid() == 0 else ""
    conf = server.root / "old.conf"
    conf.write_text(
        f"WSGIDaemonProcess t home={script.parent} python-path=found{user}\nSetEnv trac.env_path /srv/trac\n"
        f"WSGIScriptAlias /x {script} process-group=t\n"
    )
    assert said(capsys, str(conf), "--write", "--module", str(server.module))[0] == 0
    server.configure("Include @ROOT@/old.conf.new\n")
    assert "Syntax OK" in server.check().stderr, server.check().stderr
    server.start()
    assert server.ok("/x").text == repr(("/srv/trac", True))
