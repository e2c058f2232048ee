"""PythonTimeout: what becomes of a child with a thread that does not come back, and of the others in it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import h2.config
import h2.connection
import pytest
from asgi_site import open_gate, site
from conftest import Serve, Server
from test_deadlines import CLAIM, CONFIG, LIMIT
from websockets.sync.client import connect

from httpd import PATIENCE

MORE = """
CustomLog "@ROOT@/access_log" "%m %U %>s %B"
<Location /waits>
    SetHandler mod_python
    PythonHandler stuck::waits
    PythonTimeout 0
</Location>
<Location /metrics>
    SetHandler mod_python
    PythonHandler mod_python.metrics
    PythonTimeout 0
</Location>
<IfModule !mpm_prefork_module>
    ServerLimit 4
    StartServers 1
    ThreadsPerChild 4
    MinSpareThreads 1
    MaxSpareThreads 16
    MaxRequestWorkers 16
</IfModule>
"""


ENDS = "the child ends, with a thread that has not come back"


def give_up(server: Server) -> None:
    assert server.get("/handler?for%20ever").status == 504
    server.wait_log("it does not come back: the child ends when others have finished")


def test_an_innocent_one_in_the_same_child_comes_to_its_end(serve: Serve) -> None:
    """Also when connections have come since, by which httpd notices that the child accepts no more and says of its workers that they end."""
    server = serve(CONFIG + MORE, threads=4)
    server.claims.append(CLAIM)
    answers: list[str] = []
    innocent = threading.Thread(target=lambda: answers.append(server.get("/waits").text))
    innocent.start()
    rows: list[list[object]] = []
    while not any(row[4] == "GET /waits" for row in rows):
        rows = [row for row, _ in json.loads(server.ok("/flight").text)]
    [child] = {row[0] for row in rows if row[4] == "GET /waits"}
    begun = time.monotonic()
    assert server.get("/handler?for%20ever").status == 504
    server.wait_log("it does not come back: the child ends when others have finished")
    given_up = time.monotonic()
    others: set[object] = set()
    # Longer than the child would look whether there is anybody, were its worker taken for idle.
    while time.monotonic() - given_up < 2 or not others:
        rows = [row for row, _ in json.loads(server.ok("/flight").text)]
        others |= {row[0] for row in rows if row[4] == "GET /flight"} - {child}
        assert not answers and [child] == [row[0] for row in rows if row[4] == "GET /waits"]
    assert time.monotonic() - begun > LIMIT
    assert "the child ends, with a thread" not in server.log_text()
    server.write("apps/go_on", "")
    innocent.join()
    assert answers == ["waited"]
    server.wait_log("the child ends, with a thread that has not come back")


def test_nothing_more_comes_to_it(serve: Serve) -> None:
    """The worker MPM's listener stands in accept(2) where it has one socket, and would take one more, which the child's end could lose."""
    server = serve(CONFIG + MORE, mpm="worker", threads=4)
    server.claims.append(CLAIM)
    [child] = server.child_pids()
    with innocent(server):
        give_up(server)
        # No connection comes, by which it would notice.
        server._wait(lambda: len(server.child_pids()) > 1, "httpd does not replace the child")
        assert child in server.child_pids()
        rows = [row for row, _ in json.loads(server.ok("/flight").text)]
        assert {row[4]: row[0] == child for row in rows} == {
            "GET /handler": True,
            "GET /waits": True,
            "GET /flight": False,
        }


@contextmanager
def innocent(server: Server) -> Iterator[None]:
    """Somebody else's request in the same child, from before it is given up until this is left."""
    answers: list[str] = []
    asks = threading.Thread(target=lambda: answers.append(server.get("/waits").text))
    asks.start()
    try:
        while not any(row[4] == "GET /waits" for row, _ in json.loads(server.ok("/flight").text)):
            pass
        yield
    finally:
        server.write("apps/go_on", "")
        asks.join()
    assert answers == ["waited"]
    server.wait_log(ENDS)


@contextmanager
def stuck_streams(server: Server, count: int) -> Iterator[None]:
    """So many streams of one connection of HTTP/2, which their client leaves in the end."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [(":method", "GET"), (":path", "/handler?for%20ever"), (":scheme", "http"), (":authority", "localhost")]
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        for _ in range(count):
            connection.send_headers(connection.get_next_available_stream_id(), headers, end_stream=True)
        client.sendall(connection.data_to_send())
        server._wait(lambda: server.log_text().count("it does not come back") == count, "they are not given up")
        yield


def goes_on(server: Server) -> None:
    """For longer than it would take a child that believes that it has nobody to end."""
    begun = time.monotonic()
    while time.monotonic() - begun < 3.5:
        assert not re.search(ENDS, server.log_text())
        time.sleep(0.05)


def test_a_slow_reader_is_not_cut_off(serve: Serve) -> None:
    """Event has let its connection go, until it takes more, and counts such ones only now and then: when no connection comes, not at all."""
    server = serve(CONFIG + MORE + "EnableSendfile On\n", mpm="event", threads=4)
    server.claims.append(CLAIM)
    size = 32 << 20
    with (server.root / "htdocs/large").open("wb") as file:
        file.truncate(size)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        answer = client.makefile("rb")
        while answer.readline() != b"\r\n":
            pass
        give_up(server)
        goes_on(server)
        assert len(answer.read()) == size
    server.wait_log(ENDS)


@pytest.mark.parametrize("path", ["/ticks", "/echo"])
def test_what_has_left_its_worker_is_not_cut_off(serve: Serve, path: str) -> None:
    """A stream, and a WebSocket."""
    config = CONFIG + MORE + "PythonASGI /ticks asgi_apps:ticks\nPythonASGI /echo asgi_sockets:echo\n"
    config += f"<Location {path}>\nPythonTimeout 0\n</Location>\n"
    server = site(serve, config, mpm="event", threads=4)
    server.claims.append(CLAIM)
    if path == "/echo":
        with connect(f"ws://127.0.0.1:{server.port}/echo", open_timeout=PATIENCE) as websocket:
            give_up(server)
            goes_on(server)
            websocket.send("spam")
            assert websocket.recv(PATIENCE) == "spam"
        server.wait_log(ENDS)
        return
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(b"GET /ticks HTTP/1.0\r\n\r\n")
        answer = client.makefile("rb")
        while answer.readline() != b"data: 0\n":
            pass
        give_up(server)
        goes_on(server)
        for number in range(3):
            open_gate(server, f"tick{number}")
        assert answer.read() == b"\ndata: 1\n\ndata: 2\n\n"
    server.wait_log(ENDS)


def test_a_request_that_is_coming_is_not_cut_off(serve: Serve) -> None:
    """The worker MPM has a worker read it as long as its connection is kept, and says so all of the time."""
    server = serve(CONFIG + MORE + "KeepAliveTimeout 60\n", mpm="worker", threads=4)
    server.claims.append(CLAIM)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        answers = client.makefile("rb")
        client.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        while answers.readline() != b"\r\n":
            pass
        client.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n")
        give_up(server)
        goes_on(server)
        client.sendall(b"Connection: close\r\n\r\n")
        assert b"HTTP/1.1 200 OK" in answers.read()
    server.wait_log(ENDS)


def test_two_that_are_stuck_on_one_connection(serve: Serve) -> None:
    """HTTP/2: they keep one worker of httpd's, and another one is at work."""
    server = serve(CONFIG + MORE + "Protocols h2c http/1.1\n", mpm="worker", threads=4, modules=("http2",))
    server.claims.append(CLAIM)
    with innocent(server), stuck_streams(server, 2):
        goes_on(server)


def test_a_client_that_leaves_what_is_stuck(serve: Serve) -> None:
    """HTTP/2: event is at its connection no more, and waits for the stream; nobody else is taken for it."""
    server = serve(CONFIG + MORE + "Protocols h2c http/1.1\n", mpm="event", threads=4, modules=("http2",))
    server.claims.append(CLAIM)
    with innocent(server):
        with stuck_streams(server, 1):
            pass
        goes_on(server)


def test_kept_connections_are_given_back(serve: Serve) -> None:
    """Event notices with the next connection that nothing more is to come, and balancers may need none."""
    server = serve(CONFIG + MORE + "KeepAliveTimeout 60\n", mpm="event", threads=4)
    server.claims.append(CLAIM)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    closes: list[bool] = []

    def ask() -> None:
        connection.request("GET", "/quick")
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
        closes.append(answer.will_close)

    with innocent(server):
        ask()
        give_up(server)
        ask()
    assert closes == [False, True]


def test_its_request_is_in_the_access_log_and_counted(serve: Serve, mpm: str) -> None:
    """When its child ends. Python's handlers of the log phase do not see it."""
    server = serve(CONFIG + MORE, mpm=mpm, children=2, threads=4)
    server.claims.append(CLAIM)
    assert server.get("/handler?for%20ever").status == 504
    server.wait_log("the child ends, with a thread that has not come back")
    log = server.root / "access_log"
    server._wait(lambda: "GET /handler 504 " in log.read_text(), "the access log does not have it")
    assert log.read_text().count("GET /handler 504 ") == 1

    def counted() -> list[str]:
        lines = server.ok("/metrics").text.splitlines()
        return [line.rpartition(" ")[2] for line in lines if 'code="5xx"' in line and "stuck" in line]

    server._wait(lambda: counted() == ["1"], "it is not counted")
