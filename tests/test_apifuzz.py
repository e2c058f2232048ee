"""The short form of `make apifuzz`: random calls with fixed seeds, on each MPM; and does the fuzzer see what it is for?"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from apifuzz import Conversations, Options, Result, Round, fuzz
from apifuzz_clients import conversation

SECONDS = 10


def test_random_calls(mpm: str) -> None:
    result = fuzz(Options(seconds=SECONDS, mpm=mpm, seed=20, clients=6, restarts=False))
    assert not result.findings, "\n".join(result.findings)
    # Less is no test: the handlers do not load, or the machine stands still.
    assert result.calls > 200 and "200" in result.statuses, str(result)


def test_random_calls_over_http2(mpm: str) -> None:
    if mpm == "prefork":
        pytest.skip("mod_http2 does not work on prefork")
    result = fuzz(Options(seconds=SECONDS / 2, mpm=mpm, seed=21, clients=6, http2=True, interpreters="sub"))
    assert not result.findings, "\n".join(result.findings)
    assert result.calls > 100, str(result)


def test_a_seed_stands_for_one_conversation() -> None:
    assert conversation(7, True) == conversation(7, True) != conversation(8, True)
    assert {conversation(seed, True).kind for seed in range(200)} == {"h1", "old", "pipelined", "bare", "h2"}


def test_a_crash_is_seen(mpm: str) -> None:
    """A child that is killed is a finding, with what it did last."""
    options, result = Options(mpm=mpm, seed=22, clients=2, restarts=False), Result()
    tried = Round(options, 0, result, Conversations(options))

    def kill() -> None:
        # One that has written down what it does: on a busy machine another child has had all the conversations.
        def at_work() -> list[int]:
            pids = tried.server.child_pids()
            return [pid for pid in pids for file in tried.journal.glob(f"{pid}-*") if b"seed=" in file.read_bytes()]

        limit = time.monotonic() + 30
        while not (result.conversations >= 5 and at_work()) and time.monotonic() < limit:
            time.sleep(0.01)
        os.kill(at_work()[0], signal.SIGABRT)

    killer = threading.Thread(target=kill)
    killer.start()
    tried.run(20)
    killer.join()
    assert result.lost == 1 and "exit signal Abort" in "".join(result.findings), result.findings
    assert "seed=" in "".join(result.findings)
    tried.remove()
