"""Graceful restarts under load: nothing may be lost, and the parent process must not grow.

    python tests/soak.py [--restarts 1000] [--mpm event] [--plain]

Clients of every pace ask all the time: ab with a connection for each request, one that keeps its connection, slow bodies, slow
readers, streams, WebSockets. httpd restarts gracefully again and again; each generation has to answer before the next one comes.

httpd itself is not perfect in this: with --plain, that is, without the module, and with files instead of handlers, its event MPM cut
off 3 of 130,000 answers in 2,000 restarts (2.4.71). As many are put up with here, but of what leaves its worker, which is all ours.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Callable

from client import ask, attempt
from conftest import Server, alarms, places

from httpd import resident

CONFIG = """
PythonWSGI /wsgi wsgi_apps:hello
PythonASGI /asgi asgi_apps:hello
PythonASGI /events soaking_asgi:events
PythonASGI /echo soaking_asgi:echo
PythonOption mod_python.asgi.detach_after 0.02
PythonOption mod_python.asgi.shutdown_timeout 0.5
{limits}
"""
OWN = 500
"""One request in so many restarts may be httpd's own loss, and one more."""
WARM_UP = 5
"""After so many restarts the parent is measured: httpd's own pools reach their size in the first ones."""
BODY = bytes(range(256)) * 40
DIGEST = hashlib.sha256(BODY).hexdigest()
LINES = "".join(f"line {number}\n" for number in range(40))
LARGE = bytes(range(256)) * 256 * 64
OPENING = b"\r\n".join(
    (
        b"GET /echo HTTP/1.1",
        b"Host: x",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"",
        b"",
    )
)


@dataclass
class Result:
    """What a run has shown. `lost` says what went wrong with a request, `alarms` are serious lines of the error log."""

    restarts: int = 0
    served: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    rss: tuple[int, int] = (0, 0)
    descriptors: tuple[int, int] = (0, 0)
    seconds: float = 0

    @property
    def good(self) -> bool:
        flat = self.rss[1] - self.rss[0] <= 1024 and self.descriptors[0] == self.descriptors[1]
        own = 1 + self.restarts // OWN
        streams = [line for line in self.lost if line.startswith(("events:", "echo:"))]
        return flat and len(self.lost) <= own and not streams and not self.alarms and all(self.served.values())

    def __str__(self) -> str:
        served = ", ".join(f"{name} {count}" for name, count in sorted(self.served.items()))
        lines = [
            f"restarts   {self.restarts} in {self.seconds:.0f} s",
            f"served     {sum(self.served.values())} ({served})",
            f"lost       {len(self.lost)}",
            f"alarms     {len(self.alarms)}",
            f"parent     RSS {self.rss[0]} -> {self.rss[1]} KiB, descriptors {self.descriptors[0]} -> {self.descriptors[1]}",
        ]
        return "\n".join([*lines, *self.lost[:10], *self.alarms[:10]])


class Clients:
    """Threads that ask until they are told to stop."""

    def __init__(self, port: int, result: Result, large: str) -> None:
        self._port, self._result, self._large = port, result, large
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, body: Callable[[], int]) -> None:
        """Call `body`, which gives how many requests it has had answered, again and again."""
        self._result.served[name] = 0

        def work() -> None:
            while not self._stopping.is_set():
                try:
                    self._result.served[name] += body()
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    self._result.lost.append(f"{name}: {type(error).__name__}: {error}")

        thread = threading.Thread(target=work, name=name)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def ab(self, path: str, requests: int) -> int:
        """A connection for each request."""
        command = ["ab", "-q", "-l", "-c", "8", "-n", str(requests), f"http://127.0.0.1:{self._port}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr.strip()
        assert re.search(r"Failed requests: +0\n", done.stdout) and "Non-2xx" not in done.stdout, done.stdout
        return requests

    def kept(self) -> int:
        """One connection; a server may close it between requests, and then the next one takes another."""
        answered = 0
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            while not self._stopping.is_set():
                try:
                    connection.request("GET", "/soaking/pid")
                    response = connection.getresponse()
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    assert answered, "a fresh connection was closed"
                    break
                assert (response.status, response.read().isdigit()) == (200, True)
                answered += 1
        finally:
            connection.close()
        return answered

    def slow_body(self) -> int:
        with socket.create_connection(("127.0.0.1", self._port), 30) as connection:
            connection.sendall(
                f"POST /soaking/digest HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
            )
            for start in range(0, len(BODY), 512):
                connection.sendall(BODY[start : start + 512])
                self._stopping.wait(0.05)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ") and DIGEST.encode() in answer, answer
        return 1

    def slow_reader(self) -> int:
        with socket.create_connection(("127.0.0.1", self._port), 30) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            connection.sendall(f"GET {self._large} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
                self._stopping.wait(0.01)
        head, _, body = b"".join(parts).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and body == LARGE, (head, len(body))
        return 1

    def stream(self) -> int:
        text = ask(self._port, "/soaking/stream").text
        assert text.partition("\n")[2] == LINES, text
        return 1

    def events(self) -> int:
        """A stream that leaves its worker, and ends whole whatever happens meanwhile."""
        text = ask(self._port, "/events").text
        assert text == LINES, text
        return 1

    def echo(self) -> int:
        """A WebSocket: each message comes back, until the client closes it, or a child that ends does (1012)."""
        with socket.create_connection(("127.0.0.1", self._port), 30) as connection, connection.makefile("rb") as file:
            connection.sendall(OPENING)
            while (line := file.readline()) != b"\r\n":
                assert line, "the handshake was not answered"
            for number in range(20):
                text = b"%08d" % number
                connection.sendall(b"\x81\x88\0\0\0\0" + text)
                kind, length = file.read(2)
                answer = file.read(length)
                if kind == 0x88:
                    assert answer[:2] == (1012).to_bytes(2, "big"), answer
                    break
                assert answer == text, answer
                self._stopping.wait(0.05)
            else:
                connection.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
                assert file.read(4)[:1] == b"\x88", "no close frame"
        return 1


def soak(restarts: int, mpm: str, plain: bool = False) -> Result:
    """Restart an httpd so often while clients are at work; a plain one has no module, and files for handlers."""
    result = Result()
    limits = "" if mpm == "prefork" else "ServerLimit 64\nStartServers 2\nMaxRequestWorkers 1024\n"
    config = limits if plain else places("soaking") + CONFIG.format(limits=limits)
    settings = {"module": None} if plain else {}
    server = Server(config, mpm=mpm, threads=16, children=2, level="notice", **settings)
    server.write("htdocs/quick", "quick")
    server.write("htdocs/large", "").write_bytes(LARGE)
    server.start()
    begun = time.monotonic()
    clients = Clients(server.port, result, "/large" if plain else "/soaking/large")
    if plain:
        for name in ("file", "another"):
            clients.start(name, lambda: clients.ab("/quick", 500))
        for name in ("slow_reader", "slow_reader_2", "slow_reader_3"):
            clients.start(name, clients.slow_reader)
    else:
        clients.start("handler", lambda: clients.ab("/soaking/pid", 500))
        clients.start("wsgi", lambda: clients.ab("/wsgi", 500))
        clients.start("asgi", lambda: clients.ab("/asgi", 500))
        for name in ("kept", "slow_body", "slow_reader", "stream", "events", "echo"):
            clients.start(name, getattr(clients, name))
    try:
        with server.log.open() as log:
            log.seek(0, os.SEEK_END)
            before = after = measure(server.pid)
            for result.restarts in range(1, restarts + 1):
                restart(server, log.read, plain)
                after = measure(server.pid)
                if result.restarts == WARM_UP:
                    before = after
            result.rss, result.descriptors = (before[0], after[0]), (before[1], after[1])
    finally:
        clients.stop()
        server.stop()
        result.seconds = time.monotonic() - begun
        result.alarms += [line for line in server.log_text().splitlines() if alarms(line) or "TLS" in line]
        server.remove()
    return result


def restart(server: Server, read: Callable[[], str], plain: bool) -> None:
    """Restart gracefully, and wait until the new generation answers; of a plain one, until it is there."""
    old = set(server.child_pids())
    server.signal(signal.SIGUSR1)
    text = ""

    def resumed() -> bool:
        nonlocal text
        text += read()
        return "resuming normal operations" in text

    server._wait(resumed, "no graceful restart")

    def answers() -> bool:
        if plain:
            return bool(set(server.child_pids()) - old)
        answer = attempt(server.port, "/soaking/pid")
        return answer is not None and int(answer.text) not in old

    server._wait(answers, "the new generation does not answer")


def measure(pid: int) -> tuple[int, int]:
    """Resident memory in KiB, and open descriptors."""
    return resident(pid), len(os.listdir(f"/proc/{pid}/fd"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--restarts", type=int, default=1000)
    parser.add_argument("--mpm", choices=("event", "worker", "prefork"), default="event")
    parser.add_argument("--plain", action="store_true", help="httpd without the module")
    arguments = parser.parse_args()
    result = soak(arguments.restarts, arguments.mpm, arguments.plain)
    print(result)
    print("green" if result.good else "RED")
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
