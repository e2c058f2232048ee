"""An application's start-up and shut-down, in each interpreter of each child; the end of the event loop."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from asgi_site import site
from conftest import Serve, Server

from httpd import PATIENCE

CONFIG = """
PythonASGI /whole asgi_lifespans:whole
PythonASGI /fails asgi_lifespans:fails
PythonASGI /without asgi_lifespans:without
PythonASGI /returns asgi_lifespans:returns
PythonASGI /wrong asgi_lifespans:wrong
PythonASGI /busy asgi_lifespans:busy
PythonASGI /silent asgi_lifespans:silent
PythonASGI /on asgi_lifespans:alone
<Location /on>
    PythonOption mod_python.asgi.lifespan on
</Location>
PythonASGI /off asgi_lifespans:fails
<Location /off>
    PythonOption mod_python.asgi.lifespan off
</Location>
PythonASGI /other asgi_lifespans:whole
<Location /other>
    PythonInterpreter other
</Location>
"""


def noted(server: Server, name: str) -> list[str]:
    place = server.root / "notes" / name
    return [line.split(" ", 1)[1] for line in place.read_text().splitlines()] if place.exists() else []


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
        time.sleep(0.1)
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


def test_httpd_stops_while_a_request_waits(httpd: Server) -> None:
    """It closes the sockets of its workers, also of one that has not come to look at its own yet; it has to kill no child."""
    with socket.create_connection(("127.0.0.1", httpd.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
        until(httpd, "silent", "request")
        httpd.signal(signal.SIGTERM)
        httpd.stop()
    assert "sending a SIGKILL" not in httpd.log_text()


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
