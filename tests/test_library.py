"""cgihandler, cache, httpdconf, testhandler, the command line, FakeRequest, and the package outside httpd."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import APPS, Serve, Server
from mod_python import apache, cache, httpdconf, publisher, version
from mod_python.__main__ import main
from mod_python.testing import FakeRequest

from httpd import PROJECT, free_port, query_apxs, system_httpd

PYTHON = os.environ.get("PYO3_PYTHON", "/usr/bin/python3")


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = (
        "<Directory @ROOT@/htdocs/cgi>\nAddHandler mod_python .py\nPythonHandler mod_python.cgihandler\n</Directory>\n"
        "<Location /process>\nSetHandler mod_python\nPythonHandler process\n"
        "PythonPath \"sys.path+['@ROOT@/apps']\"\n</Location>\n"
        "<Location /test>\nSetHandler mod_python\nPythonHandler mod_python.testhandler\nPythonOption key <value>\n</Location>\n"
        "<Location /test/debug>\nPythonDebug On\n</Location>\n"
    )
    server = serve_module(config, mpm=mpm, start=False)
    shutil.copytree(APPS / "cgi", server.root / "htdocs/cgi")
    server.write("htdocs/cgi/data.txt", "data")
    os.system(f"chmod -R a+rX {server.root}/htdocs")
    return server.start()


def test_a_cgi_script(httpd: Server) -> None:
    """docs/differences.md#cgi-scripts"""
    body = "é=1".encode()
    headers = {"Content-Type": "text/plain", "Proxy": "http://evil"}
    answer = httpd.get("/cgi/hello.py/info?a=b", "POST", body=body, headers=headers)
    assert (answer.status, answer.header("X-One")) == (201, "1")
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    expected = "POST a=b None /cgi/hello.py\nTrue from beside data\n'é=1'\n"
    assert answer.body == b"bytes \xff\n" + expected.encode()


def test_cgi_scripts_and_handlers_do_not_see_each_other(httpd: Server) -> None:
    failures: list[str] = []

    def ask(number: int) -> None:
        for _ in range(10):
            text = httpd.get(f"/cgi/who.py?{number}").text
            if set(text.split()) != {str(number)}:
                failures.append(text)
            text = httpd.ok("/process").text
            if text.split()[1:] != ["False", "False", "1"] or text.split()[0] != str(httpd.root):
                failures.append(text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_mistakes_of_cgi_scripts(httpd: Server) -> None:
    assert httpd.get("/cgi/headless.py").status == 500
    httpd.claim("the CGI script has written no empty line behind its headers")
    assert httpd.get("/cgi/raises.py").status == 500
    httpd.claim("raises.py.*ZeroDivisionError")
    assert httpd.get("/cgi/none.py").status == 404
    answer = httpd.get("/cgi/moved.py")
    assert (answer.status, answer.header("Location")) == (302, "/elsewhere")


def test_the_test_page(httpd: Server) -> None:
    answer = httpd.ok("/test?<script>", headers={"X-Bad": "<script>alert(1)</script>"})
    text = answer.text
    assert "<script>" not in text and "&lt;script&gt;alert(1)" in text and "&lt;value&gt;" in text
    assert "view_log" not in text and "Configuration" in text and "PythonHandler mod_python.testhandler" in text
    assert httpd.ok("/test?view_log=1").text.startswith("<!DOCTYPE")
    assert "resuming normal operations" in httpd.ok("/test/debug?view_log=1").text


# What follows needs no httpd.


def test_caches(tmp_path: Path) -> None:
    class Squares(cache.Cache):
        built = 0

        def build(self, key: Any, name: Any, opened: Any, entry: cache.Entry) -> Any:
            self.built += 1
            if name < 0:
                raise ValueError(name)
            return name * name

    squares = Squares(max_size=2)
    assert [squares[number] for number in (2, 2, 3)] == [4, 4, 9] and squares.built == 2
    assert (squares.mru(), squares.lru(), len(squares), 2 in squares) == (3, 2, 2, True)
    assert squares[4] == 16 and 2 not in squares
    for _ in range(2):
        with pytest.raises(ValueError):
            squares[-1]
    del squares[4]
    squares.clear()
    assert squares.mru() is None and squares.lru() is None
    file = tmp_path / "file"
    file.write_text("one")
    files = cache.FileCache(mode="r")
    assert files[str(file)] == "one"
    file.write_text("another")
    assert files[str(file)] == "another"
    with file.open() as opened:
        with pytest.raises(TypeError):
            files[opened.fileno()]
        assert os.fstat(opened.fileno())
    module = tmp_path / "module.py"
    module.write_text("x = 1")
    modules = cache.ModuleCache()
    assert modules[str(module)].x == 1 and modules[str(module)] is modules[str(module)]
    module.write_text("x = 22")
    assert modules[str(module)].x == 22
    module.write_text("x = (")
    for _ in range(2):
        with pytest.raises(SyntaxError):
            modules[str(module)]
    calls = []
    remembered = cache.FunctionCache(lambda *args, **kw: calls.append(args) or (args, kw))
    assert remembered(1, a=2) == remembered(1, a=2) == ((1,), {"a": 2}) and len(calls) == 1

    class Kept:
        pass

    class Weak(cache.WeakCache):
        def build(self, key: Any, name: Any, opened: Any, entry: cache.Entry) -> Any:
            return Kept()

    weak = Weak()
    first = weak["a"]
    assert weak["a"] is first and "a" in weak
    del first
    assert "a" not in weak


def test_keys_that_ask_the_cache_again() -> None:
    class Named(cache.Cache):
        def build(self, key: Any, name: Any, opened: Any, entry: cache.Entry) -> Any:
            return len(self)

    named = Named(max_size=2)

    class Key:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            assert named["inner"] is not None and named.mru() == "inner" and "x" not in named
            return self is other

    def ask() -> None:
        for key in (Key(), Key(), 7, Key()):
            named[key]
            assert key in named
        del named[key]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive() and len(named) == 1


def test_one_value_is_built_by_one_thread() -> None:
    started, built = threading.Barrier(8), []

    class Slow(cache.Cache):
        def build(self, key: Any, name: Any, opened: Any, entry: cache.Entry) -> Any:
            built.append(name)
            return object()

    slow, values = Slow(), []

    def ask() -> None:
        started.wait()
        values.append(slow["x"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and len(set(map(id, values))) == 1


@pytest.fixture
def source() -> Iterator[tuple[str, list[str]]]:
    """A server whose answer can be validated, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("If-None-Match", ""))
            if asked[-1] == '"tag"':
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("ETag", '"tag"')
            self.end_headers()
            self.wfile.write(b"x = 5\n")

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_caches_of_http(source: tuple[str, list[str]]) -> None:
    url, asked = source
    pages = cache.HTTPCache()
    assert pages[url].entity == pages[url].entity == b"x = 5\n" and asked == ["", '"tag"']
    assert cache.HttpModuleCache()[url].x == 5


def test_configurations_in_python() -> None:
    conf: Any = vars(httpdconf)
    config = httpdconf.Container(
        httpdconf.Comment("two\nlines"),
        conf["ServerRoot"]("C:\\srv"),
        conf["PythonPath"](r'"sys.path+[\'C:\x\']"'),
        conf["VirtualHost"](
            "*:80",
            conf["ServerName"]("x"),
            conf["Location"]("/a", conf["SetHandler"]("mod_python"), conf["PythonInterpPerDirectory"]()),
        ),
        httpdconf.Container(conf["Listen"]("80"), only_if="1 == 2"),
        httpdconf.Container(conf["Listen"]("81"), only_if="mod_python.mp_version >= '4'"),
    )
    expected = (
        "# two\n# lines\nServerRoot C:/srv\n" + r'PythonPath "sys.path+[\'C:\x\']"' + "\n"
        "<VirtualHost *:80>\n  ServerName x\n  <Location /a>\n    SetHandler mod_python\n"
        "    PythonInterpPerDirectory Off\n  </Location>\n</VirtualHost>\nListen 81\n"
    )
    assert str(config) == expected
    assert str(eval(repr(config), dict(conf))) == expected
    with pytest.raises(TypeError):
        config.append("text")  # type: ignore[arg-type]
    assert httpdconf.quote_if_space("a b") == '"a b"' and httpdconf.quote_if_space("ab") == "ab"
    assert str(httpdconf.LockFile("x")) == "LockFile x\n" and repr(httpdconf.Comment("")) == "Comment('')"


def test_the_command_makes_a_server_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/differences.md#the-command"""
    port, site = free_port(), tmp_path / "site"
    tmp_path.chmod(0o755)
    assert (
        main(
            [
                "create",
                str(site),
                "--listen",
                f"127.0.0.1:{port}",
                "--pythonhandler",
                "mp",
                "--pythonpath",
                "/a:/b",
                "--pythonoption",
                "k v",
            ]
        )
        == 0
    )
    assert "mod_python genconfig" in capsys.readouterr().out
    assert main(["create", str(site), "--pythonhandler", "mp"]) == 1
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python")}
    command = [sys.executable, "-m", "mod_python"]
    generated = subprocess.run(
        [*command, "genconfig", str(site / "conf/httpd_conf.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (
        f"Listen 127.0.0.1:{port}\n" in generated
        and "PythonPath \"sys.path+['/a', '/b']\"" in generated
        and "PythonOption k v" in generated
    )
    assert f"LoadModule mpm_event_module {query_apxs('LIBEXECDIR')}/mod_mpm_event.so" in generated
    # The module under test instead of an installed one.
    generated = generated.replace(
        f"{query_apxs('LIBEXECDIR')}/mod_python.so", str(PROJECT / "target/release/libmod_python.so")
    )
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (site / "conf/httpd.conf").write_text(generated + user + f"DefaultRuntimeDir {site}/logs\n")
    checked = subprocess.run(
        [system_httpd().program, "-t", "-f", str(site / "conf/httpd.conf")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    version_shown = subprocess.run(
        [*command, "version"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert version.version in version_shown and "2.4" in version_shown
    for wrong in ([], ["nothing"], ["create", "x"], ["start"]):
        assert subprocess.run([*command, *wrong], env=environment, capture_output=True).returncode == 2


@pytest.mark.parametrize(
    ("listen", "written"),
    [
        ("8080", "127.0.0.1:8080"),
        ("65535", "127.0.0.1:65535"),
        ("08080", "127.0.0.1:8080"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:8080", "[::1]:8080"),
        ("[::]:8080", "[::]:8080"),
        ("[fe80::1%eth0]:8080", "[fe80::1%eth0]:8080"),
        ("localhost:8080", "localhost:8080"),
        ("www-1.example.org:1", "www-1.example.org:1"),
        ("*:8080", "*:8080"),
    ],
)
def test_where_a_new_server_listens(tmp_path: Path, listen: str, written: str) -> None:
    site = tmp_path / "site"
    assert main(["create", str(site), "--listen", listen, "--pythonhandler", "mp"]) == 0
    assert f"Listen('{written}')" in (site / "conf/httpd_conf.py").read_text()


PORTS = [
    "99999",
    "65536",
    "0",
    "abc",
    "-1",
    "+80",
    "",
    " 80",
    "80 ",
    "8_0",
    "8.0",
    "80x",
    "٨٠",
    "0" * 5000 + "80",
    "80 https",
]
HOSTS = [
    "[::1",
    "::1",
    "::1]",
    "[::1]x",
    "[127.0.0.1]",
    "[]",
    "",
    "127.0.0",
    "127.0.0.256",
    "1",
    "a b",
    "a\nListen 80",
    '"',
    "-a",
]
HOSTS += ["a..b", ".", "a/b", "user@host", "127.0.0.1:80", "[fe80::1%a b]", "[fe80::1%]", "http://host", "ü", "a" * 64]


@pytest.mark.parametrize(
    ("listen", "wrong"),
    [
        *((port, port) for port in PORTS),
        *((f"{host}:{port}", port) for port in PORTS for host in ("127.0.0.1", "[::1]", "host")),
        ("host:port", "port"),
        ("[::1]", "1]"),
        *((f"{host}:80", host) for host in HOSTS),
    ],
)
def test_where_no_server_can_listen(tmp_path: Path, listen: str, wrong: str) -> None:
    site = tmp_path / "site"
    with pytest.raises(SystemExit) as refusal:
        main(["create", str(site), f"--listen={listen}", "--pythonhandler", "mp"])
    said = str(refusal.value.code)
    assert said.startswith(f"mod_python create: --listen {listen!r}: {wrong!r} is no ") and not site.exists()


def test_start_restart_stop(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake = tmp_path / "apache2"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    fake.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for action in ("start", "restart", "stop"):
        subprocess.run(
            [sys.executable, "-m", "mod_python", action, "x.conf"], env=environment, check=True, cwd=tmp_path
        )
    name = tmp_path / "x.conf"
    assert log.read_text() == "".join(f"-f {name} -k {word}\n" for word in ("start", "graceful", "graceful-stop"))


def test_handlers_under_test() -> None:
    req: Any = FakeRequest("/hello?name=spam", headers={"X-A": "b"}, options={"k": "v", "gone": ""})
    assert (req.uri, req.args, req.headers_in["x-a"], dict(req.get_options())) == (
        "/hello",
        "name=spam",
        "b",
        {"k": "v"},
    )
    req.content_type = "text/plain"
    req.write("é")
    req.write(b"\xff", 0)
    assert req.output == b"\xc3\xa9\xff" and req.sent_bodyct == 1 and req._bytes_queued == 3
    ended = []
    req.register_cleanup(ended.append, "one")
    req.register_cleanup(ended.append, "two")
    req.close()
    assert ended == ["two", "one"]
    req.log_error("text", apache.APLOG_INFO)
    assert req.log == [(apache.APLOG_INFO, "text")]
    with pytest.raises(AttributeError, match="FakeRequest has no 'internal_redirect'"):
        req.internal_redirect("/x")
    req = FakeRequest("/", "POST", b"one\ntwo\n", headers={"Authorization": "Basic c3BhbTplZ2dz"})
    assert req.readline() == b"one\n" and req.read(2) == b"tw" and req.readlines() == [b"o\n"]
    assert req.get_basic_auth_pw() == "eggs" and req.user == "spam"


def test_publisher_functions_under_test(tmp_path: Path) -> None:
    (tmp_path / "index.py").write_text("def index(req, name='you'):\n    return f'Hello {name}'\n")
    req: Any = FakeRequest("/?name=spam", filename=str(tmp_path) + "/")
    assert publisher.handler(req) == apache.OK and req.text == "Hello spam"


def test_the_table_outside_httpd() -> None:
    table = apache.table([("A", "1"), ("b", "2")])
    table.add("a", "3")
    assert table["a"] == ["1", "3"] and table.get("a") == "1" and len(table) == 3 and "B" in table
    table["a"] = "4"
    assert (
        table.items() == [("A", "4"), ("b", "2")]
        and table == {"A": "4", "b": "2"}
        and dict(table) == {"A": "4", "b": "2"}
    )
    with pytest.raises(KeyError):
        table["none"]
    with pytest.raises(ValueError):
        table["x"] = "a\r\nb"
    with pytest.raises(TypeError):
        table["x"] = 5  # type: ignore[assignment]


def test_the_package_outside_httpd() -> None:
    code = (
        "from mod_python import apache, util, Cookie, Session, publisher, psp, cgihandler, cache, httpdconf, testhandler\n"
        "from mod_python.python22 import *\n"
        "import mod_python\n"
        "assert apache.HTTP_NOT_FOUND == 404 and mod_python.mp_version\n"
        "for call in (lambda: apache.stat('/', 0), lambda: apache.config_tree()):\n"
        "    try: call()\n"
        "    except RuntimeError as error: assert 'works only inside httpd' in str(error)\n"
        "    else: raise SystemExit('nothing raised')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python")}
    subprocess.run([PYTHON, "-W", "error", "-c", code], env=environment, check=True)


def test_constants_are_httpd_s() -> None:
    assert (apache.AP_CONN_UNKNOWN, apache.AP_CONN_CLOSE, apache.AP_CONN_KEEPALIVE) == (0, 1, 2)
    assert (apache.APR_NOFILE, apache.APR_REG, apache.APR_DIR, apache.APR_UNKFILE) == (0, 1, 2, 127)


def test_what_most_sites_never_use_is_not_imported() -> None:
    """Each child would hold it: sqlite3, urllib.request, email, ssl and what they bring take 6 MB."""
    names = ("Cookie", "Session", "apache", "cache", "psp", "publisher", "util")
    lines = [f"import {', '.join(f'mod_python.{name}' for name in names)}", "import sys", "print(*sys.modules)"]
    command = [
        sys.executable,
        "-S",
        "-E",
        "-c",
        f"import sys; sys.path.insert(0, {str(PROJECT / 'python')!r}); {'; '.join(lines)}",
    ]
    found = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    dear = {
        "asyncio",
        "dbm",
        "email",
        "http.client",
        "pickle",
        "socket",
        "sqlite3",
        "ssl",
        "tempfile",
        "urllib.request",
    }
    assert "mod_python.publisher" in found and not found & dear
