"""Two that do something at one moment: neither sees the half of what the other does, nor is what one says lost. Each test has the
moment come, whatever the machine does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from kept_daemons import PROXY, Daemon, asked, lives, user
from mod_python._daemon import served, states
from mod_python._daemon.state import State
from mod_python._own import configuration, foreground, options, process, reloading, root, serving
from mod_python._own.problems import Problem
from started import until

from httpd import PROJECT


def test_a_state_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a keeper writes is read between any two of its steps."""
    path = tmp_path / "shop.json"
    (tmp_path / "own").mkdir()
    found: list[Any] = []
    calls = {"pwrite": os.pwrite, "ftruncate": os.ftruncate}

    def watched(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            found.append([one.get("problem") for one in states.states(str(tmp_path))])
            done = calls[name](*arguments)
            found.append([one.get("problem") for one in states.states(str(tmp_path))])
            return done

        return call

    said = {"processes": [], "problem": ""}
    with path.open("w+b") as file:
        state = State(file.fileno(), str(tmp_path / "own"))
        state.write({**said, "problem": "a long one" * 20})
        for name in calls:
            monkeypatch.setattr(os, name, watched(name))
        state.write({**said, "problem": "short"})
    assert found and all(one in (["a long one" * 20], ["short"]) for one in found), found
    assert path.read_bytes().endswith(b"}\n") and json.loads(path.read_text())["problem"] == "short"


def test_a_state_that_is_read_while_it_is_written_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shop.json"
    # As long as one another: what is half of one, and half of the other, is JSON.
    old, new = (json.dumps({"processes": [], "deaths": [], "problem": 2 * letter}) for letter in "ab")
    halves = [new[: new.index("bb") + 1] + old[old.index("aa") + 1 :], new, new]

    class Torn:
        def __enter__(self) -> Torn:
            return self

        def __exit__(self, *_: object) -> None: ...

        def seek(self, _: int) -> None: ...

        def read(self, _: int) -> bytes:
            return halves.pop(0).encode()

    path.write_text(old)
    monkeypatch.setattr(states, "open", lambda *_: Torn(), raising=False)
    assert [one["problem"] for one in states.states(str(tmp_path))] == ["bb"]


def served_by(child: subprocess.Popen[bytes], place: Path) -> served.Served:
    """A generation whose httpd is another program."""
    one = served.Served.__new__(served.Served)
    one.task = types.SimpleNamespace()  # type: ignore[assignment]
    one.process, one.place, one.status, one.deadline, one.killed = child, str(place), None, None, None
    one.outcome, one.children, one.telling = "", {}, None
    return one


@pytest.fixture
def group() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has ended, and left one of its group behind."""
    script = f"{sys.executable} -c 'input()' <&0 >/dev/null & echo $!"
    child = subprocess.Popen(
        ["sh", "-c", f"exec 3<&0; {script.replace('<&0', '<&3')}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    yield child
    assert child.stdin is not None and child.stdout is not None
    child.stdin.close()
    child.stdout.close()
    child.wait()


def test_a_killed_httpd_is_gone_once_all_of_it_is(
    group: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed has not ended at once: here, where the kernel takes its time."""
    assert group.stdout is not None
    left = int(group.stdout.readline())
    one = served_by(group, tmp_path)
    until(one.has_ended, lambda: "the shell goes on")
    one.deadline = time.monotonic()
    monkeypatch.setattr(served, "_DYING", 30.0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda *_: None)
        assert not one.is_gone() and lives(left)
    until(one.is_gone, lambda: "it is never gone")
    assert not lives(left)


def test_what_the_kernel_does_not_let_go_is_not_waited_for(
    group: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = served_by(group, tmp_path)
    until(one.has_ended, lambda: "the shell goes on")
    one.deadline = time.monotonic()
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    monkeypatch.setattr(served, "_DYING", 0.0)
    assert one.is_gone()


LATE = """
import os, signal, sys
input()
signal.signal(signal.SIGWINCH, lambda *_: (os.unlink(sys.argv[1]), os._exit(0)))
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
print("serves", flush=True)
while True:
    signal.pause()
"""
"""Does what httpd does with SIGWINCH: nothing until it is about to serve, when it writes its pid file."""


@pytest.fixture
def late(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "run").mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", LATE, str(tmp_path / root.PID_FILE), f"{tmp_path}/httpd.conf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    yield child
    child.kill()
    child.communicate()


def begin_to_serve(late: subprocess.Popen[bytes]) -> None:
    assert late.stdin is not None and late.stdout is not None
    late.stdin.write(b"\n")
    late.stdin.flush()
    assert late.stdout.readline() == b"serves\n"


def test_an_httpd_that_has_just_begun_to_start_ends_all_the_same(
    late: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "AGAIN", 0.05)
    monkeypatch.setattr(served.configuration, "patience_at_the_end", lambda _: 60.0)
    one = served_by(late, tmp_path)
    one.stop(True)
    begin_to_serve(late)
    until(one.is_gone, lambda: "it has not heard that it is to end")
    assert late.wait() == 0


def state_of(place: Path) -> root.State:
    (place / "httpd.conf").touch()
    return root.State(str(place), sys.executable, "", options.Options(), "")


def restart_in_a_moment(place: Path) -> None:
    """httpd writes its pid file when it has read its configuration."""
    later = time.time_ns() + 50_000_000
    os.utime(place / root.PID_FILE, ns=(later, later))


def test_who_takes_long_to_begin_to_end_is_told_once(
    late: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second SIGWINCH would cut off its requests, should it have begun by then."""
    monkeypatch.setattr(process, "AGAIN", 0.05)
    monkeypatch.setattr(process, "_STOPPING", 1.0)
    state, told = state_of(tmp_path), []
    begin_to_serve(late)
    # Before that, on any clock.
    os.utime(tmp_path / root.PID_FILE, ns=(1, 1))
    monkeypatch.setattr(process.signal, "pidfd_send_signal", lambda _, number: told.append(number))
    with pytest.raises(Problem, match="has not ended after"):
        process.stop(state)
    assert told == [signal.SIGWINCH]


def test_a_server_that_loses_a_signal_is_told_again(
    late: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As httpd does between a restart and its new configuration. One that has begun to end is told nothing more."""
    monkeypatch.setattr(process, "AGAIN", 0.05)
    monkeypatch.setattr(process, "_STOPPING", 20.0)
    state, told = state_of(tmp_path), []
    begin_to_serve(late)
    tells = process.signal.pidfd_send_signal

    def lossy(descriptor: int, number: int) -> None:
        told.append(number)
        if len(told) < 3:
            restart_in_a_moment(tmp_path)
        else:
            tells(descriptor, number)
            # Its parent takes leave of it.
            late.wait()

    monkeypatch.setattr(process.signal, "pidfd_send_signal", lossy)
    assert process.stop(state) == late.pid
    assert told == [signal.SIGWINCH] * 3


def test_a_server_in_the_foreground_is_told_again(
    late: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "AGAIN", 0.05)
    one = foreground.Foreground.__new__(foreground.Foreground)
    one.state, one._child, one._serves, one._ending = state_of(tmp_path), late, False, signal.SIGWINCH
    # What it is told first it ignores.
    sends = late.send_signal

    def send(number: int) -> None:
        sends(number)
        begin_to_serve(late)
        restart_in_a_moment(tmp_path)

    monkeypatch.setattr(late, "send_signal", send)
    one._stop()
    assert late.returncode == 0, "its patience was at an end"


def test_a_list_that_a_child_is_writing_stays(tmp_path: Path) -> None:
    reports = tmp_path / "run/imported"
    reports.mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    mine = {str(os.getpid()), f"{os.getpid()}.new", "notes"}
    for name in (*mine, str(gone.pid), f"{gone.pid}.new"):
        (reports / name).touch()
    site = configuration.Site(str(tmp_path), "", False, "", (), None, None, "")
    with reloading.Watch(serving.Prepared(state_of(tmp_path), site, {}, None, None)):  # type: ignore[arg-type]
        assert set(os.listdir(reports)) == mine


INTERRUPTED = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
import run
real = subprocess.Popen
class Popen(real):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
subprocess.Popen = Popen
sys.exit(run._run(["sleep", "60"], dict(os.environ), "/"))
"""


def test_ctrl_c_while_the_server_is_being_started_ends_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(PROJECT / "tools")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    child = int(done.stdout)
    try:
        assert not lives(child) and done.stderr == "" and done.returncode != 0
    finally:
        if lives(child):
            os.kill(child, signal.SIGKILL)


def test_what_a_dead_process_was_at_is_told_though_another_serves(serve: Serve) -> None:
    """The keeper is late here: the next process has had requests when it looks what the dead one was at."""
    server = serve(
        f"PythonDaemon shop {user()} working-directory=@ROOT@/apps\nPythonWSGI /shop kept:application daemon=shop\n",
        modules=PROXY,
    )
    shop = Daemon(server)
    state = shop.serves()
    (child,), keeper = (one["pid"] for one in state["processes"]), state["keeper"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(shop.socket))
        client.sendall(b"GET /shop/hang HTTP/1.1\r\nHost: a\r\n\r\n")
        shop.until(lambda state: state["in_flight"] == 1)
        os.kill(keeper, signal.SIGSTOP)
        try:
            os.kill(child, signal.SIGKILL)
            until(lambda: not lives(child), lambda: "it goes on")
            assert b"200 OK" in asked(shop.socket, "/shop")
        finally:
            os.kill(keeper, signal.SIGCONT)
        server.claim(rf"daemon shop: process {child} has died: killed .*; it had \d+ MB and was at GET /shop/hang")
