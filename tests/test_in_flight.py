"""What the threads of all children are at, and where: what the status page shows."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from conftest import Serve, Server
from test_deadlines import CONFIG, claim, lasting, what_is_late_is_claimed

from httpd import PATIENCE

__all__ = ["lasting", "what_is_late_is_claimed"]


def test_requests_in_flight(lasting: Server) -> None:
    """What they are at, and where; what stands behind the question mark is not shown."""
    begun = time.time()
    thread = threading.Thread(target=lasting.get, args=("/nothing?sleep",))
    thread.start()
    end = time.monotonic() + PATIENCE
    found: list[Any] = []
    while not found:
        assert time.monotonic() < end
        rows = json.loads(lasting.ok("/flight?secret").text)
        # It is on its way there for a while.
        found = [
            (row, stack) for row, stack in rows if row[4] == "GET /nothing" and "time.sleep(LONG)" in (stack or "")
        ]
        if not thread.is_alive():
            thread = threading.Thread(target=lasting.get, args=("/nothing?sleep",))
            thread.start()
        # One before it may be at its end still.
        assert "PythonHandler" in [row[3] for row, _ in rows if row[4] == "GET /flight"]
    thread.join()
    (pid, ident, interpreter, work, _, since), stack = found[0]
    assert pid > 0 and ident > 0 and interpreter and work == "PythonHandler"
    assert begun - 1 < since / 1e6 < time.time()
    assert "in stand" in stack


def test_another_child_is_asked(serve: Serve) -> None:
    server = serve(CONFIG, mpm="prefork", children=2)
    claim(server)
    thread = threading.Thread(target=server.get, args=("/handler?sleep",))
    end = time.monotonic() + PATIENCE
    stacks: list[str] = []
    # The first request of a child starts its watcher.
    while not any("time.sleep(LONG)" in stack for stack in stacks):
        assert time.monotonic() < end, stacks
        if not thread.is_alive():
            thread = threading.Thread(target=server.get, args=("/nothing/again?sleep",))
            thread.start()
        rows = json.loads(server.ok("/flight").text)
        stacks = [stack or "" for row, stack in rows if row[4] == "GET /nothing/again"]
    thread.join()
