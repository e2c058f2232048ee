"""`mod_python migrate`: two sites that are moved and served, what is said of directives and of code, and what hostile files do."""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve, Server
from mod_python import _migrate
from mod_python._migrate import code, daemons
from mod_python._migrate.directives import MOD_PYTHON, OPTIONS, WSGI

from httpd import PROJECT

AUTH = ("auth_basic", "authn_file", "authz_user", "alias", "env")
ME = {"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()}


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    status = _migrate.main([*arguments, "--json"])
    findings: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
    return status, findings


def of(findings: list[dict[str, Any]], file: str) -> list[tuple[int, str]]:
    return sorted((one["line"], one["code"]) for one in findings if one["file"].endswith(file))


def written(server: Server, name: str) -> Path:
    """A sample's configuration, with the place where the sample is."""
    site = server.root / "apps" / name
    conf = next(site.glob("*.conf"))
    conf.write_text(conf.read_text().replace("@SITE@", str(site)))
    return conf


def test_a_site_of_mod_wsgi_is_moved_and_served(serve: Serve, capsys: pytest.CaptureFixture[str], mpm: str) -> None:
    modules = (*AUTH, "proxy", "proxy_http")
    server = serve("", start=False, modules=modules, mpm=mpm, interpreter=None, beside=False)
    conf = written(server, "moved_wsgi")
    if os.geteuid() != 0:
        conf.write_text(conf.read_text().replace(" user=www-data", ""))
    before = conf.read_text()
    status, findings = said(capsys, str(conf), "--write", str(server.root / "new"), "--module", str(server.module))
    assert status == 2 and conf.read_text() == before
    lines = {(line, code) for line, code in of(findings, "wsgi.conf")}
    for expected in (
        (2, "MP1001"),
        (5, "MP1005"),
        (8, "MP1002"),
        (18, "MP1001"),
        # A script that is imported, and is no application.
        (20, "MP1004"),
        (26, "MP1008"),
        (32, "MP1008"),
        (42, "MP1003"),
        (43, "MP1003"),
        (47, "MP1003"),
    ):
        assert expected in lines, (expected, sorted(lines))
    new = server.root / "new/wsgi.conf"
    assert not re.search(r"^\s*WSGI", new.read_text(), re.M), new.read_text()
    server.configure("Include @ROOT@/new/wsgi.conf\n")
    assert "Syntax OK" in server.check().stderr, server.check().stderr
    server.start()
    assert server.ok("/x", headers=ME).text == repr(["", "/x", "The Shop", ME["Authorization"], ["spam", "eggs"]])
    assert server.ok("/static/a.txt").text == "a file\n"
    # Passwords that stood in <Files>, and a door that was a script.
    assert server.get("/admin/x").status == 401
    assert server.ok("/admin/x", headers=ME).text == repr(["admin", "me", None])
    assert server.get("/members", headers=ME).status == 403
    assert server.get("/static/left.wsgi").status == 403
    assert server.ok("/many/one.wsgi/x").text == repr(["one", "/many/one.wsgi", "/x"])
    assert server.ok("/sites/one/x").text == repr(["one", "/sites/one", "/x"])
    server.claim("client denied|AH01630")


def test_a_site_of_mod_python_is_served(serve: Serve, capsys: pytest.CaptureFixture[str], mpm: str) -> None:
    server = serve("", start=False, modules=AUTH, mpm=mpm, interpreter=None, beside=False)
    conf = written(server, "moved_mp35")
    status, findings = said(capsys, str(conf.parent))
    assert status == 1
    found = [(3, "MP1011"), (4, "MP1011"), (5, "MP1010"), (9, "MP1010"), (16, "MP1010"), (19, "MP1010")]
    assert of(findings, "site.conf") == found
    assert of(findings, "handlers.py") == [(10, "MP2006")]
    assert of(findings, "page.psp") == of(findings, "publish.py") == []
    server.configure(
        "PythonOption mod_python.session.database_directory @ROOT@/sessions\nInclude @ROOT@/apps/moved_mp35/site.conf\n"
    )
    (server.root / "sessions").mkdir(mode=0o777)
    (server.root / "sessions").chmod(0o777)
    assert "Syntax OK" in server.check().stderr, server.check().stderr
    server.start()
    first = server.ok("/hello", "POST", body=b"12345")
    assert first.text == "yes 1 5"
    cookie = {"Cookie": str(first.header("Set-Cookie")).split(";")[0]}
    assert cookie["Cookie"].startswith("shopid=") and server.ok("/hello", headers=cookie).text == "yes 2 0"
    assert server.get("/private").status == 401 and server.ok("/private", headers=ME).text == "None 1 0"
    assert server.ok("/loud").text == "NONE 1 0"
    assert server.ok("/pages/publish.py?name=me").text == "published for me"
    assert "0,1,2," in server.ok("/pages/page.psp").text


PYTHON2 = '''# -*- coding: latin-1 -*-
"""print 'in a text' <> `x`"""
from mod_python import apache, Session, Cookie
import urllib2, os
from StringIO import StringIO

def handler(req):
    print "hello"
    print >>sys.stderr, "x"
    print
    if form.has_key("x") and 1 <> 2:  # print "a comment"
        raise ValueError, "x"
    try:
        os.chmod("x", 0755)
    except (KeyError, OSError), error:
        req.write(`error` + unicode("x") + req.read())
    for name, value in d.iteritems(): exec "x = 1"
    big = 10L; text = ur"x"; raise "a text"
    session = Session.Session(req); cookie = Cookie.SignedCookie("a", "b", "c")
    sys.maxint; string.join(x); raw_input()
    print_it = 5; printed(1); x.print_ = 2
'''
EXPECTED = [
    (4, "MP2003"), (5, "MP2003"), (8, "MP2001"), (9, "MP2001"), (10, "MP2001"), (11, "MP2001"), (11, "MP2004"),
    (12, "MP2001"), (14, "MP2001"), (15, "MP2001"), (16, "MP2001"), (16, "MP2002"), (16, "MP2005"), (17, "MP2001"),
    (17, "MP2004"), (18, "MP2001"), (18, "MP2001"), (18, "MP2001"), (19, "MP2006"), (19, "MP2007"), (20, "MP2002"),
    (20, "MP2004"), (20, "MP2004"),
]  # fmt: skip
PYTHON3 = '''from mod_python import apache, Session, Cookie, importer
import cgi
import mod_wsgi
import urllib

def handler(req):
    text = req.read() + req.readline()
    unicode(text); {}.has_key(1)
    req.get_config()["x"] = "y"

def loghandler(req):
    req.register_cleanup(print, (1, 2))
    Session.DbmSession(req, secret="x")
    environ["mod_wsgi.version"]
    req.build_wsgi_env()
    apache.CallBack
    return urllib.quote("x")

def typehandler(req):
    raise apache.SERVER_RETURN

def fine(req, long, reduce=None, file=open):
    """unicode `x` <> print x"""
    file = long + reduce
    print >> file
    return [file for file in ()]
'''
EXPECTED3 = [
    (1, "MP2008"), (2, "MP2012"), (3, "MP2013"), (6, "MP2009"), (7, "MP2005"), (7, "MP2005"), (8, "MP2002"), (8, "MP2004"),
    (9, "MP2011"), (12, "MP2011"), (13, "MP2006"), (13, "MP2007"), (14, "MP2013"), (15, "MP2008"), (16, "MP2008"),
    (17, "MP2004"), (25, "MP2001"),
]  # fmt: skip
PAGE = """<html>
<%
import urllib2
for name in d.iterkeys():
    print name
%>
<%-- print "a comment" --%> print "text" <%= unicode(form["x"]) %>
<% raise ValueError, "x" %>
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("two.py", PYTHON2, EXPECTED),
        ("three.py", PYTHON3, EXPECTED3),
        ("page.psp", PAGE, [(3, "MP2003"), (4, "MP2004"), (5, "MP2001"), (7, "MP2002"), (8, "MP2001")]),
    ],
)
def test_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, expected: list[tuple[int, str]]
) -> None:
    (tmp_path / name).write_text(text)
    status, findings = said(capsys, str(tmp_path))
    assert of(findings, name) == expected
    assert status == 2


def test_names_that_modules_and_classes_do_not_have_any_more() -> None:
    """In code that parses, and in code that does not."""
    both = "from urllib import quote, urlencode as e\nfrom types import (StringType,\n    x)\nclass A:\n    __metaclass__ = Meta\n    def __nonzero__(self): pass\n"
    parsed = "sorted(a, cmp=b); a.sort(cmp=b)\n'x'.decode('hex'); y.encode('base64'); y.encode('utf-8')\n"

    def told(text: str) -> list[tuple[int, str]]:
        return sorted((one.line, one.text) for one in code.module("m.py", text.encode(), text) if one.code == "MP2004")

    gone = [(1, "urllib.quote is gone"), (1, "urllib.urlencode is gone"), (2, "types.StringType is gone")]
    gone += [(5, "__metaclass__ is not looked at"), (6, "__nonzero__ is not called")]
    calls = [
        (7, "sort(cmp=…) is gone"),
        (7, "sorted(cmp=…) is gone"),
        (8, ".decode('hex') is gone"),
        (8, ".encode('base64') is gone"),
    ]
    assert told(both + parsed) == gone + calls
    assert told(both + "print 1\n") == gone


def test_texts_and_comments_are_masked() -> None:
    text = "a = 'x' # print\nb = \"\"\"\nprint x\n\"\"\" + r'\\\\' + c\nd = 'open\ne = '\\'' + f\n"
    masked = code.masked(text)
    assert masked.count("\n") == text.count("\n") and "print" not in masked and "x" not in masked
    for name in "abcdef":
        assert re.search(rf"\b{name}\b", masked), name


def translated(tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str) -> tuple[str, list[str]]:
    (tmp_path / "x.conf").write_text(config)
    found = said(capsys, str(tmp_path / "x.conf"), "--write", "--module", "/m.so")[1]
    new = tmp_path / "x.conf.new"
    text = new.read_text() if new.exists() else config
    kept = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    return "\n".join(kept), sorted({one["code"] for one in found if one["level"] != "advice"})


@pytest.mark.parametrize(
    ("config", "expected", "codes"),
    [
        ("WSGIScriptAlias /x /srv/x.wsgi", "PythonWSGI /x /srv/x.wsgi", []),
        ("WSGIScriptAlias /x/ '/srv/a b.wsgi'", 'PythonWSGI /x "/srv/a b.wsgi"', []),
        ("WSGICallableObject app\nWSGIScriptAlias / /x.py", "PythonWSGI / /x.py:app", []),
        ("WSGIScriptAlias / /x.py callable-object=app", "PythonWSGI / /x.py:app", []),
        ("WSGIPythonHome /v\nWSGIPythonPath /a:/b", "PythonHome /v\nPythonPath \"['/a', '/b']+sys.path\"", []),
        ("WSGIApplicationGroup %{GLOBAL}", "PythonInterpreter main_interpreter", []),
        ("WSGIApplicationGroup %{ENV:X}", "", ["MP1004"]),
        ("WSGIApplicationGroup own\n", "PythonInterpreter own", []),
        ("<Location /x>\nWSGIPassAuthorization On\n</Location>", "<Location /x>\nCGIPassAuth On\n</Location>", []),
        ("WSGIScriptReloading Off", "PythonAutoReload Off", []),
        ("WSGIImportScript /x.py process-group=a", "PythonImport /x.py main_interpreter", ["MP1004"]),
        # A daemon imports its applications, and reads them anew when their files change.
        (
            "WSGIDaemonProcess a\nWSGIImportScript /x.py process-group=a\nWSGIScriptAlias / /x.py process-group=a",
            "PythonDaemon a reload=/x.py\nPythonWSGI / /x.py daemon=a",
            [],
        ),
        (
            "WSGIDaemonProcess a\nWSGIImportScript /y.py process-group=a\nWSGIScriptAlias / /x.py process-group=a",
            "PythonDaemon a reload=/x.py\nPythonWSGI / /x.py daemon=a",
            ["MP1004"],
        ),
        (
            "WSGIDaemonProcess 'My Site' user=me group=us processes=2 threads=5 umask=0027 home=/h display-name=%{GROUP}\n"
            "WSGIScriptReloading Off\nWSGIProcessGroup 'My Site'\nWSGIScriptAlias /x /x.py\nWSGIScriptAliasMatch ^/y /y.py",
            "PythonDaemon My-Site user=me group=us processes=2 threads=5 umask=0027 working-directory=/h display-name=(wsgi:My-Site)\n"
            "PythonAutoReload Off\nPythonWSGI /x /x.py daemon=My-Site\nPythonWSGIMatch ^/y /y.py daemon=My-Site",
            [],
        ),
        (
            "WSGIPythonHome /v\nWSGIDaemonProcess a lang=C.UTF-8 locale=de_DE.UTF-8 maximum-requests=9 inactivity-timeout=8\\\n"
            " request-timeout=7 memory-limit=6000000 queue-timeout=5 cpu-priority=4 chroot=/c socket-user=me",
            "PythonHome /v\nPythonDaemon a environment=LANG=C.UTF-8 environment=LC_ALL=de_DE.UTF-8 max-requests=9 idle-timeout=8 "
            "request-timeout=7 memory-limit=6000000 python-home=/v",
            ["MP1004"],
        ),
        # What is set for requests goes to a daemon by name.
        (
            "WSGIDaemonProcess a\nSetEnv A 1\nPassEnv B C\nSetEnvIf X x D=1 !E F\nRewriteRule ^ - [L,E=G:1]\n"
            "<Location /other>\nSetEnv H 1\n</Location>\nWSGIScriptAlias /x /x.py process-group=a",
            "PythonDaemon a reload=/x.py pass-environment=A,B,C,D,F,G\nSetEnv A 1\nPassEnv B C\nSetEnvIf X x D=1 !E F\n"
            "RewriteRule ^ - [L,E=G:1]\n<Location /other>\nSetEnv H 1\n</Location>\nPythonWSGI /x /x.py daemon=a",
            [],
        ),
        ("WSGIProcessGroup %{GLOBAL}\nWSGIScriptAlias / /x.py", "PythonWSGI / /x.py", []),
        ("WSGIProcessGroup nowhere\nWSGIScriptAlias / /x.py", "PythonWSGI / /x.py", ["MP1004"]),
        ("WSGITrustedProxies 10.0.0.1 ::1", 'PythonOption mod_python.wsgi.trusted_proxies "10.0.0.1 ::1"', []),
        ("WSGIScriptAliasMatch ^/(a|b) /$1.wsgi", "PythonWSGIMatch ^/(a|b) /$1.wsgi", []),
        ("WSGIScriptAliasMatch .*x /y.wsgi", "PythonWSGIMatch ^.*x /y.wsgi", None),
        (
            "LoadModule wsgi_module x.so\n<IfModule wsgi_module>\n</IfModule>",
            "LoadModule python_module /m.so\n<IfModule python_module>\n</IfModule>",
            [],
        ),
        (
            "AddHandler wsgi-script .wsgi",
            '<FilesMatch "\\\\.(wsgi)(\\\\.|$)">\nRequire all denied\n</FilesMatch>',
            ["MP1003"],
        ),
        (
            "<Directory /x>\nSetHandler wsgi-script\nRequire all granted\n</Directory>",
            "<Directory /x>\nRequire all denied\n</Directory>",
            ["MP1003"],
        ),
        (
            "<Directory /x>\n<IfModule a>\nWSGIAccessScript /a\n</IfModule>\n<RequireAny>\nRequire ip ::1\n</RequireAny>\n</Directory>",
            "<Directory /x>\nRequire all denied\n<IfModule a>\n</IfModule>\n</Directory>",
            ["MP1003"],
        ),
        # Of a directory that is closed, and one in it that is open, the inner one holds.
        (
            "WSGIScriptAlias / /srv/x.wsgi\n<Directory />\nRequire all denied\n</Directory>\n<Directory /srv>\nRequire all granted\n</Directory>",
            "PythonWSGI / /srv/x.wsgi\n<Directory />\nRequire all denied\n</Directory>\n<Directory /srv>\nRequire all granted\n</Directory>",
            [],
        ),
        (
            "WSGIScriptAlias /x /srv/x.wsgi\n<Directory /srv>\nRequire ip ::1\n</Directory>",
            "PythonWSGI /x /srv/x.wsgi\n<Location /x>\nRequire ip ::1\n</Location>\n<Directory /srv>\nRequire ip ::1\n</Directory>",
            ["MP1008"],
        ),
        (
            "<Directory /srv>\nWSGIAccessScript /a\n</Directory>\nWSGIScriptAlias /x /srv/x.wsgi",
            "<Directory /srv>\nRequire all denied\n</Directory>\nPythonWSGI /x /srv/x.wsgi\n<Location /x>\nRequire all denied\n</Location>",
            ["MP1003", "MP1008"],
        ),
        # Who lets in under a condition does not without it, and what closes is there whatever holds.
        (
            "WSGIScriptAlias /x /srv/x.wsgi\n<Directory /srv>\nRequire ip ::1\n</Directory>\n"
            "<IfDefine D>\n<Directory /srv/>\nRequire all granted\n</Directory>\n</IfDefine>",
            "PythonWSGI /x /srv/x.wsgi\n<Location /x>\nRequire ip ::1\n</Location>\n<Location /x>\n<IfDefine D>\nRequire all granted\n</ifdefine>\n</Location>\n"
            "<Directory /srv>\nRequire ip ::1\n</Directory>\n<IfDefine D>\n<Directory /srv/>\nRequire all granted\n</Directory>\n</IfDefine>",
            ["MP1008"],
        ),
        (
            "WSGIScriptAlias /x /srv/x.wsgi\n<IfDefine D>\nWSGIScriptAlias /y /other/y.wsgi\n</IfDefine>\n<Directory /srv>\nOrder allow,deny\n</Directory>",
            "PythonWSGI /x /srv/x.wsgi\n<Location /x>\nOrder allow,deny\n</Location>\n<IfDefine D>\nPythonWSGI /y /other/y.wsgi\n</IfDefine>\n"
            "<Directory /srv>\nOrder allow,deny\n</Directory>",
            ["MP1004", "MP1008"],
        ),
        # Rules for one of many files.
        (
            "WSGIScriptAlias /x /srv/many/\n<Directory /srv/many/private>\nRequire ip ::1\n</Directory>",
            "PythonWSGIMatch ^/x/([^/]+) /srv/many/$1\n<Location /x>\nRequire all denied\n</Location>\n<Directory /srv/many/private>\nRequire ip ::1\n</Directory>",
            ["MP1003"],
        ),
        (
            'WSGIScriptAliasMatch ^/x/(a+) /srv/$1.wsgi\n<FilesMatch "^\\.ht">\nRequire all denied\n</FilesMatch>',
            'PythonWSGIMatch ^/x/(a+) /srv/$1.wsgi\n<FilesMatch "^\\.ht">\nRequire all denied\n</FilesMatch>',
            [],
        ),
        # mod_wsgi's own way with quotes, and what it has not.
        (
            "WSGIDaemonProcess 'my site' python-path='/a b:/c' processes=\"2\"\nWSGIScriptAlias / /x.py process-group=\"my site\" callable-object='app'\nWSGINonsense a=\"b",
            'PythonDaemon my-site "python-path=/a b:/c" processes=2 reload=/x.py\nPythonWSGI / /x.py:app daemon=my-site',
            ["MP1004"],
        ),
        # What httpd puts in the place of a name, and what mod_wsgi puts there for each request.
        (
            "Define D /srv\nWSGIDaemonProcess ${D}x python-path=${D}/a:rel:/b\nWSGIDaemonProcess plain python-path=${D}\nWSGICallableObject %{ENV:X}\n"
            "WSGIScriptAlias /p /p.py process-group=plain\n<Macro Site $n>\nWSGIDaemonProcess $n\nWSGIProcessGroup $n\nWSGIScriptAlias /$n /srv/$n.py\n</Macro>\nUse Site a",
            "Define D /srv\nPythonDaemon ${D}x python-path=${D}/a:/b\nPythonDaemon plain python-path=${D} reload=/p.py\n"
            "PythonWSGI /p /p.py daemon=plain\n<Macro Site $n>\nPythonDaemon $n reload=/srv/$n.py\nPythonWSGI /$n /srv/$n.py daemon=$n\n</Macro>\nUse Site a",
            ["MP1004"],
        ),
        (
            "WSGIDaemonProcess d python-path=rel\nWSGIScriptAlias / /p.py\n<Macro M $n>\nWSGIProcessGroup $n\n</Macro>",
            "PythonDaemon d\nPythonWSGI / /p.py\n<Macro M $n>\n</Macro>",
            ["MP1004"],
        ),
        # What holds for some requests alone must not hold for all.
        (
            'WSGIScriptAlias /x /srv/x.wsgi\n<Directory /srv>\nRequire all denied\n<If "false">\nRequire all granted\nSetEnv A b\n</If>\n</Directory>',
            'PythonWSGI /x /srv/x.wsgi\n<Location /x>\nRequire all denied\n<If "false">\nRequire all granted\nSetEnv A b\n</If>\n</Location>\n'
            '<Directory /srv>\nRequire all denied\n<If "false">\nRequire all granted\nSetEnv A b\n</If>\n</Directory>',
            ["MP1008"],
        ),
        (
            "WSGIScriptAlias / /a.wsgi\n# a comment\nOther thing \\\n  more\n",
            "PythonWSGI / /a.wsgi\nOther thing \\\nmore",
            [],
        ),
    ],
)
def test_directives(tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, expected: str, codes: Any) -> None:
    found, said_codes = translated(tmp_path, capsys, config)
    if codes is None:
        assert found == "" and said_codes == ["MP1004"]
    else:
        assert (found, said_codes) == (expected, codes)


def test_an_htaccess_file_beside_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "site/x.wsgi"
    script.parent.mkdir()
    script.write_text("")
    (tmp_path / "x.conf").write_text(
        f"WSGIScriptAlias /x {script}\n<Directory {tmp_path}>\nRequire all granted\n</Directory>\n"
    )
    htaccess = tmp_path / "site/.htaccess"
    for text, carried in (
        ("Require ip ::1\n", "Require ip ::1"),
        ("WSGIAccessScript /a\n", "Require all denied"),
        ("Require all granted\n", ""),
    ):
        htaccess.write_text(text)
        said(capsys, str(tmp_path), "--write", str(tmp_path / f"new{len(carried)}"))
        made = (tmp_path / f"new{len(carried)}" / tmp_path.name / "x.conf").read_text()
        assert (f"<Location /x>\n    {carried}\n</Location>" in made) if carried else "<Location" not in made, made


def test_environments_of_daemons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = "WSGIDaemonProcess {0} python-home=/v{0} python-path=/p{0}:/q\n"
    host = "<VirtualHost {0}>\nWSGIScriptAlias / /{0}.wsgi process-group={0}\n</VirtualHost>\n"
    two = translated(tmp_path, capsys, daemon.format("a") + daemon.format("b") + host.format("a") + host.format("b"))[0]
    assert two == (
        "PythonDaemon a python-home=/va python-path=/pa:/q reload=/a.wsgi\n"
        "PythonDaemon b python-home=/vb python-path=/pb:/q reload=/b.wsgi\n"
        "<VirtualHost a>\nPythonWSGI / /a.wsgi daemon=a\n</VirtualHost>\n"
        "<VirtualHost b>\nPythonWSGI / /b.wsgi daemon=b\n</VirtualHost>"
    )


@pytest.mark.parametrize(
    ("wanted", "taken", "name"),
    [
        ("shop", [], "shop"),
        ("shop", ["Shop"], "shop-2"),
        ("shop_1", ["shop.1", "shop_1-2"], "shop_1-3"),
        ("/", [], "daemon"),
        ("www.example.org:443", [], "www.example.org-443"),
        ("x" * 40, ["x" * 32], "x" * 28 + "-2"),
        ("x" * 31 + "-y", [], "x" * 31),
        ("${SITE}.example", ["${SITE}"], "${SITE}.example"),
        ("$name", [], "$name"),
    ],
)
def test_names_of_daemons(wanted: str, taken: list[str], name: str) -> None:
    assert daemons.named(wanted, taken) == name


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "x.conf"
    conf.write_text("WSGIScriptAlias / /x.wsgi\n")
    (tmp_path / "x.conf.new").symlink_to("target")
    assert _migrate.main([str(conf), "--write"]) == 2 and not (tmp_path / "target").exists()
    (tmp_path / "x.conf.new").unlink()
    assert _migrate.main([str(conf), "--write"]) == 0 and _migrate.main([str(conf), "--write"]) == 2
    assert conf.read_text() == "WSGIScriptAlias / /x.wsgi\n"
    assert "is there already" in capsys.readouterr().out
    # What is no UTF-8 stays as it is, line by line.
    data = b"# gr\xfc\xdfe\r\nWSGIScriptAlias / /f\xfc.wsgi\nServerAdmin \xff@x\n"
    conf.write_bytes(data)
    assert _migrate.main([str(conf), "--write", str(tmp_path / "new")]) == 0
    made = (tmp_path / "new/x.conf").read_bytes()
    assert (
        made.startswith(b"# gr\xfc\xdfe\r\n")
        and b"\nPythonWSGI / /f\xfc.wsgi\n" in made
        and made.endswith(b"\nServerAdmin \xff@x\n")
    )


def test_what_is_written_has_its_mode(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "linked").symlink_to("out")
    conf = tmp_path / "in/x.conf"
    conf.write_text("WSGIScriptAlias / /x.wsgi\n")
    conf.chmod(0o640)
    if os.geteuid() == 0:
        shutil.chown(conf, "daemon", "daemon")
    # A link of one's own is followed.
    assert _migrate.main([str(tmp_path / "in"), "--write", str(tmp_path / "linked/deep")]) == 0
    made = (tmp_path / "out/deep/in/x.conf").stat()
    assert (made.st_mode & 0o7777, made.st_uid, made.st_gid) == (0o640, conf.stat().st_uid, conf.stat().st_gid)
    assert [path.name for path in (tmp_path / "out/deep/in").iterdir()] == ["x.conf"]


@pytest.mark.skipif(os.geteuid() != 0, reason="about what root does in others' directories")
def test_root_follows_no_links_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon, text = pwd.getpwnam("daemon").pw_uid, "WSGIScriptAlias / /x.wsgi\n"
    for name in ("site/inner", "theirs", "mine", "target", "open"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "site/inner/x.conf").write_text(text)
    (tmp_path / "theirs/y.conf").write_text(text)
    (tmp_path / "secret").write_text(f"WSGIPythonHome /secret\n{text}")
    # Prepared by somebody else: a directory in place of one that is to be made, in it or above it, and what is read.
    (tmp_path / "mine/site").symlink_to(tmp_path / "target")
    (tmp_path / "there").symlink_to(tmp_path / "target")
    (tmp_path / "theirs/z.conf").symlink_to(tmp_path / "secret")
    for path in (tmp_path / "mine/site", tmp_path / "there", tmp_path / "theirs", tmp_path / "theirs/z.conf"):
        os.lchown(path, daemon, daemon)
    (tmp_path / "open").chmod(0o777)
    site = str(tmp_path / "site")
    for place, reason in {
        "mine": f"{tmp_path}/mine/site is a link, or no directory",
        "there": f"{tmp_path}/there is a link of daemon's",
        "there/new": f"{tmp_path}/there is a link of daemon's",
        "theirs": f"{tmp_path}/theirs belongs to daemon",
        "theirs/new": f"{tmp_path}/theirs belongs to daemon",
        "open/new": f"others may write to {tmp_path}/open",
    }.items():
        assert _migrate.main([site, "--write", str(tmp_path / place)]) == 2
        assert reason in capsys.readouterr().out, place
    assert _migrate.main([str(tmp_path / "theirs"), "--write"]) == 2
    said = capsys.readouterr().out
    assert f"{tmp_path}/theirs/z.conf is not read" in said and "/secret" not in said.replace(str(tmp_path), "")
    assert not list((tmp_path / "target").iterdir()) and not list((tmp_path / "open").iterdir())
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == ["y.conf", "z.conf"]


def test_hostile_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "fifo.py")
    os.mkfifo(tmp_path / "fifo.conf")
    (tmp_path / "loop.conf").symlink_to("loop.conf")
    (tmp_path / "folder").symlink_to(".")
    (tmp_path / "nul.py").write_bytes(b"x = 1\n\0\n")
    (tmp_path / "coding.py").write_bytes(b"# coding: nothing\nprint 1\n")
    (tmp_path / "deep.py").write_text("x = " + "(" * 50_000 + ")" * 50_000 + "\n")
    (tmp_path / "deep2.py").write_text("x = " + "-" * 100_000 + "1\n")
    (tmp_path / "long.py").write_text("print x" + "(" * 1_000_000 + "\n" + "except (" + "a, " * 300_000 + "\n")
    (tmp_path / "quotes.py").write_text("'" * 200_001 + "\n" + '"' * 200_000 + "print 'x\n")
    (tmp_path / "open.psp").write_text("<%" * 100_000)
    (tmp_path / "tags.psp").write_text("<%= 1 %>" * 100_000)
    (tmp_path / "lambda.py").write_text("lambda a, " * 50_000 + "print 1\n")
    (tmp_path / "a\x1b[2J\nb.py").write_text("print 'x'\n")
    (tmp_path / "deep.conf").write_text(
        "<Directory /x>\n" * 20_000 + "WSGIScriptAlias / /x\n" + "</Directory>\n" * 30_000
    )
    (tmp_path / "many.conf").write_text("WSGIScriptAlias /x /x.wsgi\n" * 300)
    with (tmp_path / "big.py").open("wb") as big:
        big.truncate(1 << 34)
    assert _migrate.main([str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert "\x1b" not in out
    for text in (
        "fifo.py: MP1014",
        "fifo.conf: MP1014",
        "nul.py: MP1014",
        "coding.py: MP1014",
        "big.py: MP1014",
        "tags.psp: MP1014",
        "deep.py",
    ):
        assert text in out, text


def test_the_tables_are_the_pages() -> None:
    """Every directive of mod_wsgi in docs/moving.md is known here, and the most of them are told of there."""
    page = (PROJECT / "docs/moving.md").read_text()
    section = page[page.index("## From mod_wsgi") : page.index("## From mod_python.wsgi")]
    named = set(re.findall(r"`(WSGI[A-Za-z]+)", section))
    assert named <= set(WSGI) and len(named) > 25, named - set(WSGI)
    counterparts = {name for name, change in WSGI.items() if change.code != "MP1005"}
    assert counterparts - named <= {"WSGIDispatchScript"}, counterparts - named
    table = section[section.index("### WSGIDaemonProcess") : section.index("## From gunicorn")]
    rows = re.findall(r"^\| (`.*) \| (.*) \| (.*)\|$", table, re.M)[1:]
    keys = {name: key for cell, key, _ in rows for name in re.findall(r"`([a-z-]+)`", cell)}
    assert set(keys) == set(daemons.OPTIONS), set(keys) ^ set(daemons.OPTIONS)
    for name, option in daemons.OPTIONS.items():
        assert keys[name].startswith(f"`{option.key}=") if option.key else keys[name] == "none", name
    from mod_python._doctor.names import DIRECTIVES
    from mod_python._doctor.names import OPTIONS as KNOWN

    assert set(MOD_PYTHON) <= set(DIRECTIVES) and set(OPTIONS.values()) <= set(KNOWN)
    read = "".join(path.read_text() for path in (PROJECT / "python/mod_python").glob("*.py"))
    assert all(f'"{name}"' in read for name in OPTIONS)


def test_the_command_is_hooked_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mod_python", "migrate", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "python")},
    )
    assert "mod_python migrate" in done.stdout
