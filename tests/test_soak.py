"""Restarts, stops and crashes while requests are in flight: what is lost is what has to be."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
from conftest import Serve, Server, places
from soak import LINES, soak


def test_graceful_restarts(mpm: str) -> None:
    """The short form of `make soak`."""
    result = soak(15, mpm)
    assert result.good, str(result)


class Stream:
    """A request whose answer takes two seconds; and until there is a file, where one is named."""

    def __init__(self, server: Server, gate: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), 30)
        self._socket.sendall(f"GET /soaking/stream{gate and '?'}{gate} HTTP/1.0\r\n\r\n".encode())
        self._file = self._socket.makefile("r")
        for line in self._file:
            if not line.strip():
                break
        self.pid = int(self._file.readline())

    def ends_well(self) -> bool:
        """Wait for its end: has everything come?"""
        with self._socket:
            try:
                return self._file.read() == LINES
            except OSError:
                return False


def streams(server: Server, count: int, gate: str = "") -> list[Stream]:
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: Stream(server, gate), range(count)))


def outcome(running: list[Stream]) -> list[bool]:
    with concurrent.futures.ThreadPoolExecutor(len(running)) as threads:
        return list(threads.map(Stream.ends_well, running))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_takes_its_own_requests_along(serve: Serve, mpm: str, number: signal.Signals) -> None:
    server = serve(places("soaking"), mpm=mpm, children=3)
    running = streams(server, 6 if mpm == "prefork" else 24, f"{server.root}/apps/go_on")
    victim = running[0].pid
    os.kill(victim, number)
    # The signal of a crash is for the process's first thread; the others go on until that has it.
    server._wait(lambda: victim not in server.child_pids(), "it lives on")
    server.write("apps/go_on", "")
    assert outcome(running) == [stream.pid != victim for stream in running]
    if number == signal.SIGSEGV:  # httpd says nothing of a child that was killed
        server.claim(f"child pid {victim} exit signal Segmentation fault")
    assert server.ok("/soaking/pid")


def test_a_graceful_stop_waits(serve: Serve, mpm: str) -> None:
    server = serve(places("soaking"), mpm=mpm, children=2)
    running = streams(server, 4)
    stopping = threading.Thread(target=server.stop, args=(signal.SIGWINCH,))
    stopping.start()
    assert outcome(running) == [True] * 4
    stopping.join()
    assert not server.unclaimed()


def test_a_stop_does_not_wait(serve: Serve, mpm: str) -> None:
    """Nor does it crash: handlers are in the middle of their work."""
    server = serve(places("soaking"), mpm=mpm, children=2)
    running = streams(server, 4, f"{server.root}/apps/never")
    # httpd's reminders to a child that is in its exit functions.
    server.claims += ["AH00045", "AH00046"]
    server.stop()
    assert outcome(running) == [False] * 4
    assert not server.unclaimed()


def test_recycled_children(serve: Serve, mpm: str) -> None:
    """MaxConnectionsPerChild: children come and go, and no request is lost."""
    limit = "" if mpm == "prefork" else "ServerLimit 32\n"
    server = serve(f"{places('soaking')}{limit}MaxConnectionsPerChild 100\n", mpm=mpm, children=3, level="notice")
    pids = set()
    for _ in range(5):
        command = ["ab", "-q", "-l", "-c", "8", "-n", "400", server.url("/soaking/pid")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert re.search(r"Failed requests: +0\n", done.stdout) and "Non-2xx" not in done.stdout, done.stdout
        pids.add(server.ok("/soaking/pid").text)
    assert len(pids) > 1
