"""Fixtures: a real httpd a test module and MPM, whose error log must hold nothing that no test has claimed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Callable

import pytest
from client import Answer, ask
from databases import Postgres, Redis
from hypothesis import HealthCheck, settings

from httpd import INTERPRETER, MODE, Httpd, entries

APPS = Path(__file__).parent / "apps"
MPMS = ("event", "worker", "prefork")
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
"""The tests run on the Python that the module embeds."""
DEFAULT_INTERPRETER = "tests#1" if MODE == "pool" else INTERPRETER
"""Where handlers run that a configuration gives no interpreter; None: where httpd's virtual host says."""
MEMORY = 256 if os.environ.get("MOD_PYTHON_PRELOAD") else 32 if FREE_THREADED else 1
"""How many times as much a child may grow before it levels out: AddressSanitizer keeps what is freed for a while, and a
free-threaded Python keeps memory for each thread."""
SERIOUS = re.compile(r":(error|crit|alert|emerg)\]|exit signal")
CAPACITY = re.compile("server reached MaxRequestWorkers setting|scoreboard is full, not at MaxRequestWorkers")
"""What httpd says where a test keeps all its workers for a moment, or children come and go fast: on a slow machine, any test may."""


# What something costs is counted elsewhere: a busy machine is slow at anything.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

TAIL = 5000
"""How much of an error log is shown, in characters, when something in it has not been claimed: what ended a child stands there."""


def alarms(text: str) -> list[str]:
    """What somebody has to look into in an error log: lines, tracebacks."""
    return [line for line in entries(text) if SERIOUS.search(line) and not CAPACITY.search(line)]


class Server(Httpd):
    """An httpd that keeps the handlers of tests/apps in its root."""

    def __init__(self, config: str, **settings: Any) -> None:
        self.claims: list[str] = []
        super().__init__("", **settings)
        shutil.copytree(APPS, self.root / "apps", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        apps = self.root / "apps"
        # Whatever the umask was when the project was cloned.
        for path in (apps, *apps.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.configure(config)

    def get(self, path: str = "/", method: str = "GET", **arguments: Any) -> Answer:
        return ask(self.port, path, method, **arguments)

    def ok(self, path: str, method: str = "GET", **arguments: Any) -> Answer:
        """Ask, and expect 200."""
        answer = self.get(path, method, **arguments)
        assert answer.status == 200, (answer.status, answer.text, self.log_text()[-3000:])
        return answer

    def claim(self, pattern: str) -> str:
        """Expect an error in the log; return its line."""
        line = self.wait_log(pattern)
        self.claims.append(pattern)
        return line

    def unclaimed(self) -> list[str]:
        """The serious lines that the log has gained and no test has claimed."""
        return [line for line in alarms(self.new_log()) if not any(re.search(claim, line) for claim in self.claims)]


@pytest.fixture(scope="session", params=MPMS)
def mpm(request: pytest.FixtureRequest) -> str:
    """The MPM under test."""
    return str(request.param)


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A Redis server."""
    server = Redis()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    server = Postgres()
    yield server
    server.remove()


Serve = Callable[..., Server]


def _factory() -> Iterator[Serve]:
    servers: list[Server] = []

    def serve(config: str, *, start: bool = True, **settings: Any) -> Server:
        server = Server(config, **settings)
        servers.append(server)
        if start:
            server.start()
        return server

    serve.servers = servers  # type: ignore[attr-defined]
    yield serve
    for server in servers:
        server.stop()
    unclaimed = [(line, server.log_text()[-TAIL:]) for server in servers for line in server.unclaimed()]
    for server in servers:
        server.remove()
    assert not unclaimed, "\n".join(
        ["nobody has claimed", *(line for line, _ in unclaimed), "in the log", unclaimed[0][1]]
    )


@pytest.fixture(scope="module")
def serve_module() -> Iterator[Serve]:
    """Makes servers that stop at the end of the test module."""
    yield from _factory()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes servers that stop at the end of the test."""
    yield from _factory()


@pytest.fixture(autouse=True)
def error_log_is_claimed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: nothing serious in the log of a server of the module that the test has not claimed."""
    yield
    if "serve_module" in request.fixturenames:
        for server in request.getfixturevalue("serve_module").servers:
            if server.claims and server.is_running:
                # What is claimed may be said once more, when its client has the answer: that is not the next test's.
                server.settle()
            unclaimed = server.unclaimed()
            server.claims.clear()
            assert not unclaimed, unclaimed


def install(server: Server, *packages: str, into: str = "apps") -> None:
    """Copy packages of the tests' environment, with what they need, to where httpd's user can read them."""
    wanted, known = list(packages), set()
    while wanted:
        try:
            package = distribution(wanted.pop())
        except PackageNotFoundError:
            continue  # needed by other Pythons than this one
        if package.name in known:
            continue
        known.add(package.name)
        wanted += [re.split(r"[^\w.-]", line)[0] for line in package.requires or [] if "extra ==" not in line]
        for file in package.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = server.root / into / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)
    subprocess.run(["chmod", "-R", "a+rX", str(server.root / into)], check=True)


def environment(server: Server, place: str, *packages: str) -> None:
    """Make a virtual environment of the Python that the module embeds, with packages of the tests' own."""
    home = server.root / place
    python = os.environ.get("PYO3_PYTHON", "/usr/bin/python3")
    subprocess.run([python, "-m", "venv", "--without-pip", str(home)], check=True)
    [site] = (home / "lib").glob("python3*/site-packages")
    install(server, *packages, into=str(site.relative_to(server.root)))


def places(*apps: str) -> str:
    """A `<Location /app/function>` for every function of the apps that takes a request."""
    lines = ["PythonPath \"sys.path+['@ROOT@/apps']\""]
    for app in apps:
        tree = ast.parse((APPS / f"{app}.py").read_text())
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        lines += [
            f"<Location /{app}/{function.name}>\nSetHandler mod_python\nPythonHandler {app}::{function.name}\n</Location>"
            for function in functions
            if [argument.arg for argument in function.args.args] == ["req"]
        ]
    return "\n".join(lines) + "\n"
