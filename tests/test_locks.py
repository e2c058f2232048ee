"""Global locks, across the processes of one httpd."""

from __future__ import annotations

import signal
import subprocess
from http.client import RemoteDisconnected

import pytest
from conftest import Serve, Server, places

OPTIONS = "PythonOption mod_python.mutex_locks 4\nPythonOption file @ROOT@/number\n"


def served(serve: Serve, mpm: str, more: str = "") -> Server:
    server = serve(places("locks") + OPTIONS + more, mpm=mpm, threads=16, children=4, start=False)
    server.write("number", "0").chmod(0o666)
    (server.root / "locks").mkdir()
    (server.root / "locks").chmod(0o777)
    return server.start()


@pytest.mark.parametrize(
    "more",
    [
        "",
        "PythonOption mod_python.mutex_directory @ROOT@/locks\n",
        "Mutex sysvsem mod_python\n",
        "Mutex fcntl mod_python\n",
    ],
    ids=["default", "directory", "sysvsem", "fcntl"],
)
def test_one_at_a_time(serve: Serve, mpm: str, more: str) -> None:
    server = served(serve, mpm, more)
    assert server.ok("/locks/errors").text == "ok"
    if "directory" in more:
        assert len(list((server.root / "locks").glob("mpmtx*"))) == 4
    command = ["ab", "-q", "-n", "1000", "-c", "16", server.url("/locks/count")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in report and "Complete requests:      1000" in report, report
    assert (server.root / "number").read_text() == "1000"


def test_a_lock_is_free_when_its_child_has_died(serve: Serve, mpm: str) -> None:
    server = served(serve, mpm)
    for _ in range(3):
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            server.get("/locks/die")
        server.ok("/locks/count")
    assert (server.root / "number").read_text() == "3"


def test_a_lock_that_a_request_s_end_gives_back(serve: Serve, mpm: str) -> None:
    server = served(serve, mpm)
    command = ["ab", "-q", "-n", "500", "-c", "8", server.url("/locks/keep")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Failed requests:        0" in report and "Non-2xx" not in report, report


def test_restarts_in_quick_succession(serve: Serve, mpm: str) -> None:
    """A child that starts while the next restart is under way has its locks all the same."""
    server = served(serve, mpm)
    for count in range(2, 22):
        server.signal(signal.SIGUSR1)
        server._wait(
            lambda count=count: server.log_text().count("resuming normal operations") >= count, "no graceful restart"
        )
    server.graceful()
    server.ok("/locks/count")
    assert not server.unclaimed()


def test_at_least_two_locks(serve: Serve) -> None:
    """docs/differences.md#two-locks-at-least"""
    server = serve(places("locks") + OPTIONS.replace("4", "1"), mpm="prefork", threads=1, children=1, start=False)
    server.write("number", "0").chmod(0o666)
    server.start()
    server.ok("/locks/count")
    assert (server.root / "number").read_text() == "1"


def test_mistakes_are_told(serve: Serve) -> None:
    for value in ("none", "0", "-1", "1025"):
        checked = serve(f"PythonOption mod_python.mutex_locks {value}\n", start=False).check()
        assert checked.returncode != 0 and "PythonOption mod_python.mutex_locks" in checked.stderr
    server = serve("PythonOption mod_python.mutex_directory /nowhere\n", start=False)
    with pytest.raises(RuntimeError, match="cannot create global mutex 0 in /nowhere: No such file or directory"):
        server.start()
    server.claims += ["cannot create global mutex 0 in /nowhere", "AH00020"]
