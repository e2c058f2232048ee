"""Daemons under test: what their keepers say of them, requests that go to their sockets, and which processes there are."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Optional

from conftest import Server

from httpd import PATIENCE, PROJECT

ROOT = os.geteuid() == 0
PROXY = ("proxy", "proxy_http")
USERS = ("nobody", "games") if ROOT else ("", "")
"""Whom daemons run as, beside httpd's children."""


def user(place: int = 0) -> str:
    """An argument of PythonDaemon; nothing where only root could."""
    return f"user={USERS[place]}" if ROOT else ""


def until(done: Callable[[], Any], complaint: Callable[[], str]) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < limit, complaint()
        time.sleep(0.01)


class Daemon:
    """One of a server's daemons."""

    def __init__(self, server: Server, name: str = "shop") -> None:
        self.server, self.name = server, name
        self.directory = server.root / f"run/mod_python.{server.pid}"

    @property
    def socket(self) -> Path:
        return self.directory / f"{self.name}.sock"

    def state(self) -> dict[str, Any]:
        """What its keeper says."""
        while True:
            # It may be in the middle of being written.
            with contextlib.suppress(ValueError):
                found: dict[str, Any] = json.loads((self.directory / f"{self.name}.json").read_text())
                return found

    def until(self, done: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until its state is so."""
        until(lambda: done(self.state()), lambda: f"{self.state()}\n{self.server.log_text()[-3000:]}")
        return self.state()

    def serves(self, processes: int = 1) -> dict[str, Any]:
        """Wait until it serves with so many processes."""
        return self.until(lambda state: state["state"] == "serving" and len(state["processes"]) == processes)

    def pids(self) -> list[int]:
        """Its keeper's, its httpd's, and those of its children."""
        state = self.state()
        return [state["keeper"], state["httpd"], *(one["pid"] for one in state["processes"])]

    def reload(self) -> subprocess.CompletedProcess[str]:
        """`mod_python reload NAME`, by its user."""
        command = [sys._base_executable, "-B", "-m", "mod_python", "reload", f"{self.directory}.{self.name}"]
        settings: dict[str, Any] = {"user": USERS[0], "group": group(USERS[0])} if ROOT else {}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/",
            env={"PYTHONPATH": str(package(self.server)), "PATH": os.environ["PATH"]}, timeout=PATIENCE, **settings,
        )  # fmt: skip


def group(name: str) -> int:
    """A user's own group."""
    return pwd.getpwnam(name).pw_gid


def package(server: Server) -> Path:
    """Where the package is that belongs to a server's module."""
    staged = server.root / "module/python"
    return staged if staged.exists() else PROJECT / "python"


def owner(pid: int) -> int:
    """The user that a process runs as: all four of its numbers."""
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = {int(number) for number in status.partition("\nUid:")[2].partition("\n")[0].split()}
    (number,) = numbers
    return number


def lives(pid: int) -> bool:
    """Is there such a process, and is it more than a zombie?"""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def of(server: Server) -> list[str]:
    """The command lines of the processes that daemons of a server consist of."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                line = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                if f"{server.root}/run/mod_python." in line and lives(int(entry.name)):
                    found.append(f"{entry.name} {line}")
    return found


def connects(path: Path, name: Optional[str]) -> bool:
    """Can a user connect to a socket?"""
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    settings: dict[str, Any] = {"user": name, "group": group(name), "extra_groups": []} if ROOT and name else {}
    done = subprocess.run(
        [sys._base_executable, "-c", code, str(path)], capture_output=True, check=False, cwd="/", **settings
    )
    return done.returncode == 0


def asked(path: Path, uri: str = "/", patience: float = PATIENCE) -> bytes:
    """What a daemon answers on its socket, all of it."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(patience)
        peer.connect(str(path))
        peer.sendall(f"GET {uri} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while True:
            data = peer.recv(1 << 16)
            if not data:
                return answer
            answer += data
