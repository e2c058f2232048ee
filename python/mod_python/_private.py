"""Directories and files of httpd's own user, that nobody else can have prepared."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def directory(path: str) -> str:
    """Make a directory that only this user may enter (0700), or check that it is one.

    Raises PermissionError where it is another user's, or others may write to it; OSError where it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{path} is not a directory of this user's alone; remove it, or name another place")
    return path


def default(name: str) -> str:
    """A private directory in the temporary one."""
    return directory(os.path.join(tempfile.gettempdir(), f"{name}-{os.geteuid()}"))


def read(path: str) -> bytes:
    """The content of a file that is no symbolic link. Raises OSError."""
    with open(os.open(path, _READ), "rb") as file:
        return file.read()


def replace(path: str, data: bytes) -> None:
    """Write a file (0600) so that others see it whole, or not at all. Raises OSError."""
    temporary = f"{path}.{os.getpid()}.{os.urandom(6).hex()}"
    try:
        with open(os.open(temporary, _NEW, 0o600), "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def alone(path: str) -> Iterator[bool]:
    """Whether nobody else does what this file stands for; holds it (flock) meanwhile."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
