"""The keeper's own directory: what httpd's parent has made for it, or one among the temporary files; nobody else can have prepared it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile

from mod_python._own.problems import Problem


def own(path: str) -> str:
    """The directory; what an earlier keeper has left there is removed. Raises Problem where it is not this user's alone, OSError."""
    if not path:
        return tempfile.mkdtemp(prefix="mod_python-daemon-")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Problem(f"{path} is not a directory of this user's alone")
    for name in os.listdir(path):
        remove(os.path.join(path, name))
    return path


def remove(path: str) -> None:
    """Remove what is there, as far as that is possible."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.unlink(path)
