"""Failures on purpose (feature test-faults): the right status, a line in the log, the child alive, nothing leaked."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client import raw
from conftest import MEMORY, Serve, Server, places
from kept_daemons import PROXY, Daemon, lives, until
from test_daemons_handover import THERE, pair

from httpd import PATIENCE, PROJECT, resident

DEBUG = Path(os.environ.get("MOD_PYTHON_MODULE") or PROJECT / "target/debug/libmod_python.so")
PREFORK = """
<IfModule mpm_prefork_module>
    StartServers 1
    MaxRequestWorkers 1
</IfModule>
"""
"""One child is asked for everything, and prefork starts no others meanwhile."""
CONFIG = f"""{PREFORK}PythonWSGI /wsgi wsgi_apps:hello
PythonWSGI /parts wsgi_apps:chunks
PythonOutputFilter everything UPPER
<Location /up>
    SetHandler mod_python
    PythonHandler hello
    SetOutputFilter UPPER
</Location>
<Location /guarded>
    PythonAccessHandler faulty
    <If "true">
        PythonOption merged yes
    </If>
</Location>
<Directory @ROOT@/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
    AllowOverride All
    PythonOption merged no
</Directory>
"""
FRESH = f"""{PREFORK}<Location /fresh>
    SetHandler mod_python
    PythonHandler hello
    PythonInterpreter fresh
</Location>
"""


class Faults:
    """What is to fail in all servers of the test."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.clear()

    def clear(self) -> None:
        self.set("")

    def set(self, text: str) -> None:
        self._file.write_text(text)
        self._file.chmod(0o644)


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    # Not pytest's own directory, which the children's user cannot pass.
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        folder.chmod(0o755)
        patch.setenv("MOD_PYTHON_FAULTS", str(folder / "faults"))
        yield Faults(folder / "faults")


@pytest.fixture(autouse=True)
def nothing_fails_later(faults: Faults) -> Iterator[None]:
    """However the test has ended."""
    yield
    faults.clear()


@pytest.fixture(scope="module")
def server(serve_module: Serve, faults: Faults, mpm: str) -> Server:
    server = serve_module(
        places("hello", "faulty") + CONFIG, mpm=mpm, module=DEBUG, modules=("include", "headers"), start=False
    )
    server.write("htdocs/page.shtml", '<!--#python eval="1 + 1" -->')
    server.write("htdocs/guarded/page.html", "guarded")
    server.write("htdocs/merged/page.html", "merged")
    handled = "<Files handled.html>\nSetHandler mod_python\nPythonHandler hello\n</Files>\n"
    server.write("htdocs/merged/.htaccess", f"PythonOption merged yes\n{handled}")
    return begun(server)


def begun(server: Server) -> Server:
    """Start it, and wait until the interpreters of all children are there: what fails there fails for good."""
    server.start()
    server._wait(lambda: all(f"[pid {pid}:" in made(server) for pid in server.child_pids()), "Python does not start")
    return server


def made(server: Server) -> str:
    return "".join(line for line in server.log_text().splitlines() if "main_interpreter" in line and "created" in line)


WRITE_FAILED = "OSError: Write failed, client closed connection"
SSI_ERROR = "an error occurred while processing this directive"
FAILURES: list[tuple[str, str, int, str, str]] = [
    # What fails, where, the status, a part of the answer, the line in the log.
    ("attach", "/hello/handler", 500, "", "PythonHandler: no memory for a thread state"),
    ("attach", "/wsgi", 500, "", "PythonHandler: no memory for a thread state"),
    ("attach", "/page.shtml", 200, SSI_ERROR, "#python: no memory for a thread state"),
    ("instance", "/hello/handler", 500, "", "PythonHandler: MemoryError"),
    ("instance", "/wsgi", 500, "", "PythonHandler: MemoryError"),
    ("instance", "/page.shtml", 200, SSI_ERROR, "#python: MemoryError"),
    ("table", "/faulty/table", 500, "", "MemoryError: no memory for a table"),
    ("environ", "/wsgi", 500, "", "mod_python.wsgi: MemoryError"),
    ("write", "/hello/handler", 500, "", WRITE_FAILED),
    ("write", "/faulty/flushes", 500, "", WRITE_FAILED),
    ("read", "/faulty/body", 400, "", ""),
    ("lock", "/faulty/session", 500, "", "Traceback.*(ValueError|OSError|RuntimeError)"),
    ("request hook=panic", "/hello/handler", 500, "", r"crit\].*a deliberate panic in request hook"),
    ("python=panic", "/hello/handler", 500, "", "SystemError: panic at src/httpd/faults.rs"),
    ("python=panic", "/wsgi", 500, "", "SystemError: panic at src/httpd/faults.rs"),
    ("python=panic", "/page.shtml", 200, SSI_ERROR, "SystemError: panic at src/httpd/faults.rs"),
    ("deallocate=panic", "/up", 200, "HELLO WORLD!", "a deliberate panic in deallocate"),
    ("pool cleanup=panic", "/hello/handler", 200, "Hello World!", "a deliberate panic in pool cleanup"),
    ("pool cleanup=panic", "/faulty/cleans", 200, "registered", "a deliberate panic in pool cleanup"),
    ("fork=panic", "/faulty/forks", 200, "7", "a deliberate panic in fork"),
    ("filter=panic", "/up", 500, "", "a deliberate panic in filter"),
    ("tag=panic", "/page.shtml", 200, SSI_ERROR, "a deliberate panic in tag"),
    # What httpd's files say has been merged once for all requests.
    ("merge=panic", "/merged/page.html", 500, "", "could not be merged; nothing is served"),
    ("merge=panic", "/merged/handled.html", 500, "", "could not be merged; nothing is served"),
]
PANICS = r"panic at src/httpd/faults.rs:\d+:\d+: a deliberate panic"


@pytest.mark.parametrize(
    ("fault", "path", "status", "text", "line"), FAILURES, ids=[f"{a} {b}" for a, b, *_ in FAILURES]
)
def test_failures(server: Server, faults: Faults, fault: str, path: str, status: int, text: str, line: str) -> None:
    arguments: dict[str, Any] = {"method": "POST", "body": b"x" * 100} if fault == "read" else {}
    for _ in range(20):
        good = server.get(path, **arguments)
    assert good.status in (200, 403), good
    pids, before = server.child_pids(), 0
    faults.set(fault)
    for round_ in range(60):
        answer = server.get(path, **arguments)
        assert (answer.status, text in answer.text) == (status, True), answer
        if line and round_ == 0:
            server.claim(line)  # what fails in a cleanup fails after the client has its answer
            server.claims += [PANICS, "PythonHandler.*SystemError", f"PythonHandler.*{WRITE_FAILED}"]
            server.claims.append("cleanup object <function FileSession._clean")  # one session in a thousand
        if round_ == 20:
            before = sum(map(resident, pids))
    faults.clear()
    again = server.get(path, **arguments)
    assert (again.status, again.body) == (good.status, good.body)
    assert server.child_pids() == pids
    assert sum(map(resident, pids)) - before <= 1024 * MEMORY


def test_a_panic_when_a_part_has_left(server: Server, faults: Faults) -> None:
    """The answer is broken off: no error's page, and no end, behind the part."""
    whole = server.ok("/parts").body
    faults.set("finish=panic")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/parts")
    with pytest.raises(http.client.IncompleteRead) as caught:
        connection.getresponse().read()
    connection.close()
    assert caught.value.partial == whole
    server.claims.append(PANICS)
    server.claim("PythonHandler mod_python.wsgi: .*SystemError: panic at")


def test_an_interpreter_that_cannot_be_made(serve: Serve, faults: Faults, mpm: str) -> None:
    """The next request tries again."""
    server = begun(serve(places("hello") + FRESH, mpm=mpm, module=DEBUG, start=False))
    pids = server.child_pids()
    faults.set("interpreter")
    assert server.get("/fresh").status == 500
    server.claim('no interpreter "fresh": Py_NewInterpreter failed')
    faults.clear()
    assert server.ok("/fresh").text == "Hello World!"
    assert server.child_pids() == pids


def test_a_module_that_cannot_be_made(serve: Serve, faults: Faults, mpm: str) -> None:
    server = begun(serve(places("hello") + FRESH, mpm=mpm, module=DEBUG, start=False, interpreter=None))
    faults.set("module=panic")
    assert server.get("/fresh").status == 500
    server.claim(r"crit\].*a deliberate panic in module")
    server.claim('interpreter "fresh" cannot import mod_python.apache: SystemError')
    faults.clear()
    assert server.ok("/hello/handler").text == "Hello World!"
    # Tried anew after a moment, in the interpreter that is there already.
    server._wait(lambda: server.get("/fresh").text == "Hello World!", "the interpreter stays broken")
    assert 'interpreter "fresh" created' in server.log_text()


def test_a_pool_that_cannot_be_made(serve: Serve, faults: Faults, mpm: str) -> None:
    """Nothing else takes its place; the next request tries again."""
    pool = FRESH.replace("Interpreter fresh", "Interpreter pool") + "PythonInterpreterPool pool size=2\n"
    server = serve(places("hello") + pool, mpm=mpm, module=DEBUG, start=False, interpreter=None)
    faults.set("interpreter")
    begun(server)
    server.claim("PythonInterpreterPool pool: Py_NewInterpreter failed")
    assert server.get("/fresh").status == 500
    server.claim('no interpreter "pool": Py_NewInterpreter failed')
    assert server.ok("/hello/handler").text == "Hello World!"
    faults.clear()
    assert server.ok("/fresh").text == "Hello World!"
    assert 'interpreter "pool#1" created' in server.log_text()


@pytest.mark.parametrize("entry", ["register", "directive", "check_config", "post_config"])
def test_a_configuration_is_refused(serve: Serve, faults: Faults, entry: str) -> None:
    server = serve(places("hello"), module=DEBUG, start=False)
    faults.set(f"{entry}=panic")
    done = server.check()
    if entry == "post_config":  # not a part of the check
        with pytest.raises(RuntimeError, match="a deliberate panic in post_config"):
            server.start()
        server.claims.append(PANICS)
    elif entry == "register":
        # httpd has no way to refuse a module here: its directives are there, its hooks are not.
        assert "a deliberate panic in register" in done.stderr
    else:
        assert done.returncode != 0 and f"a deliberate panic in {entry}" in done.stderr


def test_a_child_that_cannot_start_python(serve: Serve, faults: Faults, mpm: str) -> None:
    server = serve(places("hello"), mpm=mpm, module=DEBUG, start=False)
    server.write("htdocs/static.html", "static")
    faults.set("child_init=panic")
    server.start()
    server.claim(r"crit\].*a deliberate panic in child_init")
    assert server.ok("/static.html").text == "static"
    assert server.get("/hello/handler").status == 500
    server.claim("PythonHandler.*Python has not been started")


def test_a_connection_whose_hook_panics(serve: Serve, faults: Faults, mpm: str) -> None:
    config = f"{PREFORK}PythonConnectionHandler faulty\nPythonPath \"sys.path+['@ROOT@/apps']\"\n"
    server = begun(serve(config, mpm=mpm, module=DEBUG, start=False))
    pids = server.child_pids()

    def connected() -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.connect()
        with connection.sock as sock:
            sock.sendall(b"anything\n")  # the kernel may wait for that (AcceptFilter)
            return sock.recv(100)

    assert connected() == b"connected\n"
    faults.set("connection hook=panic")
    assert b"connected" not in connected()
    server.claim(r"crit\].*a deliberate panic in connection hook")
    faults.set("instance")
    assert b"connected" not in connected()
    server.claim("PythonConnectionHandler faulty: MemoryError")
    faults.clear()
    assert connected() == b"connected\n"
    assert server.child_pids() == pids


def test_a_session_file_that_cannot_be_written(serve: Serve, faults: Faults, mpm: str) -> None:
    """The handler is told, the old data stay, and nothing is left behind."""
    config = places("faulty") + "PythonOption mod_python.file_session.database_directory @ROOT@/run/sessions\n"
    server = serve(config, mpm=mpm, module=DEBUG, start=False)
    folder = server.root / "run/sessions"
    folder.mkdir()
    folder.chmod(0o777)
    server.start()
    answer = server.ok("/faulty/saves?first")
    cookie = {"Cookie": str(answer.header("Set-Cookie")).partition(";")[0]}
    assert answer.text == "saved 1"
    # Twice beside, then over a part of the file that is there, half of which is written.
    for fails, works in (("second", "third"), ("fourth", "fifth"), ("sixth", "seventh")):
        before = server.ok("/faulty/reads", headers=cookie).text
        faults.set("session_rename\nsession_slot")
        assert server.ok(f"/faulty/saves?{fails}", headers=cookie).text == "28 1"
        faults.clear()
        assert server.ok("/faulty/reads", headers=cookie).text == before
        assert server.ok(f"/faulty/saves?{works}", headers=cookie).text == "saved 1"
        assert server.ok("/faulty/reads", headers=cookie).text == works
    # What cannot be written in place is written beside.
    faults.set("session_slot")
    assert server.ok("/faulty/saves?beside", headers=cookie).text == "saved 1"
    assert server.ok("/faulty/reads", headers=cookie).text == "beside"
    faults.set("session_rename")
    assert server.ok("/faulty/saves?another").text == "28 0"


def test_a_refusal_that_cannot_be_taken_up(serve: Serve, faults: Faults, mpm: str) -> None:
    """The sink of httpd's own answer panics: the request fails, the child goes on."""
    config = places("hello", "faulty") + PREFORK + "LimitRequestBody 10\n"
    server = begun(serve(config, mpm=mpm, module=DEBUG, start=False))
    pids = server.child_pids()
    server.claims += [PANICS, "AH0", "PythonHandler"]
    for fault in ("sink=panic", ""):
        faults.set(fault)
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            head = b"POST /faulty/body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.sendall(head + b"14\r\n" + b"x" * 20)
            assert client.recv(65536).split()[1] in (b"400", b"413", b"500")
        assert server.ok("/hello/handler").text == "Hello World!"
    assert "a deliberate panic in sink" in server.log_text()
    assert server.child_pids() == pids


def test_a_late_error_that_cannot_be_refused(serve: Serve, faults: Faults, mpm: str) -> None:
    """The filter that keeps an error's page from following a part panics: the connection ends all the same."""
    server = begun(serve(places("faulty") + PREFORK, mpm=mpm, module=DEBUG, start=False))
    pids = server.child_pids()
    for fault in ("late error=panic", ""):
        faults.set(fault)
        got = raw(server.port, b"GET /faulty/leads HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"part" in got and b"<html" not in got.lower() and b"\r\n0\r\n" not in got
    faults.clear()
    server.claim("a deliberate panic in late error")
    server.claim("comes too late")
    assert server.child_pids() == pids


def test_a_panic_of_the_thread_that_sends(serve: Serve, faults: Faults) -> None:
    """What is due leaves with the next operation or the answer's end."""
    server = serve("PythonOption mod_python.flush soon\n" + places("soon"), mpm="event", module=DEBUG, children=1)
    assert server.ok("/soon/page").text
    pids = server.child_pids()
    faults.set("sender=panic")

    def is_told() -> bool:
        # A fast machine has written it all before anything is due.
        assert server.ok("/soon/busy").text == "x" * 3000
        return "a deliberate panic in sender" in server.log_text()

    server._wait(is_told, "the thread that sends does not panic")
    server.claim(r"crit\].*a deliberate panic in sender")
    faults.clear()
    assert server.ok("/soon/busy").text == "x" * 3000
    assert set(pids) <= set(server.child_pids())


def test_a_fork_while_a_request_is_sent(serve: Serve, faults: Faults) -> None:
    """The child of the fork finds the request free."""
    config = "PythonOption mod_python.flush soon\n" + places("soon")
    # Only an interpreter that is alone can fork.
    server = serve(config, mpm="event", module=DEBUG, children=1, interpreter=None)
    faults.set("sender is slow")
    assert server.ok("/soon/forks").text == "x" * 60
    faults.clear()
    server.claim("in the child")


def test_a_fork_while_a_time_out_is_logged(serve: Serve, faults: Faults) -> None:
    """The log takes longer than a fork waits: the child of the fork takes the request over."""
    config = (
        "PythonPath \"sys.path+['@ROOT@/apps']\"\nPythonTimeout 4\nSetHandler mod_python\nPythonHandler stuck::forks\n"
    )
    server = serve(config, mpm="event", module=DEBUG, children=1, interpreter=None)
    server.claims += ["PythonTimeout: ", r"\]   ( |File)", "the child of a fork"]
    faults.set("log of a time-out")

    def ask() -> None:
        # Its connection is cut, since nobody can answer it.
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.get()

    thread = threading.Thread(target=ask)
    thread.start()
    server.wait_log("the child of a fork has used the request")
    faults.clear()
    thread.join()


@pytest.mark.parametrize("place", ["stays", "register"], ids=["Python", "httpd"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [("end", "the child's end took too long"), ("damaged_end", "came in the middle of something, and fails")],
    ids=["hangs", "aborts"],
)
def test_an_end_in_the_middle(serve: Serve, faults: Faults, fault: str, said: str, place: str) -> None:
    """A child of prefork, which is ended from a signal handler, goes by itself whatever it has been interrupted in."""
    server = begun(serve(places("ending") + PREFORK, mpm="prefork", module=DEBUG, start=False))
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        # The one stays in Python; behind the other, the child waits for its client's next request.
        client.sendall(f"GET /ending/{place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if place == "stays":
            server.wait_log("stays")
        else:
            assert b"200 OK" in client.recv(65536)
        faults.set(fault)
        server.stop()
    assert said in server.log_text()
    assert "AH00046" not in server.log_text(), "it had to be killed"
    assert "exit signal" not in server.log_text()


@pytest.mark.parametrize("entry", ["watcher=panic", "deadline=panic"])
def test_a_deadline_after_a_panic(serve: Serve, faults: Faults, entry: str) -> None:
    """What looks after deadlines looks again."""
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\nPythonTimeout 0.3\nSetHandler mod_python\nPythonHandler stuck\n"
    server = serve(config, mpm="event", module=DEBUG, children=1)
    # An import may take longer than the time there is.
    server._wait(lambda: server.get("/").text == "done", "no answer")
    faults.set(entry)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(server.get("/?spin")))
    thread.start()
    name = entry.partition("=")[0]
    server.wait_log(f"a deliberate panic in {name}")
    faults.clear()
    thread.join()
    server.claims += [f"a deliberate panic in {name}", "PythonTimeout: ", r"\]   ( |File)"]
    assert [answer.status for answer in answers] == [504]
    server._wait(lambda: server.get("/").text == "done", "no answer")


DAEMON = """PythonDaemon shop
PythonPath "['@ROOT@/apps']+sys.path"
PythonWSGI /w wsgi_apps:hello daemon=shop
"""
"""Its children have no faults: a keeper's environment is its own."""


def front_of(serve: Serve) -> Server:
    server = serve(DAEMON, mpm="event", module=DEBUG, modules=PROXY)
    Daemon(server).serves()
    return server


@pytest.mark.parametrize(
    ("entry", "status"),
    [("proxy fixups", (400, 404)), ("pre_connection", (200,)), ("stay", (200,)), ("authentication", (200,))],
)
def test_a_panic_in_front_of_a_daemon(serve: Serve, faults: Faults, entry: str, status: tuple[int, ...]) -> None:
    """Where the front cannot tell what it knows, the daemon believes nobody else."""
    front = front_of(serve)
    good, pids = front.ok("/w"), front.child_pids()
    faults.set(f"{entry}=panic")
    for _ in range(5):
        assert front.get("/w", headers={"X-Mod-Python-Front": "i=/w&u=root"}).status in status
    faults.clear()
    front.claims.append(PANICS)
    assert front.ok("/w").body == good.body and front.child_pids() == pids


def test_a_panic_when_a_keeper_has_ended(serve: Serve, faults: Faults) -> None:
    """And in what is said of a daemon that cannot be reached then: httpd goes on."""
    front = front_of(serve)
    daemon, pids = Daemon(front), front.child_pids()
    gone = daemon.pids()
    faults.set("other child=panic")
    os.kill(gone[0], signal.SIGKILL)
    front.claim("a deliberate panic in other child")
    until(lambda: not any(lives(pid) for pid in gone), lambda: "the daemon is still there")
    faults.set("proxy status=panic")
    daemon.socket.unlink()
    assert front.get("/w").status == 503
    front.claim("a deliberate panic in proxy status")
    front.claims += [PANICS, "AH0"]
    faults.clear()
    assert front.child_pids() == pids


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        ("http_scheme", 200),
        ("default_port", 200),
        ("pre_connection", 404),
        ("stay", 200),
        ("pre_close_connection", 200),
    ],
)
def test_a_panic_in_a_daemon(serve: Serve, faults: Faults, entry: str, status: int) -> None:
    """Its child lives; a connection that is not known to come from the front is believed nothing."""
    both = pair(serve, "event", module=DEBUG)
    # Before the front has a connection that it keeps.
    faults.set(f"{entry}=panic")
    pids = both.daemon.child_pids()
    for _ in range(5):
        assert both.front.get(f"{THERE}w").status == status
    faults.clear()
    for server in (both.front, both.daemon):
        server.claims.append(PANICS)
    assert both.daemon.child_pids() == pids
    until(
        lambda: both.front.get(f"{THERE}w").status == 200,
        lambda: "the front still uses a connection that was not known",
    )


def test_a_panic_when_a_daemon_ends(serve: Serve, faults: Faults) -> None:
    """The front is told late, by its connections' end; the children of the next generation serve."""
    both = pair(serve, "event", module=DEBUG)
    good, pids = both.front.ok(f"{THERE}w"), both.daemon.child_pids()
    faults.set("child_stopping=panic")
    both.daemon.graceful()
    until(lambda: not any(lives(pid) for pid in pids), lambda: "the old children stay")
    faults.clear()
    both.daemon.claim("a deliberate panic in child_stopping")
    assert both.front.ok(f"{THERE}w").status == good.status


def test_a_panic_while_a_daemon_marks_an_error(serve: Serve, faults: Faults) -> None:
    """The daemon's own page is sent instead of the front's."""
    both = pair(serve, "event", module=DEBUG)
    faults.set("error page=panic")
    assert both.front.get(f"{THERE}w/broken").status == 500
    faults.clear()
    both.daemon.claims += [PANICS, "broken on purpose"]
    assert both.front.ok(f"{THERE}w").status == 200


def test_every_entry_is_tried() -> None:
    """Each name that `guard` and `strike` know occurs above, or where streams are tested."""
    names: set[str] = set()
    for file in (PROJECT / "src").rglob("*.rs"):
        text = file.read_text()
        names |= set(re.findall(r'guard\(\s*"([^"]+)"', text))
        names |= set(re.findall(r'faults::(?:strike|status)\(\s*"([^"]+)"', text))
    tried = Path(__file__).read_text() + (Path(__file__).parent / "test_suspended.py").read_text()
    missing = {
        name
        for name in names - {"test", "concern", "pre_config", "suspend_connection"}
        if not re.search(rf'"{name}(=panic)?"', tried)
    }
    assert not missing, sorted(missing)
