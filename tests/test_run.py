"""`make run` and `make install`: what people type first."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import pytest
from client import ask, attempt

from httpd import CHILD_USER, PROJECT, free_port

PYTHON = os.environ.get("PYO3_PYTHON", "/usr/bin/python3")
HELLO = "from mod_python import apache\ndef handler(req):\n    req.write(%r)\n    return apache.OK\n"


class Running:
    """`make run`, once it serves."""

    def __init__(self, site: Path, port: int, output: Path) -> None:
        self.port, self.output = port, output
        command = [PYTHON, str(PROJECT / "tools/run.py"), "--site", str(site), "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=output.open("w"), stderr=subprocess.STDOUT, cwd=PROJECT)
        limit = time.monotonic() + 60
        while "Ctrl-C stops it." not in self.said() and self.process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self.output.read_text()

    def get(self, path: str) -> str:
        answer = ask(self.port, path)
        assert answer.status == 200, self.said()
        return answer.text

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.said()


Run = Callable[[Path], Running]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    running: list[Running] = []

    def start(site: Path) -> Running:
        running.append(Running(site, free_port(), tmp_path / "output"))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that httpd's children can read, with what shells and configurations trip over in its name."""
    place = Path(f'{os.environ.get("TMPDIR", "/tmp")}/make run {os.getpid()} it\'s "q"')
    place.mkdir()
    place.chmod(0o755)
    (place / "mp.py").write_text(HELLO % "first")
    (place / "not-a-module.py").write_text("")
    yield place
    shutil.rmtree(place)


def test_the_directory_itself_is_served(run: Run, site: Path) -> None:
    server = run(site)
    assert f"Serving {site}\n" in server.said() and server.get("/") == "first"
    (site / "mp.py").write_text(HELLO % "second, and longer")
    limit = time.monotonic() + 30
    while getattr(attempt(server.port, "/"), "text", None) != "second, and longer":
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="this user is the children's user, too")
@pytest.mark.parametrize("closed", [".", "inner", "inner/data.txt"])
def test_a_copy_is_said_to_be_one(run: Run, site: Path, closed: str) -> None:
    (site / "inner").mkdir()
    (site / "inner/data.txt").write_text("data")
    (site / ".git").mkdir(mode=0o700)
    (site / closed).chmod(0o600 if closed.endswith(".txt") else 0o700)
    server = run(site)
    wanted = f"Serving a copy of {site} as it is now, since {CHILD_USER} cannot reach {site / closed} (`chmod o+rX`"
    assert wanted in server.said() and server.get("/") == "first"


def test_an_environment_in_the_site(run: Run, site: Path) -> None:
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(site / ".venv")], check=True)
    package = next((site / ".venv/lib").glob("python*/site-packages")) / "only_there.py"
    package.write_text("VALUE = 'from .venv'\n")
    subprocess.run(["chmod", "-R", "a+rX", str(site)], check=True)
    (site / "mp.py").write_text(
        f"import only_there\n{HELLO % ''}".replace("req.write('')", "req.write(only_there.VALUE)")
    )
    server = run(site)
    assert f"with the packages of {site}/.venv" in server.said() and server.get("/") == "from .venv"


@pytest.mark.parametrize("port", ["99999", "0", "-1", "abc", "80 80", ""])
def test_no_port(port: str) -> None:
    command = [PYTHON, str(PROJECT / "tools/run.py"), "--site", str(PROJECT / "examples"), f"--port={port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"{port!r} is no port, which is a number from 1 to 65535" in done.stderr


def test_make_passes_on_what_it_is_given() -> None:
    done = subprocess.run(
        ["make", "-n", "run", "SITE=a b", "PORT=1 2"], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert '--site "a b" --port "1 2"' in done.stdout


def test_the_guides_test_of_a_handler_runs_as_printed() -> None:
    """Typed into a shell in a checkout, by somebody who has set nothing."""
    page = (PROJECT / "docs/guide/testing.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.M)
    (block,) = [block for block in blocks if "PYTHONPATH" in block]
    script = "".join(f"{line[4:]}\n" for line in block.splitlines())

    def typed(lines: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(["/bin/sh", "-c", lines], capture_output=True, text=True, cwd=PROJECT, env=environment)

    done = typed(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # It would tell.
    assert "AssertionError" in typed(script.replace("Hello World!", "Hello spam!")).stderr


def test_what_is_missing_is_asked_for_by_verb(tmp_path: Path) -> None:
    """On a machine that lacks everything, for somebody who is not root and has no sudo."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "id", "ls", "grep", "test", "readlink", "printf", "sed"):
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    for name, text in {"cargo": "", "apt-get": "", "id": "echo 1000", "ls": "exit 1"}.items():
        (tools / name).unlink(missing_ok=True)
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)

    def asked(purpose: Optional[str]) -> list[str]:
        command = [
            "/bin/sh",
            str(PROJECT / "tools/setup.sh"),
            str(tmp_path / "no-python"),
            *([purpose] if purpose else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": str(tools)})
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if "Type this as root" in line]
        before, _, packages = line.partition(": apt-get install --no-install-recommends ")
        assert before == "Type this as root, then try again"
        return packages.split()

    build = asked(None)
    assert "apache2-dev" in build and "libclang-dev" in build and "python3-dev" in build
    assert not {"apache2-utils", "curl", "python3-venv", "chromium", "valgrind"} & set(build)
    assert "python3-venv" in asked("venv") and "chromium" not in asked("venv")
    assert {"chromium", "python3-venv", "apache2-utils"} <= set(asked("tests"))
    assert "curl" not in asked("run")


def test_a_python_that_is_too_old_is_refused_at_once(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" != -V ] || echo Python 3.8.18\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(["make", "wheel", f"PYTHON={old}"], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 2
    assert f"mod_python needs Python 3.9 or newer, and {old} is Python 3.8.18" in done.stderr
    assert "cargo" not in done.stdout
