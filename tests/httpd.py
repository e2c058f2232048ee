"""A private httpd: its own root, port, configuration and log. For the tests and the benchmarks.

Nothing of the system's httpd is used but its programs. What an httpd of one's own needs (programs, modules, sizes, places) is described
once, by mod_python._own, which `mod_python start` and this one use. What is served is the tests' own, broken configurations among them;
the benchmarks compare modules, which have to stand in the same httpd, so theirs is this one, too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Optional

from beside import beside_suite

PROJECT = Path(__file__).resolve().parent.parent
# For the programs beside the tests; pytest has it already.
if str(PROJECT / "python") not in sys.path:
    sys.path.append(str(PROJECT / "python"))

from mod_python._own import configuration, programs  # noqa: E402 # it lies there

RELEASE = Path(os.environ.get("MOD_PYTHON_MODULE") or PROJECT / "target/release/libmod_python.so")
CHILD_USER = "www-data"
BESIDE = os.environ.get("MOD_PYTHON_TEST_BESIDE", "")
"""What to put beside every server: nothing, `debian` (a fresh Debian's modules and settings, no memory kept) or `multiviews`."""
MODE = os.environ.get("MOD_PYTHON_TEST_MODE", "")
"""Where handlers run that a configuration gives no interpreter: '' in the main one, 'sub' in one beside it, 'own' in one with
a lock of its own (as every other that is made), 'pool' in the only one of a pool."""
INTERPRETER = {"": None, "sub": "tests", "own": "tests", "pool": "tests"}[MODE]
"""What a server is told with PythonInterpreter; None where the test is about who chooses, or needs the main one to be alone."""
PATIENCE = 30.0
"""Seconds to wait for httpd to answer or to stop."""


@functools.lru_cache(None)
def query_apxs(name: str) -> str:
    """A build setting of the installed httpd."""
    return subprocess.run(["apxs", "-q", name], check=True, capture_output=True, text=True).stdout.strip()


@functools.lru_cache(None)
def system_httpd() -> programs.Httpd:
    """The installed httpd: its program, and where its modules are. Raises mod_python._own.problems.Problem."""
    return programs.find()


_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now, and that nobody is given meanwhile.

    Not one of those that the system gives to clients, who could have it before a server does. Each of pytest's processes has its own.
    """
    number, count = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), 8
    while True:
        port = random.randrange(1250, 4050) * count + number % count
        if port not in _given:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def children_can_read(path: Path) -> bool:
    """Whether httpd's children, which run as another user when it is started as root, can read what is there."""
    if os.geteuid() != 0:
        return True
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents) and bool(path.stat().st_mode & 0o004)


class Httpd:
    """One httpd. Start it, ask it, stop it; `root` holds its files."""

    def __init__(
        self,
        config: str,
        *,
        mpm: str = "event",
        module: Optional[Path] = RELEASE,
        port: Optional[int] = None,
        root: Optional[Path] = None,
        threads: int = 16,
        children: int = 1,
        level: str = "info",
        modules: tuple[str, ...] = (),
        wrapper: tuple[str, ...] = (),
        beside: bool = True,
        interpreter: Optional[str] = INTERPRETER,
    ) -> None:
        if root is None:
            root = Path(tempfile.mkdtemp(prefix="mod_python-"))
            self._own_root = True
        else:
            self._own_root = False
            root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.port = port or free_port()
        self.mpm, self.threads, self.children, self.level = mpm, threads, children, level
        self.modules, self.wrapper, self.beside, self.interpreter = modules, wrapper, beside, interpreter
        self.root.chmod(0o755)
        for name in ("htdocs", "run"):
            (root / name).mkdir(exist_ok=True)
        self.log = root / "error_log"
        self._read = 0
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.module = self.staged(module) if module else None
        self.configure(config)

    def configure(self, config: str) -> None:
        """Write the configuration; `@ROOT@` and `@PORT@` in it are replaced."""
        text = self._preamble() + config
        text = text.replace("@ROOT@", str(self.root)).replace("@PORT@", str(self.port))
        (self.root / "httpd.conf").write_text(text)

    def check(self) -> subprocess.CompletedProcess[str]:
        """`httpd -t`."""
        return subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)

    def start(self, *defines: str) -> Httpd:
        """Start it and wait until it accepts connections."""
        command = [*self._command(), "-DFOREGROUND", *defines]
        with (self.root / "output").open("ab") as output:
            # A session of its own: httpd signals its whole process group when it stops. Its children can go to where it is.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=self.root
            )
        self._wait(self._accepts, "httpd did not start")
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it (SIGWINCH: gracefully) and wait until it is gone."""
        if self._process is None:
            return
        self.settle()
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            # Its children, too: they are of its session, and may be busy for ever.
            os.killpg(process.pid, signal.SIGKILL)
            raise

    def graceful(self) -> None:
        """Restart it gracefully and wait until the new generation is there and the old one gone."""
        before, old = self.log_text().count("resuming normal operations"), set(self.child_pids())
        self.signal(signal.SIGUSR1)
        self._wait(lambda: self.log_text().count("resuming normal operations") > before, "no graceful restart")
        self._wait(lambda: not old & set(self.child_pids()), "the old generation stays")

    def signal(self, number: int) -> None:
        """Send a signal to the parent process."""
        if self._process is None:
            raise RuntimeError("httpd is not running")
        self._process.send_signal(number)

    def remove(self) -> None:
        """Remove its files."""
        if self._own_root:
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and not been stopped."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The parent's process id."""
        if self._process is None:
            raise RuntimeError("httpd is not running")
        return self._process.pid

    def child_pids(self) -> list[int]:
        """The children's process ids; those of daemons' keepers are not among them."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in children if not is_keeper(pid)]

    def write(self, name: str, text: str) -> Path:
        """Write a file under the root so that children can read it: who reads it meanwhile has the old one, or all of the new one."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not beside it, where somebody may be looking what there is.
        descriptor, new = tempfile.mkstemp(prefix="written-", dir=self.root / "run")
        with open(descriptor, "w") as file:
            file.write(text)
        os.chmod(new, 0o644)
        os.replace(new, path.resolve())
        return path

    def log_text(self) -> str:
        """The whole error log."""
        try:
            return whole(self.log.read_text(errors="replace"))
        except FileNotFoundError:
            return ""

    def new_log(self) -> str:
        """What the error log has gained since the last call."""
        text = self.log_text()
        new, self._read = text[self._read :], len(text)
        return new

    def wait_log(self, pattern: str) -> str:
        """Wait until the part of the log that `new_log` has not given yet matches; return the matching line."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in entries(self.log_text()[self._read :]) if re.search(pattern, line)]
            return bool(found)

        self._wait(look, f"the error log shows no {pattern!r}")
        return found[0]

    def url(self, path: str = "/") -> str:
        """A URL of this server."""
        return f"http://127.0.0.1:{self.port}{path}"

    def settle(self) -> None:
        """Wait, but not for ever, until no thread of a child, or of a daemon, runs: what follows an answer has been done, and is in the log.

        And httpd's event MPM races with itself when it is stopped while a worker closes a connection, and may crash in
        apr_os_sock_get() with no module of ours loaded (seen with 2.4.71 and static files).
        """
        before: dict[str, str] = {}

        def asleep() -> bool:
            # Nothing ran between two looks: every thread sleeps, and none has been switched to meanwhile.
            nonlocal before
            after = {}
            for pid in descendants(self.pid):
                for status in Path(f"/proc/{pid}/task").glob("*/status"):
                    with contextlib.suppress(OSError):
                        lines = status.read_text().splitlines()
                        wanted = ("State:", "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")
                        after[str(status)] = " ".join(line for line in lines if line.startswith(wanted))
            quiet = after == before and not any(re.search(r"[RD] \(", text) for text in after.values())
            before = after
            return quiet

        with contextlib.suppress(TimeoutError, OSError):
            self._wait(asleep, "the children are busy", 2, 0.002)

    def _command(self) -> list[str]:
        preload = os.environ.get("MOD_PYTHON_PRELOAD")
        environment = ("env", f"LD_PRELOAD={preload}") if preload else ()
        return [
            *self.wrapper,
            *environment,
            system_httpd().program,
            "-d",
            str(self.root),
            "-f",
            str(self.root / "httpd.conf"),
        ]

    def _preamble(self) -> str:
        line = configuration.line
        beside, settings = beside_suite(BESIDE) if BESIDE and self.beside else ([], "")
        needed = ("unixd", "log_config", "authn_core", "authz_core", "mime", "dir")
        started = self.children * 2 if self.mpm == "prefork" else self.children
        lines = [
            *configuration.loads(system_httpd(), self.mpm, [*needed, *beside, *self.modules]),
            *([line("LoadModule", "python_module", str(self.module))] if self.module else []),
            configuration.place(str(self.root), f"{self.root}/run", f"{self.root}/run/httpd.pid"),
            line("ServerName", "localhost"),
            line("Listen", f"127.0.0.1:{self.port}"),
            *([line("User", CHILD_USER), line("Group", CHILD_USER)] if os.geteuid() == 0 else []),
            *configuration.sizes(self.mpm, self.children, self.threads, started, 1),
            # A child that a test has seen stays: after many requests at once, prefork would end some of those that it has made for them.
            *([line("MaxSpareServers", 256)] if self.mpm == "prefork" else []),
            line("TypesConfig", configuration.mime_types(os.devnull)),
            line("ErrorLog", str(self.log)),
            line("LogLevel", self.level),
            line("DocumentRoot", f"{self.root}/htdocs"),
            line("MaxKeepAliveRequests", 0),
        ]
        mode = "PythonInterpreterGIL own\n" if self.module and MODE == "own" else ""
        if self.module and self.interpreter:
            mode += f"PythonInterpreterPool {self.interpreter} size=1\n" if MODE == "pool" else ""
            mode += f"PythonInterpreter {self.interpreter}\n"
        return (
            "".join(map(str, lines))
            + f"<Directory />\n    AllowOverride None\n    Require all granted\n</Directory>\n{settings}{mode}"
        )

    def staged(self, module: Path, folder: str = "module") -> Path:
        """The module's place, or a copy with its package where children can read it, in a folder below the root."""
        if not module.exists():
            raise FileNotFoundError(f"{module} is not there; run `make build`")
        if children_can_read(module) and children_can_read(PROJECT / "python/mod_python/apache.py"):
            return module
        copy = self.root / folder / module.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(module, copy)
        shutil.copytree(PROJECT / "python", copy.parent / "python", dirs_exist_ok=True)
        subprocess.run(["chmod", "-R", "a+rX", str(copy.parent)], check=True)
        return copy

    def _accepts(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            output = (self.root / "output").read_text(errors="replace")
            raise RuntimeError(f"httpd ended with status {self._process.returncode}: {output}{self.log_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return "resuming normal operations" in self.log_text()
        return False

    @staticmethod
    def _wait(done: Callable[[], bool], complaint: str, patience: float = PATIENCE, step: float = 0.01) -> None:
        limit = time.monotonic() + patience
        while not done():
            if time.monotonic() > limit:
                raise TimeoutError(complaint)
            # What a process has come to, nobody tells: a log, a port and /proc are looked at.
            time.sleep(step)


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs. Raises OSError where it has gone."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    for child in tuple(found):
        with contextlib.suppress(OSError):
            found += descendants(child)
    return found


def is_keeper(pid: str) -> bool:
    """Is a process the keeper of a daemon?"""
    with contextlib.suppress(OSError):
        return b"/mod_python/_daemon/__main__.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


_DECORATION = re.compile(r"\[[^]]*\] \[python:\w+\] \[(pid \d+[^]]*)\] (?:\[(?:client|remote) [^]]*\] )?(?=(.*))")
# One that has no frames of the application.
_FRAMELESS = re.compile(r"(?:^|: )[A-Za-z_][\w.]*(?:Error|Exception|Exit)(?:: |$)")
_CHAINED = re.compile("During handling of the above exception, another|The above exception was the direct cause")


def whole(text: str) -> str:
    """Without a last line that somebody is still writing: who reads a file while it grows may find a part of one, where it crosses a page."""
    return text[: text.rfind("\n") + 1]


def whole_lines(file: Path) -> list[str]:
    """The lines that a growing file has so far; none where there is no file yet."""
    return whole(file.read_text(errors="replace")).splitlines() if file.exists() else []


def entries(log: str) -> list[str]:
    """What a log tells: its lines, but a traceback as one line, with `\\n` between its lines, which are entries of their own."""
    found: list[list[str]] = []
    # The traceback that a thread is in the middle of, and whether its exception is still to come.
    open_ones: dict[str, tuple[list[str], bool]] = {}
    for line in log.splitlines():
        decoration = _DECORATION.match(line)
        if decoration is None:
            found.append([line])
            continue
        thread, text = decoration[1], decoration[2]
        parts, running = open_ones.get(thread, ([], False))
        # A SyntaxError may have no frames.
        starts = "Traceback (most recent call last):" in text or re.search(r'\S:   File "', text) is not None
        goes_on = parts and (running or starts or _CHAINED.match(text) or text.startswith("mod_python: "))
        if goes_on and not (starts and re.match(r"[#\w]", text) and not text.startswith("Traceback")):
            parts.append(line[decoration.end() :])
            ends = not starts and not re.match(r"\s", text)
            open_ones[thread] = (parts, (running and not ends) or starts or _CHAINED.match(text) is not None)
        else:
            found.append([line])
            open_ones[thread] = (found[-1], starts) if starts or _FRAMELESS.search(text) else ([], False)
    return ["\\n".join(parts) for parts in found]


def resident(pid: int) -> int:
    """A process's resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
