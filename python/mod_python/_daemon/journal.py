"""The keeper's part of the error log: what it says itself, and what the daemon's httpd writes, which passes through here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from typing import Callable

_DIED = re.compile(rb"child pid (\d+) exit signal (.+?) \((\d+)\)")
_REMARK = re.compile(rb"AH000(?:50|51|52|94|96)|AH004(?:89|90|91|92|93)")
"""What httpd says of its own start, its end and its children's: the keeper says it, once, in terms of the daemon."""
_LARGEST = 1 << 16
_MESSAGE = 600
"""Letters of an object's message: a pipe takes 4,096 bytes at once, and a letter may need six of them."""


class Journal:
    """Writes entries to standard error, which is the log of the virtual host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = 0
        """Entries that could not be written: the disk was full, or nobody reads the log any more."""
        self.has_objects = False
        """Are entries objects of JSON (``mod_python.log.json``)?"""

    def say(self, level: str, text: str) -> None:
        """Write an entry (a line each) as httpd decorates it; ``level`` is one of LogLevel's."""
        now = time.time()
        if self.has_objects:
            self.write(self._object(now, level, text))
            return
        stamp = time.strftime(f"%a %b %d %H:%M:%S.{int(now % 1 * 1e6):06} %Y", time.localtime(now))
        for one in text.splitlines() or [""]:
            shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in one)
            entry = f"[{stamp}] [python:{level}] [pid {os.getpid()}] daemon {self.name}: {shown}\n"
            self.write(entry.encode("utf-8", "backslashreplace"))

    def _object(self, now: float, level: str, text: str) -> bytes:
        """An entry as the children of httpd write theirs (docs/logging.md)."""
        stamp = time.strftime(f"%Y-%m-%dT%H:%M:%S.{int(now % 1 * 1e6):06}Z", time.gmtime(now))
        pid = os.getpid()
        found = {
            "time": stamp,
            "level": level,
            "logger": "mod_python",
            "message": f"daemon {self.name}: {text}"[:_MESSAGE],
        }
        return json.dumps({**found, "pid": pid, "thread": pid}).encode() + b"\n"

    def write(self, data: bytes) -> None:
        """Write whole lines."""
        while data:
            try:
                data = data[os.write(2, data) :]
            except OSError:
                self.lost += data.count(b"\n")
                return


class Relay:
    """What an httpd writes to its standard streams and its error log: a pipe, whose lines go to the journal."""

    def __init__(self, journal: Journal, on_death: Callable[[int, str], None]) -> None:
        self.journal, self._on_death = journal, on_death
        self.reads, self.writes = os.pipe()
        os.set_blocking(self.reads, False)
        self._rest = b""
        self.last: list[str] = []
        """The last few lines: the reason, where httpd does not start."""
        self.ended = False
        """Has everybody closed it who could write there?"""

    def close_writer(self) -> None:
        """Once httpd has its own."""
        os.close(self.writes)
        self.writes = -1

    def pass_on(self) -> None:
        """Pass on what there is."""
        try:
            data = os.read(self.reads, _LARGEST)
        except BlockingIOError:
            return
        self.ended = not data
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        if not data or len(rest) > _LARGEST:
            whole, newline, rest = whole + newline + rest, b"\n" if rest else b"", b""
        self._rest = rest
        if whole:
            lines = whole.split(b"\n")
            self.journal.write(b"".join(line + b"\n" for line in lines if not _REMARK.search(line[:160])))
            self.last = [*self.last, *(line.decode("utf-8", "replace") for line in lines if line)][-5:]
            for line in lines:
                died = _DIED.search(line)
                if died:
                    self._on_death(int(died[1]), f"signal {int(died[3])}, {died[2].decode('ascii', 'replace')}")

    def close(self) -> None:
        """Pass on what is left, and close."""
        with contextlib.suppress(OSError):
            while self._has_more():
                pass
        os.close(self.reads)
        if self.writes >= 0:
            self.close_writer()
        # A process that dies may have written no line end.
        self._rest, rest = b"", self._rest
        if rest:
            self.journal.write(rest + b"\n")

    def _has_more(self) -> bool:
        try:
            data = os.read(self.reads, _LARGEST)
        except BlockingIOError:
            return False
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        if len(rest) > _LARGEST:
            whole, newline, rest = whole + newline + rest, b"\n", b""
        self._rest = rest
        self.journal.write(whole + newline)
        return bool(data)
