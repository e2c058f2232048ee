"""Redis and PostgreSQL as ordinary processes of the tests' own, on loopback, and how sessions find them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from httpd import CHILD_USER, Httpd, free_port

AS_USER = {"user": CHILD_USER, "group": CHILD_USER, "extra_groups": []} if os.geteuid() == 0 else {}
"""Arguments of subprocess for programs that refuse to run as root."""


class Database:
    """A server that can be stopped, started again where it was, and frozen."""

    def __init__(self) -> None:
        self.port = free_port()
        self.place = Path(tempfile.mkdtemp(prefix="mod_python-"))
        self.process: Optional[subprocess.Popen[bytes]] = None
        if os.geteuid() == 0:
            shutil.chown(self.place, CHILD_USER, CHILD_USER)
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.remove()
            raise

    def prepare(self) -> None:
        """What has to be done once."""

    def command(self) -> list[str]:
        """The server's."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Does it answer?"""
        raise NotImplementedError

    def config(self) -> str:
        """Where sessions find it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **AS_USER
            )
        try:
            Httpd._wait(self.is_ready, f"{self.command()[0]} does not answer")
        except TimeoutError as error:
            raise RuntimeError((self.place / "log").read_text()) from error

    def stop(self) -> None:
        """End it, and whoever is connected."""
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(signal.SIGINT)
            process.wait(30)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It answers nobody, and no connection is cut."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        pids = [self.process.pid, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """End it and remove its files."""
        self.stop()
        shutil.rmtree(self.place, ignore_errors=True)


class Redis(Database):
    store = "RedisSession"
    packages: tuple[str, ...] = ("redis",)

    def command(self) -> list[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--dir", str(self.place)),
        ]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def config(self) -> str:
        return f"PythonOption mod_python.redis_session.url redis://127.0.0.1:{self.port}/0\n"


class Postgres(Database):
    store = "PostgresSession"
    packages: tuple[str, ...] = ("psycopg", "psycopg-binary")

    @staticmethod
    def program(name: str) -> str:
        """Debian keeps those of a server away from PATH."""
        found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=name)
        return os.path.realpath(found) if os.path.islink(found) else found

    def prepare(self) -> None:
        command = [self.program("initdb"), "-D", str(self.place / "data"), "-U", "mod_python", "-A", "trust"]
        command += ["--no-sync", "--no-instructions", "--locale=C", "-E", "UTF8"]
        done = subprocess.run(command, cwd=self.place, capture_output=True, text=True, **AS_USER)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr

    def command(self) -> list[str]:
        settings = ("fsync=off", "max_connections=60", "shared_buffers=16MB", "listen_addresses=127.0.0.1")
        return [
            *(self.program("postgres"), "-D", str(self.place / "data"), "-p", str(self.port), "-k", str(self.place)),
            *(part for setting in settings for part in ("-c", setting)),
        ]

    @property
    def url(self) -> str:
        return f"postgresql://mod_python@127.0.0.1:{self.port}/postgres"

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """What an administrator would ask it."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def is_ready(self) -> bool:
        import psycopg

        try:
            return self.sql("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def config(self) -> str:
        return f"PythonOption mod_python.postgres_session.url {self.url}\n"
