"""The process of a server: which it is, whether it serves, how it is told to stop. A foreign process is never signalled."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import sys
import time
from typing import Optional

from mod_python._own import root
from mod_python._own.options import Options
from mod_python._own.problems import Problem

PATIENCE = 600.0
"""Seconds that a server may take to start: its applications are imported meanwhile."""
PATIENCE_WITHOUT = 30.0
"""Seconds that it may take to be there at all, or be gone."""
_STOPPING = 45.0
"""Seconds that a server may take to stop: more than GracefulShutdownTimeout."""
AGAIN = 1.5
"""Seconds after which is looked whether a server has forgotten what it was told. Not a second, which is how long httpd may sleep before it
begins to end: it would be told just then."""
_COARSE = 10_000_000
"""Nanoseconds by which a file may seem older than it is: the system marks it with its last tick."""
_HEARING = 2.0
"""Seconds for a child without its parent to end when it is told. Prefork's do, at once; event's and worker's wait for a word in their
parent's pipe and take new requests until then, so that waiting longer finishes nothing."""

ERROR_LOG = re.compile(r"\[\w{3} \w{3} ")
"""How a line of the error log begins (ErrorLogFormat's default)."""
PYTHON_FAILED = re.compile(r"^.*\[python:crit\].*$", re.M)
START_UP_FAILED = re.compile(
    r"^(\[.*?\] \[python:error\] \[pid [^]]*\]) (the start-up of .* \(lifespan\)): (.*)$", re.M
)
"""Of an ASGI application: how its thread's lines begin, what has failed, and why, whose further lines are entries of their own."""
IMPORT_FAILED = re.compile(r"^.*\[python:error\].*PythonImport mod_python\._own\.preload::run .*$", re.M)


def running(state: root.State) -> Optional[int]:
    """The server's process, while it runs: what the pid file names, if that is an httpd with this configuration."""
    try:
        with open(os.path.join(state.root, root.PID_FILE)) as file:
            pid = int(file.read(32))
    except (OSError, ValueError):
        return None
    return pid if pid > 1 and has_configuration(pid, state.config) else None


def has_configuration(pid: int, config: str) -> Optional[bool]:
    """Is a process an httpd that was started with a configuration file? None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return None
    # By whatever links it was named, to httpd or here.
    wanted = os.path.realpath(config)
    return any(word.startswith(b"/") and os.path.realpath(os.fsdecode(word)) == wanted for word in words)


def children(pid: int, config: str) -> set[int]:
    """The children of an httpd that serve, or shall; nothing where the system does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            found = [int(word) for word in file.read().split()]
    except (OSError, ValueError):
        return set()
    # Not programs that it logs to.
    return {child for child in found if has_configuration(child, config)}


def tell(state: root.State, number: int, only: Optional[int] = None) -> Optional[int]:
    """Send a signal to the server, if it is the process ``only``; its process, or None where there is none.

    Raises Problem where another user's it is.
    """
    pid = running(state)
    if pid is None or only not in (None, pid):
        return None
    try:
        # Held from here on: a number that is given to another process meanwhile would be refused.
        descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    except OSError:
        return None
    try:
        if running(state) != pid:
            return None
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return None
    except PermissionError:
        raise Problem(f"the server in {state.root} (process {pid}) is another user's") from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return pid


def left(state: root.State) -> list[int]:
    """The processes of a server whose own has been killed: they go on, hold its port, and answer as they did."""
    if running(state) is not None:
        return []
    wanted = [b"-d", os.fsencode(state.root), b"-f", os.fsencode(state.config)]
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            is_mine = os.geteuid() in (0, os.stat(f"/proc/{name}").st_uid)
        except OSError:
            continue
        # As this command starts them, and not an editor or whatever has the file's name among its words.
        if is_mine and words[1:5] == wanted and words[0] == os.fsencode(state.program):
            found.append(int(name))
    return found


def end_left(state: root.State, has_lock: bool = False) -> int:
    """End what a killed server has left; how many processes that were.

    Without a pid file a server that is just starting looks the same, so that this is for whoever has the root's lock, and takes it.
    Raises Problem where another one has it, or a process does not end.
    """
    if not left(state):
        return 0
    lock = None if has_lock else root.Lock(state.root)
    try:
        return _end_left(state)
    finally:
        if lock:
            lock.release()


def _end_left(state: root.State) -> int:
    count = 0
    begun = time.monotonic()
    told: set[int] = set()
    while True:
        found = left(state)
        if not found:
            return count
        number = signal.SIGTERM if time.monotonic() < begun + _HEARING else signal.SIGKILL
        for pid in found:
            if pid not in told or number == signal.SIGKILL:
                count += pid not in told
                told.add(pid)
                _end(pid, state, number)
        if time.monotonic() > begun + PATIENCE_WITHOUT:
            raise Problem(
                f"process {found[0]}, which a killed server has left, does not end", f"kill -9 {found[0]} ends it."
            )
        time.sleep(0.02)


def _end(pid: int, state: root.State, number: int) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        try:
            if pid not in left(state):
                return
            if descriptor >= 0:
                signal.pidfd_send_signal(descriptor, number)
            else:
                os.kill(pid, number)
        finally:
            if descriptor >= 0:
                os.close(descriptor)


class Telling:
    """Whether a server is to be told again to end.

    httpd forgets a signal that comes while it restarts, before it has read its configuration; behind that it writes its pid file. One that
    has heard it removes the file, and takes a second SIGWINCH for the wish that its requests be cut off.
    """

    def __init__(self, place: str) -> None:
        self._file = os.path.join(place, root.PID_FILE)
        self.told()

    def told(self) -> None:
        self._told, self._again = time.time_ns(), time.monotonic() + AGAIN

    def is_forgotten(self) -> bool:
        if time.monotonic() < self._again:
            return False
        self._again = time.monotonic() + AGAIN
        with contextlib.suppress(OSError):
            return os.stat(self._file).st_mtime_ns > self._told - _COARSE
        return False


def stop(state: root.State, number: int = signal.SIGWINCH) -> Optional[int]:
    """Stop a server, its requests first (SIGTERM: at once); the process that it was. Raises Problem where it does not end."""
    telling = Telling(state.root)
    pid = tell(state, number)
    if pid is None:
        return None
    limit = time.monotonic() + _STOPPING
    # httpd removes its file when it begins to end; its requests may take a while.
    while running(state) == pid or has_configuration(pid, state.config):
        if time.monotonic() > limit:
            raise Problem(f"process {pid} has not ended after {_STOPPING:.0f} seconds", f"kill {pid} ends it at once.")
        if telling.is_forgotten():
            telling.told()
            tell(state, number, pid)
        # It is another one's child: nothing but a look tells that it has ended (a pidfd, on Linux alone, not that of its requests).
        time.sleep(0.02)
    return pid


def forget(state: root.State) -> None:
    """Remove the server root of a server that has ended and will not be found again: on a port that nobody has named."""
    if (
        state.options.is_port_found
        and not state.options.server_root
        and os.path.dirname(state.root) == root.canonical(root.base())
    ):
        shutil.rmtree(state.root, ignore_errors=True)


def forget_left() -> None:
    """Remove what such servers have left that were killed, or have not come to serve."""
    for path in root.roots():
        with contextlib.suppress(Problem):
            state = root.find(path)
            if state.options.is_port_found and running(state) is None:
                lock = root.Lock(state.root)
                end_left(state, has_lock=True)
                forget(state)
                lock.release()


class Question:
    """Asks the server for nothing (RFC 9110, OPTIONS *), and waits for any answer: a child has started Python then, or tried to.

    One connection waits as long as somebody does: each further one would lie before httpd, too.
    """

    def __init__(self, options: Options) -> None:
        host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
        self._address = (host, options.port)
        self._peer: Optional[socket.socket] = None

    def is_answered(self, patience: float) -> bool:
        """Whether an answer has come, or comes within so many seconds."""
        try:
            if self._peer is None:
                self._peer = socket.create_connection(self._address, patience)
                self._peer.sendall(b"OPTIONS * HTTP/1.0\r\n\r\n")
            self._peer.settimeout(patience)
            self._peer.recv(1)
            return True
        except socket.timeout:
            return False
        except OSError:
            self.close()
            return False

    def close(self) -> None:
        """Ask no longer."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None


def answers(options: Options, patience: float) -> bool:
    """Whether a server answers within so many seconds."""
    question = Question(options)
    try:
        return question.is_answered(patience)
    finally:
        question.close()


class Log:
    """A log file, read as it grows."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            found = os.stat(path)
            self._read, self._file = found.st_size, found.st_ino
        except OSError:
            self._read, self._file = 0, 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """The whole lines that have come since the last call."""
        try:
            with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    return []
                if (self._file and found.st_ino != self._file) or found.st_size < self._read:
                    self._read, self._rest = 0, b""
                self._file = found.st_ino
                file.seek(self._read)
                data = file.read()
        except OSError:
            return []
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [text.decode("utf-8", "replace") for text in lines]


def is_worth_showing(line: str) -> bool:
    """Is a line of the error log more than httpd's remarks on starting and stopping?"""
    return bool(line.strip()) and ":notice]" not in line


def say(text: str, is_error: bool = False) -> None:
    """Print to whoever is there: a terminal that has been closed, or a pipe that nobody reads, is no reason to end or to fail."""
    try:
        print(text, file=sys.stderr if is_error else sys.stdout, flush=True)
    except OSError:
        # Or Python would try again when it ends.
        nowhere = open(os.devnull, "w")  # noqa: SIM115 # it stays
        if is_error:
            sys.stderr = nowhere
        else:
            sys.stdout = nowhere
