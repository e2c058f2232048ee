"""Handlers whose requests take their time: they are in flight when httpd restarts."""

import hashlib
import os
import time

from mod_python import apache

PIECE = bytes(range(256)) * 256
PIECES = 64


def pid(req):
    req.write(str(os.getpid()))
    return apache.OK


def digest(req):
    """Reads a body as it comes, and says what it was."""
    found = hashlib.sha256()
    while piece := req.read(1000):
        found.update(piece)
    req.write(found.hexdigest())
    return apache.OK


def large(req):
    """Four MiB."""
    req.set_content_length(len(PIECE) * PIECES)
    for _ in range(PIECES):
        req.write(PIECE, 0)
    return apache.OK


def stream(req):
    """The child's number, then forty lines in two seconds; the second half waits for the file that `?` names."""
    req.write(f"{os.getpid()}\n")
    limit = time.monotonic() + 60
    for number in range(40):
        while number == 20 and req.args and not os.path.exists(req.args) and time.monotonic() < limit:
            time.sleep(0.02)
        req.write(f"line {number}\n")
        time.sleep(0.05)
    return apache.OK
