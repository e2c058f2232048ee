"""One generation: an httpd that serves the daemon's socket, from its start until nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import Callable, Optional

from mod_python._daemon import configuration
from mod_python._daemon.board import Board
from mod_python._daemon.journal import Journal, Relay
from mod_python._daemon.task import Task
from mod_python._own import root
from mod_python._own.process import Telling
from mod_python._own.programs import Httpd

_PAGE = os.sysconf("SC_PAGESIZE")
_MARGIN = 10.0
"""Seconds beyond httpd's own patience, before what is left of it is killed."""
_IMPATIENCE = 8.0
"""The same where its requests need not end: httpd's children have five for Python's end."""
_DYING = 1.0
"""Seconds for what has been killed to end."""


class Served:
    """An httpd, its pipes, its memory, its files."""

    def __init__(
        self, task: Task, httpd: Httpd, place: str, journal: Journal, on_death: Callable[[int, str], None]
    ) -> None:
        """Start it. Raises OSError, Problem where that fails; nothing is left then."""
        self.task, self.place = task, place
        self.began = time.monotonic()
        self.outcome = ""
        """What it has said: ``ready``, or ``failed`` and why; nothing yet."""
        self.python = ""
        """The version of its Python, once it is ready."""
        self.children: dict[int, int] = {}
        """Resident memory of each child, in bytes."""
        self.deadline: Optional[float] = None
        """When it is killed: set once it is to end."""
        self.killed: Optional[float] = None
        """When it has been, first."""
        self.telling: Optional[Telling] = None
        """Whether it is to be told once more to end."""
        self.status: Optional[str] = None
        """How it has ended."""
        self.board = Board()
        self.relay = Relay(journal, on_death)
        self.ready, ready = os.pipe()
        os.set_blocking(self.ready, False)
        try:
            self._write(configuration.text_of(task, httpd, place, ready, self.board.descriptor))
            self.process = self._start(httpd, ready)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(ready)
            if self.relay.writes >= 0:
                self.relay.close_writer()

    def _write(self, text: str) -> None:
        for directory in (self.place, os.path.join(self.place, "run")):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
        # Options of an application may be secrets.
        root.write(os.path.join(self.place, "httpd.conf"), text, 0o600)

    def _start(self, httpd: Httpd, ready: int) -> subprocess.Popen[bytes]:
        name = self.task.display_name or httpd.program
        descriptors = [configuration.SOCKET, ready, *([self.board.descriptor] if self.board.descriptor >= 0 else [])]
        # A group of its own: what is killed at last is all of it.
        return subprocess.Popen(
            [name, "-d", self.place, "-f", os.path.join(self.place, "httpd.conf"), "-DFOREGROUND"],
            executable=httpd.program, stdin=subprocess.DEVNULL, stdout=self.relay.writes, stderr=self.relay.writes,
            pass_fds=descriptors, cwd=self.task.working_directory, start_new_session=True, umask=self.task.umask,
            env={**os.environ, **dict(self.task.environment)},
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of httpd's parent."""
        return self.process.pid

    def hear(self) -> None:
        """Read what it says of its start."""
        try:
            said = os.read(self.ready, 4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said and not self.outcome:
            self.outcome = said.decode("utf-8", "replace").splitlines()[0].strip()
            if self.outcome.startswith("ready"):
                self.outcome, _, self.python = self.outcome.partition(" ")
        if not said or self.outcome:
            self.silence()

    def silence(self) -> None:
        """Close the pipe: nothing more is to be said."""
        if self.ready >= 0:
            os.close(self.ready)
            self.ready = -1

    def look(self) -> set[int]:
        """Look at its children; those that have gone since the last time."""
        pids = self._pids()
        if pids is None:
            return set()
        before = set(self.children)
        # One that has ended has none; httpd's parent takes leave of it within a second.
        self.children = {pid: memory for pid, memory in ((pid, _memory(pid)) for pid in pids) if memory}
        return before - set(self.children)

    def _pids(self) -> Optional[list[int]]:
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
                return [int(pid) for pid in file.read().split()]
        except (OSError, ValueError):
            return None

    def takes(self) -> bool:
        """Whether requests may still come to it, which is to end."""
        parted = None if self.has_ended() else self.board.parted()
        if parted is None:
            return False
        return any(pid not in parted and _memory(pid) for pid in self._pids() or ())

    def has_ended(self) -> bool:
        """Whether httpd's parent has ended; its number stays taken until ``bury``."""
        if self.status is None:
            with contextlib.suppress(ChildProcessError):
                found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None:
                    return False
                killed = found.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
                self.status = _signal_text(found.si_status) if killed else f"status {found.si_status}"
            self.status = self.status or "status unknown"
        return True

    def stop(self, gracefully: bool) -> None:
        """Have it end: when its requests are done, or at once. What is left after a while is killed."""
        patience = configuration.patience_at_the_end(self.task) + _MARGIN if gracefully else _IMPATIENCE
        limit = time.monotonic() + patience
        self.deadline = limit if self.deadline is None else min(limit, self.deadline)
        if not self.has_ended():
            self.telling = Telling(self.place) if gracefully else None
            os.kill(self.pid, signal.SIGWINCH if gracefully else signal.SIGTERM)
        else:
            # Children that have lost their parent.
            self._signal_all(signal.SIGTERM)

    def _tell_again(self) -> None:
        # Where it was only just starting, it has not heard it.
        if self.telling and self.telling.is_forgotten() and not self.has_ended():
            self.telling.told()
            os.kill(self.pid, signal.SIGWINCH)

    def is_gone(self) -> bool:
        """Whether all of it has ended; past its deadline it is killed."""
        self._tell_again()
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self._signal_all(signal.SIGKILL)
            self.killed = self.killed or now
        # Whoever is killed ends in a moment, and not at once. What the kernel does not let go is not waited for.
        is_waited_for = self.killed is None or now < self.killed + _DYING
        return self.has_ended() and not (is_waited_for and self._others())

    def _others(self) -> bool:
        """Whether a process of its group is left, beside its parent, which has ended; zombies are nobody's any more."""
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != self.pid:
                with contextlib.suppress(OSError):
                    if os.getpgid(int(name)) == self.pid and not _is_zombie(int(name)):
                        return True
        return False

    def _signal_all(self, number: int) -> None:
        # Its parent is not buried: nobody else's group can have the number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self, pid: int) -> None:
        """Kill a child that will not end by itself."""
        if pid in self.children and not self.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def bury(self) -> None:
        """Take leave of it: its descriptors, its files."""
        self.process.wait()
        self._close()
        for directory, names, files in os.walk(self.place, topdown=False):
            for name in files:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(directory, name))
            for name in names:
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(directory, name))
        with contextlib.suppress(OSError):
            os.rmdir(self.place)

    def _close(self) -> None:
        self.silence()
        self.relay.close()
        self.board.close()


def _memory(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _is_zombie(pid: int) -> bool:
    # Its name, in front of its state, may have anything in it.
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")


def _signal_text(number: int) -> str:
    return f"signal {number}, {signal.strsignal(number) or 'unknown'}"
