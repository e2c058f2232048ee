"""A daemon's connections: its front keeps them, and none is closed that it may be sending on."""

from __future__ import annotations

import http.client
import os
import pwd
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Callable
from urllib.parse import quote

import pytest
from client import ask
from conftest import Serve, Server
from kept_daemons import PROXY, ROOT, USERS, Daemon, lives, until, user

from httpd import PATIENCE

CONFIG = "PythonDaemon shop {} python-path=@ROOT@/apps threads=8\nPythonWSGI / kept daemon=shop\n"


FAREWELL = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What the front is told on a connection that it is not to use any more."""


class Kept(http.client.HTTPConnection):
    """A connection to a daemon's socket, as the front keeps one."""

    def __init__(self, path: Path) -> None:
        super().__init__("daemon", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self.path))

    def begin(self, path: str = "/", query: str = "") -> None:
        """Ask as the front does: what it knows of the request comes in one field."""
        known = {
            "c": "127.0.0.1", "C": "1", "d": "127.0.0.1", "D": "1", "l": "127.0.0.1", "L": "80", "i": path, "g": query,
            "h": "daemon", "n": "daemon", "p": "80", "s": "http", "v": "HTTP/1.1", "V": "1001",
        }  # fmt: skip
        told = "&".join(f"{key}={quote(value)}" for key, value in known.items())
        self.request("GET", "/", headers={"X-Mod-Python-Front": told})

    def ask(self, path: str = "/", query: str = "") -> tuple[int, str, bool]:
        """The status, the child that has answered, and whether the connection is kept."""
        self.begin(path, query)
        answer = self.getresponse()
        return answer.status, answer.read().decode().split()[0], not answer.will_close

    def told(self) -> bytes:
        """What has come without a request, once something has."""
        return bytes(self.sock.recv(100, socket.MSG_PEEK))


@pytest.fixture
def daemon(serve: Serve) -> Iterator[Daemon]:
    server: Server = serve(CONFIG.format(user()), modules=PROXY)
    found = Daemon(server)
    found.serves()
    yield found


def together(count: int, work: Callable[[], None]) -> None:
    """Run something in so many threads at once; what goes wrong in one of them goes wrong here."""
    with ThreadPoolExecutor(count) as threads:
        for one in [threads.submit(work) for _ in range(count)]:
            one.result(PATIENCE)


def test_no_connection_is_closed_without_a_word(daemon: Daemon) -> None:
    """More of them than workers, each asking again as soon as it is answered: an answer says so, or the connection is there."""

    def ask() -> None:
        connection = Kept(daemon.socket)
        for _ in range(20):
            status, _, is_kept = connection.ask()
            assert status == 200
            if not is_kept:
                connection.close()
        connection.close()

    together(12, ask)


def test_no_request_is_lost_where_all_workers_are_busy(daemon: Daemon) -> None:
    """Event closes kept connections then, and the front may be sending on one: a client would see its connection end."""

    def request() -> None:
        for _ in range(40):
            answer = ask(daemon.server.port, "/")
            assert answer.status == 200, answer.text

    together(16, request)


def test_a_busy_connection_ends_with_its_child(daemon: Daemon) -> None:
    """It is closed behind an answer that says so once another httpd serves, however fast it asks."""
    connection = Kept(daemon.socket)
    first = connection.ask()[1]
    told = daemon.reload()
    assert told.returncode == 0, told
    while connection.ask()[2]:
        pass
    connection.close()
    assert Kept(daemon.socket).ask()[1] != first


def test_a_silent_connection_is_told_that_its_child_ends(daemon: Daemon) -> None:
    """By what mod_proxy takes for a connection not to be used, and, where it has sent already, for no answer: it gets that, too."""
    silent, late = Kept(daemon.socket), Kept(daemon.socket)
    first = silent.ask()[1]
    assert late.ask()[1] == first
    os.kill(daemon.state()["keeper"], signal.SIGHUP)
    assert silent.told() == late.told() == FAREWELL
    assert late.ask() == (200, first, False)
    assert silent.sock.recv(100) == FAREWELL and silent.sock.recv(100) == b""
    until(lambda: not lives(int(first)), lambda: "the child stays")


def test_a_connection_that_is_not_used_is_given_up(serve: Serve) -> None:
    """Before httpd's Timeout closes it without a word; MPM prefork's mod_proxy never does by itself."""
    # In half of it.
    server = serve("Timeout 6\n" + CONFIG.format(user()), modules=PROXY)
    shop = Daemon(server)
    shop.serves()
    kept = Kept(shop.socket)
    assert kept.ask()[2]
    assert kept.told() == FAREWELL
    assert kept.ask()[0] == 200


@pytest.mark.parametrize("how", ["reload", "graceful"])
def test_the_front_uses_no_connection_of_a_child_that_ends(daemon: Daemon, how: str) -> None:
    """Each client meets the new one, as soon as it serves."""
    for _ in range(5):
        before = ask(daemon.server.port, "/").text.split()[0]
        if how == "reload":
            assert daemon.reload().returncode == 0
            assert ask(daemon.server.port, "/").text.split()[0] != before
        else:
            daemon.server.graceful()
            assert ask(daemon.server.port, "/").text.split()[0] == before, "the daemon has not changed"


def test_a_front_keeps_its_connections(daemon: Daemon) -> None:
    """Requests that follow one another come by one connection."""
    # Those of another client might come before the front has done with the one before.
    client = http.client.HTTPConnection("127.0.0.1", daemon.server.port, timeout=PATIENCE)
    for _ in range(10):
        client.request("GET", "/")
        answer = client.getresponse()
        assert answer.read() and answer.status == 200
    client.close()
    ends = [line for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(str(daemon.socket))]
    assert len(ends) == 2, "the listener and one connection"


class Held:
    """A request that is answered when somebody lets it."""

    def __init__(self, server: Server, connection: Kept) -> None:
        self._gate = server.root / f"gate-{id(connection)}"
        os.mkfifo(self._gate)
        self._gate.chmod(0o666)
        self._connection = connection
        connection.begin("/read", str(self._gate))

    def open(self) -> None:
        """Let it be answered."""
        self._gate.write_text("open")
        assert self._connection.getresponse().read() == b"open"


def test_the_front_is_sent_to_other_children(serve: Serve) -> None:
    """Where a child has more than one request in hand, connections that it keeps are not to have others wait for its workers, or its lock."""
    server = serve(CONFIG.format(f"{user()} processes=2"), modules=PROXY)
    shop = Daemon(server)
    shop.serves(2)
    children: dict[str, list[Kept]] = {}
    for connection in (Kept(shop.socket) for _ in range(5)):
        children.setdefault(connection.ask()[1], []).append(connection)
    kept, *others = max(children.values(), key=len)
    held = [Held(server, other) for other in others[:2]]
    assert kept.told() == FAREWELL
    for one in held:
        one.open()


def test_what_waits_keeps_nobody_out(daemon: Daemon) -> None:
    """Event accepts nothing more once all workers have been busy, as long as there are many connections and one worker is free."""
    connections = [Kept(daemon.socket) for _ in range(12)]
    for connection in connections:
        connection.ask()
    first, *held = [Held(daemon.server, connection) for connection in connections[:8]]
    late = Kept(daemon.socket)
    late.begin()
    first.open()
    assert late.getresponse().status == 200
    for one in held:
        one.open()


def test_few_workers_keep_no_connection(serve: Serve) -> None:
    """Connections that wait would keep event from accepting others."""
    server = serve(CONFIG.format(f"{user()}").replace("threads=8", "threads=1"), modules=PROXY)
    shop = Daemon(server)
    shop.serves()
    assert Kept(shop.socket).ask()[2] is False


def test_a_page_of_httpds_own_says_so_too(serve: Serve) -> None:
    """It is begun anew, behind the filters that a request has had till then."""
    server = serve(
        CONFIG.format(user()).replace("threads=8", "threads=2").replace("/ kept", "/shop kept"), modules=PROXY
    )
    shop = Daemon(server)
    shop.serves()
    connection = Kept(shop.socket)
    connection.begin("/elsewhere")
    answer = connection.getresponse()
    assert (answer.status, answer.will_close) == (404, True)


@pytest.mark.parametrize("path", ["/large", "/parts"])
def test_an_answer_that_does_not_leave_at_once_is_the_last(daemon: Daemon, path: str) -> None:
    """The MPM would have the connection then, and closes it without a word."""
    connection = Kept(daemon.socket)
    assert connection.ask()[2]
    assert not connection.ask(path)[2]


def test_a_forked_process_has_no_connection(daemon: Daemon) -> None:
    """It comes back from its request, and answers nobody; and the front sees the end of a child whose forked processes live."""
    connection, other = Kept(daemon.socket), Kept(daemon.socket)
    child = int(connection.ask()[1])
    other.ask()
    gate = daemon.server.root / "forked"
    os.mkfifo(gate)
    gate.chmod(0o666)
    forked = int(connection.ask("/returns", str(gate))[1])
    gate.write_text("open")
    until(lambda: not lives(forked), lambda: "the forked process stays")
    assert connection.ask() == (200, str(child), True)
    forked = int(connection.ask("/returns", str(gate))[1])
    assert len(accepted(child, daemon.socket)) == 2
    until(lambda: not accepted(forked, daemon.socket), lambda: f"{accepted(forked, daemon.socket)}")
    os.kill(child, signal.SIGKILL)
    assert connection.sock.recv(1) == other.sock.recv(1) == b""
    os.kill(forked, signal.SIGKILL)


def accepted(pid: int, path: Path) -> list[str]:
    """The sockets among a process's descriptors that were accepted from a listener of this path."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    # Flags without __SO_ACCEPTCON are those of a connection.
    own = {f"socket:[{line[6]}]" for line in lines if line[7:] == [str(path)] and line[3] == "00000000"}
    return [found for found in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if found in own]


@pytest.fixture
def noted(serve: Serve) -> Iterator[Daemon]:
    server = serve(
        f"PythonDaemon shop {user()} python-path=@ROOT@/apps threads=8\n<Location /noted>\nSetHandler mod_python\n"
        "PythonHandler noted\nPythonOption mod_python.daemon shop\n</Location>\n",
        modules=PROXY,
    )
    found = Daemon(server)
    found.serves()
    yield found


def test_notes_of_a_connection_are_one_clients(noted: Daemon) -> None:
    """The front's connection carries requests of many."""
    assert [ask(noted.server.port, "/noted").text for _ in range(3)] == ["nobody"] * 3


def test_requests_that_do_not_wait_for_one_another(noted: Daemon) -> None:
    """Whoever has the socket may send many at once: none has what another one was told, or has left, nor memory of one that has ended."""
    request = handed_over(noted, "/noted?address")
    port = re.search(rb"&D=(\d+)&", request)
    assert port
    numbers = [*range(1001, 1041)]
    requests = [request.replace(port[0], b"&D=%d&" % number) for number in numbers]
    connection = Kept(noted.socket)
    connection.connect()
    with connection.sock as peer, peer.makefile("rb") as answers:
        peer.sendall(b"".join(requests))
        for number in numbers:
            head = b"".join(iter(answers.readline, b"\r\n")).lower()
            length = re.search(rb"content-length: (\d+)", head)
            assert length, head
            assert answers.read(int(length[1])) == b"nobody 127.0.0.1:%d" % number


def handed_over(daemon: Daemon, path: str) -> bytes:
    """What the front sends for a request."""
    away = daemon.socket.with_suffix(".away")
    daemon.socket.rename(away)
    with stand_in(daemon) as listener, socket.create_connection(("127.0.0.1", daemon.server.port)) as client:
        client.settimeout(PATIENCE)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        with listener.accept()[0] as front:
            front.settimeout(PATIENCE)
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                received += front.recv(65536)
            front.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            assert client.recv(1)
    away.rename(daemon.socket)
    return received


@contextmanager
def stand_in(daemon: Daemon) -> Iterator[socket.socket]:
    """A socket where the daemon's was."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(daemon.socket))
        if ROOT:
            os.chown(daemon.socket, pwd.getpwnam(USERS[0]).pw_uid, -1)
        daemon.socket.chmod(0o777)
        listener.settimeout(PATIENCE)
        listener.listen()
        yield listener


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("expects", [False, True])
def test_a_client_sees_nothing_of_it(daemon: Daemon, version: str, expects: bool) -> None:
    """Where the front has sent already: a client that has asked for 100 (Continue) gets one, any other none."""
    daemon.socket.unlink()
    with stand_in(daemon) as listener:
        with socket.create_connection(("127.0.0.1", daemon.server.port)) as client:
            client.settimeout(PATIENCE)
            more = "Expect: 100-continue\r\n" if expects else ""
            head = f"POST / HTTP/{version}\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n{more}\r\n"
            client.sendall(head.encode() + b"body")
            front = listener.accept()[0]
            front.settimeout(PATIENCE)
            front.sendall(FAREWELL)
            received = b""
            while not received.endswith(b"body"):
                received += front.recv(65536)
            front.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            with client.makefile("rb") as answer:
                whole = answer.read()
        front.close()
    assert whole.endswith(b"\r\n\r\nok")
    assert whole.count(b"HTTP/1.1 100 Continue") == int(expects and version == "1.1")
