"""`mod_python start`: what it serves, how it ends, who it runs as. What it refuses is in test_start_mistakes.py."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import attempt
from conftest import Serve
from started import ROOT, Command, until
from test_asgi_protocols import certificate

from httpd import CHILD_USER

__all__ = ["certificate"]

WSGI = """
import os
def {name}(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [{value}]
"""
ASGI = """
async def {name}(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": {value}}})
"""


def says(port: int, text: str) -> bool:
    answer = attempt(port, "/")
    return answer is not None and answer.text == text


@pytest.fixture(scope="module")
def command(serve_module: Serve) -> Iterator[Command]:
    command = Command(serve_module("", start=False))
    yield command
    command.close()


KINDS = {
    "wsgi.py": ({"wsgi.py": WSGI.format(name="application", value="b'a file'")}, ["wsgi.py"], "a file"),
    "module": ({"mod/a.py": ASGI.format(name="app", value="b'asgi'")}, ["mod.a"], "asgi"),
    "package": (
        {"shop/__init__.py": "", "shop/x.py": "Y = b'package'", "shop/web.py": "from .x import Y\n" + WSGI.format(name="app", value="Y")},
        ["shop/web.py:app"],
        "package",
    ),
    "django": ({"site_/wsgi.py": WSGI.format(name="application", value="b'django'")}, ["site_.wsgi"], "django"),
    "mod_wsgi": ({"old-site.wsgi": WSGI.format(name="application", value="__file__[-13:].encode()")}, ["old-site.wsgi"], "old-site.wsgi"),
    "factory": (
        {"made.py": WSGI.format(name="inner", value="b'made'") + "def create_app():\n    return inner\n"},
        ["made:create_app()"],
        "made",
    ),
    "object": (
        {"obj.py": "class A:\n    def __call__(self, environ, start_response):\n        start_response('200 OK', [])\n        return [b'called']\nsite = A()\n"},
        ["obj:site"],
        "called",
    ),
    "asgi object": (
        {"aobj.py": "class A:\n  async def __call__(self, scope, receive, send):\n" + ASGI.format(name="f", value="b'called'").replace("\n", "\n    ") + "\n    await f(scope, receive, send)\napp = A()\n"},
        ["aobj"],
        "called",
    ),
    "handler": ({"mp.py": "def handler(req):\n    req.write('mp')\n    return 0\n"}, ["--handler", "mp"], "mp"),
    "handlers": (
        {"hs/mp.py": "def handler(req):\n    req.write('first')\n    return 0\n", "hs/other.py": "def handler(req):\n    req.write('x')\n    return 0\n"},
        ["hs"],
        "first",
    ),
    "names of the standard library": (
        {"own/json.py": "raise ImportError\n", "own/inspect.py": "raise ImportError\n", "own/main.py": "class A:\n    def __call__(self, environ, start_response):\n        start_response('200 OK', [])\n        return [b'own']\napp = A()\n"},
        ["main:app", "--chdir", "own"],
        "own",
    ),
    "a class is a place for names": ({"placed.py": WSGI.format(name="app", value="b'placed'") + "class Sites:\n    app = staticmethod(app)\ndel app\n"}, ["placed:Sites.app"], "placed"),
    "a Django project": (
        {
            "project/manage.py": "import sys\ndef main():\n    sys.exit(1)\n",
            "project/bare/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
            "project/django/core/wsgi.py": "def get_wsgi_application():\n" + WSGI.format(name="app", value="b'project'").replace("\n", "\n    ") + "\n    return app\n",
        },
        ["--chdir", "project", "."],
        "project",
    ),
    "stdlib's name": ({"calendar.py": WSGI.format(name="app", value="b'mine'")}, ["calendar.py"], "mine"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_out_what_it_is(command: Command, kind: str) -> None:
    files, arguments, expected = KINDS[kind]
    for name, text in files.items():
        command.write(name, text)
    server = command.start(*arguments)
    assert server.ok("/") == expected
    # Quiet: nothing of httpd, nothing of Python.
    assert server.stop() == ""


def test_a_directory_of_pages(command: Command) -> None:
    files = {
        "index.py": "def index():\n    return 'published'\ndef hello(name='x'):\n    return 'hello ' + name\n",
        "page.psp": "<% n = 2 %><%= n + 1 %>",
        "style.css": "css",
        ".env": "SECRET",
        "data.ini": "SECRET",
    }
    for name, text in files.items():
        command.write(f"pages/{name}", text)
    server = command.start("pages")
    assert server.ok("/") == "published" and server.ok("/hello?name=y") == "hello y" and server.ok("/page.psp") == "3"
    assert server.ok("/style.css") == "css"
    for path in ("/.env", "/data.ini", "/index.pyc", "/../output1"):
        answer = server.get(path)
        assert answer.status in (400, 403, 404) and "SECRET" not in answer.text, path
    server.stop()


def test_pages_alone(command: Command) -> None:
    """PSP's own handler takes any file for a page: what is none is not sent as one."""
    for name, text in {
        "page.psp": "<% n = 2 %><%= n + 1 %>",
        "helper.py": "SECRET = 1\n",
        "Makefile": "SECRET",
        ".env": "SECRET",
        ".a.psp": "SECRET",
        "data.ini": "SECRET",
        "style.css": "css",
        "index.psp": "first",
        "sub/index.psp": "second",
    }.items():
        command.write(f"pages/{name}", text)
    server = command.start("--handler", "mod_python.psp", "pages")
    answers = [server.ok(path) for path in ("/page.psp", "/", "/sub/", "/style.css")]
    assert answers == ["3", "first", "second", "css"]
    for path in ("/helper.py", "/Makefile", "/.env", "/.a.psp", "/data.ini", "/nothing"):
        answer = server.get(path)
        assert answer.status in (403, 404) and "SECRET" not in answer.text, path
    server.stop()


def test_pages_beside_handlers_are_told_of(command: Command) -> None:
    """They may be templates of the handlers', so nobody gets them by their names."""
    command.write("site/mp.py", "def handler(req):\n    req.write(req.uri)\n    return 0\n")
    command.write("site/page.psp", "<% n = 2 %><%= n + 1 %>")
    server = command.start("site")
    assert server.ok("/page.psp") == "/page.psp"
    assert "--handler mod_python.publisher site` serves pages" in server.said()
    server.stop()


ODD = 'it\'s "q" #x ${HOME} %{y} [z]* \\b ä'


def test_names_that_configurations_trip_over(command: Command) -> None:
    command.write(f"{ODD}/app.py", WSGI.format(name="app", value="os.environ['ODD'].encode()"))
    command.write(f"{ODD}/static/a.css", "css")
    command.write(f"{ODD}/env", f"# a comment\nexport ODD='{ODD.replace(chr(39), '')}' # behind\n")
    command.write(f"{ODD}/pages/index.py", "def index():\n    return 'page'\n")
    options = ("--static", "/s=static", "--env-file", "env", "--access-log", "access #1", "--error-log", "errors ${X}")
    server = command.start("app", "--chdir", ODD, "--server-root", "root [1]", *options)
    assert server.ok("/") == ODD.replace("'", "") and server.ok("/s/a.css") == "css"
    server.stop()
    assert "GET / HTTP/1.1" in (command.place / ODD / "access #1").read_text()
    assert (command.place / ODD / "errors ${X}").exists()
    server = command.start("pages", "--chdir", ODD, "--server-root", "root [1]")
    assert server.ok("/") == "page"
    server.stop()


def test_several_applications(command: Command) -> None:
    command.write("one.py", WSGI.format(name="app", value="b'one ' + environ['SCRIPT_NAME'].encode()"))
    command.write("two.py", ASGI.format(name="app", value="b'two ' + scope['root_path'].encode()"))
    command.write("three.py", "def handler(req):\n    req.write('three ' + req.get_options()['x'])\n    return 0\n")
    for name, text in {"deep/a.txt": "text", "deep/.git/config": "hidden", ".well-known/x": "known"}.items():
        command.write(f"files/{name}", text)
    command.write("inner/b.txt", "inner")
    mounts = ("--mount", "/two=two:app", "--mount", "/a/three=three.py", "--static", "/files/=files")
    mounts += ("--static", "/files/in=inner", "--static", "/two/in=inner")
    server = command.start("one:app", *mounts, "--option", "x y z")
    assert [server.ok(path) for path in ("/x", "/two/x", "/a/three", "/twofold")] == [
        "one ",
        "two /two",
        "three y z",
        "one ",
    ]
    assert server.ok("/files/deep/a.txt") == "text" and server.get("/files/").status in (403, 404)
    assert server.ok("/files/in/b.txt") == server.ok("/two/in/b.txt") == "inner"
    assert server.get("/files/deep/.git/config").status == 403
    assert server.ok("/files/.well-known/x") == "known"
    server.stop()
    # Without one at /.
    server = command.start("--mount", "/two=two:app")
    assert server.ok("/two") == "two /two" and server.get("/").status == 404
    server.stop()


def test_limits(command: Command) -> None:
    command.write("reads.py", WSGI.format(name="app", value="str(len(environ['wsgi.input'].read())).encode()"))
    server = command.start("reads", "--limit-request-body", "1K", "--processes", "2", "--threads", "3")
    assert server.get("/", "TRACE").status == 405
    children = Path(f"/proc/{server.httpd}/task/{server.httpd}/children")
    until(lambda: len(children.read_text().split()) == 2, children.read_text)
    with socket.create_connection(("127.0.0.1", server.port), 30) as peer:
        peer.sendall(b"POST / HTTP/1.0\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
        assert b" 413 " in peer.recv(100)
    server.stop()


def test_tls_and_http2(command: Command, certificate: Path) -> None:
    command.write("secure.py", WSGI.format(name="app", value="environ['wsgi.url_scheme'].encode()"))
    pem = (certificate / "cert.pem").read_text() + (certificate / "key.pem").read_text()
    command.write("both.pem", pem)
    server = command.start("secure", "--https-cert", "both.pem", "--http2", "--host", "::1")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("::1", server.port), 30) as plain, context.wrap_socket(plain) as peer:
        assert peer.selected_alpn_protocol() == "h2"
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(("::1", server.port), 30) as plain, context.wrap_socket(plain) as peer:
        peer.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        assert b"".join(iter(lambda: peer.recv(1000), b"")).endswith(b"https")
    assert "https://[::1]:" in server.said()
    server.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_signals_end_it(command: Command, number: signal.Signals) -> None:
    command.write("plain.py", WSGI.format(name="app", value="b'x'"))
    server = command.start("plain")
    assert server.ok() == "x"
    assert server.stop(number) == ""


def test_a_request_is_ended_first(command: Command) -> None:
    """SIGTERM, as systemd and containers send it."""
    go = command.place / "tmp/go"
    body = f"(open({str(go.with_name('begun'))!r}, 'w').close(), [time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(go)!r}), True)], b'done')[2]"
    command.write("slow.py", "import time\n" + WSGI.format(name="app", value=body))
    server = command.start("slow")
    with socket.create_connection(("127.0.0.1", server.port), 30) as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        until(go.with_name("begun").exists, server.said)
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        os.kill(int(children[0]) if children else server.process.pid, signal.SIGTERM)
        command.write("tmp/go", "")
        assert b"".join(iter(lambda: peer.recv(1000), b"")).endswith(b"done")
    server.ended()


def test_logs_on_the_terminal(command: Command) -> None:
    command.write("talks.py", WSGI.format(name="app", value="(print('spoken'), b'x')[1]"))
    server = command.start("talks", "--log-to-terminal")
    assert server.ok("/asked") == "x"
    until(lambda: "spoken" in server.said() and "GET /asked HTTP/1.1" in server.said(), server.said)
    assert "resuming" not in server.said()
    server.stop()


def test_in_the_background(command: Command) -> None:
    command.write("back.py", WSGI.format(name="app", value="b'first'"))
    done = command("start", "back", "--background", "--port", "0", "--server-root", "back")
    assert done.returncode == 0 and done.stderr == "", done
    place = str(command.place / "back")
    assert f"`mod_python stop {place}` stops it." in done.stdout
    status = command("status", place)
    assert status.returncode == 0 and "(back) answers: process " in status.stdout
    again = command.refused("start", "back", "--server-root", "back", "--port", "0")
    assert "it runs already (process " in again and f"`mod_python reload {place}`" in again
    port = int(done.stdout.split(":")[2].split("/")[0])
    command.write("back.py", "import nosuchthing\n")
    assert "No module named 'nosuchthing'" in command.refused("reload", place)
    command.write("back.py", WSGI.format(name="app", value="b'second'"))
    assert command("reload", place).returncode == 0
    until(lambda: says(port, "second"), lambda: "it goes on as before")
    assert command("restart", "--server-root", place).returncode == 0
    # The only one there is would be found by itself, were it in the usual place.
    stopped = command("stop", place)
    assert stopped.returncode == 0 and "is stopped (process " in stopped.stdout
    assert command("status", place).returncode == 3 and "does not run" in command("stop", place).stdout


def test_the_usual_place(command: Command) -> None:
    command.write("usual.py", WSGI.format(name="app", value="b'x'"))
    server = command.start("usual")
    place = command.place / f"tmp/mod_python-{os.stat(command.place).st_uid}"
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / f"127.0.0.1-{server.port}/httpd.conf").exists()
    assert f":{server.port}/ (usual) answers" in command("status").stdout
    assert command("stop", "--port", str(server.port)).returncode == 0
    assert server.process.wait(30) == 0


def test_a_port_that_nobody_has_named(command: Command) -> None:
    """Its server root would not be used again: it goes with the server, however that ends."""
    command.write("usual.py", WSGI.format(name="app", value="b'x'"))
    place = command.place / f"tmp/mod_python-{os.stat(command.place).st_uid}"
    command.start("usual").stop()
    assert list(place.iterdir()) == []
    first = command.start("usual")
    assert command("stop").returncode == 0
    # It is its own command that removes it.
    assert first.process.wait(30) == 0
    done = command("start", "usual", "--port", "0", "--background")
    assert done.returncode == 0, done
    # Killed, it leaves what it has; the next one sees to that.
    (root,) = place.iterdir()
    pid = int((root / "run/httpd.pid").read_text())
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), lambda: "httpd goes on")
    assert command("status").returncode == 3
    server = command.start("usual")
    assert [path.name for path in place.iterdir()] == [f"127.0.0.1-{server.port}"]
    # A port with a name keeps its place, and what is in it.
    server.stop()
    named = command("start", "usual", "--port", str(server.port), "--background")
    assert named.returncode == 0, named
    assert command("stop").returncode == 0 and (place / f"127.0.0.1-{server.port}/logs/error_log").exists()


def test_a_foreign_process_is_never_told_anything(command: Command) -> None:
    """A pid file that an httpd has left, whose number another process of this user has now."""
    command.write("stale.py", WSGI.format(name="app", value="b'x'"))
    server = command.start("stale", "--server-root", "stale")
    server.stop()
    other = command.line(())[:-3]
    bystander = subprocess.Popen([*other[: other.index("/usr/bin/env")], "sleep", "600"])
    try:
        children = Path(f"/proc/{bystander.pid}/task/{bystander.pid}/children")
        if ROOT:
            until(lambda: bool(children.read_text()), lambda: "no sleep")
        pid = children.read_text().split()[0] if ROOT else str(bystander.pid)
        command.write("stale/run/httpd.pid", f"{pid}\n")
        assert "does not run" in command("stop", "stale").stdout
        assert command("status", "stale").returncode == 3
        done = command("start", "stale", "--server-root", "stale", "--background", "--port", "0")
        assert done.returncode == 0, done
        assert command("stop", "stale").returncode == 0
        assert Path(f"/proc/{pid}").exists() and bystander.poll() is None
    finally:
        bystander.terminate()
        bystander.wait()


def test_a_change_restarts_it(command: Command) -> None:
    command.write("watched/part.py", "VALUE = b'one'\n")
    command.write("watched/main.py", "import part\n" + WSGI.format(name="app", value="part.VALUE"))
    server = command.start("watched/main.py", "--reload")
    assert server.ok() == "one"
    command.write("watched/part.py", "VALUE = b'two'\n")
    until(lambda: says(server.port, "two"), server.said)
    assert "watched/part.py changed: restarting." in server.said()
    command.write("watched/part.py", "VALUE = (b'three'\n")
    until(lambda: "The version before goes on serving." in server.said(), server.said)
    assert "part.py, line 1:" in server.said() and "SyntaxError: '(' was never closed" in server.said()
    assert server.ok() == "two"
    command.write("watched/part.py", "VALUE = b'four'\n")
    until(lambda: says(server.port, "four"), server.said)
    server.stop()


def test_without_a_path_or_a_home(command: Command) -> None:
    command.write("bare.py", WSGI.format(name="app", value="b'bare'"))
    server = command.start("bare", PATH="", HOME="/")
    assert server.ok() == "bare"
    server.stop()


def test_it_is_set_up(command: Command) -> None:
    command.write("later.py", WSGI.format(name="app", value="os.environ['LATER'].encode()"))
    command.write("later.env", 'LATER="it\'s $HOME"\n')
    options = ("--server-root", "set up", "--env-file", "later.env", "--systemd")
    from httpd import free_port

    port = free_port()
    done = command("setup", "later", "--port", str(port), *options)
    assert done.returncode == 0, done
    place = command.place / "set up"
    unit = (place / f"mod_python-{port}.service").read_text()
    assert f'ExecStart=/bin/sh "{place}/apachectl" -DFOREGROUND\n' in unit and "KillSignal=SIGWINCH" in unit
    assert ("User=" in unit) is True
    as_user = ("runuser", "-u", CHILD_USER, "--") if ROOT else ()

    def control(verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*as_user, str(place / "apachectl"), verb], capture_output=True, text=True, cwd="/", check=False
        )

    assert "Syntax OK" in control("configtest").stderr
    assert control("start").returncode == 0
    until(lambda: says(port, "it's $HOME"), lambda: "it does not serve")
    assert control("reload").returncode == 0 and control("status").returncode == 0
    assert control("stop").returncode == 0 and control("status").returncode == 3
    assert control("nonsense").returncode == 2


@pytest.mark.skipif(not ROOT, reason="about what root does")
def test_root_drops_to_a_user(command: Command) -> None:
    command.write(
        "who.py",
        "import pwd, grp\n"
        + WSGI.format(
            name="app",
            value="' '.join([pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name, os.environ['HOME']]).encode()",
        ),
    )
    server = command.start(
        "who", "--user", "daemon", "--server-root", str(command.place.parent / "roots"), "--reload", user=None
    )
    assert server.ok() == f"daemon daemon {pwd.getpwnam('daemon').pw_dir}" and ", as daemon)" in server.said()
    command.write("who.py", WSGI.format(name="app", value="str(os.geteuid()).encode()"))
    until(lambda: says(server.port, str(pwd.getpwnam("daemon").pw_uid)), server.said)
    server.stop()
    server = command.start(
        "who",
        "--user",
        # By their numbers, as containers have them.
        str(pwd.getpwnam("nobody").pw_uid),
        "--group",
        str(grp.getgrnam("www-data").gr_gid),
        "--server-root",
        str(command.place.parent / "roots"),
        user=None,
    )
    assert server.ok() == str(pwd.getpwnam("nobody").pw_uid)
    server.stop()
