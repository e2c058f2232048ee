"""`mod_python start` and its like, run as somebody types them: as httpd's usual user where the tests are root's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Optional

from client import Answer, ask
from conftest import Server

from httpd import CHILD_USER, PROJECT

ROOT = os.geteuid() == 0
PATIENCE = 30.0


def until(done: Callable[[], bool], complaint: Callable[[], str]) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < limit, complaint()
        time.sleep(0.01)


class Started:
    """`mod_python start` in a terminal, once it serves."""

    def __init__(self, command: list[str], output: Path, directory: Path) -> None:
        self.output = output
        with output.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=directory, stdin=subprocess.DEVNULL
            )
        until(lambda: "Ctrl-C stops it." in self.said() or self.process.poll() is not None, self.said)
        found = re.search(r"Serving at https?://\S+:([0-9]+)/ \(process ([0-9]+)", self.said())
        assert found, self.said()
        self.port, self.httpd = int(found[1]), int(found[2])

    def said(self) -> str:
        return self.output.read_text()

    def get(self, path: str = "/", method: str = "GET") -> Answer:
        return ask(self.port, path, method)

    def ok(self, path: str = "/") -> str:
        answer = self.get(path)
        assert answer.status == 200, (answer.status, answer.text, self.said())
        return answer.text

    def stop(self, number: int = signal.SIGINT) -> str:
        """Ctrl-C; what it has said since it serves."""
        if self.process.poll() is None:
            # runuser passes signals on, but not Ctrl-C's.
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            os.kill(int(children[0]) if children else self.process.pid, number)
        self.ended()
        return self.said().partition("Ctrl-C stops it.\n")[2]

    def ended(self) -> None:
        """Waits until it has ended, as it is to."""
        assert self.process.wait(PATIENCE) == 0, self.said()
        until(lambda: not Path(f"/proc/{self.httpd}").exists(), lambda: "httpd goes on")


class Command:
    """Runs the command beside the module under test, in a directory of the user's own."""

    def __init__(self, server: Server) -> None:
        assert server.module
        staged = server.root / "module/libmod_python.so"
        self.module = staged if staged.exists() else server.module
        self.package = server.root / "module/python" if staged.exists() else PROJECT / "python"
        self.place = server.root / "place"
        for directory in (self.place, self.place / "tmp"):
            directory.mkdir()
            self.give(directory)
        self.running: list[Started] = []
        self.python = sys._base_executable
        self.variables: dict[str, str] = {}
        """Instead of the usual ones."""
        self._count = 0

    def give(self, path: Path) -> None:
        """Make something the user's."""
        path.chmod(0o755 if path.is_dir() else 0o644)
        if ROOT:
            shutil.chown(path, CHILD_USER, CHILD_USER)

    def write(self, name: str, text: str) -> Path:
        """A file of the user's, and the directories above it."""
        path = self.place / name
        for above in reversed(path.relative_to(self.place).parents[:-1]):
            if not (self.place / above).exists():
                (self.place / above).mkdir()
                self.give(self.place / above)
        # A file that is replaced as an editor does it.
        new = path.with_name(f"{path.name}~")
        new.write_text(text)
        self.give(new)
        new.replace(path)
        return path

    def line(self, arguments: tuple[str, ...], user: Optional[str] = CHILD_USER, **environment: str) -> list[str]:
        variables = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.place / "tmp"),
            "PYTHONPATH": str(self.package),
            "MOD_PYTHON_MODULE": str(self.module),
            **self.variables,
            **environment,
        }
        other = ["runuser", "-u", user, "--"] if user and ROOT else []
        words = [f"{name}={value}" for name, value in variables.items()]
        return [*other, "/usr/bin/env", "-i", *words, self.python, "-B", "-m", "mod_python", *arguments]

    def __call__(
        self, *arguments: str, user: Optional[str] = CHILD_USER, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = self.line(arguments, user, **environment)
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.place, timeout=60)

    def start(self, *arguments: str, user: Optional[str] = CHILD_USER, **environment: str) -> Started:
        """`mod_python start … --port 0`."""
        self._count += 1
        line = self.line(("start", *arguments, "--port", "0"), user, **environment)
        started = Started(line, self.place / f"output{self._count}", self.place)
        self.running.append(started)
        return started

    def refused(self, *arguments: str, user: Optional[str] = CHILD_USER, **environment: str) -> str:
        """What `mod_python` says when it does not do it: in a few lines, without a traceback of its own."""
        done = self(*arguments, user=user, **environment)
        assert done.returncode in (1, 2) and done.stdout == "" and "Traceback" not in done.stderr, done
        # A machine that has other work to do may take longer for an import than is passed over in silence.
        said = re.sub(r"^.*: the import goes on, after \d+ seconds\n", "", done.stderr, flags=re.MULTILINE)
        assert said.startswith(f"mod_python {arguments[0]}: "), done.stderr
        return said

    def close(self) -> None:
        for started in self.running:
            if started.process.poll() is None:
                started.stop()
