"""PythonTimeout: what becomes of a child with a thread that does not come back, and of the others in it."""

from __future__ import annotations

import json
import threading
import time

from conftest import Serve
from test_deadlines import CLAIM, CONFIG, LIMIT

MORE = """
CustomLog "@ROOT@/access_log" "%m %U %>s %B"
<Location /waits>
    SetHandler mod_python
    PythonHandler stuck::waits
    PythonTimeout 0
</Location>
<Location /metrics>
    SetHandler mod_python
    PythonHandler mod_python.metrics
    PythonTimeout 0
</Location>
<IfModule !mpm_prefork_module>
    ServerLimit 4
    StartServers 1
    ThreadsPerChild 4
    MinSpareThreads 1
    MaxSpareThreads 16
    MaxRequestWorkers 16
</IfModule>
"""


def test_an_innocent_one_in_the_same_child_comes_to_its_end(serve: Serve) -> None:
    """Also when connections have come since, by which httpd notices that the child accepts no more and says of its workers that they end."""
    server = serve(CONFIG + MORE, threads=4)
    server.claims.append(CLAIM)
    answers: list[str] = []
    innocent = threading.Thread(target=lambda: answers.append(server.get("/waits").text))
    innocent.start()
    rows: list[list[object]] = []
    while not any(row[4] == "GET /waits" for row in rows):
        rows = [row for row, _ in json.loads(server.ok("/flight").text)]
    [child] = {row[0] for row in rows if row[4] == "GET /waits"}
    begun = time.monotonic()
    assert server.get("/handler?for%20ever").status == 504
    server.wait_log("it does not come back: the child ends when others have finished")
    given_up = time.monotonic()
    others: set[object] = set()
    # Longer than the child would look whether there is anybody, were its worker taken for idle.
    while time.monotonic() - given_up < 2 or not others:
        rows = [row for row, _ in json.loads(server.ok("/flight").text)]
        others |= {row[0] for row in rows if row[4] == "GET /flight"} - {child}
        assert not answers and [child] == [row[0] for row in rows if row[4] == "GET /waits"]
    assert time.monotonic() - begun > LIMIT
    assert "the child ends, with a thread" not in server.log_text()
    server.write("apps/go_on", "")
    innocent.join()
    assert answers == ["waited"]
    server.wait_log("the child ends, with a thread that has not come back")


def test_nothing_more_comes_to_it(serve: Serve) -> None:
    """The worker MPM's listener stands in accept(2) where it has one socket, and would take one more, which the child's end could lose."""
    server = serve(CONFIG + MORE, mpm="worker", threads=4)
    server.claims.append(CLAIM)
    [child] = server.child_pids()
    innocent = threading.Thread(target=server.get, args=("/waits",))
    innocent.start()
    try:
        assert server.get("/handler?for%20ever").status == 504
        server.wait_log("it does not come back: the child ends when others have finished")
        # No connection comes, by which it would notice.
        server._wait(lambda: len(server.child_pids()) > 1, "httpd does not replace the child")
        assert child in server.child_pids()
        rows = [row for row, _ in json.loads(server.ok("/flight").text)]
        assert {row[4]: row[0] == child for row in rows} == {
            "GET /handler": True,
            "GET /waits": True,
            "GET /flight": False,
        }
    finally:
        server.write("apps/go_on", "")
        innocent.join()
    server.wait_log("the child ends, with a thread that has not come back")


def test_its_request_is_in_the_access_log_and_counted(serve: Serve, mpm: str) -> None:
    """When its child ends. Python's handlers of the log phase do not see it."""
    server = serve(CONFIG + MORE, mpm=mpm, children=2, threads=4)
    server.claims.append(CLAIM)
    assert server.get("/handler?for%20ever").status == 504
    server.wait_log("the child ends, with a thread that has not come back")
    log = server.root / "access_log"
    server._wait(lambda: "GET /handler 504 " in log.read_text(), "the access log does not have it")
    assert log.read_text().count("GET /handler 504 ") == 1

    def counted() -> list[str]:
        lines = server.ok("/metrics").text.splitlines()
        return [line.rpartition(" ")[2] for line in lines if 'code="5xx"' in line and "stuck" in line]

    server._wait(lambda: counted() == ["1"], "it is not counted")
