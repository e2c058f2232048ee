"""`mod_python check`: each code for what it is about, what hostile files do to it, and that it agrees with httpd and with the module."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import pytest
from conftest import Serve, Server
from mod_python import _doctor
from mod_python._doctor import configuration, lines, names, probe, server
from mod_python._doctor.access import Access, identity, own
from mod_python._doctor.codes import CODES, LEVELS

from httpd import CHILD_USER, PROJECT, query_apxs

MODULES = {"rewrite", "alias", "proxy", "proxy_http"}
IS_ROOT = os.geteuid() == 0
PAGE = """# Codes

What [`mod_python check`](check.md) and [`mod_python migrate`](moving.md) say. An error keeps something from working, a warning is hardly what was
meant, advice is for a better life. This page is made of the table in `python/mod_python/_doctor/codes.py`; a test compares them.
"""


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """What the command says, and its exit status."""
    status = _doctor.main([*arguments, "--json"])
    findings: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
    return status, findings


def codes(findings: list[dict[str, Any]], advice: bool = False) -> list[str]:
    return sorted({one["code"] for one in findings if advice or one["level"] != "advice"})


def made(serve: Serve, config: str, **settings: Any) -> Server:
    return serve(config, start=False, interpreter=None, beside=False, **settings)


APPLICATION = "def application(environ, start_response): pass\ndef handler(req): pass\nvalue = 1\n"
FILE = "PythonWSGI / @ROOT@/site/good.py\n"
PATH = "PythonPath \"sys.path+['@ROOT@/site']\"\n"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PATH + "PythonWSGI / good\n", []),
        (PATH + "PythonWSGI / good:nothing\n", ["MP0006"]),
        (PATH + "PythonWSGI / good:value\n", ["MP0006"]),
        (PATH + "PythonWSGI / bad\n", ["MP0005"]),
        (PATH + "PythonWSGI / nowhere\n", ["MP0005"]),
        (PATH + "PythonASGI / broken\n", ["MP0005"]),
        ('PythonPath "1/0"\nPythonWSGI / json\n', ["MP0005"]),
        ("PythonPath \"sys.path+['/nowhere']\"\n", ["MP0003"]),
        ("PythonWSGI / @ROOT@/site/good.py\n", []),
        ("PythonWSGI / @ROOT@/site/nowhere.py\n", ["MP0002"]),
        ("PythonHome /nowhere\n", ["MP0002"]),
        ("PythonHome /etc\n", ["MP0004"]),
        ("PythonOption mod_python.asgi.lop x\n", ["MP0010"]),
        ("PythonHandlr x\n", ["MP0011"]),
        ("Nonsense x\n", ["MP0012"]),
        ("Include nowhere.conf\n", ["MP0013"]),
        ("Include httpd.conf\n", ["MP0013"]),
        ("<Location /x>\nSetHandler mod_python\n</Location>\n", ["MP0014"]),
        (PATH + "<Location /x>\nPythonHandler good\n</Location>\n", ["MP0015"]),
        (
            PATH + "<Location />\nSetHandler mod_python\n</Location>\n<Location /x>\nPythonHandler good\n</Location>\n",
            [],
        ),
        (PATH + "<Directory @ROOT@/htdocs>\nAddHandler mod_python .py\nPythonHandler good\n</Directory>\n", []),
        (PATH + "<Location /x>\nSetHandler mod_python\nPythonFixupHandler json::loads\n</Location>\n", []),
        (PATH + "RewriteEngine On\nRewriteRule ^/x - [H=mod_python]\nPythonHandler good\n", []),
        (PATH + "<Location /x>\nSetHandler mod_python\nPythonHandler mod_python.publisher\n</Location>\n", []),
        (PATH + "<Location /x>\nSetHandler mod_python\nPythonHandler mod_python.publishr\n</Location>\n", ["MP0005"]),
        (PATH + "PythonWSGI /a good\nPythonWSGI /a/ good\n", ["MP0016"]),
        (PATH + "PythonWSGI /a good\nPythonWSGI / good\n", []),
        (PATH + "PythonWSGI /a good\nAlias /a @ROOT@/htdocs\n", ["MP0017"]),
        (PATH + "PythonWSGI /a good\nProxyPass / http://127.0.0.1:1/\n", ["MP0017"]),
        (PATH + "PythonWSGI /a good\nProxyPass /a !\nProxyPass / http://127.0.0.1:1/\n", []),
        (PATH + "PythonWSGI /a good\n<Location /a>\nSetHandler none\n</Location>\n", ["MP0017"]),
        (PATH + "PythonImport good x\n", ["MP0018"]),
        (PATH + "PythonImport good x\n<VirtualHost *>\nServerName x\nPythonWSGI / good\n</VirtualHost>\n", []),
        ("LoadModule python_module elsewhere.so\n", ["MP0019"]),
        (PATH + "PythonASGI / good\nFlushMaxThreshold 8000\n", ["MP0022"]),
        (PATH + "DocumentRoot @ROOT@\n", ["MP0031"]),
        (FILE + "<Directory @ROOT@/site>\nRequire ip ::1\n</Directory>\n", ["MP0033"]),
        (FILE + "<Directory />\n<Files good.*>\nRequire ip ::1\n</Files>\n</Directory>\n", ["MP0033"]),
        (FILE + "<Directory />\n<Files bad.*>\nRequire ip ::1\n</Files>\n</Directory>\n", []),
        (FILE + "<Directory @ROOT@/site>\nRequire all denied\n</Directory>\n", []),
        (PATH + "PythonDaemon shop\nPythonWSGI / good daemon=shopp\n", ["MP0034"]),
        (FILE + "<Directory />\nRequire ip ::1\n</Directory>\n<Location />\nRequire ip ::1\n</Location>\n", []),
        ("<Directory @ROOT@/htdocs>\nAllowOverride FileInfo\n</Directory>\nPythonOption given x\n", []),
    ],
)
def test_each_code(serve: Serve, capsys: pytest.CaptureFixture[str], config: str, expected: list[str]) -> None:
    made_of = ("alias", "proxy", "proxy_http", "rewrite", "authz_host")
    tested = made(serve, config, modules=made_of)
    tested.write("site/good.py", APPLICATION)
    tested.write("site/bad.py", "import sys\n\n1 / 0\n")
    tested.write("site/broken.py", "def broken(:\n")
    status, findings = checked(capsys, str(tested.root / "httpd.conf"))
    assert codes(findings) == expected, findings
    assert all(one["file"] and one["line"] for one in findings)
    levels = {CODES[code].level for code in expected}
    assert status == (2 if "error" in levels else 1 if levels else 0)


def test_a_good_server_is_good(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    tested = made(serve, PATH + "PythonWSGI / good\n")
    tested.write("site/good.py", APPLICATION)
    assert _doctor.main([str(tested.root / "httpd.conf")]) == 0
    assert "Nothing to complain about." in capsys.readouterr().out
    assert tested.check().returncode == 0


def test_the_line_of_an_error_is_told(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    tested = made(serve, PATH + "PythonWSGI / bad\nPythonASGI /x broken\n")
    bad = tested.write("site/bad.py", "import sys\n\ndef f():\n    1 / 0\nf()\n")
    broken = tested.write("site/broken.py", "\ndef broken(:\n")
    found = [one["text"] for one in checked(capsys, str(tested.root / "httpd.conf"))[1] if one["code"] == "MP0005"]
    assert found[0] == f"PythonWSGI bad: ZeroDivisionError: division by zero (line 4 of {bad})"
    assert found[1].startswith("PythonASGI broken: SyntaxError: ") and found[1].endswith(f"(line 2 of {broken})")


def test_an_htaccess_file_that_is_not_read(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    tested = made(serve, "<Directory @ROOT@/htdocs/b>\nAllowOverride FileInfo\n</Directory>\n")
    tested.write("htdocs/a/.htaccess", "Options None\nPythonHandler x\n")
    tested.write("htdocs/b/.htaccess", "Options None\nPythonDebug On\n")
    (found,) = checked(capsys, str(tested.root / "httpd.conf"))[1]
    assert (found["code"], found["file"], found["line"]) == ("MP0030", f"{tested.root}/htdocs/a/.htaccess", 2)


def test_an_htaccess_file_that_is_read(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """As much is looked at as if it stood in the directory's section."""
    config = "<VirtualHost *:@PORT@>\nDocumentRoot @ROOT@/htdocs\n<Directory @ROOT@/htdocs>\nAllowOverride FileInfo\n</Directory>\n</VirtualHost>\n"
    tested = made(serve, config)
    tested.write("htdocs/a/good.py", "def handler(req):\n    return 0\n")
    tested.write("htdocs/a/.htaccess", "SetHandler mod_python\r\nPythonHandler \\\r\n  good\r\n")
    tested.write("htdocs/b/.htaccess", "SetHandler mod_python\n# \nPythonHandler good\n")
    tested.write("htdocs/c/.htaccess", "PythonOptoin a b\nPythonHandler good | good\n<Files x\n")
    tested.write("htdocs/d/.htaccess", "PythonOption mod_python.wsgi.trusted_proxy ::1\n")
    findings = checked(capsys, str(tested.root / "httpd.conf"))[1]
    told = sorted((str(one["file"]).rpartition("htdocs/")[2], one["line"], one["code"]) for one in findings)
    assert told == [
        ("b/.htaccess", 3, "MP0005"),
        ("c/.htaccess", 1, "MP0011"),
        ("c/.htaccess", 2, "MP0005"),
        ("c/.htaccess", 2, "MP0015"),
        ("c/.htaccess", 4, "MP0013"),
        ("d/.htaccess", 1, "MP0010"),
    ], findings


@pytest.mark.skipif(not IS_ROOT, reason="only root has children that are somebody else")
def test_the_component_in_the_way_is_named(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    config = "PythonPath \"sys.path+['@ROOT@/closed/deep/site']\"\nPythonWSGI / @ROOT@/closed/deep/site/good.py\n"
    tested = made(serve, config)
    tested.write("closed/deep/site/good.py", APPLICATION)
    (tested.root / "closed").chmod(0o750)
    findings = checked(capsys, str(tested.root / "httpd.conf"))[1]
    assert codes(findings) == ["MP0001"]
    for one in findings:
        assert f"httpd's user {CHILD_USER} cannot pass {tested.root}/closed (mode 0750)" in one["text"]
    # Who is not root goes by modes, and comes to the same.
    who = Access(identity(CHILD_USER, None))
    file = str(tested.root / "closed/deep/site/good.py")
    assert who._closed_by_mode(str(tested.root / "closed")) and not who._closed_by_mode(file)
    # What the closed directory leads to through a link is named, too.
    (tested.root / "link").symlink_to(tested.root / "closed/deep")
    assert f"{tested.root}/closed " in str(who.obstacle(str(tested.root / "link/site")))


@pytest.mark.skipif(not IS_ROOT, reason="as root")
def test_root_runs_nothing_of_the_site(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither modules, nor PythonPath's expression, nor an environment's interpreter."""
    told = "__import__('os').system('id -u >> @ROOT@/told')"
    config = f"PythonHome @ROOT@/env\nPythonPath \"[{told}] and sys.path+['@ROOT@/site']\"\nPythonWSGI / tells\n"
    tested = made(serve, config)
    (tested.root / "told").touch()
    (tested.root / "told").chmod(0o666)
    tested.write(
        "site/tells.py", f"import os\nopen('{tested.root}/told', 'a').write(f'{{os.getuid()}}\\n')\n" + APPLICATION
    )
    tested.write("env/pyvenv.cfg", "home = /usr/bin\n")
    script = f'#!/bin/sh\nid -u >> {tested.root}/told\nexec /usr/bin/python3 "$@"\n'
    tested.write("env/bin/python3", script).chmod(0o755)
    assert codes(checked(capsys, str(tested.root / "httpd.conf"))[1]) == []
    users = (tested.root / "told").read_text().split()
    assert len(users) == 3 and set(users) == {str(identity(CHILD_USER, None).user)}
    # Where httpd's children would be root, nothing is run at all.
    findings = checked(capsys, str(tested.root / "httpd.conf"), "--user", "root")[1]
    assert "MP0009" in codes(findings, advice=True)
    checked(capsys, str(tested.root / "site"), "--user", "root")
    assert (tested.root / "told").read_text().split() == users


HANGS = "import time\ntime.sleep(1000)\n"
FORKS = """
import os, sys, time
open("{root}/pids", "a").write(str(os.getpid()) + "\\n")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("{root}/pids", "a").write(str(os.getpid()) + "\\n")
        time.sleep(1000)
    os._exit(0)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HANGS, ["MP0007"]),
        ("while True: print('x' * 100000)\n", ["MP0007"]),
        ("import os\nos.close(1)\nos.close(2)\nos.closerange(3, 99)\nimport time\ntime.sleep(1000)\n", ["MP0007"]),
        (FORKS, []),
        ("import os\nos._exit(0)\n", ["MP0008"]),
        ("import os\nos.kill(os.getpid(), 11)\n", ["MP0008"]),
        ("import os\nos.killpg(0, 9)\n", ["MP0008"]),
        ("import sys\nsys.exit(3)\n", ["MP0005"]),
        ("print('\\x1b[2J' * 10)\n" + APPLICATION, []),
        ("raise ValueError('\\x1b[2J\\nMP0001')\n", ["MP0005"]),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E\n", ["MP0005"]),
        (
            "import os\nfor fd in range(3, 50):\n    try: os.write(fd, b'[' * 100000 + b'\\n{\"ok\": 7}\\n')\n    except OSError: pass\n",
            ["MP0008"],
        ),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n" + APPLICATION, []),
        ("import atexit, time\natexit.register(time.sleep, 1000)\n" + APPLICATION, []),
        ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HANGS, ["MP0007"]),
    ],
)
def test_hostile_modules(serve: Serve, capsys: pytest.CaptureFixture[str], text: str, expected: list[str]) -> None:
    tested = made(serve, PATH + "PythonWSGI / hostile\n")
    (tested.root / "pids").touch()
    (tested.root / "pids").chmod(0o666)
    text = text.replace("{root}", str(tested.root)) + (APPLICATION if text is FORKS else "")
    tested.write("site/hostile.py", text)
    limit = "0.5" if "MP0007" in expected else "20"
    status = _doctor.main([str(tested.root / "httpd.conf"), "--timeout", limit, "--no-httpd"])
    out = capsys.readouterr().out
    assert sorted(set(re.findall(r"^\S+ (MP\d+) (?:error|warning)", out, re.M))) == expected, out
    assert status == (2 if expected else 0) and "\x1b" not in out
    pids = (tested.root / "pids").read_text().split()
    # They have been killed, and are on their way.
    tested._wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "a process goes on")


def test_hostile_files(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    tested = made(serve, "IncludeOptional conf/*.conf\n")
    folder = tested.root / "conf"
    folder.mkdir()
    os.mkfifo(folder / "fifo.conf")
    (folder / "loop.conf").symlink_to("loop.conf")
    (folder / "nul.conf").write_bytes(b"PythonDebug On\n\0\n")
    (folder / "latin.conf").write_bytes(b"ServerAdmin f\xfcr@x\nPythonOptoin a b\n")
    (folder / "a\x1b[2J\nb.conf").write_text("PythonNonsense x\n")
    (folder / "again.conf").write_text("Include conf/again.conf\n" * 50)
    (folder / "open.conf").write_text(
        "<Location /x>\nSetHandler mod_python\n</VirtualHost>\n" + "<IfModule x>\n" * 3000
    )
    (folder / "folder.conf").mkdir()
    (folder / "folder.conf/self").symlink_to("..")
    with (folder / "big.conf").open("wb") as big:
        big.truncate(1 << 34)
    (folder / "device.conf").symlink_to("/dev/zero")
    status = _doctor.main([str(tested.root / "httpd.conf"), "--no-httpd"])
    out = capsys.readouterr().out
    assert status == 2 and "\x1b" not in out
    for said in (
        "fifo.conf is a FIFO",
        "loop.conf cannot be read",
        "nul.conf has NUL",
        "again.conf includes itself",
        "big.conf has 17179869184 bytes",
        "device.conf is a device",
        "PythonOptoin is no directive",
        "did you mean PythonOption?",
        "PythonNonsense is no directive",
        "closes nothing",
        "is not closed",
    ):
        assert said in out, (said, out)


def test_a_site_without_a_configuration(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    tested = made(serve, "")
    tested.write("site/good.py", APPLICATION)
    tested.write("site/bad.wsgi", "import nowhere\napplication = 1\n")
    tested.write("site/helper.py", "import nowhere\n")
    tested.write("site/two.py", "print 'x'\n")
    tested.write("site/deep/late.py", "def handler(req):\n    pass\n1/0\n")
    for folder in ("site", "site/deep"):
        (tested.root / folder).chmod(0o755)
    os.mkfifo(tested.root / "site/fifo.py")
    findings = checked(capsys, str(tested.root / "site"))[1]
    found = {(Path(one["file"]).name, one["code"]) for one in findings}
    assert found == {("bad.wsgi", "MP0005"), ("two.py", "MP0032"), ("late.py", "MP0005"), ("fifo.py", "MP0013")}
    # One that has a configuration is checked by that.
    tested.write("site/httpd.conf", "PythonHandler x\n")
    assert "MP0028" in codes(checked(capsys, str(tested.root / "site"), "--no-httpd")[1])


REFUSES = """
import threading
if threading.current_thread() is not threading.main_thread() or __import__("{ask}").get_current() != {main}:
    raise ImportError("this module does not yet support subinterpreters")
"""


def test_a_file_of_a_site(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    tested = serve("", start=False)
    page = tested.write("site/page.psp", "<html>\n<% for n in range(3): %>\n<%= n %>\n")
    status, findings = checked(capsys, str(page))
    assert (status, findings) == (0, [])
    tested.write("site/page.psp", "<html>\n<% x = = 1 %>\n")
    tested.write("site/broken.py", "def broken(:\n")
    for name, line in {"page.psp": 2, "broken.py": 1}.items():
        status, findings = checked(capsys, str(page.with_name(name)))
        assert status == 2 and [(one["code"], one["line"]) for one in findings] == [("MP0032", line)]
        assert findings[0]["file"] == str(page.with_name(name))
    status, findings = checked(capsys, str(page.parent))
    assert {os.path.basename(one["file"]) for one in findings} == {"page.psp", "broken.py"}


def test_modules_that_refuse_sub_interpreters(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """A virtual host's code is imported in a real sub-interpreter, and once more in a second one."""
    host = "<VirtualHost *>\nServerName x\nPythonWSGI / picky\nPythonWSGI /once once\nPythonWSGI /good good\n{}</VirtualHost>\n"
    tested = made(serve, PATH + host.format(""))
    asked = "_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters"
    main = f"__import__('{asked}').get_main()"
    tested.write("site/good.py", APPLICATION)
    tested.write("site/picky.py", REFUSES.format(ask=asked, main=main) + APPLICATION)
    once = "import os\nif os.environ.get('ONCE') or os.putenv('ONCE', 'x'): pass\n"
    tested.write(
        "site/once.py",
        once
        + f"if int(str(__import__('{asked}').get_current()).strip('()').split(',')[0]) > 1: raise ImportError('once only')\n"
        + APPLICATION,
    )
    findings = checked(capsys, str(tested.root / "httpd.conf"))[1]
    assert codes(findings) == ["MP0025", "MP0026"], findings
    tested.configure(PATH + host.format("PythonInterpreter main_interpreter\n"))
    assert codes(checked(capsys, str(tested.root / "httpd.conf"))[1]) == []


def test_the_load_is_looked_at(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    config = PATH + "PythonASGI / good\n"
    for mpm, more, expected in (
        ("event", "MaxSpareThreads 8\nMaxConnectionsPerChild 5\n", ["MP0021", "MP0023", "MP0024"]),
        ("event", "AsyncRequestWorkerFactor 40\nServerLimit 4\n", []),
        ("event", "AsyncRequestWorkerFactor 40\nServerLimit 4\nThreadsPerChild 200\n", ["MP0029"]),
        ("prefork", "", ["MP0020"]),
        ("worker", "", ["MP0020"]),
    ):
        tested = made(serve, config + more, mpm=mpm)
        tested.write("site/good.py", APPLICATION)
        status, findings = checked(capsys, str(tested.root / "httpd.conf"), "--no-httpd")
        assert status == 0 and codes(findings, advice=True) == expected, (more, findings)


def test_versions_of_module_and_package(serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tested = made(serve, "")
    known = server.module(str(tested.module))
    assert known is not None and known.version == known.package_version and known.python
    so = tested.root / "copy/mod_python.so"
    so.parent.mkdir()
    so.write_bytes(b"..libpython3.11.so.1.0..mod_python/3.5.0..")
    config = (tested.root / "httpd.conf").read_text().replace(str(tested.module), str(so))
    (tested.root / "httpd.conf").write_text(config)
    assert codes(checked(capsys, str(tested.root / "httpd.conf"), "--no-httpd")[1]) == ["MP0019"]
    so.write_bytes(b"..libpython3.13t.so.1.0..mod_python/4.0.0..")
    free = server.module(str(so))
    assert free is not None and (free.python, free.threading, free.version) == ("3.13", "t", "4.0.0")
    so.write_bytes(b"..libpython3.11.so.1.0..mod_python/4.0.0..")
    assert codes(checked(capsys, str(tested.root / "httpd.conf"), "--no-httpd")[1]) == ["MP0027"]
    tested.write("copy/python/mod_python/__init__.py", "")
    tested.write("copy/python/mod_python/version.py", 'version = "3.9.9"\n')
    (found,) = checked(capsys, str(tested.root / "httpd.conf"), "--no-httpd")[1]
    assert found["code"] == "MP0027" and "4.0.0" in found["text"] and "3.9.9" in found["text"]
    # As a wheel has it: in the package.
    (so.parent / "python/mod_python/version.py").unlink()
    tested.write("copy/__init__.py", "")
    tested.write("copy/version.py", 'version = "4.0.0"\n')
    assert checked(capsys, str(tested.root / "httpd.conf"), "--no-httpd")[1] == []


def test_the_configuration_is_read_as_httpd_reads_it(serve: Serve) -> None:
    """mod_info's DUMP_CONFIG is httpd's own reading."""
    tested = serve(
        r"""
Define place /srv/defined
Define unset
UnDefine unset
<IfDefine place>
PythonOption a "${place}/x y"
</IfDefine>
<IfDefine !unset>
PythonOption b \
    continued
</IfDefine>
<IfModule mod_python.c>
    <IfModule !python_module>
    PythonOption no no
    </IfModule>
    <IfVersion >= 2.4>
    PythonOption c 'it is'
    </IfVersion>
    <IfVersion < 2.4>
    <Location /never>
    PythonOption no no
    </Location>
    </IfVersion>
</IfModule>
# a comment \
PythonOption no continues-it
<Location "/a b">
    <Limit POST>
    Require all denied
    </Limit>
    PythonOption d ${later}
    Include inner/*.conf
</Location>
Define later value
<Macro Site $name $dir>
PythonOption $name "$dir"
</Macro>
Use Site e /srv/e
<IfFile httpd.conf>
PythonOption f "a \"quoted\" \\ one"
</IfFile>
IncludeOptional nowhere/*.conf
""",
        start=False,
        modules=("info", "macro"),
        beside=False,
    )
    tested.write("inner/b.conf", "PythonOption h 2\n")
    tested.write("inner/a.conf", "PythonOption g 1\r\n")
    dumped = subprocess.run(
        [*tested._command(), "-t", "-D", "DUMP_CONFIG"], capture_output=True, text=True, check=True
    ).stdout
    theirs = re.findall(r"^\s*(PythonOption .*)$", dumped, re.M)
    httpd = server.installed()
    read = configuration.read(str(tested.root / "httpd.conf"), httpd.surroundings(str(tested.root), []))
    assert read.problems == []
    ours = [one for one in read.directives if one.name == "PythonOption"]
    variables = {"place": "/srv/defined", "later": "value"}
    assert [one.words() for one in ours] == [lines.words(lines.resolved(text, variables))[1:] for text in theirs], (
        dumped
    )
    assert len(ours) == 8
    numbers = re.findall(r"^# +(\d+):\n\s*PythonOption [abc]", dumped, re.M)
    assert numbers == [str(one.line) for one in ours[:3]]


def test_lines_take_no_longer_than_their_length() -> None:
    for piece in ("a ", '"', "\\", "${", '"a\\" ', "'"):
        lines.words(piece * 1_000_000)
        lines.resolved(piece * 1_000_000, {})
    assert lines.words('a "b c" \'d "e\' "f \\" \\\\ g" h"i') == ["a", "b c", 'd "e', 'f " \\ g', 'h"i']


@pytest.mark.skipif(not IS_ROOT, reason="only root can ask as somebody else")
def test_what_others_may_change_is_not_loaded_by_root(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    tested = made(serve, "Include site.conf\nNonsense x\n")
    tested.write("site.conf", "")
    assert codes(checked(capsys, str(tested.root / "httpd.conf"))[1]) == ["MP0012"]
    os.chown(tested.root / "site.conf", identity(CHILD_USER, None).user, -1)
    assert codes(checked(capsys, str(tested.root / "httpd.conf"))[1]) == []
    _doctor.main([str(tested.root / "httpd.conf")])
    assert "httpd -t is not asked: others than root may change" in capsys.readouterr().out


@pytest.mark.skipif(not IS_ROOT, reason="only root can ask as somebody else")
def test_another_user_asks(serve: Serve) -> None:
    """What httpd's user can reach goes by modes then, and code is imported as who asks."""
    tested = made(serve, PATH + "PythonWSGI / good\nPythonWSGI /closed @ROOT@/closed/x.py\n")
    tested.write("site/good.py", APPLICATION)
    tested.write("closed/x.py", APPLICATION)
    os.chown(tested.root / "closed", identity("nobody", None).user, -1)
    (tested.root / "closed").chmod(0o700)
    package = tested.root / "package"
    shutil.copytree(PROJECT / "python", package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", str(package)], check=True)
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "mod_python", "check", "--no-httpd", str(tested.root / "httpd.conf")],
        capture_output=True,
        text=True,
        check=False,
        user="nobody",
        group=identity("nobody", None).group,
        extra_groups=[],
        env={"PYTHONPATH": str(package), "PATH": os.environ["PATH"]},
        cwd="/",
    )
    assert re.findall(r"MP\d+ (?:error|warning)", done.stdout) == ["MP0001 error"], done
    assert "imported as nobody" in done.stdout and f"{CHILD_USER} cannot pass {tested.root}/closed" in done.stdout


def test_debians_surroundings_are_known(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "envvars").write_text(
        "unset HOME\nSUFFIX=\nexport APACHE_RUN_USER=www-data\nexport APACHE_LOG_DIR=/var/log/apache2$SUFFIX\n"
    )
    found = server.environment_of(str(tmp_path / "apache2.conf"))
    assert found["APACHE_RUN_USER"] == "www-data" and found["APACHE_LOG_DIR"] == "/var/log/apache2"
    # What others may change is not run.
    (tmp_path / "envvars").write_text(f"export APACHE_RUN_USER=me\ntouch {tmp_path}/ran\n")
    (tmp_path / "envvars").chmod(0o666)
    assert server.environment_of(str(tmp_path / "apache2.conf")) == {"APACHE_RUN_USER": "me"}
    assert not (tmp_path / "ran").exists()


def test_the_tables_of_names_are_the_modules() -> None:
    """src/config/options.rs and the gateways have the options; test_papers.py compares the directives."""
    source = (PROJECT / "src/config/options.rs").read_text()
    wanted = set(re.findall(r'"(mod_python\.[\w.]+)"', source[: source.index("const ELSEWHERE")])) - {"mod_python."}
    for word in ("wsgi", "asgi"):
        wanted |= {
            f"mod_python.{word}.{name}" for name in ("application", "base_uri", "trusted_proxies", "trusted_headers")
        }
    wanted.add("mod_python.wsgi.chunked_buffer")
    wanted |= set(
        re.findall(
            r'const \w+: &str = "(mod_python\.asgi\.\w+)"', (PROJECT / "src/gateway/asgi/options.rs").read_text()
        )
    )
    assert set(names.OPTIONS) == wanted and len(names.OPTIONS) == len(wanted)


def test_the_keys_of_a_daemon_are_known() -> None:
    """src/config/daemons.rs has them."""
    table = (PROJECT / "src/config/daemons.rs").read_text().partition("const KEYS:")[2].partition("];")[0]
    assert list(names.DAEMON_KEYS) == re.findall(r'\("([a-z-]+)", Kind::', table)


def test_the_page_of_codes_is_the_table() -> None:
    """MOD_PYTHON_WRITE=1 has it written anew instead."""
    text = PAGE
    for start, title in (
        ("MP0", "mod_python check"),
        ("MP1", "mod_python migrate: configurations"),
        ("MP2", "mod_python migrate: Python"),
    ):
        own = {name: code for name, code in CODES.items() if name.startswith(start)}
        if own:
            text += f"\n## {title}\n"
        for name, code in own.items():
            assert code.level in LEVELS and re.fullmatch(r"MP\d{4}", name)
            text += f"\n### {name}\n\n**{code.title}** ({code.level})\n\n{code.cause}\n\n*What to do:* {code.remedy}\n"
    path = PROJECT / "docs/codes.md"
    if os.environ.get("MOD_PYTHON_WRITE"):
        path.write_text(text)
    assert path.read_text() == text


def test_a_process_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        probe.run(probe.Job(str(tmp_path / "nothing"), "json", ""), nobody() or own(), 5)


def nobody() -> Optional[Any]:
    return identity(CHILD_USER, None) if IS_ROOT else None


def test_the_command_is_hooked_up() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mod_python", "check", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "python")},
    )
    assert "mod_python check" in done.stdout and query_apxs("LIBEXECDIR")
