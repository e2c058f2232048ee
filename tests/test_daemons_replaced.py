"""A daemon whose httpd is replaced by another one: what counts for the one that serves, what changes all the time, who comes meanwhile."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Serve, Server
from kept_daemons import PROXY, Daemon, lives, until, user

from httpd import PATIENCE

VERSION = """def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{version}"]
"""
LINES = (
    "PythonDaemon shop {user} {more} working-directory=@ROOT@/code\nPythonWSGI /shop version:application daemon=shop\n"
)


def prepared(serve: Serve, more: str = "", config: str = "") -> Server:
    server = serve("", start=False, modules=PROXY)
    server.write("code/version.py", VERSION.format(version="1"))
    server.write("code/touched", "")
    server.configure(LINES.format(user=user(), more=more) + config)
    return server


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Processes that are to go on at the end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_may_take_requests_still_counts(serve: Serve, stopped: list[int], processes: int) -> None:
    """As long as a process of the httpd that is replaced has the socket, it serves: so says the state."""
    server = prepared(serve, f"processes={processes}")
    server.start()
    shop = Daemon(server)
    before = shop.serves(processes)
    server.write("code/version.py", VERSION.format(version="2"))
    stopped.append(before["processes"][-1]["pid"])
    os.kill(stopped[0], signal.SIGSTOP)
    os.kill(before["keeper"], signal.SIGHUP)
    until(lambda: len(re.findall(r"daemon shop: serves \(process", server.log_text())) == 2, server.log_text)
    state = shop.state()
    assert (state["state"], state["httpd"], state["settled"], state["reloads"]) == (
        "serving",
        before["httpd"],
        False,
        0,
    )
    os.kill(stopped.pop(), signal.SIGCONT)
    after = shop.until(lambda state: state["settled"])
    assert after["httpd"] != before["httpd"] and after["reloads"] == 1
    for _ in range(20):
        assert server.ok("/shop/").text == "2"


def test_what_changes_all_the_time_serves_all_the_same(serve: Serve) -> None:
    """A file of reload= that something writes to as long as httpd runs: each start would be given up for the next one."""
    server = prepared(serve, "reload=@ROOT@/code/touched")
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.02):
            with (server.root / "code/touched").open("a") as file:
                file.write("x")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        server.start()
        shop = Daemon(server)
        shop.until(lambda state: state["state"] == "serving" and state["generation"] > 2)
        assert server.ok("/shop/").text == "1"
        # A new version is served, too.
        server.write("code/version.py", VERSION.format(version="2"))
        until(lambda: server.ok("/shop/").text == "2", server.log_text)
    finally:
        over.set()
        thread.join()
    shop.until(lambda state: state["settled"] and state["state"] == "serving")


def test_a_storm_of_signals(serve: Serve) -> None:
    server = prepared(serve)
    server.start()
    shop = Daemon(server)
    keeper = shop.serves()["keeper"]
    for count in range(200):
        if count == 100:
            server.write("code/version.py", VERSION.format(version="2"))
        os.kill(keeper, signal.SIGHUP)
        assert server.ok("/shop/").text in "12"
    shop.until(lambda state: state["settled"] and state["asked"] and len(state["processes"]) == 1)
    assert server.ok("/shop/").text == "2" and shop.state()["keeper"] == keeper
    assert shop.state()["generation"] < 150


@pytest.mark.parametrize("replaced", ["written", "renamed", "removed"])
def test_a_file_whose_change_reloads(serve: Serve, replaced: str) -> None:
    server = prepared(serve, "reload=@ROOT@/code/touched reload=@ROOT@/code/version.py")
    server.start()
    shop = Daemon(server)
    shop.serves()
    text = VERSION.format(version="2")
    if replaced == "written":
        server.write("code/version.py", text)
    elif replaced == "renamed":
        server.write("code/new", text).replace(server.root / "code/version.py")
    else:
        server.write("code/version.py", text)
        (server.root / "code/touched").unlink()
        shop.until(lambda state: state["reloads"] == 1 and state["settled"])
        server.write("code/version.py", VERSION.format(version="3"))
        shop.until(lambda state: state["reloads"] == 2 and state["settled"])
        assert server.ok("/shop/").text == "3"
        server.write("code/touched", "back")
        shop.until(lambda state: state["reloads"] == 3 and state["settled"])
        return
    until(lambda: server.ok("/shop/").text == "2", server.log_text)


def test_who_sends_slowly_keeps_nobody_from_mending_it(serve: Serve) -> None:
    """While a daemon cannot start, a client that goes on sending is told so, and keeps the keeper from nothing."""
    server = prepared(serve, config='ErrorDocument 503 "<back soon>"\n')
    server.write("code/version.py", "1/0\n")
    server.start()
    shop = Daemon(server)
    shop.until(lambda state: state["state"] == "failed")
    server.claims += ["ZeroDivisionError", "Traceback"]
    answer = server.get("/shop/")
    assert (answer.status, answer.text, answer.header("Retry-After")) == (503, "<back soon>", "5")
    over = threading.Event()

    def send() -> None:
        # As one who is httpd's user can, and a front whose client dribbles.
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(shop.socket))
            data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
            while not over.wait(0.02):
                try:
                    peer.sendall(data)
                except OSError:
                    return
                data = b"x"

    slow = [threading.Thread(target=send) for _ in range(3)]
    silent = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    try:
        for one in slow:
            one.start()
        for peer in silent:
            peer.connect(str(shop.socket))
        assert server.get("/shop/").status == 503
        server.write("code/version.py", VERSION.format(version="1"))
        done = shop.reload()
        assert done.returncode == 0, done
        assert server.ok("/shop/").text == "1"
    finally:
        over.set()
        for one in slow:
            one.join()
        for peer in silent:
            peer.close()


APP = """import os


def application(environ, start_response):
    mask = os.umask(0)
    os.umask(mask)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{mask:03o}".encode()]
"""


def test_the_umask_is_what_the_line_says(serve: Serve) -> None:
    """At its limits, and also where a restart changes it."""
    server = prepared(serve, "umask=77")
    server.write("code/version.py", APP)
    server.start()
    shop = Daemon(server)
    shop.serves()
    assert server.ok("/shop/").text == "077"
    for mask in ("0", "00077", "027"):
        server.configure(LINES.format(user=user(), more=f"umask={mask}"))
        server.graceful()
        until(lambda mask=mask: int(server.ok("/shop/").text, 8) == int(mask, 8), server.log_text)  # type: ignore[misc]
    place = Path(f"{shop.directory}.shop")
    until(lambda: len(list(place.glob("*/httpd.conf"))) == 1, server.log_text)


@pytest.mark.parametrize(
    "more",
    [
        "request-timeout=86400 idle-timeout=1000000000",
        "request-timeout=0.1 idle-timeout=0.00001",
        "request-timeout=86399.123456 memory-limit=99999999G max-requests=4294967295 idle-timeout=0 threads=1024",
        'processes=3 threads=1 "display-name=é \\"x\\" ${HOME} %n" start=on-demand idle-timeout=off request-timeout=OFF memory-limit=0',
        '\'environment=A=b "c" $x \\\\ é\' environment=C= environment=_B1==x=y "python-path=@ROOT@/code:@ROOT@/é \'\\"$"',
    ],
)
def test_limits_of_values(serve: Serve, more: str) -> None:
    """What `httpd -t` takes can be started with."""
    server = prepared(serve)
    (server.root / "é '\"$").mkdir()
    server.write("é '\"$/other.py", "NAME = 'found'\n")
    server.write(
        "code/version.py",
        "import os, sys\ntry:\n    import other\nexcept ImportError:\n    other = None\n\n\ndef application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')])\n"
        "    return [repr((os.environ.get('A'), os.environ.get('_B1'), bool(other))).encode()]\n",
    )
    server.configure(LINES.format(user=user(), more=more))
    checked = server.check()
    assert checked.returncode == 0, checked.stderr
    server.start()
    # A tenth of a second may pass before a process that has just started has answered.
    server.claims += [r"PythonTimeout: GET /shop/ has taken", r"\] {3,}"] if "=0.1 " in more else []
    texts: list[str] = []

    def answers() -> bool:
        answer = server.get("/shop/")
        texts[:] = [answer.text] if answer.status == 200 else []
        return bool(texts)

    until(answers, server.log_text)
    [text] = texts
    assert text == repr(('b "c" $x \\ é', "=x=y", True) if "_B1" in more else (None, None, False))


def test_many_come_at_once_to_one_that_waits(serve: Serve) -> None:
    server = prepared(serve, "start=on-demand idle-timeout=0.3 threads=4")
    server.start()
    shop = Daemon(server)
    for _ in range(2):
        shop.until(lambda state: state["state"] == "waiting")
        with ThreadPoolExecutor(50) as clients:
            answers = list(clients.map(lambda _: server.ok("/shop/", timeout=PATIENCE).text, range(50)))
        assert answers == ["1"] * 50


BLOCKED = """import os

HERE = os.path.dirname(os.path.abspath(__file__))
if os.path.exists(f"{HERE}/block"):
    with open(f"{HERE}/marks/{os.getpid()}", "w"):
        pass
    with open(f"{HERE}/gate") as gate:
        gate.read()
"""


def test_a_child_that_was_just_starting_goes_with_its_parent(serve: Serve) -> None:
    """The signal of its parent's end comes before httpd minds it there, and there is no keeper any more that would kill it."""
    server = prepared(serve)
    code = server.root / "code"
    server.write("code/version.py", BLOCKED + VERSION.format(version="1"))
    os.mkfifo(code / "gate")
    (code / "gate").chmod(0o644)
    (code / "marks").mkdir()
    (code / "marks").chmod(0o777)
    server.start()
    shop = Daemon(server)
    before = shop.serves()
    server.write("code/block", "")
    os.kill(before["processes"][0]["pid"], signal.SIGKILL)
    until(lambda: list((code / "marks").iterdir()), server.log_text)
    (code / "block").unlink()
    (mark,) = (code / "marks").iterdir()
    child = int(mark.name)
    for name in ("keeper", "httpd"):
        os.kill(before[name], signal.SIGKILL)
    until(lambda: not lives(before["httpd"]), server.log_text)
    with (code / "gate").open("w"):
        pass
    until(lambda: not lives(child), lambda: f"{child} goes on")
    server.claims += ["its keeper .* has ended"]
    shop.until(lambda state: state["state"] == "serving" and state["httpd"] != before["httpd"])
    assert server.ok("/shop/").text == "1"
