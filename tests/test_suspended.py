"""Requests that have left their worker (MPM event): more of them than there are threads, and what becomes of them at their end."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Optional

import pytest
from asgi_site import applications, heard, open_gate, site
from client import attempt
from conftest import Serve, Server
from kept_daemons import PROXY, Daemon, user
from test_asgi_websocket import Raw, frame, opening, request, talk
from test_faults import DEBUG, Faults, faults
from test_wsgi_protocols import certificate
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from httpd import PATIENCE, whole_lines

__all__ = ["certificate", "faults"]

THREADS = 3
MANY = 40
MODULES = ("status", "deflate", "filter")
CONFIG = """
AsyncRequestWorkerFactor 50
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
LogFormat "%U %>s %B %D" streams
CustomLog @ROOT@/access_log streams
PythonASGI /hello asgi_apps:hello
<Location /server-status>
    SetHandler server-status
</Location>
<Location /noted>
    PythonLogHandler stream_ends::log
</Location>
PythonASGI /noted stream_ends:noted
PythonOption mod_python.asgi.detach_after 0.05
PythonOption mod_python.asgi.ws_ping_interval 0
<Location /deflated>
    SetOutputFilter DEFLATE
</Location>
<Location /kept>
    PythonOption mod_python.asgi.detach_after 0
</Location>
PythonASGI /kept stream_ends:events
PythonASGI /deflated stream_ends:events
PythonASGI /events stream_ends:events
PythonASGI /waits stream_ends:waits
PythonASGI /breaks stream_ends:breaks
PythonASGI /much stream_ends:much
PythonASGI /filters stream_ends:filters
PythonASGI /holds stream_ends:holds
PythonASGI /slowly stream_ends:waits
<Location /slowly>
    PythonLogHandler stream_ends::slow_log
</Location>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    config = applications("asgi_sockets") + CONFIG
    return site(serve_module, config, mpm="event", threads=THREADS, modules=MODULES)


@pytest.fixture(autouse=True)
def nothing_is_noted(httpd: Server) -> Iterator[None]:
    """Nor will be, by a task of the test before."""
    yield
    httpd._wait(lambda: numbers(httpd) == [0, 0, 0], "a task is left")
    (httpd.root / "notes/seen").unlink(missing_ok=True)


def status(server: Server) -> dict[str, str]:
    """What mod_status says."""
    lines = server.ok("/server-status?auto").text.splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def gone(server: Server, most: int = 2) -> None:
    """Wait until httpd counts no more connections, by one that is kept: those of others would be counted for a while."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)

    def count() -> int:
        try:
            connection.request("GET", "/server-status?auto")
            text = connection.getresponse().read().decode()
        except (OSError, http.client.RemoteDisconnected):
            # Event closes what is kept when no worker is free.
            connection.close()
            return most + 1
        return int(re.findall(r"^ConnsTotal: (\d+)", text, re.M)[0])

    server._wait(lambda: count() <= most, "connections are counted that have gone")
    connection.close()


def numbers(server: Server) -> list[int]:
    """What mod_python.status says: tasks, open WebSockets, requests without a worker."""
    rows = json.loads(server.ok("/status?json").text)["interpreters"]
    assert all(0 <= row["lag"] < PATIENCE * 1_000_000 for row in rows)
    return [sum(row[name] for row in rows) for name in ("tasks", "websockets", "detached")]


def logged(server: Server, path: str) -> list[str]:
    """The lines of the access log for a path, once there is one."""
    found: list[str] = []

    def look() -> bool:
        lines = whole_lines(server.root / "access_log")
        found[:] = [line for line in lines if line.startswith(f"{path} ")]
        return bool(found)

    server._wait(look, "the access log has no such line")
    return found


def test_more_of_them_than_workers(httpd: Server) -> None:
    with ExitStack() as all_of_them:
        clients = [all_of_them.enter_context(opening(httpd, "/quiet")) for _ in range(MANY)]
        for turn in range(3):
            for number, client in enumerate(clients):
                client.send(f"{turn} {number}")
            assert httpd.ok("/hello").text == "Hello World!"
            for number, client in enumerate(clients):
                assert client.recv(PATIENCE) == f"{turn} {number}"
        # httpd counts from time to time.
        httpd._wait(lambda: int(status(httpd)["ConnsTotal"]) >= MANY, "connections are not counted")
        assert int(status(httpd)["BusyWorkers"]) <= THREADS
        httpd._wait(lambda: numbers(httpd) == [MANY, MANY, MANY], "WebSockets are not counted")
        assert "<th>WebSockets" in httpd.ok("/status").text
    gone(httpd)
    httpd._wait(lambda: numbers(httpd) == [0, 0, 0], "WebSockets are counted that have gone")


def test_they_are_logged_at_their_end(httpd: Server) -> None:
    with opening(httpd, "/quiet/logged") as client:
        client.send("spam" * 100)
        assert client.recv(PATIENCE) == "spam" * 100
        assert "/quiet/logged" not in (httpd.root / "access_log").read_text()
    (line,) = logged(httpd, "/quiet/logged")
    _, code, sent, duration = line.split()
    assert code == "101" and int(sent) > 150 and int(duration) > 0


def test_what_belongs_to_the_end_of_a_request(httpd: Server) -> None:
    """PythonLogHandler and clean-ups run; the application may use the request meanwhile, and not afterwards."""
    with opening(httpd, "/noted") as client:
        client.send("uri")
        assert client.recv(PATIENCE) == "/noted"
        client.send("header")
        assert client.recv(PATIENCE) == "Upgrade"
    assert heard(httpd) == ["log", "clean-up"]
    assert logged(httpd, "/noted")


def test_one_that_does_not_read_keeps_nobody(httpd: Server) -> None:
    with ExitStack() as all_of_them:
        slow = [all_of_them.enter_context(talk(httpd, "/floods")) for _ in range(THREADS + 2)]
        with opening(httpd, "/quiet") as client:
            for number in range(50):
                client.send(str(number))
                assert client.recv(PATIENCE) == str(number)
        assert httpd.ok("/hello").text == "Hello World!"
        for raw in slow:
            for _ in range(100):
                assert raw.frame() == (0x82, b"x" * 65536)
        for raw in slow:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert heard(httpd)[0] < 4000 * 65536


def test_bytes_that_come_with_the_handshake(httpd: Server) -> None:
    """They have been read by then, and lie in httpd's filters."""
    with socket.create_connection(("127.0.0.1", httpd.port), PATIENCE) as connection:
        connection.sendall(request("/quiet") + frame(1, b"spam"))
        data = b""
        while not data.endswith(b"\x81\x04spam"):
            part = connection.recv(65536)
            assert part, data
            data += part


def test_an_application_that_fails(httpd: Server) -> None:
    with opening(httpd, "/raises_late") as client:
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1011
    httpd.claim("asgi_sockets raises late")


def test_a_close_is_answered_before_long(httpd: Server) -> None:
    """Behind what the application says to earlier messages, and without that where it takes its time."""
    open_gate(httpd, "sleeps", shut=True)
    with talk(httpd, "/sleeps") as client:
        client.socket.sendall(frame(1, b"end") + frame(8, b"\x03\xe8"))
        assert client.closed()[0] == 1000
    open_gate(httpd, "sleeps")
    with talk(httpd, "/sleeps") as client:
        client.socket.sendall(frame(1, b"end") + frame(8, b"\x03\xe8"))
        assert client.frame() == (0x81, b"1")
        assert client.closed()[0] == 1000


def test_clients_that_vanish(httpd: Server) -> None:
    for _ in range(20):
        with talk(httpd, "/quiet") as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone(httpd)


class Events:
    """A client of an event stream."""

    def __init__(self, server: Server, path: str, *lines: str, tls: Optional[ssl.SSLContext] = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)
        self.socket.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode())
        self.data = b""

    def until(self, text: bytes) -> bytes:
        """What has come, once it ends so."""
        while not self.data.endswith(text):
            part = self.socket.recv(65536)
            assert part, self.data[-1000:]
            self.data += part
        return self.data

    def rest(self) -> bytes:
        """All, until the connection ends."""
        while part := self.socket.recv(65536):
            self.data += part
        return self.data


def test_event_streams(httpd: Server) -> None:
    """More of them than workers, each silent for a while."""
    open_gate(httpd, "events", shut=True)
    clients = []
    for _ in range(MANY):
        clients.append(Events(httpd, "/events?events"))
        clients[-1].until(b"data: one\n\n\r\n")
    assert httpd.ok("/hello").text == "Hello World!"
    httpd._wait(lambda: numbers(httpd) == [MANY, 0, MANY], "streams are not counted")
    open_gate(httpd, "events")
    for client in clients:
        head, body = client.rest().split(b"\r\n\r\n", 1)
        assert b"Transfer-Encoding: chunked" in head
        assert body == b"b\r\ndata: one\n\n\r\nb\r\ndata: two\n\n\r\n0\r\n\r\n"
    lines = logged(httpd, "/events")
    assert len(lines) >= MANY and all(line.split()[1:3] == ["200", "22"] for line in lines)
    gone(httpd)


def test_a_stream_that_is_compressed(httpd: Server) -> None:
    """Each event leaves when it is sent, also through mod_deflate."""
    open_gate(httpd, "deflated", shut=True)
    clients = []
    for _ in range(MANY):
        clients.append(Events(httpd, "/deflated?deflated", "Accept-Encoding: gzip"))
        seen = clients[-1].until(b"\x00\x00\xff\xff\r\n")
        assert b"Content-Encoding: gzip" in seen
    open_gate(httpd, "deflated")
    for client in clients:
        parts = client.rest().split(b"\r\n\r\n", 1)[1]
        packed = b""
        while parts:
            size, _, parts = parts.partition(b"\r\n")
            packed, parts = packed + parts[: int(size, 16)], parts[int(size, 16) + 2 :]
        assert gzip.decompress(packed) == b"data: one\n\ndata: two\n\n"


def test_a_client_that_goes_is_told_of(httpd: Server) -> None:
    for reset in (False, True):
        client = Events(httpd, "/waits")
        client.until(b"data: one\n\n\r\n")
        if reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
        assert heard(httpd) == ["http.disconnect"]


def test_a_stream_that_fails_is_broken_off(httpd: Server) -> None:
    open_gate(httpd, "breaks", shut=True)
    clients = [Events(httpd, "/breaks?breaks") for _ in range(THREADS + 2)]
    for client in clients:
        client.until(b"data: one\n\n\r\n")
    assert httpd.ok("/hello").text == "Hello World!"
    open_gate(httpd, "breaks")
    for client in clients:
        assert client.rest().endswith(b"data: one\n\n\r\n")
    httpd.claim("PythonHandler mod_python.asgi: .*LookupError: stream_ends breaks")


def test_much_that_nobody_reads_for_a_while(httpd: Server) -> None:
    open_gate(httpd, "much", shut=True)
    clients = [Events(httpd, "/much?much") for _ in range(THREADS + 2)]
    for client in clients:
        client.until(b"0123456789")
    open_gate(httpd, "much")
    with opening(httpd, "/quiet") as other:
        other.send("spam")
        assert other.recv(PATIENCE) == "spam"
    assert httpd.ok("/hello").text == "Hello World!"
    for client in clients:
        assert client.rest().split(b"\r\n\r\n", 1)[1] == b"0123456789" + b"x" * (200 * 65536)
    assert heard(httpd) == ["all is sent"]


def test_a_client_that_reads_slowly(serve: Serve) -> None:
    """Timeout counts from where it has last taken something, not for all of a message."""
    config = applications("asgi_sockets") + CONFIG + "Timeout 3\nSendBufferSize 16384\n"
    server = site(serve, config, mpm="event", threads=THREADS, modules=MODULES)
    client = Events(server, "/much?slow")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.until(b"0123456789")
    open_gate(server, "slow")
    size, begun = 0, time.monotonic()
    # At most 2 MB a second, so that it takes twice the Timeout.
    while part := client.socket.recv(65536):
        size += len(part)
        time.sleep(max(0, size / 2_000_000 - (time.monotonic() - begun)))
    assert size == 200 * 65536 and time.monotonic() - begun > 6


def test_a_filter_that_comes_too_late(httpd: Server) -> None:
    """One that may wait has no place on the way of an answer that has left its worker."""
    open_gate(httpd, "filters", shut=True)
    client = Events(httpd, "/filters?filters")
    client.until(b"data: one\n\n\r\n")
    httpd._wait(lambda: numbers(httpd)[2] == 1, "it does not leave its worker")
    open_gate(httpd, "filters")
    assert client.rest().endswith(b"data: one\n\n\r\n")
    httpd.claim("a filter that may wait has been added to an answer that has left its worker")


def test_a_request_that_a_thread_has(httpd: Server) -> None:
    """The others go on while an application's thread is in the middle of an operation on one."""
    open_gate(httpd, "holds", shut=True)
    client = Events(httpd, "/holds?holds")
    client.until(b"data: one\n\n\r\n")
    httpd._wait(lambda: numbers(httpd)[2] == 1, "it does not leave its worker")
    open_gate(httpd, "holds")
    assert heard(httpd) == ["writes"]
    # Its thread waits for this client now; the client gives a sign.
    client.socket.sendall(b"x")
    with opening(httpd, "/quiet") as other:
        for number in range(20):
            other.send(str(number))
            assert other.recv(PATIENCE) == str(number)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()
    assert heard(httpd) == ["written"]


def test_a_slow_log_handler(httpd: Server) -> None:
    """Applications are told of their clients' end before; other ends are made meanwhile."""
    open_gate(httpd, "log", shut=True)
    clients = [Events(httpd, "/slowly?log") for _ in range(2)]
    for client in clients:
        client.until(b"data: one\n\n\r\n")
    httpd._wait(lambda: numbers(httpd)[2] == 2, "they do not leave their workers")
    for client in clients:
        client.socket.close()
        assert heard(httpd) == ["http.disconnect"]
    with talk(httpd, "/quiet") as other:
        other.socket.sendall(frame(8, b"\x03\xe8"))
        assert other.closed()[0] == 1000
    open_gate(httpd, "log")


def test_streams_that_keep_their_worker(httpd: Server) -> None:
    """`detach_after` 0: as many as there are workers."""
    open_gate(httpd, "kept", shut=True)
    clients = [Events(httpd, "/kept?kept") for _ in range(THREADS)]
    for client in clients:
        client.until(b"data: one\n\n\r\n")
    late = Events(httpd, "/hello", "Connection: close")
    late.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        late.rest()
    late.socket.settimeout(PATIENCE)
    open_gate(httpd, "kept")
    for client in clients:
        client.until(b"data: two\n\n\r\n0\r\n\r\n")
    assert late.rest().endswith(b"Hello World!")


def test_over_tls(serve: Serve, certificate: Path) -> None:
    config = applications("asgi_sockets") + CONFIG
    config += f"SSLEngine On\nSSLCertificateFile {certificate}/cert.pem\nSSLCertificateKeyFile {certificate}/key.pem\n"
    modules = (*MODULES, "ssl", "socache_shmcb")
    server = site(serve, config + "SSLSessionCache none\n", mpm="event", threads=THREADS, modules=modules)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    # By one thread a connection: Python's TLS sockets cannot be used by two at once.
    clients = [Raw(server, "/quiet", tls=context) for _ in range(MANY)]
    for number, client in enumerate(clients):
        client.socket.sendall(frame(1, b"%d" % number))
    for number, client in enumerate(clients):
        assert client.frame() == (0x81, b"%d" % number)
    large = b"spam" * 500_000
    clients[0].socket.sendall(frame(2, large))
    assert clients[0].frame() == (0x82, large)
    for client in clients:
        client.socket.sendall(frame(8, b"\x03\xe8"))
        assert client.frame() == (0x88, b"\x03\xe8")
        client.socket.close()
    open_gate(server, "tls", shut=True)
    streams = [Events(server, "/events?tls", tls=context) for _ in range(THREADS + 2)]
    for stream in streams:
        stream.until(b"data: one\n\n\r\n")
    open_gate(server, "tls")
    for stream in streams:
        assert stream.until(b"0\r\n\r\n").endswith(b"data: two\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("how", ["graceful", "stop"])
def test_the_end_of_the_child(serve: Serve, how: str) -> None:
    config = applications("asgi_sockets") + CONFIG + "PythonOption mod_python.asgi.shutdown_timeout 0.1\n"
    server = site(serve, config, mpm="event", threads=THREADS, modules=MODULES)
    with ExitStack() as all_of_them:
        clients = [all_of_them.enter_context(opening(server, "/quiet")) for _ in range(MANY)]
        for client in clients:
            client.send("spam")
            assert client.recv(PATIENCE) == "spam"
        getattr(server, how)()
        for client in clients:
            with pytest.raises(ConnectionClosed):
                client.recv(PATIENCE)
            assert client.close_code == 1012


def test_a_graceful_restart_lets_streams_end(serve: Serve) -> None:
    config = applications("asgi_sockets") + CONFIG + "ServerLimit 4\nMaxRequestWorkers 12\n"
    server = site(serve, config, mpm="event", threads=THREADS, modules=MODULES)
    clients = [Events(server, "/events?restart") for _ in range(MANY)]
    for client in clients:
        client.until(b"data: one\n\n\r\n")
    before = server.log_text().count("resuming normal operations")
    server.signal(signal.SIGUSR1)
    server._wait(lambda: server.log_text().count("resuming normal operations") > before, "no graceful restart")

    def answers() -> bool:
        answer = attempt(server.port, "/hello")
        return answer is not None and answer.text == "Hello World!"

    server._wait(answers, "the new generation does not answer")
    open_gate(server, "restart")
    for client in clients:
        assert client.rest().endswith(b"data: two\n\n\r\n0\r\n\r\n")
    server._wait(lambda: len(server.child_pids()) == 1, "the old generation stays")


@pytest.fixture
def fragile(serve: Serve, faults: Faults) -> Server:
    config = applications("asgi_sockets") + CONFIG
    server = site(serve, config, mpm="event", threads=THREADS, modules=MODULES, module=DEBUG)
    works(server)
    return server


def works(server: Server) -> None:
    with opening(server, "/quiet") as client:
        client.send("spam")
        assert client.recv(PATIENCE) == "spam"


def test_without_the_thread_workers_serve_on(fragile: Server, faults: Faults) -> None:
    faults.set("streams")
    works(fragile)


# Where a stream cannot be waited for, or its step panics, it ends, and the application is told; the others go on.
@pytest.mark.parametrize(
    ("fault", "line"),
    [("stream poll", "a stream cannot be waited for"), ("a stream=panic", "a deliberate panic in a stream")],
)
def test_a_stream_that_fails(fragile: Server, faults: Faults, fault: str, line: str) -> None:
    faults.set(fault)
    with talk(fragile, "/echo") as client:
        assert not client.socket.recv(1)
    faults.clear()
    fragile.claim(line)
    assert heard(fragile) == [1006, ""]
    works(fragile)


# The end is made all the same: the connection is closed, and httpd counts it no more.
@pytest.mark.parametrize(
    "place", ["a stream's farewell", "a stream's end", "a stream's request", "a stream's connection"]
)
def test_an_end_that_fails(fragile: Server, faults: Faults, place: str) -> None:
    faults.set(f"{place}=panic")
    with talk(fragile, "/quiet") as client:
        client.socket.sendall(frame(8, b"\x03\xe8"))
        assert client.frame() == (0x88, b"\x03\xe8")
    fragile.claim(f"a deliberate panic in {place}")
    faults.clear()
    works(fragile)


def test_a_hand_over_that_fails(fragile: Server, faults: Faults) -> None:
    """The worker lets go, and the rest of that panics: the connection ends, is counted no more, and the application is told."""
    faults.set("a stream's hand-over=panic")
    with talk(fragile, "/echo") as client:
        assert not client.socket.recv(1)
    fragile.claim("a deliberate panic in a stream's hand-over")
    assert heard(fragile) == [1006, ""]
    stream = Events(fragile, "/waits")
    assert stream.rest().endswith(b"data: one\n\n\r\n")
    assert heard(fragile) == ["http.disconnect"]
    faults.clear()
    works(fragile)
    gone(fragile, 1)
    fragile._wait(lambda: numbers(fragile)[1:] == [0, 0], "a stream is counted that has gone")


def test_a_stream_is_counted_all_the_while(serve: Serve, faults: Faults) -> None:
    """From the worker to the thread, which is late here: a daemon with a WebSocket is not idle."""
    path = os.environ["MOD_PYTHON_FAULTS"]
    server = serve(
        f"PythonDaemon shop {user()} idle-timeout=0.1 working-directory=@ROOT@/apps environment=MOD_PYTHON_FAULTS={path}\n"
        "PythonASGI /shop daemons_app:asgi daemon=shop\n",
        mpm="event",
        modules=PROXY,
        module=DEBUG,
    )
    shop = Daemon(server)
    # The thread is there, and waits.
    with connect(f"ws://127.0.0.1:{server.port}/shop/talk", open_timeout=PATIENCE) as client:
        client.send("one")
        assert client.recv(PATIENCE) == "/shop/talk one"
    shop.until(lambda state: state["state"] == "waiting")
    faults.set("stream arrivals")
    with connect(f"ws://127.0.0.1:{server.port}/shop/talk", open_timeout=PATIENCE) as client:
        httpd = shop.serves()["httpd"]
        limit = time.monotonic() + 1
        try:
            while time.monotonic() < limit:
                assert (shop.state()["httpd"], shop.state()["state"]) == (httpd, "serving")
        finally:
            faults.clear()
        client.send("two")
        assert client.recv(PATIENCE) == "/shop/talk two"
    shop.until(lambda state: state["state"] == "waiting")
