"""An application's start-up and shut-down, in each interpreter of each child; the end of the event loop."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from asgi_site import open_gate, site
from conftest import Serve, Server

from httpd import PATIENCE, whole_lines

CONFIG = """
PythonASGI /whole asgi_lifespans:whole
PythonASGI /fails asgi_lifespans:fails
PythonASGI /without asgi_lifespans:without
PythonASGI /returns asgi_lifespans:returns
PythonASGI /wrong asgi_lifespans:wrong
PythonASGI /busy asgi_lifespans:busy
PythonASGI /on asgi_lifespans:alone
<Location /on>
    PythonOption mod_python.asgi.lifespan on
</Location>
PythonASGI /off asgi_lifespans:fails
<Location /off>
    PythonOption mod_python.asgi.lifespan off
</Location>
PythonASGI /dies asgi_lifespans:dies
PythonASGI /tells asgi_lifespans:tells
PythonASGI /raises asgi_lifespans:raises_at_startup
PythonASGI /must asgi_lifespans:must_start
<Location /must>
    PythonOption mod_python.asgi.lifespan on
</Location>
PythonASGI /ordered asgi_lifespans:ordered
<Location /ordered/on>
    PythonOption mod_python.asgi.lifespan on
</Location>
PythonASGI /state asgi_lifespans:stated
<Location /state/off>
    PythonOption mod_python.asgi.lifespan off
</Location>
PythonASGI /task asgi_lifespans:leaves_a_task
PythonASGI /other asgi_lifespans:whole
<Location /other>
    PythonInterpreter other
</Location>
"""


def noted(server: Server, name: str) -> list[str]:
    return [line.split(" ", 1)[1] for line in whole_lines(server.root / "notes" / name)]


def until(server: Server, name: str, last: str) -> list[str]:
    end = time.monotonic() + PATIENCE
    while not (lines := noted(server, name)) or lines[-1] != last:
        assert time.monotonic() < end, (lines, server.log_text()[-3000:])
        time.sleep(0.01)
    return lines


@pytest.fixture
def httpd(mpm: str, serve: Serve) -> Server:
    return site(serve, CONFIG, mpm=mpm, threads=4)


def test_startup_comes_first_and_once(httpd: Server) -> None:
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(httpd.ok("/whole").text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = noted(httpd, "whole")
    children = lines.count("startup")
    assert children == 1 if httpd.mpm != "prefork" else 1 <= children <= 4
    assert lines[0] == "startup" and lines.count("request") == 4
    # Each request has the state of the start-up, and what it adds is its own.
    assert all("('own', True), ('shared', " in text for text in texts)
    httpd.graceful()
    end = time.monotonic() + PATIENCE
    while noted(httpd, "whole").count("shutdown") < children:
        assert time.monotonic() < end, (noted(httpd, "whole"), httpd.log_text()[-3000:])
        time.sleep(0.01)
    httpd.ok("/whole")
    assert noted(httpd, "whole").count("startup") == children + 1
    httpd.stop()
    assert noted(httpd, "whole").count("shutdown") == noted(httpd, "whole").count("startup")


def test_a_lifespan_in_each_interpreter(httpd: Server) -> None:
    httpd.ok("/whole")
    httpd.ok("/other")
    names = {line.split(" ")[0] for line in (httpd.root / "notes/whole").read_text().splitlines() if "startup" in line}
    assert len(names) == 2 and "other" in names


def test_a_failed_startup_is_loud_and_tried_again(httpd: Server) -> None:
    assert httpd.get("/fails").status == 500
    httpd.claim("the start-up of asgi_lifespans::fails")
    httpd.claim("no spam")
    assert httpd.get("/fails").status == 500
    (httpd.root / "notes/may_start").touch()
    end = time.monotonic() + PATIENCE
    while (answer := httpd.get("/fails")).status != 200:
        assert time.monotonic() < end
        # For five seconds the failure stands.
        time.sleep(0.05)
    assert answer.text == "started"
    httpd.stop()
    httpd.claim("the shut-down of asgi_lifespans::fails")


def test_applications_without_lifespan(httpd: Server) -> None:
    for path in ("/without", "/returns", "/without"):
        assert httpd.ok(path).text == "False"
    assert httpd.get("/on").status == 500
    httpd.claim("the start-up of asgi_lifespans::alone")
    httpd.claim("AssertionError|has failed")
    assert httpd.ok("/off").text == "started"
    assert noted(httpd, "fails") == []


def test_what_comes_at_the_wrong_time(httpd: Server) -> None:
    assert httpd.ok("/wrong").text == "after all"
    assert [line[:35] for line in noted(httpd, "wrong")] == [
        "ASGI: 'lifespan.shutdown.complete' ",
        "ASGI: 'lifespan.startup.complete' i",
    ]
    httpd.stop()
    httpd.claim("the shut-down of asgi_lifespans::wrong")


def test_tasks_are_cancelled_at_the_end(httpd: Server) -> None:
    assert httpd.ok("/busy").text == "busy"
    httpd.graceful()
    assert until(httpd, "busy", "shutdown") == ["cancelled", "shutdown"]


def test_the_first_request_without_a_lifespan(serve: Serve) -> None:
    """It finds a loop that runs."""
    config = "PythonOption mod_python.asgi.lifespan off\nPythonASGI /sleeps asgi_lifespans:sleeps\n"
    assert site(serve, config, mpm="event", threads=4).ok("/sleeps").text == "slept"


def test_another_loop_where_one_has_been_stopped(serve: Serve) -> None:
    """And nothing of the old one stays."""
    httpd = site(serve, CONFIG + "PythonASGI /stops asgi_lifespans:stops\n", mpm="event", threads=4)
    httpd.claims.append("the application has ended without an answer|the event loop has ended")
    [pid] = httpd.child_pids()
    open_files = []
    for _ in range(12):
        end = time.monotonic() + PATIENCE
        while httpd.get("/stops").status != 200:
            # It has come to the old loop in its last moment.
            assert time.monotonic() < end
        open_files.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
    assert httpd.child_pids() == [pid]
    assert open_files[-1] - open_files[1] < 10, open_files


LIKE_A_SOCKET = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
POLLS = "PythonOption mod_python.asgi.lifespan off\nPythonASGI /polls asgi_lifespans:polls\n"


@pytest.mark.parametrize("way", ["silent", "streams", "socket", "handshake"])
def test_a_long_poll_does_not_keep_httpd(mpm: str, way: str, serve: Serve) -> None:
    """Its client stays when httpd is to stop at once: nobody has to kill the child."""
    httpd = site(serve, POLLS, mpm=mpm, threads=4)
    with socket.create_connection(("127.0.0.1", httpd.port), PATIENCE) as client:
        fields = LIKE_A_SOCKET if way in ("socket", "handshake") else ""
        client.sendall(f"GET /polls/{way} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode())
        until(httpd, "polls", "polled")
        httpd.stop()
    assert "AH00046" not in httpd.log_text(), "the child had to be killed"


def test_a_long_poll_over_http2_does_not_keep_httpd(serve: Serve) -> None:
    httpd = site(serve, f"Protocols h2c\n{POLLS}", mpm="event", threads=4, modules=("http2",))
    command = ["curl", "-s", "--http2-prior-knowledge", f"http://127.0.0.1:{httpd.port}/polls"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
        until(httpd, "polls", "polled")
        httpd.stop()
        client.wait(PATIENCE)
    assert "AH00046" not in httpd.log_text(), "the child had to be killed"


def test_a_lifespan_that_dies_is_told_once(httpd: Server) -> None:
    open_gate(httpd, "dies", shut=True)
    assert httpd.ok("/dies").text == "alive"
    open_gate(httpd, "dies")
    httpd.claim("the lifespan of asgi_lifespans::dies has ended too early, behind its start-up: Traceback")
    httpd.claim("ConnectionError: asgi_lifespans: the broker has gone")
    assert httpd.ok("/dies").text == "alive"
    assert httpd.ok("/tells").text == "alive"
    httpd.claim("the lifespan of asgi_lifespans::tells has ended too early, behind its start-up: asgi_lifespans tells")
    httpd.stop()
    text = httpd.log_text()
    for name in ("dies", "tells"):
        # Of a child: prefork may have had another one for the second request.
        told = re.findall(rf"pid (\d+).*asgi_lifespans::{name} has ended too early", text)
        assert told and len(told) == len(set(told)), told
    assert "shut-down" not in text


def test_a_startup_that_raises_is_loud(httpd: Server) -> None:
    assert httpd.ok("/raises").text == "False"
    line = httpd.wait_log("asgi_lifespans::raises_at_startup runs without lifespan: its start-up raises: Traceback")
    assert ":warn" in line
    httpd.wait_log("ConnectionRefusedError: asgi_lifespans: the database is down")
    assert httpd.get("/must").status == 500
    httpd.claim("the start-up of asgi_lifespans::must_start .lifespan.: Traceback")
    httpd.claim("the start-up of asgi_lifespans::must_start has failed")
    httpd.claims.append("the database is down")
    assert "must_start runs" not in httpd.log_text()
    assert httpd.ok("/without").text == "False" and "asgi_lifespans::without runs" not in httpd.log_text()


def test_each_request_has_its_own_option(httpd: Server) -> None:
    """Whichever comes first."""
    httpd.claims.append("the start-up of asgi_lifespans::ordered|AssertionError|has failed")
    for path in ("/ordered", "/ordered/on", "/ordered", "/ordered/on"):
        assert httpd.get(path).status == (500 if path.endswith("on") else 200), path
    httpd.wait_log("the start-up of asgi_lifespans::ordered")
    assert [httpd.ok(f"/state{end}").text for end in ("/off", "", "/off")] == ["False", "True", "False"]


@pytest.mark.parametrize("kind", ["auto", "asyncio"])
def test_a_task_that_exits_ends_nothing(serve: Serve, kind: str) -> None:
    httpd = site(serve, f"PythonOption mod_python.asgi.loop {kind}\n{CONFIG}", mpm="event", threads=4)
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(httpd.ok("/task").text))
    thread.start()
    for name in ("SystemExit", "KeyboardInterrupt"):
        assert httpd.ok(f"/task?{name}").text == "left"
        httpd.claim(f"a task of the event loop raises {name}, which ends nothing here: Traceback")
    httpd.claims.append("asgi_lifespans ends a task")
    open_gate(httpd, "exited")
    thread.join()
    assert texts == ["still here"] and noted(httpd, "whole") == ["startup"]
    httpd.stop()
    assert noted(httpd, "whole") == ["startup", "shutdown"]


def begun(server: Server, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("name", ["waits", "blocks"])
def test_who_waits_for_a_startup_is_told(serve: Serve, name: str) -> None:
    httpd = site(serve, f"PythonASGI / asgi_stuck:{name}\n", mpm="event", threads=4)
    with begun(httpd, "/?one") as connection, connection.makefile() as file:
        if name == "waits":
            line = httpd.wait_log(r"requests \(1\) wait for the start-up of asgi_stuck::waits \(lifespan\)")
            assert ":warn" in line
            httpd.wait_log(r"asgi_stuck.py., line \d+, in waits")
        open_gate(httpd, "starts")
        assert file.read().endswith("started")
    httpd.wait_log(f"the start-up of asgi_stuck::{name} \\(lifespan\\) has taken")


@pytest.mark.parametrize("name", ["waits", "blocks"])
def test_a_request_that_waits_too_long_for_a_startup(serve: Serve, name: str) -> None:
    # A busy machine may take a while until the first request has come to the loop.
    config = f"PythonASGI / asgi_stuck:{name}\n<Location /late>\nPythonTimeout 2 asgi\n</Location>\n"
    httpd = site(serve, config, mpm="event", threads=4)
    assert httpd.get("/late?late").status == 504
    httpd.claim(f"PythonTimeout: GET .* it waits for the start-up of asgi_stuck::{name} .lifespan., which stands here")
    httpd.claims.append(r"\]   ( |File)")
    httpd.wait_log(rf"asgi_stuck.py., line \d+, in {name}")
    open_gate(httpd, "starts")
    httpd.ok("/?one")
    # Nobody waited for it any more.
    assert not (httpd.root / "notes/late").exists()
