"""Imports modules in processes of their own, as httpd's user, and for a limited time. Whatever such a process starts ends with it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Optional

from mod_python._doctor.access import Identity

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
_START = "import sys, json; exec(sys.argv[1]); main(sys.argv[1], json.loads(sys.argv[2]))"
_MOST = 1 << 18
"""Bytes that are kept of what a process says."""
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER (prctl(2))."""
_ROUNDS = 200


@dataclass(frozen=True)
class Job:
    """What is to be imported, and how."""

    python: str
    """The interpreter's path."""
    module: str
    """A module's name or a file's path."""
    object: str
    """What has to be in it; empty for nothing."""
    path: str = ""
    """PythonPath's expression."""
    directories: tuple[str, ...] = ()
    """Those of the section."""
    package: str = ""
    """Where the package mod_python is."""
    beside: int = 0
    """0: in the main interpreter, 1: in two sub-interpreters, 2: in two with locks of their own."""


@dataclass
class Outcome:
    """What became of it."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    """One for each interpreter."""
    timed_out: bool = False
    status: int = 0
    said: str = ""
    """The end of what was written to the standard streams."""

    @property
    def answer(self) -> Optional[dict[str, Any]]:
        """The first interpreter's answer."""
        return self.answers[0] if self.answers else None


def run(job: Job, who: Identity, limit: float) -> Outcome:
    """Do a job. Raises OSError where the interpreter cannot be started, PermissionError where it would have to be as root."""
    if who.user == 0:
        raise PermissionError("code of a site is not run as root")
    with open(_CHILD, encoding="utf-8") as file:
        source = file.read()
    reading, writing = os.pipe()
    described = {name: getattr(job, name) for name in ("module", "object", "path", "directories", "package", "beside")}
    settings: dict[str, Any] = {}
    if os.geteuid() == 0:
        settings = {"user": who.user, "group": who.group, "extra_groups": list(who.groups), "umask": 0o077}
    with _strays_end(), open(reading, "rb", buffering=0) as answers:
        try:
            process = subprocess.Popen(
                [job.python, "-I", "-B", "-c", _START, source, json.dumps({**described, "pipe": writing})],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
                start_new_session=True,
                **settings,
            )
        finally:
            os.close(writing)
        with process:
            said = process.stdout
            assert said is not None
            os.set_blocking(answers.fileno(), False)
            os.set_blocking(said.fileno(), False)
            try:
                outcome, told = _watch(process, answers.fileno(), said.fileno(), limit)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                said.close()
            process.wait()
    outcome.status = process.returncode
    outcome.answers = list(_read(told))
    return outcome


def _watch(process: subprocess.Popen[bytes], answers: int, said: int, limit: float) -> tuple[Outcome, bytes]:
    """Wait for the end of a process, but no longer than the limit, and take what it says."""
    outcome, told, heard = Outcome(), bytearray(), bytearray()
    end = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        selector.register(answers, selectors.EVENT_READ, told)
        selector.register(said, selectors.EVENT_READ, heard)
        over = False
        while not over:
            # Looked at first: what has been written before the end is taken in the round behind it.
            over = _has_ended(process.pid)
            if time.monotonic() > end:
                outcome.timed_out = over = True
            for key, _ in selector.select(0 if over else 0.01):
                try:
                    data = os.read(key.fd, 1 << 16)
                except BlockingIOError:
                    continue
                if not data:
                    selector.unregister(key.fd)
                key.data.extend(data[: max(0, _MOST - len(key.data))])
            if not selector.get_map() and not over:
                # It has closed its streams and goes on: until its end, or the limit.
                time.sleep(0.01)
    outcome.said = heard[-2000:].decode(errors="replace")
    return outcome, bytes(told)


def _has_ended(pid: int) -> bool:
    """Has a child process ended? It is not waited for: its number stays its own, so that its group can be ended by it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _read(told: bytes) -> Iterator[dict[str, Any]]:
    """Answers; the process may have written there what it likes."""
    shape = {
        "ok": bool,
        "stage": str,
        "type": str,
        "text": str,
        "file": str,
        "line": int,
        "frames": list,
        "unknown": str,
    }
    for line in told.decode(errors="replace").splitlines()[:2]:
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if not isinstance(found, dict):
                continue
            kept = {name: found[name] for name, kind in shape.items() if isinstance(found.get(name), kind)}
            if "ok" in kept:
                yield kept


@contextlib.contextmanager
def _strays_end() -> Iterator[None]:
    """Ends, behind the block, what a process of it has started and left behind."""
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    before = set(_children())
    adopts = prctl is not None and prctl(_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        for _ in range(_ROUNDS if adopts else 0):
            strays = [pid for pid in _children() if pid not in before]
            if not strays:
                break
            for pid in strays:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except PermissionError:
                    before.add(pid)  # has become somebody else, whom only root could end
                except (ProcessLookupError, ChildProcessError):
                    pass
        if adopts and prctl is not None:
            prctl(_SUBREAPER, 0, 0, 0, 0)


def _children() -> list[int]:
    """The processes whose parent is this one (proc(5))."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
                found += [int(pid) for pid in file.read().split()]
    return found
