"""Directories and files of httpd's own user, that nobody else can have prepared.

What is checked is what has been opened: a directory's descriptor, and from there names in it. A name alone may stand for
another file a moment later.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

import _apache

from mod_python import apache
from mod_python._later import later

if TYPE_CHECKING:
    import dbm
    import tempfile
else:
    dbm = later("dbm")
    tempfile = later("tempfile")

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_SUFFIXES = ("", ".db", ".dat", ".dir", ".bak", ".pag", "-journal", "-wal", "-shm")
"""What databases add to the name that they are opened by."""
_told: set[str] = set()


class NotAlone(PermissionError):
    """A directory that others may have prepared."""


def default(name: str) -> str:
    """The path of a private directory in the temporary one."""
    return os.path.join(tempfile.gettempdir(), f"{name}-{os.geteuid()}")


@contextlib.contextmanager
def entered(path: str, within: Optional[int] = None) -> Iterator[int]:
    """The descriptor of a directory that only this user may enter; it is made (0700) where it is missing. ``within`` is the
    directory that ``path`` is meant in.

    Raises NotAlone where it is another user's, or others may write to it; OSError where it cannot be made.
    """
    try:
        descriptor = _opened(path, within)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700, dir_fd=within)
        descriptor = _opened(path, within)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise _not_alone(path)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: str, within: Optional[int]) -> int:
    try:
        return os.open(path, _DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _not_alone(path) from None
        raise


def _not_alone(path: str) -> NotAlone:
    return NotAlone(f"{path} is not a directory of this user's alone; remove it, or name another place")


def read(name: str, within: int) -> bytes:
    """The content of a file in a directory. Raises PermissionError for one that others may have written or that is none,
    OSError."""
    with open(os.open(name, _READ, dir_fd=within), "rb") as file:
        _check(name, os.fstat(file.fileno()))
        return file.read()


def _check(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or not _is_ours(status):
        raise refusal(name, False)


def refusal(name: str, is_directory: bool) -> PermissionError:
    """The error for what others may have prepared."""
    if is_directory:
        return _not_alone(name)
    return PermissionError(
        f"{name} is no file of this user's alone: it is a link, belongs to somebody else, or others may write to it; "
        "remove it if you do not know whose it is, else give it to httpd's user with mode 0600"
    )


def replace(name: str, data: bytes, within: int) -> None:
    """Write a file (0600) in a directory so that others see it whole, or not at all. Raises OSError."""
    temporary = f"{name}.{os.getpid()}.{os.urandom(6).hex()}"
    try:
        with open(os.open(temporary, _NEW, 0o600, dir_fd=within), "wb") as file:
            file.write(data)
        os.replace(temporary, name, src_dir_fd=within, dst_dir_fd=within)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=within)
        raise


@contextlib.contextmanager
def alone(name: str, within: int) -> Iterator[bool]:
    """Whether nobody else does what this file stands for; holds it (flock) meanwhile."""
    import fcntl

    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=within)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def database(path: str) -> Iterator[str]:
    """The name by which a database that ``path`` names may be opened, for as long as the context lasts.

    Where others may put files beside it, it lies in a private directory, ``path-UID``, instead. Raises PermissionError for
    files that others may have written; OSError.
    """
    directory, name = os.path.split(os.path.abspath(path))
    with contextlib.ExitStack() as stack:
        descriptor = os.open(directory, _DIRECTORY)
        stack.callback(os.close, descriptor)
        if not _is_ours(os.fstat(descriptor)):
            _tell(path)
            directory = _beside(path)
            descriptor = stack.enter_context(entered(directory))
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name + suffix, dir_fd=descriptor, follow_symlinks=False)
                _check(os.path.join(directory, name + suffix), status)
        by_descriptor = f"/proc/self/fd/{descriptor}"
        yield os.path.join(by_descriptor if os.path.isdir(by_descriptor) else directory, name)


def _is_ours(status: os.stat_result) -> bool:
    """Root's or this user's, and nobody else may write to it."""
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & _OTHERS


def open_dbm(path: str, flag: Any, kind: Any = dbm) -> Any:
    """Open a database (0600) that ``database`` has named; ``kind`` is the module dbm, or one like it.

    dbm itself would look at names again that it has looked at, and dbm.dumb would change the process's umask. A new one is
    never dbm.sqlite3's, since SQLite follows names by itself.
    """
    if kind.__name__ == "dbm":
        found = dbm.whichdb(path)
        if found == "":
            raise dbm.error[0](f"{os.path.basename(path)} is no database that this Python knows")
        if found is None and flag == "r":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.path.basename(path))
        kind = importlib.import_module(found) if found else _first_dbm()
    if kind.__name__ == "dbm.dumb":
        return kind._Database(path, 0o600, flag=flag)
    return kind.open(path, flag, 0o600)


def _first_dbm() -> Any:
    for name in ("dbm.gnu", "dbm.ndbm"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return importlib.import_module("dbm.dumb")


def sqlite(path: str) -> str:
    """The path of an SQLite database that nobody else can have prepared, made (0600) where it is missing: ``path``, or one
    in a private directory beside it.

    Raises PermissionError where a directory on the way to it is open to others; OSError.
    """
    directory, name = os.path.split(os.path.abspath(path))
    if not _is_sheltered(directory):
        _tell(path)
        if not _is_sheltered(directory, sticky=True):
            raise PermissionError(
                f"{path}: others may rename or replace what lies there, since {directory}, or a directory above it, can be "
                "written by others or belongs to somebody else than root and httpd's user; name another place"
            )
        directory = _beside(path)
        with entered(directory):
            pass
    path = os.path.join(os.path.realpath(directory), name)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, _NEW, 0o600))
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            _check(path + suffix, os.lstat(path + suffix))
    return path


def _is_sheltered(directory: str, sticky: bool = False) -> bool:
    """Can nobody but root and this user change what lies in a directory, or what its path leads to? With ``sticky`` others
    may have files of their own there (/tmp)."""
    place, is_last = os.path.realpath(directory), True
    while True:
        status = os.lstat(place)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
            return False
        if status.st_mode & _OTHERS and not (status.st_mode & stat.S_ISVTX and (sticky or not is_last)):
            return False
        if place == os.path.dirname(place):
            return True
        place, is_last = os.path.dirname(place), False


def _beside(path: str) -> str:
    return f"{os.path.abspath(path)}-{os.geteuid()}"


def _tell(path: str) -> None:
    if path not in _told:
        _told.add(path)
        text = f"{path}: others may write to the directory, so it is kept in {_beside(path)} (0700); name a directory of httpd's user"
        _apache.log_error(text, apache.APLOG_WARNING)
