"""Reading files that others may have prepared: regular ones only, within a limit, whatever bytes they hold."""

from __future__ import annotations

import os
import stat

MOST = 8 << 20
"""Bytes of a file that are read; a configuration or a module that is longer is none that somebody wrote."""


class Unreadable(Exception):
    """A file that is not read; the text says why."""


def read(path: str, most: int = MOST) -> bytes:
    """The bytes of a regular file; links are followed. Raises Unreadable.

    A FIFO would make the reader wait for ever, a device may do something when it is opened: neither is opened.
    """
    try:
        before = os.stat(path)
        if not stat.S_ISREG(before.st_mode):
            raise Unreadable(f"is {kind(before.st_mode)}, not a file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            now = os.fstat(descriptor)
            if not stat.S_ISREG(now.st_mode):
                raise Unreadable(f"is {kind(now.st_mode)}, not a file")
            if now.st_size > most:
                raise Unreadable(f"has {now.st_size} bytes; more than {most} are not read")
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > most:
        raise Unreadable(f"grows while it is read; more than {most} bytes are not read")
    return data


def text(path: str, most: int = MOST) -> str:
    """A file as text that keeps each byte: UTF-8, and what is none as surrogates. Raises Unreadable."""
    data = read(path, most)
    if b"\0" in data:
        raise Unreadable("has NUL bytes: it is no text")
    return data.decode("utf-8", "surrogateescape")


def kind(mode: int) -> str:
    """What is there, in words."""
    names = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a link",
    }
    return names.get(stat.S_IFMT(mode), "a file")


def printable(text: str) -> str:
    """A text for a terminal: what could move its cursor, begin a line, or is no character, is escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in text
    )


def is_others(path: str) -> bool:
    """Could somebody else than root and this process's user change a file, or put another in its place?"""
    mine = {0, os.geteuid()}
    for part in (path, os.path.dirname(path) or ".", os.path.dirname(os.path.realpath(path))):
        try:
            found = os.stat(part)
        except OSError:
            return True
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        writers = 0o022 if found.st_gid not in (0, os.getegid()) else 0o002
        if found.st_uid not in mine or (found.st_mode & writers and not sticky):
            return True
    return False
