"""A daemon's workers stay at a connection whose next request follows at once: others are served meanwhile, and a reload takes over."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Serve, Server
from kept_daemons import Daemon, user

CONFIG = "PythonDaemon shop {} python-path=@ROOT@/apps threads=2\nPythonWSGI / kept daemon=shop\n"


class Kept(http.client.HTTPConnection):
    """A connection to a daemon's socket, as the front keeps one."""

    def __init__(self, path: Path) -> None:
        super().__init__("daemon", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self.path))

    def ask(self) -> tuple[int, str, bool]:
        """The status, the child that has answered, and whether the connection is kept."""
        self.request("GET", "/")
        answer = self.getresponse()
        return answer.status, answer.read().decode().split()[0], not answer.will_close


@pytest.fixture
def daemon(serve: Serve) -> Iterator[Daemon]:
    server: Server = serve(CONFIG.format(user()), modules=("proxy", "proxy_http"))
    found = Daemon(server)
    found.serves()
    yield found


def test_busy_connections_starve_nobody(daemon: Daemon) -> None:
    """More of them than workers, each asking again as soon as it is answered."""
    answers: list[tuple[int, str, bool]] = []

    def ask() -> None:
        connection = Kept(daemon.socket)
        for _ in range(40):
            for _ in range(1000):
                try:
                    answers.append(connection.ask())
                    break
                except ConnectionError:
                    # httpd closes kept connections when all of its workers are busy, and it is asked again.
                    connection.close()
            if not answers[-1][2]:
                connection.close()
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 240 and {status for status, _, _ in answers} == {200}


def test_a_busy_connection_ends_with_its_child(daemon: Daemon) -> None:
    """It is closed behind an answer once another httpd serves, however fast it asks."""
    connection = Kept(daemon.socket)
    first = connection.ask()[1]
    told = daemon.reload()
    assert told.returncode == 0, told
    asked = 0
    try:
        while connection.ask()[2]:
            asked += 1
    except (http.client.RemoteDisconnected, ConnectionError):
        # Between two requests.
        pass
    connection.close()
    assert Kept(daemon.socket).ask()[1] != first
