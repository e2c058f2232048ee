"""Start and end of children, restarts, reloading."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

from conftest import Serve, Server, places

from httpd import CHILD_USER

NAMED = """
<Location /named>
    SetHandler mod_python
    PythonHandler ending::register
    PythonInterpreter a_name
</Location>
"""

LEAVING = "GracefulShutdownTimeout 10\n"
"""For a graceful stop while children leave anyway: httpd writes a byte for each child to a pipe, one that leaves may take another's,
and for that one httpd (worker, event) would wait for ever."""


def test_exit_functions_and_threads(serve: Serve, mpm: str) -> None:
    server = serve(places("ending") + NAMED, mpm=mpm, interpreter=None)
    for path in ("/ending/register", "/named"):
        assert server.ok(path).text == "ok"
    server.stop()
    text = server.log_text()
    assert "took too long" not in text
    for name in ("main_interpreter", "a_name"):
        for what in ("thread", "atexit"):
            assert f"ending: {what} in {name}" in text, text[-2000:]


def test_an_exit_function_that_never_returns(serve: Serve, mpm: str) -> None:
    server = serve(places("ending"), mpm=mpm)
    server.ok("/ending/never")
    server.stop()
    text = server.log_text()
    # httpd itself may have lost patience first (AH00045 is its reminder).
    assert "took too long; the child goes without them" in text or "AH00045" in text
    assert "AH00046" not in text, "the child had to be killed"


def test_threads_that_outlive_their_interpreter(serve: Serve, mpm: str) -> None:
    """Nothing of theirs runs any more while httpd takes down what they use."""
    # A child whose last connection comes before its main thread waits for the signal that tells of it, stays until the end: so it is
    # with event and worker, whatever is loaded (seen with 2.4.71). There has to be room for others.
    settings = LEAVING + "ServerLimit 30\nMaxConnectionsPerChild 1\nMaxMemFree 1\n"
    server = serve(places("ending") + settings, mpm=mpm, threads=1, children=2)
    # The others make a child a second.
    for _ in range(12 if mpm == "prefork" else 8):
        server._wait(lambda: answers_at(server, "/ending/left_behind"), "no child answers")
    server.stop(signal.SIGWINCH)
    text = server.log_text()
    assert "exit signal" not in text and "took too long" not in text


def test_a_changed_module_of_the_dso_survives_restarts(serve: Serve, mpm: str) -> None:
    """The configuration of a new generation is its own: nothing stays from the old one."""
    server = serve(places("hello"), mpm=mpm)
    assert server.ok("/hello/handler").text == "Hello World!"
    server.configure(
        "<Location /other>\nSetHandler mod_python\nPythonHandler hello\nPythonPath \"sys.path+['@ROOT@/apps']\"\n</Location>"
    )
    server.graceful()
    assert server.ok("/other").text == "Hello World!"
    assert server.get("/hello/handler").status == 404


def test_children_are_recycled(serve: Serve, mpm: str) -> None:
    server = serve(places("hello") + LEAVING + "MaxConnectionsPerChild 20\n", mpm=mpm, children=4)
    for _ in range(100):
        assert server.ok("/hello/unflushed").text == "Hello World!"
    # Gracefully: httpd's event MPM can crash by itself when SIGTERM meets a child that is leaving (in apr_os_sock_get).
    server.stop(signal.SIGWINCH)
    assert not server.unclaimed()


def test_a_thread_that_crashes_is_a_crash(serve: Serve, mpm: str) -> None:
    """Also one in which signals are blocked, as in this module's own: it is not taken for a child that is being ended."""
    server = serve(places("crashing"), mpm=mpm)
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.get("/crashing/handler")
    server.claim("exit signal Segmentation fault")


def test_a_crashed_child_is_replaced(serve: Serve, mpm: str) -> None:
    server = serve(places("hello"), mpm=mpm)
    server.ok("/hello/unflushed")
    for pid in server.child_pids():
        os.kill(pid, signal.SIGSEGV)
    server._wait(lambda: answers(server), "no new child")
    server.claim("exit signal Segmentation fault")


def answers(server: Server) -> bool:
    try:
        return server.get("/hello/unflushed").status == 200
    except OSError:
        return False


def test_python_import(serve: Serve, mpm: str) -> None:
    config = places("hello") + (
        "PythonImport ending::at_start main_interpreter\n"
        "PythonImport no_such_module main_interpreter\n"
        "PythonImport ending::explode main_interpreter\n"
        "PythonImport ending::at_start early\n"
    )
    server = serve(config, mpm=mpm)
    # A child's traceback has several lines.
    done = re.compile(r"\[pid (\d+).*imported into early")
    server._wait(lambda: {*map(int, done.findall(server.log_text()))} >= {*server.child_pids()}, "no import")
    text = server.log_text()
    places_of = [
        text.index(part)
        for part in (
            "imported into main_interpreter, server localhost",
            "no_such_module",
            "LookupError: at import",
            "into early",
        )
    ]
    assert places_of == sorted(places_of), "in file order"
    server.claim("PythonImport no_such_module main_interpreter: ModuleNotFoundError")
    server.claim("PythonImport ending::explode main_interpreter: Traceback.*LookupError")
    assert server.ok("/hello/handler")
    assert not server.unclaimed()


def module(value: str) -> str:
    return f"from mod_python import apache\ndef handler(req):\n    req.write({value!r})\n    return apache.OK\n"


RELOAD = """
PythonPath "sys.path+['@ROOT@/live']"
<Location /on>
    SetHandler mod_python
    PythonHandler changing
</Location>
<Location /off>
    SetHandler mod_python
    PythonHandler fixed
    PythonAutoReload Off
</Location>
"""


def test_a_changed_module_is_loaded_again(serve: Serve, mpm: str) -> None:
    """With PythonAutoReload, also when a change breaks it: then the old one stays (docs/differences.md#changed-modules)."""
    # One child: others would look at the file in their own time.
    one = "StartServers 1\nMaxRequestWorkers 1\nMaxSpareServers 1\n" if mpm == "prefork" else ""
    server = serve(one + RELOAD, mpm=mpm, start=False)
    for name in ("changing", "fixed"):
        server.write(f"live/{name}.py", module("old"))
    (server.root / "live").chmod(0o755)
    server.start()
    assert server.ok("/on").text == server.ok("/off").text == "old"
    server.write("live/changing.py", module("new"))
    server.write("live/fixed.py", module("new"))
    server._wait(lambda: all(server.ok("/on").text == "new" for _ in range(10)), "the change was not seen")
    assert server.ok("/off").text == "old"
    server.write("live/changing.py", "def handler(req:\n")

    def broken() -> bool:
        assert server.ok("/on").text == "new"
        return "has changed but cannot be loaded" in server.log_text()

    server._wait(broken, "the broken change was not noticed")
    server.claim("module 'changing' has changed but cannot be loaded; the old one stays: .*SyntaxError")
    server.write("live/changing.py", module("newest"))
    server._wait(lambda: server.ok("/on").text == "newest", "the repair was not seen")
    server.claims += ["has changed but cannot be loaded", r"\] (Traceback| +\S|SyntaxError)"]
    assert not server.unclaimed()


def test_handlers_named_by_a_file(serve: Serve, mpm: str) -> None:
    """Files of one name in two directories do not clash, and are loaded again when they change
    (docs/differences.md#handlers-named-by-a-file).
    """
    one = "StartServers 1\nMaxRequestWorkers 1\nMaxSpareServers 1\n" if mpm == "prefork" else ""
    places_of = {"one": "@ROOT@/one/page.py", "two": "@ROOT@/two/page.py::handler", "three": "~/page.py"}
    config = one + "".join(
        f"<Location /{name}>\nSetHandler mod_python\nPythonHandler {handler}\n</Location>\n"
        for name, handler in places_of.items()
    )
    config += "<Location /none>\nSetHandler mod_python\nPythonHandler /nowhere/page.py\n</Location>\n"
    server = serve(config, mpm=mpm, start=False)
    for path, value in (("one/page.py", "one"), ("two/page.py", "two"), ("page.py", "three")):
        server.write(path, module(value))
        (server.root / path).parent.chmod(0o755)
    server.start()
    for name in places_of:
        assert server.ok(f"/{name}").text == name
    server.write("one/page.py", module("changed"))
    server._wait(lambda: server.ok("/one").text == "changed", "the change was not seen")
    assert server.ok("/two").text == "two"
    assert server.get("/none").status == 500
    server.claim("PythonHandler /nowhere/page.py: FileNotFoundError")
    assert not server.unclaimed()


def listens(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 1).close()
    except OSError:
        return False
    return True


def test_the_debugger(serve: Serve) -> None:
    """PythonEnablePdb, in a foreground httpd of one process."""
    server = serve(places("hello") + "PythonEnablePdb On\n", mpm="prefork", start=False)
    command = [*server._command(), "-X", "-DONE_PROCESS"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        server._wait(lambda: listens(server), "no single process")
        answers_there: list[int] = []
        for typed, status in (("print('in', req.uri)\ncontinue\n", 200), ("quit\n", 500)):
            client = threading.Thread(target=lambda: answers_there.append(server.get("/hello/unflushed").status))
            client.start()
            assert process.stdin is not None
            process.stdin.write(typed)
            process.stdin.flush()
            client.join(30)
            assert answers_there.pop() == status
        server.claim("bdb.BdbQuit")
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert "in /hello/unflushed" in output
    assert not server.unclaimed()


def test_an_ordinary_user_can_run_it(serve: Serve) -> None:
    """`make run` as no root: no User directive, children of the same user."""
    server = serve(places("hello"), start=False)
    text = (server.root / "httpd.conf").read_text().replace("User www-data\nGroup www-data\n", "")
    (server.root / "httpd.conf").write_text(text)
    command = [*server._command(), "-DFOREGROUND"]
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", CHILD_USER, str(server.root)], check=True)
        command = ["setpriv", f"--reuid={CHILD_USER}", f"--regid={CHILD_USER}", "--clear-groups", *command]
    server._process = subprocess.Popen(command, start_new_session=True)
    try:
        server._wait(lambda: answers_at(server, "/hello/handler"), "no answer")
        assert server.ok("/hello/handler").text == "Hello World!"
    finally:
        server.stop()


def answers_at(server: Server, path: str) -> bool:
    try:
        return server.get(path).status == 200
    except OSError:
        return False


def test_no_python_in_the_parent(serve: Serve, mpm: str) -> None:
    server = serve(places("hello"), mpm=mpm)
    server.ok("/hello/handler")
    opened = subprocess.run(["ls", "-l", f"/proc/{server.pid}/fd"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\.pyc?$", opened, re.M)
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    assert "lib-dynload" not in maps and "libpython3" in maps
