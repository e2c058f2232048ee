"""``mod_python reload NAME``: has a daemon's keeper, which is found among this user's processes, start the application anew."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from typing import Any, NamedTuple, Optional

from mod_python._daemon.state import FILE
from mod_python._own.problems import Problem

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,30}[A-Za-z0-9])?")
_PROGRAM = b"/mod_python/_daemon/__main__.py"
_PATIENCE = 600.0


class _Found(NamedTuple):
    pid: int
    begun: str
    """When, as the system counts: another process of the same number has begun later."""
    name: str
    directory: str


def is_name(text: str) -> bool:
    """Is it the name of a daemon that runs, or its keeper's directory?"""
    return (_NAME.fullmatch(text) is not None or os.path.isabs(text)) and bool(_keepers(text))


def reload(name: str) -> int:
    """Have a daemon of this name start anew, and wait until it serves. Raises Problem where it does not."""
    found = _keepers(name)
    if not found:
        raise Problem(f"no daemon {name} of yours runs", "Only its own user, and root, can reload a daemon.")
    if len(found) > 1:
        lines = "\n".join(f"mod_python reload {one.directory}" for one in found)
        raise Problem(f"several daemons are called {name}: say which one", lines)
    keeper = found[0]
    before = _state(keeper)
    if not _tell(keeper):
        raise Problem(f"the keeper of {name} (process {keeper.pid}) has just ended")
    if before is None:
        # Its state is another user's to read.
        print(f"{name} starts anew (keeper: process {keeper.pid}); its log says how it goes")
        return 0
    limit = time.monotonic() + _PATIENCE
    while time.monotonic() < limit:
        now = _state(keeper)
        if now is None:
            raise Problem(f"the keeper of {name} (process {keeper.pid}) has ended", "Look into the log.")
        if now["asked"] > before["asked"] and now["settled"]:
            return _told(keeper.name, now)
        time.sleep(0.05)
    raise Problem(f"{name} has not started after {_PATIENCE:.0f} seconds", "Look into the log.")


def _told(name: str, now: dict[str, Any]) -> int:
    if now["state"] == "waiting":
        print(f"{name} does not run: it starts with the next request")
        return 0
    if now["outcome"]:
        goes_on = "The version before goes on serving." if now["state"] == "serving" else "It does not serve."
        raise Problem(f"{name}: {now['outcome']}", goes_on)
    print(f"{name} serves anew (process {now['httpd']})")
    return 0


def _keepers(name: str) -> list[_Found]:
    """The keepers of this user, or of anybody where root asks, that have a name, or a directory."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry)
            if os.geteuid() not in (0, os.stat(f"/proc/{pid}").st_uid):
                continue
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if len(words) > 5 and words[3].endswith(_PROGRAM) and os.fsencode(name) in words[4:6]:
                found.append(_Found(pid, _begun(pid), os.fsdecode(words[4]), os.fsdecode(words[5])))
    return found


def _begun(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]


def _tell(keeper: _Found) -> bool:
    # Held from here on: a number that is given to another process meanwhile would be refused.
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(keeper.pid)
        try:
            if _begun(keeper.pid) != keeper.begun:
                return False
            signal.pidfd_send_signal(descriptor, signal.SIGHUP)
            return True
        finally:
            os.close(descriptor)
    return False


def _state(keeper: _Found) -> Optional[dict[str, Any]]:
    """What the keeper has written; None where there is nothing that this user may believe."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if _begun(keeper.pid) != keeper.begun:
            return None
        path = os.path.join(keeper.directory, FILE)
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), encoding="utf-8") as text:
            if os.fstat(text.fileno()).st_uid != os.stat(f"/proc/{keeper.pid}").st_uid:
                return None
            found: dict[str, Any] = json.load(text)
        for name in ("asked", "settled", "state", "outcome", "httpd"):
            found[name]
        return found
    return None
