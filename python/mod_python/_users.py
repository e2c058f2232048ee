"""Whom the children of a server of one's own run as, where root starts it."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Optional

_USERS = ("www-data", "apache", "http", "httpd", "daemon", "nobody")
"""Whom httpd's children usually are."""


def children_user(name: Optional[str] = None) -> Optional[tuple[str, str]]:
    """The user, and its group, that a server's children run as: httpd's usual one unless there is a name.

    None where it is not root who asks: then everything runs as that user. Raises ValueError where there is no such user, where
    it is root itself, or another one than who asks.
    """
    if os.geteuid() != 0:
        if name and name != pwd.getpwuid(os.geteuid()).pw_name:
            raise ValueError(f"only root can have a server run as {name}")
        return None
    for candidate in (name,) if name else _USERS:
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            raise ValueError(f"{candidate} is root, whom httpd's children must not be; choose another user")
        try:
            return candidate, grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            return candidate, f"#{entry.pw_gid}"
    raise ValueError(f"there is no user {name}" if name else "name the user that handlers are to run as: --user")


def name_of(number: int) -> str:
    """A user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def closed_to(user: str, path: str) -> Optional[str]:
    """The directory on the way to a path that a user cannot pass, by its owner, group and mode; None if all are open."""
    entry = pwd.getpwnam(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    current = "/"
    for name in ["", *os.path.realpath(path).split(os.sep)[1:]]:
        current = os.path.join(current, name)
        status = os.stat(current)
        shift = 6 if status.st_uid == entry.pw_uid else 3 if status.st_gid in groups else 0
        if os.path.isdir(current) and not status.st_mode >> shift & 1:
            return current
    return None
