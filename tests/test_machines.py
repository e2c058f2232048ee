"""docs/machines.md, as it is printed: HAProxy in front of two httpds, one of which is killed and one restarted under load."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from client import Answer, ask
from conftest import Serve, Server, install
from databases import AS_USER, Database

from httpd import CHILD_USER, PROJECT, Httpd, free_port

CHAPTER = (PROJECT / "docs/machines.md").read_text()


def printed(language: str) -> str:
    """The chapter's only block in it."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", CHAPTER, re.S)
    return str(block)


class Balancer:
    """HAProxy with the chapter's configuration."""

    def __init__(self, *servers: Server) -> None:
        self.port = free_port()
        self.place = Path(tempfile.mkdtemp(prefix="mod_python-"))
        if os.geteuid() == 0:
            shutil.chown(self.place, CHILD_USER, CHILD_USER)
        self._socket = self.place / "admin.sock"
        text = printed("haproxy").replace("/run/haproxy/admin.sock", str(self._socket))
        for address, port in zip(("10", "11", "12"), (self.port, *(server.port for server in servers))):
            assert f"192.0.2.{address}:80" in text
            text = text.replace(f"192.0.2.{address}:80", f"127.0.0.1:{port}")
        (self.place / "haproxy.cfg").write_text(text)
        program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        command = [program, "-db", "-f", str(self.place / "haproxy.cfg")]
        with (self.place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.place, **AS_USER
            )
        try:
            Httpd._wait(self._accepts, "HAProxy does not answer")
        except BaseException:
            self.stop()
            raise

    def _accepts(self) -> bool:
        assert self._process.poll() is None, (self.place / "log").read_text()
        with contextlib.suppress(OSError):
            return ask(self.port, "/healthy").status == 200
        return False

    def tell(self, command: str) -> str:
        """A command of its administrator, and what it says."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self._socket))
            admin.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()

    def state(self, server: str) -> tuple[str, int]:
        """UP, DOWN …, and how many requests it has at the moment."""
        names, *rows = self.tell("show stat").removeprefix("# ").strip().splitlines()
        row = next(dict(zip(names.split(","), row.split(","))) for row in rows if row.startswith(f"shop,{server},"))
        return row["status"], int(row["scur"])

    def stop(self) -> None:
        """End it and remove its files."""
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self.place, ignore_errors=True)


class Visitor:
    """Asks one request after the other, with a session that may be another visitor's, too."""

    def __init__(self, port: int, cookie: str) -> None:
        self.cookie, self.good, self.bad = cookie, 0, 0
        self._port, self._leaves = port, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def ask(self) -> Optional[Answer]:
        """POST: HAProxy never repeats one that has been sent."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self._port, "/count", "POST", headers={"Cookie": self.cookie}, body=b"")
        return None

    def _run(self) -> None:
        # A load, and not all that two processors can bear.
        while not self._leaves.wait(0.01):
            answer = self.ask()
            if answer is not None and answer.status == 200:
                self.good += 1
            else:
                self.bad += 1

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaves.set()
        self._thread.join()


def served(serve: Serve, database: Database) -> Server:
    config = printed("apache").replace("'/srv/site'", "'@ROOT@/site','@ROOT@/apps'").replace("192.0.2.10", "127.0.0.1")
    config = config.replace("PostgresSession", database.store)
    config = re.sub(r"PythonOption mod_python.postgres_session.url .*\n", lambda _: database.config(), config)
    # The one that is killed takes a lock in Redis with it, for as long as the lease lasts.
    config += "PythonOption mod_python.redis_session.lock_lease 8\nCustomLog @ROOT@/access_log %a\n"
    server = serve(config, start=False, threads=16, modules=("remoteip",))
    server.write("site/shop.py", printed("python")).parent.chmod(0o755)
    install(server, *database.packages)
    return server.start()


def answers(server: Server) -> int:
    """How many requests it has answered."""
    return (server.root / "access_log").read_text().count("\n")


@contextlib.contextmanager
def balanced(*servers: Server) -> Iterator[Balancer]:
    balancer = Balancer(*servers)
    try:
        yield balancer
    finally:
        balancer.stop()


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_no_session_is_lost(serve: Serve, kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(kind)
    one, two = (served(serve, database) for _ in range(2))
    with balanced(one, two) as balancer, contextlib.ExitStack() as stack:
        cookies = [set_cookie(ask(balancer.port, "/count")) for _ in range(4)]
        # Two of the sessions are two visitors' each.
        visitors = [stack.enter_context(Visitor(balancer.port, cookie)) for cookie in (*cookies, *cookies[:2])]

        def go_on(number: int = 8) -> None:
            before = [visitor.good for visitor in visitors]
            Httpd._wait(
                lambda: all(visitor.good >= good + number for visitor, good in zip(visitors, before)),
                "nobody is answered",
            )

        def failed() -> int:
            return sum(visitor.bad for visitor in visitors)

        def both_answer() -> None:
            before = answers(one), answers(two)
            Httpd._wait(lambda: answers(one) > before[0] and answers(two) > before[1], "one of them is not asked")

        go_on()
        both_answer()
        assert failed() == 0
        # The plug is pulled.
        # The child last: it has all connections, and is the last to listen, so that nobody meets a dying httpd a second time.
        assert two._process is not None
        group = two.pid
        two._process.kill()
        two._process.wait()
        two._process = None
        os.killpg(group, signal.SIGKILL)
        Httpd._wait(lambda: balancer.state("two")[0].startswith("DOWN"), "HAProxy does not notice")
        go_on()
        lost = failed()
        assert lost <= len(visitors), "more than was in flight"
        two.log.write_text("")
        two.start()
        Httpd._wait(lambda: balancer.state("two")[0].startswith("UP"), "HAProxy does not notice")
        both_answer()
        # A graceful restart, and a machine that is drained, are not seen at all.
        one.graceful()
        go_on()
        balancer.tell("set server shop/two state drain")
        Httpd._wait(lambda: balancer.state("two")[1] == 0, "it is not drained")
        two.stop(signal.SIGWINCH)
        go_on()
        two.start()
        balancer.tell("set server shop/two state ready")
        both_answer()
        assert failed() == lost
    for cookie in cookies:
        mine = [visitor for visitor in visitors if visitor.cookie == cookie]
        good, bad = (sum(getattr(visitor, name) for visitor in mine) for name in ("good", "bad"))
        last = int(one.ok("/count", headers={"Cookie": cookie}).text)
        # This one, and the first.
        assert good <= last - 2 <= good + bad, (good, bad, last)


def set_cookie(answer: Answer) -> str:
    header = answer.header("Set-Cookie") or ""
    assert answer.status == 200 and "Secure" in header, answer
    return header.partition(";")[0]
