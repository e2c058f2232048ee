"""What the fuzzer does, written down before it is done: a file for each interpreter of each child, which outlives a crash.

No lock: a finalizer may write in the middle of a write. The file is a map, so that an entry costs no system call.
"""

import atexit
import contextlib
import itertools
import json
import mmap
import os
import threading
import time

HEAD = 16384
"""Bytes at the start for the counts, as JSON; the first one says whether the interpreter has ended in order."""
SLOT = 192
SLOTS = 768
SERIOUS = ("exception set", "without setting an exception", "bad argument to internal", "unknown opcode")
"""What a SystemError says where native code has broken CPython's rules."""

counts = {}
_slots = itertools.count()
_map = None
_saved = 0.0


def open_in(directory, interpreter):
    """Start the interpreter's file."""
    global _map
    name = f"{os.getpid()}-{interpreter.replace('/', '_')}-{time.monotonic_ns()}"
    with open(os.path.join(directory, name), "w+b") as file:
        file.truncate(HEAD + SLOT * SLOTS)
        _map = mmap.mmap(file.fileno(), 0)
    atexit.register(_end)


def _end():
    save()
    if _map is not None:
        _map[:1] = b"E"


def note(*words):
    """An entry."""
    number = next(_slots)
    text = f"{number:8} {threading.get_ident() % 100000:5} {' '.join(words)}\n"
    place = HEAD + number % SLOTS * SLOT
    if _map is not None:
        _map[place : place + SLOT] = text.encode("utf-8", "backslashreplace")[: SLOT - 1].ljust(SLOT - 1) + b"\n"


def count(what):
    """One more of these."""
    global _saved
    counts[what] = counts.get(what, 0) + 1
    now = time.monotonic()
    if now - _saved > 0.25:
        _saved = now
        save()


def save():
    """Leave the counts where the driver looks for them."""
    for _ in range(3):
        with contextlib.suppress(RuntimeError):  # another thread counts something new
            text = json.dumps(counts).encode()[: HEAD - 2]
            if _map is not None:
                _map[1:HEAD] = text.ljust(HEAD - 1)
            return


def failed(error, what):
    """Count an exception; one that tells of broken native code is a finding."""
    name = type(error).__name__
    count(f"error {name}")
    # By its type: what it says of itself may be a lie.
    serious = issubclass(type(error), SystemError) and any(text in str(error.args) for text in SERIOUS)
    # Python 3.11's own: iter() of a memoryview that has been released, an enumerate() of hostile arguments.
    if name == "PanicException" or (serious and what not in ("memoryview", "enumerate", "reversed")):
        finding(f"{name} {error.args!r:.200} of {what}")


def finding(text):
    """Something that must not be, for the driver."""
    note("FINDING", text)
    count(f"finding {text}"[:200])
    save()
