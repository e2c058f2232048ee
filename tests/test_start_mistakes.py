"""What `mod_python start` and its like refuse, and what they say; the parts that read what somebody has typed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Serve
from mod_python._own import configuration, foreground, options, probe, process, root, serving, sources, targets
from mod_python._own.problems import Problem
from started import ROOT, Command, until
from test_asgi_protocols import certificate

from httpd import CHILD_USER, PROJECT

DJANGO = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
APP = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n"


__all__ = ["certificate"]


@pytest.fixture(scope="module")
def command(serve_module: Serve, certificate: Path) -> Iterator[Command]:
    command = Command(serve_module("", start=False))
    files = {
        "good.py": APP,
        "missing.py": "import os\nimport nosuchthing\n",
        "syntax.py": "x = 1\ndef app(:\n",
        "deep.py": "import json\napp = json.loads('{')\n",
        "late.py": f"import nosuchthing\n{APP}",
        "latest.py": "from flask import Flask\ndef create_app():\n    app = Flask(1 / 0)\n    return app\n",
        "flask.py": f"Flask = print\n{APP}",
        "none.py": "x = 1\n",
        "number.py": "app = 1\n",
        "factory.py": "def create_app():\n    raise RuntimeError('no database')\n",
        "leaves.py": "import sys\nsys.exit('bye')\n",
        "dies.py": "import os\nos._exit(3)\n",
        "pkg/__init__.py": "",
        "pkg/web.py": APP,
        "away.py": "async def app(scope, receive, send):\n    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n",
        "raises.py": "async def app(scope, receive, send):\n    if scope['type'] == 'lifespan':\n        raise LookupError('no table')\n",
        "ends.py": f"import os\nos._exit(3)\n{APP}",
        "crashes.py": f"import ctypes\nctypes.string_at(0)\n{APP}",
        "speechless.py": "class Error(BaseException):\n    def __str__(self):\n        raise ValueError\nraise Error\n",
        "site.py": APP,
        "twos/good.py": APP,
        "twos/old.py": "print 'two'\n",
        "pages/mp.py": "def handler(req):\n  return (\n",
        "pages/index.psp": "x",
        "page.psp": "<%= 1 %>",
        "bad.env": "A=1\nB is 2\n",
        "nonsense.conf": "Nonsense\n",
        "empty/readme": "",
        **{f"several/{name}/wsgi.py": DJANGO for name in ("one", "two")},
        "several/manage.py": "",
    }
    for name, text in files.items():
        command.write(name, text)
    for name in ("cert.pem", "key.pem"):
        command.write(name, (certificate / name).read_text())
    for words in (
        ["genpkey", "-algorithm", "ed25519", "-out", "other.pem"],
        ["pkey", "-in", "key.pem", "-aes128", "-passout", "pass:x", "-out", "locked.pem"],
    ):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=command.place)
        command.give(command.place / words[-1])
    command.write("closed.pem", "").chmod(0)
    command.write("shut/good.py", APP).parent.chmod(0)
    os.mkfifo(command.place / "pipe.py")
    (command.place / "circle.py").symlink_to("circle.py")
    yield command


MISTAKES = {
    "good.pi": "there is no module good.pi",
    "goood.py": "there is no file {place}/goood.py\n  Did you mean {place}/good.py?",
    "nowhere:app": "there is no module nowhere: neither nowhere.py in {place}",
    "pkg.wep:app": "there is no module pkg.wep in {place}\n  pkg is there; in {place}/pkg there is no wep.py; did you mean web.py?",
    "good:aap": "there is no aap in {place}/good.py; did you mean app?",
    "good:a b": "'a b' is no name of a callable",
    "missing": "{place}/missing.py, line 2, in <module>:\n      import nosuchthing\n  ModuleNotFoundError: No module named 'nosuchthing'\n  Is its package installed for ",
    # What the source tells is imported inside httpd only.
    "late:app": "{place}/late.py, line 1, in <module>:\n      import nosuchthing\n  ModuleNotFoundError: No module named 'nosuchthing'",
    "late:app --background": "{place}/late.py, line 1, in <module>:",
    "latest:create_app()": "{place}/latest.py, line 3, in create_app:\n      app = Flask(1 / 0)\n  ZeroDivisionError: division by zero",
    "syntax:app": "{place}/syntax.py, line 2: SyntaxError:",
    "deep:app": "{place}/deep.py, line 2, in <module>:",
    "none": "there is neither application nor app in none",
    "factory:create_app('a')": "A factory is called without arguments: write a function that calls it with them",
    "factory:create_app": "or --handler for a handler of mod_python\n  If it makes the application: factory:create_app()",
    "several": "{place}/several has several applications of Django\n  Name the one that is to be served: one.wsgi or two.wsgi.",
    "number:app": "app of number is an object of type int: that is no application",
    "factory:create_app()": "line 2, in create_app:\n      raise RuntimeError('no database')\n  RuntimeError: no database",
    "away:app": "the start-up of away::app (lifespan) has failed:\n  no database",
    "away:app --background": "the start-up of away::app (lifespan) has failed:\n  no database",
    "raises --option mod_python.asgi.lifspan=on": "--option mod_python.asgi.lifspan: there is no such PythonOption\n  Did you mean mod_python.asgi.lifespan?",
    "good --option mod_python.session.session_type=FileSession": "--option mod_python.session.session_type: a key has no = in it, nor behind it\n  Write --option 'mod_python.session.session_type value'.",
    "good --option =": "a key has no = in it, nor behind it\n  Write --option 'key value'.",
    "raises --option mod_python.asgi.lifespan=on": "{place}/raises.py\", line 3, in app\n      raise LookupError('no table')\n  LookupError: no table",
    "page.psp": "page.psp is a PSP page, and pages are served by the directory that they are in",
    "leaves:app": "SystemExit: bye",
    "dies:app": "ended Python (status 3)",
    "ends:app": "the import of ends:app ended Python (status 3)",
    "ends:app --background": "the import of ends:app ended Python (status 3)",
    "crashes:app": "the import of crashes:app ended Python (killed by SIGSEGV)",
    "speechless:app": "{place}/speechless.py, line 4, in <module>:\n      raise Error\n  Error: (what it says could not be made)",
    "site:app": "Python has a module of its own that is called site (/",
    "twos": "what is in {place}/twos cannot be imported\n  {place}/twos/old.py, line 1: SyntaxError:",
    "pages": "what is in {place}/pages cannot be imported\n  {place}/pages/mp.py, line 2: SyntaxError:",
    "shut": "the directory {place}/shut cannot be read: permission denied",
    "pipe.py": "{place}/pipe.py is no file",
    "circle.py": "{place}/circle.py is a link that leads nowhere",
    "/dev/null": "/dev/null is no file",
    "--handler nosuch pkg": "nosuch cannot be imported\n  there is no module nosuch: neither nosuch.py in {place}/pkg,",
    "--handler web::nosuch pkg": "AttributeError: there is no nosuch in {place}/pkg/web.py",
    "--handler mod_python.nosuch pkg": "there is no module mod_python.nosuch",
    "empty": "there is nothing to serve in {place}/empty",
    "good --port 70000": "--port: '70000' is no port, which is a number from 1 to 65535",
    "good --host 1.2.3": "--host: '1.2.3' is no address, such as 127.0.0.1",
    "good --host 192.0.2.1": "192.0.2.1 is no address of this machine",
    "good --processes 0": "--processes: '0' is no number of processes, which is from 1 to 1000",
    "good --timeout -1": "is no number of seconds" if sys.version_info >= (3, 12) else "--timeout:",
    "good --limit-request-body 1X": "'1X' is no size, such as 1048576, 10M or 2G",
    "good --static x": "'x': write a plain path of the URI and a directory, such as /static=/srv/static",
    "good --static /x=nowhere": "--static /x=nowhere: there is no directory {place}/nowhere",
    "good --static /a/../b=empty": "write a plain path of the URI",
    "good --mount /=good": "two things are to be at /",
    "good --static /=empty": "--static /=empty would take everything",
    "good --static /a=empty --mount /a=good": "two things are to be at /a",
    "good --server-root empty": "{place}/empty has other files in it",
    "good --env-file bad.env": "--env-file {place}/bad.env, line 2: what stands there is not NAME=value",
    "good --env-file nowhere": "--env-file nowhere: no such file or directory",
    "good --https-key good.py": "--https-key needs --https-cert",
    "good --https-cert good.py": "there is no certificate in it",
    "good --error-log nowhere/x": "there is no directory {place}/nowhere\n  Make it: mkdir -p {place}/nowhere",
    "good --error-log empty": "{place}/empty is a directory",
    "good --error-log /dev/full": "--error-log /dev/full: /dev/full is no file, but a device or such",
    "good --access-log /dev/stdout": "is no file that httpd could open\n  --log-to-terminal sends both logs there.",
    "good --error-log -": "--error-log - is no file that httpd could open",
    "good --threads 1000 --processes 1000": "is more than 20000 at once",
    "good --https-cert cert.pem": "cert.pem: its key is not in it\n  Name the key's file: --https-key FILE",
    "good --https-cert cert.pem --https-key good.py": "there is no key in it (PEM",
    "good --https-cert cert.pem --https-key other.pem": "other.pem is not the key of the certificate in",
    "good --https-cert cert.pem --https-key locked.pem": "locked.pem is encrypted, and nobody is there to type its password\n  Decrypt it: openssl pkey -in {place}/locked.pem",
    "good --static /s=empty --static /s/=pkg": "two things are to be at /s",
    "good --static /s=empty --mount /s/x=good": "--mount /s/x lies below --static /s, whose files come first",
    "good --mount /a=good --mount /a=good": "two things are to be at /a",
    "good --https-cert closed.pem": "--https-cert closed.pem: permission denied",
    "good --env-file empty": "--env-file empty: is a directory",
    "b\udcff.py": "the name is no UTF-8, and httpd's configuration is",
    "good --server-root good.py/x": "the server root {place}/good.py/x cannot be made",
    "good --server-root /proc/x": "the server root /proc/x cannot be made",
    "good --include nonsense.conf": "Invalid command 'Nonsense'",
    "good --background --reload": "--reload needs the terminal, and --background leaves it",
    "good --log-to-terminal --access-log x": "takes the place of --error-log and --access-log",
    "good --httpd /bin/true": "/bin/true is no Apache httpd 2.4",
    "good --user nobody": "only root can have a server run as nobody",
    "good --nonsense": "unrecognized arguments: --nonsense",
    "good --venv empty": "{place}/empty is no virtual environment",
    "good --chdir nowhere": "there is no directory {place}/nowhere",
    "--handler mod_python.publisher good.py": "needs a directory, and good.py is none",
    "": "say what to serve",
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_what_is_said(command: Command, line: str) -> None:
    arguments = (
        ["good:a b"] if line == "good:a b" else [word.replace("lifespan=", "lifespan ") for word in line.split()]
    )
    port = () if "--port" in line else ("--port", "0")
    said = command.refused("start", *arguments, *port)
    assert MISTAKES[line].format(place=command.place) in said
    # Nothing of it goes on.
    assert not [
        path
        for path in command.place.glob("tmp/*/*/run/httpd.pid")
        if Path(f"/proc/{path.read_text().strip()}").exists()
    ]


def test_a_port_that_somebody_has(command: Command) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        said = command.refused("start", "good", "--port", str(port))
        assert f"port {port} of 127.0.0.1 cannot be had: address already in use" in said and "--port" in said
        if ROOT:
            said = command.refused("start", "good", "--port", str(port), "--user", CHILD_USER, user=None)
            assert f"(by {Path('/proc/self/comm').read_text().strip()}, process {os.getpid()})" in said


@pytest.mark.skipif(not ROOT, reason="about what root does")
def test_roots_mistakes(command: Command) -> None:
    said = command.refused("start", "good", user=None)
    assert "this is root, and nothing of an application should run as root" in said and "--user www-data" in said
    for user, reason in (("root", "root is root, whom"), ("nosuch", "there is no user nosuch")):
        assert reason in command.refused("start", "good", "--user", user, user=None)
    assert "there is no group nosuch" in command.refused(
        "start", "good", "--user", "daemon", "--group", "nosuch", user=None
    )
    for group in ("root", "0"):
        said = command.refused("start", "good", "--user", "daemon", "--group", group, user=None)
        assert "is root's group" in said and "Name another: --group NAME" in said
    for user, reason in (("0", "root is root, whom"), ("3999999999", "there is no user with the number 3999999999")):
        assert reason in command.refused("start", "good", "--user", user, user=None)
    locked = command.write("locked.py", APP)
    os.chown(locked, 0, 0)
    locked.chmod(0o600)
    said = command.refused("start", "locked.py", "--user", "daemon", "--port", "0", user=None)
    assert f"Permission denied: '{locked}'\n  It is daemon who imports it, and who may not do that." in said
    (command.place / "closed").mkdir(mode=0o700)
    shutil.copy(command.place / "good.py", command.place / "closed/good.py")
    said = command.refused("start", "closed/good.py", "--user", "daemon", "--port", "0", user=None)
    assert (
        f"daemon cannot pass {command.place}/closed, which is on the way to" in said
        and f"chmod o+x {command.place}/closed" in said
    )


def test_a_server_root_that_others_can_prepare(command: Command) -> None:
    root = command.place / "roots"
    root.mkdir(mode=0o755)
    command.give(root)
    command.write("roots/file", "")
    (root / "link").symlink_to(command.place / "empty")
    if ROOT:
        os.lchown(root / "link", pwd.getpwnam("daemon").pw_uid, -1)
    (root / "open").mkdir()
    command.give(root / "open")
    (root / "open").chmod(0o777)
    (root / "above").mkdir()
    command.give(root / "above")
    (root / "above").chmod(0o777)
    if ROOT:
        (root / "roots").mkdir(mode=0o755)
    for name in ("file", "open", *(["link", "roots"] if ROOT else [])):
        said = command.refused("start", "good", "--port", "0", "--server-root", f"roots/{name}")
        assert f"{root}/{name} is not a directory of this user's alone" in said, name
    said = command.refused("start", "good", "--port", "0", "--server-root", "roots/above/root")
    assert f"others may rename or replace what lies in {root}/above" in said
    said = command.refused("start", "good", "--port", "0", "--server-root", "new\nline")
    assert "control character" in said
    assert "setup needs a place that stays" in command.refused("setup", "good")


@pytest.mark.skipif(not ROOT, reason="needs a second user")
def test_anothers_usual_place(command: Command) -> None:
    """/tmp/mod_python-UID, made by somebody else first."""
    place = command.place / "foreign"
    place.mkdir(mode=0o777)
    place.chmod(0o1777)
    (place / f"mod_python-{pwd.getpwnam(CHILD_USER).pw_uid}").mkdir(mode=0o755)
    said = command.refused("start", "good", "--port", "0", TMPDIR=str(place))
    assert "is not a directory of this user's alone" in said and "--server-root DIRECTORY" in said


def test_verbs_without_a_server(command: Command) -> None:
    for verb in ("stop", "restart", "reload", "status"):
        assert "no server of yours runs" in command.refused(verb, TMPDIR=str(command.place / "empty"))
        assert "is no server root of mod_python" in command.refused(verb, "empty")
    done = command("strat", "good")
    assert done.returncode == 2 and "there is no command 'strat'; did you mean start?" in done.stderr
    assert command().returncode == 2 and "start a server" in command("--help").stdout
    for verb in ("start", "setup", "stop", "module-config", "create"):
        done = command(verb, "--help")
        assert done.returncode == 0 and f"mod_python {verb}" in done.stdout and not done.stderr


def test_nothing_of_the_machine(command: Command, tmp_path: Path) -> None:
    """Neither httpd, nor its modules, nor this module, nor a shared library of Python."""
    done = subprocess.run(
        [sys.executable, "-c", _BARE, str(PROJECT / "python")],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": ""},
    )
    for expected in (
        "no httpd: there is no Apache httpd on this machine",
        "apache2-bin",
        "no ssl: httpd's module mod_ssl is needed, and is not in /nowhere",
        "no library: ",
        "libpython",
        "no module: there is no mod_python.so for the package in",
    ):
        assert expected in done.stdout, done.stdout


_BARE = """
import sys
sys.path.insert(0, sys.argv[1])
import os, sysconfig
from mod_python._own import problems, programs
from mod_python import version
def say(what, call):
    try:
        call()
    except problems.Problem as problem:
        print(f"{what}: {problem}")
isfile = os.path.isfile
os.path.isfile = lambda path: isfile(path) and not str(path).endswith(".so") and ".so." not in str(path)
version._FACTS["HTTPD"] = lambda: ""
say("no httpd", programs.find)
say("no ssl", lambda: programs.Httpd("/x", "/nowhere", frozenset()).load("ssl"))
say("no library", problems.libpython)
say("no module", programs.python_module)
"""


@pytest.mark.parametrize(
    "text, value",
    [
        ("A=1", {"A": "1"}),
        ("export A = x y # z", {"A": "x y"}),
        ('A=\'a # "b" \\n\'\nB="c\\n\\"d\\" $HOME" # x', {"A": 'a # "b" \\n', "B": 'c\n"d" $HOME'}),
        ("\ufeffA=é\n\n#B=1\nC=", {"A": "é", "C": ""}),
        ("A=a#b\nA=c", {"A": "c"}),
        ("A=a\u2028b\x0cc\x1cd\x85e\rf\r\nB='1'\r\n", {"A": "a\u2028b\x0cc\x1cd\x85e\rf", "B": "1"}),
        ("A='x", None),
        ("=x", None),
        ("A-B=x", None),
        ("A", None),
        ('A="x" y', None),
        ("A=\0", None),
    ],
)
def test_files_of_variables(tmp_path: Path, text: str, value: object) -> None:
    file = tmp_path / "env"
    file.write_text(text)
    if value is None:
        with pytest.raises(Problem, match=r"line 1: .* is not NAME=value"):
            options.environment_of(str(file))
    else:
        assert options.environment_of(str(file)) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('KEY="hunter2', "KEY=…"),
        ("hunter2", "what stands there"),
        ("KEY='' hunter2", "KEY=…"),
        ("hunter-2=", "what st"),
    ],
)
def test_values_of_variables_are_not_shown(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"A=1\n{text}\n")
    with pytest.raises(Problem) as caught:
        options.environment_of(str(file))
    assert f"{file}, line 2: {told}" in str(caught.value) and "hunter" not in str(caught.value)


@pytest.mark.parametrize("text", ["key value", " key\tvalue ", "key \t value"])
def test_options_have_a_key_and_a_value(text: str) -> None:
    assert options.option(text) == ("key", "value")
    assert options.option("key") == ("key", "") and options.option("key a=b c") == ("key", "a=b c")
    for wrong in ("", " ", "key=value", "key = value", "=", "key ="):
        with pytest.raises(Problem):
            options.option(wrong)


def test_arguments_are_quoted() -> None:
    quoted = {
        "/a/b-c.d": "/a/b-c.d",
        "a b": '"a b"',
        '"\\': '"\\"\\\\"',
        "${A}": '"${MOD_PYTHON_DOLLAR}{A}"',
        "": '""',
        "#": '"#"',
    }
    assert {text: configuration.argument(text) for text in quoted} == quoted
    for text in ("a\nb", "a\0", "\x7f"):
        with pytest.raises(Problem, match="control character"):
            configuration.argument(text)


@pytest.mark.parametrize(
    "source, kind",
    [
        ("from flask import Flask\napp = Flask(__name__)", "wsgi"),
        ("import flask as f\napp: object = f.Flask(__name__)", "wsgi"),
        ("from fastapi import FastAPI as F\napp = F()", "asgi"),
        ("from django.core.asgi import get_asgi_application\napp = get_asgi_application()", "asgi"),
        ("def app(environ, start_response): ...", "wsgi"),
        ("async def app(scope, receive, send): ...", "asgi"),
        ("from flask import Flask\napp = Flask(__name__)\napp = wrapped(app)", ""),
        ("from flask import Flask\nif x:\n    app = Flask(__name__)", ""),
        ("@decorated\ndef app(environ, start_response): ...", ""),
        ("from other import app", ""),
        ("from .flask import Flask\napp = Flask()", ""),
        ("def app(a, b, c): ...", ""),
        ("x = 1", ""),
    ],
)
def test_sources_tell_what_they_are(tmp_path: Path, source: str, kind: str) -> None:
    file = tmp_path / "m.py"
    file.write_text(source)
    assert sources.look(str(file)).kind("app") == kind


@pytest.mark.parametrize(
    "source",
    [f"x = {'-' * 20_000}1\n", f"x = {'(' * 5_000}\n", f"x = {'a+' * 30_000}a\n", f"x = app = a{'.a' * 1_500}()\n"],
)
def test_sources_that_are_nested_deeply(tmp_path: Path, source: str) -> None:
    """The parser has limits of its own, elsewhere in each version: whatever it says is told, or the source is read."""
    (tmp_path / "data.py").write_text(source)
    (tmp_path / "index.psp").write_text("x")
    found = sources.look(str(tmp_path / "data.py"))
    assert found.error.startswith(str(tmp_path / "data.py")) or "x" in found.names
    assert found.kind("app") == ""
    with contextlib.suppress(Problem):
        targets.of_directory(str(tmp_path), "")


def test_factories_tell_what_they_make(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(
        "from flask import Flask\ndef create_app():\n    app = Flask('x')\n    return app\ndef other():\n    return x\n"
    )
    found = sources.look(str(file))
    assert (
        found.factory_kind("create_app") == "wsgi"
        and found.factory_kind("other") == ""
        and found.usual("") == ("create_app", True)
    )


def test_classes_are_applications() -> None:
    """Whose instances are the answer (PEP 3333's AppClass), or are awaited."""

    class Iterated:
        def __init__(self, environ: object, start_response: object) -> None: ...

        def __iter__(self) -> Iterator[bytes]:
            yield b""

    class Awaited:
        def __init__(self, scope: object, receive: object, send: object) -> None: ...

        def __await__(self) -> Iterator[object]:
            yield None

    class Neither:
        def __init__(self, one: object, two: object) -> None: ...

    assert [probe.kind_of(one) for one in (Iterated, Awaited, Neither, int)] == ["wsgi", "asgi", "", ""]


def test_who_waits_is_told_what_for(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An import may take minutes, and a server that has gone is not waited for as long."""
    state = root.State(str(command.place), "", "", options.Options(target="large"), "")
    clock = [0.0]
    monkeypatch.setattr(foreground.time, "monotonic", lambda: clock[0])
    children = [{2}, {3}, {4}]
    monkeypatch.setattr(process, "children", lambda pid, config: children.pop(0) if len(children) > 1 else children[0])
    monkeypatch.setattr(process, "running", lambda state: None)
    prepared = serving.Prepared(state, None, {}, None, None)  # type: ignore[arg-type]
    patience = foreground._Patience(prepared, list)
    for clock[0], over in ((5, False), (11, False), (12, False), (599, False), (601, True)):
        assert patience.is_over(1) == over
    assert capsys.readouterr().err == "large: the import goes on, after 10 seconds\n"
    clock[0] = 0.0
    gone = foreground._Patience(prepared, list)
    for clock[0], over in ((29, False), (31, True)):
        assert gone.is_over(None) == over


def test_modules_of_the_application_hide_none_of_the_librarys(command: Command) -> None:
    """`python -m` has the current directory in front of everything."""
    for name in ("json", "socket", "dataclasses", "shlex", "argparse"):
        command.write(f"std/{name}.py", f"raise ImportError('that is not {name}')\n")
    line = command.line(("version",))
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=command.place / "std")
    assert done.returncode == 0 and "mod_python: " in done.stdout, done
    command.write("std/app.py", APP)
    line = command.line(("start", "app", "--port", "0", "--background"))
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=command.place / "std")
    assert done.returncode == 0, done
    assert command("stop").returncode == 0


def test_a_directory_that_has_gone(command: Command) -> None:
    place = command.place / "gone"
    place.mkdir(exist_ok=True)
    command.give(place)
    line = ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *command.line(("start", "good", "--port", "0"))]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 1 and "mod_python start: the directory that you are in has been removed" in done.stderr
    assert "Traceback" not in done.stderr
    missing = command("genconfig", "nowhere.py")
    assert missing.returncode == 2 and missing.stderr.endswith("error: there is no file nowhere.py\n")


FORKS = {
    "a manager": "import multiprocessing\nshared = multiprocessing.get_context('fork').Manager().dict()\n",
    "a child that stays": "import os, time\nif os.fork() == 0:\n    time.sleep(120)\n    os._exit(0)\n",
    "a child that ends as Python does": "import os, sys\npid = os.fork()\nif pid == 0:\n    sys.exit(1)\nos.waitpid(pid, 0)\n",
    "much to say": "import sys\nraise ValueError('x' * 300_000)\n",
    "an end of its own": "import os, time\nif os.fork() == 0:\n    time.sleep(120)\nos._exit(4)\n",
}


@pytest.mark.parametrize("what", FORKS)
def test_what_an_import_has_forked_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It holds what the answer is written to, and ends with the import."""
    monkeypatch.setattr(probe, "PATIENCE", 60.0)
    (tmp_path / "forks.py").write_text(f"{FORKS[what]}{APP}")
    target = targets.Target("", "", "forks", "app", False, str(tmp_path), "forks:app")
    wanted = options.Options(directory=str(tmp_path), working=str(tmp_path))
    mark = f"mark-{tmp_path.name}"
    environment = {"PATH": os.environ["PATH"], "MARK": mark}
    began = time.monotonic()
    if what in ("much to say", "an end of its own"):
        with pytest.raises(Problem, match="ValueError: xxx" if what == "much to say" else r"ended Python \(status 4\)"):
            probe.probed([target], wanted, environment, None)
    else:
        assert [one.kind for one in probe.probed([target], wanted, environment, None)] == ["wsgi"]
    assert time.monotonic() - began < 45
    until(lambda: not _marked(mark), lambda: str(_marked(mark)))


def _marked(mark: str) -> list[str]:
    """The processes with that in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def test_signals_reach_an_import(tmp_path: Path) -> None:
    """Which is in a session of its own, and has children that would stay."""
    forks = "import os, time\nos.fork()\nopen(f'began{os.getpid()}', 'w').close()\ntime.sleep(120)\n"
    (tmp_path / "forks.py").write_text(f"{forks}{APP}")
    # Whoever runs the tests may have it ignored.
    task = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from mod_python._own import options, probe, targets
target = targets.Target("", "", "forks", "app", False, {str(tmp_path)!r}, "forks:app")
probe.probed([target], options.Options(working={str(tmp_path)!r}), {{"MARK": {str(tmp_path)!r}}}, None)
"""
    for number in (signal.SIGINT, signal.SIGTERM):
        for path in tmp_path.glob("began*"):
            path.unlink()
        environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python")}
        with subprocess.Popen([sys.executable, "-c", task], env=environment, stderr=subprocess.DEVNULL) as waits:
            until(lambda: len(list(tmp_path.glob("began*"))) == 2, lambda: "nothing is imported")
            waits.send_signal(number)
            assert waits.wait(20) == -number
        until(lambda: not _marked(str(tmp_path)), lambda: str(_marked(str(tmp_path))))
