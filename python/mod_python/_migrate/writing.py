"""Writing beside and below what others own: no link is followed, nothing is overwritten, nobody else can put another directory there."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_MOST = 1000
"""Parts of a path, with those that links bring."""


class Refused(Exception):
    """Nothing is written there; the text says why."""


def write(path: str, top: str, data: bytes, like: os.stat_result) -> None:
    """Write a new file, whole or not at all, with the mode, and where root writes it the owner, of another one.

    Missing directories are made. The name of ``top`` may have links of root's and of this user's in it; below there is none.
    Raises Refused, FileExistsError where something is there, OSError.
    """
    folder, name = os.path.split(os.path.relpath(path, top))
    place = _opened(_resolved(top), folder)
    try:
        _written(place, name, data, like)
    finally:
        os.close(place)


def _resolved(path: str) -> str:
    """A path without links in it. Raises Refused for a link of somebody else's, OSError."""
    parts, current = os.path.abspath(path).split(os.sep), "/"
    for _ in range(_MOST):
        if not parts:
            return current
        part = parts.pop(0)
        if part == os.pardir:
            current = os.path.dirname(current)
            continue
        current, above = os.path.join(current, part), current
        if os.path.islink(current):
            if os.lstat(current).st_uid not in (0, os.geteuid()):
                raise Refused(f"{current} is a link of {_name(os.lstat(current).st_uid)}'s")
            target = os.readlink(current)
            current = "/" if os.path.isabs(target) else above
            parts = [*(one for one in target.split(os.sep) if one != os.curdir), *parts]
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _opened(top: str, below: str) -> int:
    """The descriptor of a directory, which is made where it is missing; each on the way is looked at. Raises Refused, OSError."""
    current, shown = os.open("/", _DIRECTORY), "/"
    try:
        for part in [*top.split(os.sep), *below.split(os.sep)]:
            if not part:
                continue
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=current)
            shown = os.path.join(shown, part)
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=current)
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise Refused(f"{shown} is a link, or no directory") from None
                raise
            os.close(current)
            current = inner
            _check(shown, os.fstat(current))
    except BaseException:
        os.close(current)
        raise
    return current


def _check(path: str, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise Refused(
            f"{path} belongs to {_name(found.st_uid)}, who could put a link there; write as that user, or elsewhere"
        )
    # Members of root's group, and of the caller's, are trusted by whoever has opened it to them.
    by_group = os.geteuid() == 0 and found.st_mode & stat.S_IWGRP and found.st_gid != 0
    if (found.st_mode & stat.S_IWOTH or by_group) and not found.st_mode & stat.S_ISVTX:
        raise Refused(f"others may write to {path}, and could put a link there; write elsewhere")


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _written(place: int, name: str, data: bytes, like: os.stat_result) -> None:
    if _is_there(place, name):
        raise FileExistsError(name)
    new = f".{name}.{os.getpid()}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=place)
    try:
        with open(os.open(new, _NEW, 0o600, dir_fd=place), "wb") as file:
            file.write(data)
            file.flush()
            if os.geteuid() == 0:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode) & 0o777)
        # Unlike a rename, it replaces nothing that has come meanwhile.
        os.link(new, name, src_dir_fd=place, dst_dir_fd=place, follow_symlinks=False)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=place)


def _is_there(place: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=place)
    except FileNotFoundError:
        return False
    return True
