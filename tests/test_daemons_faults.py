"""What becomes of a daemon that is killed, hangs, eats memory, cannot be written or started: for its client, in the log, and afterwards.

docs/daemon_faults.md is what stands here; MOD_PYTHON_WRITE=1 writes it anew.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import Callable, Optional

import pytest
from client import Answer
from conftest import MPMS, Serve, Server
from kept_daemons import PROXY, ROOT, Daemon, lives, until, user

from httpd import PROJECT

PAGE = PROJECT / "docs/daemon_faults.md"
HEAD = """# When a daemon fails

What happens to an application in a `PythonDaemon` when something goes wrong, as `tests/test_daemons_faults.py` does it. The log is that of the
virtual host that the application is in, or the one of `log=`; `mod_python.status` shows the last reason. Where a client gets 502 or 503, the
request was not answered by the application: httpd never sends it to the application a second time by itself.

| What goes wrong | What the client of that request sees | What the log says | What other clients see, and when it serves again |
| --- | --- | --- | --- |
"""
SAID = r"AH01102|AH00898|AH01110|AH01084|AH01097|\[client [^]]*\] daemon \w+ |proxy:error|proxy_http:error"
"""What mod_proxy says of an answer that does not come."""


@dataclass(frozen=True)
class Fault:
    what: str
    client: str
    """The answer's status, and more in words behind it."""
    log: str
    """With … for what is different each time."""
    others: str
    act: Optional[Callable[[Daemon], None]] = None
    """What is done while the request is there."""
    uri: str = "/hang"
    daemon: str = "shop"
    is_everywhere: bool = False
    """Is it tried with every MPM of the front?"""

    @property
    def pattern(self) -> str:
        return r".+?".join(re.escape(part) for part in self.log.split("…"))


def kill(which: str) -> Callable[[Daemon], None]:
    return lambda daemon: os.kill(daemon.state()[which], signal.SIGKILL)


def kill_its_process(daemon: Daemon) -> None:
    for one in daemon.state()["processes"]:
        os.kill(one["pid"], signal.SIGKILL)


FAULTS = (
    Fault(
        "a process is killed (`kill -9`, the kernel's OOM killer)",
        "502",
        "daemon shop: process … has died: killed (signal 9), or ended by itself; it had … MB and was at GET /shop/hang",
        "other processes go on; httpd starts another one within a second",
        kill_its_process,
        is_everywhere=True,
    ),
    Fault(
        "the daemon's httpd is killed",
        "502, once its processes have ended (8 s at most)",
        "daemon shop: httpd (process …) has died: signal 9, Killed; its processes were at GET /shop/hang",
        "they wait for the next httpd, which is started at once; after deaths in a row, with pauses up to a minute, and 503 meanwhile",
        kill("httpd"),
    ),
    Fault(
        "the keeper is killed",
        "502: its httpd ends with it",
        "PythonDaemon shop: its keeper (process …) has ended (signal 9); another one starts in 0 s",
        "they wait for the next keeper's httpd",
        kill("keeper"),
        is_everywhere=True,
    ),
    Fault(
        "the application ends its process (`os._exit`)",
        "502",
        "daemon shop: process … has died: killed (signal 9), or ended by itself; it had … MB and was at GET /shop/exit",
        "other processes go on; httpd starts another one within a second",
        uri="/exit",
    ),
    Fault(
        "the application crashes its process",
        "502",
        "daemon shop: process … has died: signal 11, Segmentation fault; it had … MB and was at GET /shop/crash",
        "other processes go on; httpd starts another one within a second",
        uri="/crash",
    ),
    Fault(
        "the application forks, and forgets its child",
        "200: the answer is not the child's",
        "",
        "nothing; the child is killed when that httpd ends",
        uri="/fork",
    ),
    Fault(
        "the application takes longer than `request-timeout`",
        "504",
        "PythonTimeout: GET /late/hang has taken …",
        "nothing; a process with a thread that does not come back is replaced",
        daemon="late",
        is_everywhere=True,
    ),
    Fault(
        "the application needs more memory than `memory-limit`",
        "502, if its process goes beyond 1.25 times the limit; else its answer",
        "daemon greedy: process … has died: it was killed; its memory-limit is 100 MB; it had … MB and was at GET /greedy/eat",
        "a new httpd is started, and the old one ends when its requests have; of several processes one ends alone",
        uri="/eat",
        daemon="greedy",
    ),
)  # fmt: skip
OTHERS = (
    ("a new version cannot be imported (reload)", "—", "daemon shop: its applications cannot be imported: …; the version before goes on serving", "the version before serves"),
    ("the application cannot be imported (start)", "503, with Retry-After", "daemon broken: its applications cannot be imported: …; it is tried again in … s", "503, until it can: tried again after pauses up to a minute, and at a reload"),
    ("the disk of the runtime directory is full (reload)", "—", "daemon shop: httpd cannot be started: …no space left on device…; the version before goes on serving", "the version before serves"),
    ("httpd itself is killed", "the connection is cut, if its child ends, too", "", "nothing is left of its daemons"),
)  # fmt: skip


def test_the_page_is_what_is_tested() -> None:
    rows = [(one.what, one.client, one.log, one.others) for one in FAULTS] + list(OTHERS)
    lines = [
        f"| {what} | {client} | {f'`{log}`' if log else 'nothing'} | {others} |" for what, client, log, others in rows
    ]
    text = HEAD + "\n".join(lines) + "\n"
    if os.environ.get("MOD_PYTHON_WRITE"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "MOD_PYTHON_WRITE=1 make test ARGS=tests/test_daemons_faults.py"


CASES = [(mpm, fault) for mpm in MPMS for fault in FAULTS if mpm == "event" or fault.is_everywhere]


@pytest.fixture(scope="module")
def servers(serve_module: Serve) -> Callable[[str], Server]:
    """The front with an MPM; each is made once."""
    daemons = "".join(
        f"PythonDaemon {name} {user()} threads=4 working-directory=@ROOT@/apps {options}\nPythonWSGI /{name} kept:application daemon={name}\n"
        for name, options in (("shop", ""), ("late", "request-timeout=0.3"), ("greedy", "memory-limit=100M"))
    )
    return functools.lru_cache(None)(lambda mpm: serve_module(daemons, modules=PROXY, mpm=mpm))


@pytest.mark.parametrize(("mpm", "fault"), CASES, ids=[f"{mpm}-{fault.what[:40]}" for mpm, fault in CASES])
def test_fault(servers: Callable[[str], Server], mpm: str, fault: Fault) -> None:
    server = servers(mpm)
    daemon = Daemon(server, fault.daemon)
    daemon.serves()
    # Not the one before's.
    daemon.until(lambda state: state["in_flight"] == 0)
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(server.get(f"/{fault.daemon}{fault.uri}")))
    client.start()
    if fault.act:
        daemon.until(lambda state: state["in_flight"] == 1)
        fault.act(daemon)
        # Others need not wait for that request to end.
        until(lambda: server.get(f"/{fault.daemon}/").status == 200, server.log_text)
    client.join()
    server.claims.append(SAID)
    if fault.log:
        server.claim(fault.pattern)
    if fault.daemon == "late":
        server.claims += [r"\] {3,}", "PythonTimeout: GET /late/ has taken"]
        server.claim("it does not come back: the child ends when others have finished")
        server.claim(r"daemon late: process \d+ has died: killed")
    assert str(answers[0].status) == fault.client[:3], (answers[0].text, server.log_text()[-3000:])
    until(lambda: server.get(f"/{fault.daemon}/").status == 200, server.log_text)


@pytest.mark.skipif(not ROOT, reason="only root can make a small file system")
def test_a_full_disk(serve: Serve) -> None:
    server = serve("", start=False, modules=PROXY)
    place = server.root / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount anything")
    try:
        server.write(
            "code/version.py",
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'1']\n",
        )
        server.configure(
            f"DefaultRuntimeDir {place}\nPythonDaemon shop {user()} working-directory=@ROOT@/code\n"
            "PythonWSGI /shop version:application daemon=shop\n"
        )
        server.start()
        shop = Daemon(server)
        shop.directory = place / f"mod_python.{server.pid}"
        before = shop.serves()
        filler = os.open(place / "all of it", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError):
            while True:
                os.write(filler, bytes(4096))
        os.close(filler)
        os.kill(before["keeper"], signal.SIGHUP)
        server.claim(
            re.escape("daemon shop: httpd cannot be started: ")
            + ".*[Nn]o space left on device.*the version before goes on"
        )
        assert lives(before["httpd"])
        (place / "all of it").unlink()
        assert shop.reload().returncode == 0
        server.stop()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
