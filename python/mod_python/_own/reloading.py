"""``--reload``: watches the files that the applications are made of, and has httpd restart gracefully with the new version."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import stat
import sysconfig
import threading
import time
from types import TracebackType
from typing import Any, Callable, Optional, TextIO

from mod_python._own import probe, process
from mod_python._own.preload_names import NEW
from mod_python._own.problems import Problem
from mod_python._own.serving import Prepared

_INTERVAL = 0.5


class Watch:
    """The files of a server's applications: what its children say that they have imported, and the sources themselves."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._reports = os.path.join(prepared.state.root, "run/imported")
        installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
        own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if prepared.state.options.venv:
            installed.append(prepared.state.options.venv)
        self._others = tuple(os.path.join(path, "") for path in [*installed, own] if path)
        self._known: dict[str, Optional[tuple[int, int]]] = {}
        self._latest: list[str] = []
        self._due = 0.0
        self._bell = threading.Event()
        self._over = threading.Event()
        sources = [target.source() for target in prepared.site.targets]
        for path in [*sources, prepared.state.options.include]:
            if path:
                self._known[path] = _signature(path)

    def __enter__(self) -> Watch:
        for name in os.listdir(self._reports):
            # Also what a child that has gone was writing; what one that lives is writing stays.
            pid = name[: -len(NEW)] if name.endswith(NEW) else name
            with contextlib.suppress(OSError):
                if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                    os.unlink(os.path.join(self._reports, name))
        if importlib.util.find_spec("watchfiles"):
            threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self._over.set()

    def _listen(self) -> None:
        """Have watchfiles ring the bell: what it sees is looked at at once, not at the next turn."""
        import watchfiles

        while not self._over.is_set():
            try:
                self._listen_to(watchfiles.watch, self._directories())
            except (OSError, RuntimeError):
                # A directory has gone meanwhile, or the kernel has no more watches: looking at each turn goes on.
                self._over.wait(_INTERVAL)

    def _listen_to(self, watch: Callable[..., Any], directories: dict[str, int]) -> None:
        """Until other directories are to be watched, or all is over. Raises what watchfiles does."""
        if not directories:
            self._over.wait(_INTERVAL)
            return
        until = _Until(self._over, self._folders)
        changes = watch(
            *directories, stop_event=until, recursive=False, debounce=100, rust_timeout=1000, yield_on_timeout=True
        )
        with contextlib.closing(changes):
            for found in changes:
                if found:
                    self._bell.set()
                if self._directories() != directories:
                    return

    def _folders(self) -> set[str]:
        # Another thread adds to what is known.
        return {os.path.dirname(path) for path in list(self._known)}

    def _directories(self) -> dict[str, int]:
        """Those of the files that are there now, with what tells one that has gone from one that has come in its place."""
        found = {}
        for path in self._folders():
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(path)
                if stat.S_ISDIR(status.st_mode):
                    found[path] = status.st_ino
        return found

    def changed(self) -> list[str]:
        """The files that have changed since the last call that found any; nothing while it is not time to look."""
        now = time.monotonic()
        if now < self._due and not self._bell.is_set():
            return []
        self._bell.clear()
        self._due = now + _INTERVAL
        self._latest = self._look()
        return self._latest

    def _look(self) -> list[str]:
        for path, first in self._reported().items():
            self._known.setdefault(path, first)
        changed = []
        for path, known in self._known.items():
            signature = _signature(path)
            if known != signature:
                changed.append(path)
                self._known[path] = signature
        return changed

    def _reported(self) -> dict[str, tuple[int, int]]:
        """What the children have imported, outside the library and what is installed, as it was then."""
        found: dict[str, tuple[int, int]] = {}
        for name in os.listdir(self._reports):
            with contextlib.suppress(OSError, ValueError):
                if name.isdigit():
                    with _opened(os.path.join(self._reports, name)) as file:
                        for line in file:
                            mtime, size, path = line.rstrip("\n").split(" ", 2)
                            read = int(mtime), int(size)
                            # A child that has come later may have found a later version.
                            found[path] = min(read, found.get(path, read))
        return {path: signature for path, signature in found.items() if not path.startswith(self._others)}

    def report(self, parent: int) -> None:
        """Restart with what has changed, if it can be imported; say so in any case."""
        names = ", ".join(os.path.relpath(path, self._prepared.state.options.directory) for path in self._latest[:3])
        names += " and more" if len(self._latest) > 3 else ""
        options = self._prepared.state.options
        try:
            if self._prepared.site.targets:
                probe.probed(self._prepared.site.targets, options, self._prepared.environment, self._prepared.identity)
        except Problem as problem:
            process.say(f"{names} changed. {problem}\nThe version before goes on serving.", True)
            return
        process.say(f"{names} changed: restarting.")
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent, signal.SIGUSR1)


def _opened(path: str) -> TextIO:
    # The directory is the application's: there may be anything.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return open(descriptor, encoding="utf-8", errors="surrogateescape")


class _Until:
    """An event for watchfiles: set when all is over, or other directories are to be watched."""

    def __init__(self, over: threading.Event, folders: Callable[[], set[str]]) -> None:
        self._over, self._folders, self._first = over, folders, folders()

    def is_set(self) -> bool:
        """See threading.Event."""
        return self._over.is_set() or self._folders() != self._first


def _signature(path: str) -> Optional[tuple[int, int]]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # an application writes the names
        return None
    return found.st_mtime_ns, found.st_size
