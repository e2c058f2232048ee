"""What httpd's user can reach. Root asks the system, in a child process that has become that user; who is not root goes by modes."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import stat
from dataclasses import dataclass
from typing import Optional

_MOST = (1 << 32) - 2
"""The highest number of a user or a group: one more stands for none (setuid(2))."""


@dataclass(frozen=True)
class Identity:
    """Whom code runs as."""

    name: str
    user: int
    group: int
    groups: tuple[int, ...]

    @property
    def is_own(self) -> bool:
        """Is it who runs this process?"""
        return self.user == os.geteuid()


def own() -> Identity:
    """Who runs this process."""
    user = os.geteuid()
    return Identity(name_of(user), user, os.getegid(), tuple(os.getgroups()))


def name_of(user: int) -> str:
    """A user's name, or `#1000`."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"


class NoNumber(ValueError):
    """What stands behind a `#` is none that a user or a group could have."""

    def __init__(self, text: str, what: str) -> None:
        shown = text if len(text) < 40 else f"{text[:40]}…"
        super().__init__(f"{shown} is no number of a {what}, which is from #0 to #{_MOST}")
        self.what = what


def _number(text: str, what: str) -> int:
    # httpd itself takes what it can of it, such as 0 for #abc.
    if not re.fullmatch("#[0-9]{1,10}", text) or int(text[1:]) > _MOST:
        raise NoNumber(text, what)
    return int(text[1:])


def identity(user: str, group: Optional[str]) -> Identity:
    """Of `User` and `Group`, which may be numbers behind a `#`. Raises ValueError where there is no such one, NoNumber being one."""
    number: Optional[int] = None
    if user.startswith("#"):
        number = _number(user, "user")
    try:
        entry = pwd.getpwuid(number) if number is not None else pwd.getpwnam(user)
    except KeyError:
        if number is None:
            raise ValueError(f"there is no user {user}") from None
        entry = None
    if group is None:
        chosen = entry.pw_gid if entry else 65534
    elif group.startswith("#"):
        chosen = _number(group, "group")
    else:
        try:
            chosen = grp.getgrnam(group).gr_gid
        except KeyError:
            raise ValueError(f"there is no group {group}") from None
    if entry is None:
        return Identity(user, number or 0, chosen, (chosen,))
    return Identity(entry.pw_name, entry.pw_uid, chosen, tuple(os.getgrouplist(entry.pw_name, chosen)))


class Access:
    """Answers for one user."""

    def __init__(self, identity: Identity, whose: str = "httpd's user") -> None:
        self.identity, self.whose = identity, whose
        self._known: dict[str, Optional[str]] = {}

    def obstacle(self, path: str) -> Optional[str]:
        """A sentence: the first component of an existing path that the user cannot pass or read. None where all is open."""
        if path not in self._known:
            self._known[path] = self._find(path)
        return self._known[path]

    def _find(self, path: str) -> Optional[str]:
        parts = list(dict.fromkeys([*_above(os.path.realpath(path)), *_above(os.path.abspath(path))]))
        closed = self._first_closed(parts)
        if closed is None:
            return None
        verb, right = ("pass", "x") if os.path.isdir(closed) else ("read", "r")
        mode = f" (mode {stat.S_IMODE(os.stat(closed).st_mode):04o})" if os.path.exists(closed) else ""
        return f"{self.whose} {self.identity.name} cannot {verb} {closed}{mode}: chmod o+{right} {closed}"

    def _first_closed(self, parts: list[str]) -> Optional[str]:
        me = os.geteuid()
        if self.identity.user == me:
            return next((part for part in parts if _denied(part)), None)
        if me == 0:
            return self._tried(parts)
        return next((part for part in parts if self._closed_by_mode(part)), None)

    def _tried(self, parts: list[str]) -> Optional[str]:
        """Asks the system in a child process: only it knows lists of access control, and what else there is."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                os.setgroups(list(self.identity.groups))
                os.setgid(self.identity.group)
                os.setuid(self.identity.user)
                closed = next((part for part in parts if _denied(part)), None)
                os.write(writing, json.dumps(closed).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as answer:
            data = answer.read()
        os.waitpid(child, 0)
        found = json.loads(data) if data else None
        return found if isinstance(found, str) else None

    def _closed_by_mode(self, part: str) -> bool:
        try:
            found = os.stat(part)
        except OSError:
            return False
        who = self.identity
        shift = 6 if found.st_uid == who.user else 3 if found.st_gid in (who.group, *who.groups) else 0
        wanted = 1 if stat.S_ISDIR(found.st_mode) else 4
        return not found.st_mode >> shift & wanted


def _denied(part: str) -> bool:
    """Does the system say that it is not allowed? What is not there is another matter."""
    try:
        is_folder = stat.S_ISDIR(os.stat(part).st_mode)
    except PermissionError:
        return False  # what is above is in the way, and comes first
    except OSError:
        return False
    return not os.access(part, os.X_OK if is_folder else os.R_OK)


def _above(path: str) -> list[str]:
    """The root, and each directory down to the path itself."""
    parts = [path]
    while os.path.dirname(parts[-1]) != parts[-1]:
        parts.append(os.path.dirname(parts[-1]))
    return parts[::-1]
