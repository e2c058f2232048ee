"""What a keeper may write: of its daemon's state, for the operator's status page, and of what its httpd says, for the log."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from mod_python import _status_page
from mod_python._daemon.journal import Journal, Relay
from mod_python._daemon.states import states

WELL = {
    "processes": [{"pid": 1, "memory": 2}],
    "deaths": [{"time": 3, "reason": "killed"}],
    "restarts": 4,
    "user": "ada",
}
HUGE = int("1" + "0" * 400)


@pytest.mark.parametrize(
    "said",
    [
        {"deaths": [{"time": HUGE, "reason": "x"}]},
        {"deaths": [{"time": -HUGE, "reason": "\ud800"}] * 100},
        {"processes": [{"pid": 1, "memory": HUGE}] * 500},
        {"processes": [{"pid": float("nan"), "memory": float("-inf")}]},
        {"requests": float("inf"), "restarts": float("nan"), "reloads": "1", "in_flight": [1]},
        {"problem": "\ud800", "user": "\udfff", "state": "x\udc80", "python": ["\ud800"] * 1000},
    ],
)
def test_a_page_whatever_a_keeper_writes(tmp_path: Path, said: dict[str, Any]) -> None:
    (tmp_path / "hostile.json").write_text(json.dumps({**WELL, **said}))
    (tmp_path / "well.json").write_text(json.dumps(WELL))
    found = states(str(tmp_path))
    assert [one["name"] for one in found] == ["hostile", "well"]
    assert found[1]["deaths"] == WELL["deaths"] and found[1]["processes"] == WELL["processes"]
    assert found[1]["user"] == "ada" and found[1]["restarts"] == 4
    page = _status_page._daemons({"daemons": found})
    assert "well" in page and len(page.encode()) < 20_000
    json.loads(json.dumps(found, allow_nan=False))
    for one in found[0]["deaths"] + found[0]["processes"]:
        assert all(abs(value) <= 2**53 for value in one.values() if isinstance(value, int))


class Kept(Journal):
    """A journal that keeps what it is to write."""

    def __init__(self) -> None:
        super().__init__("x")
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        if data:
            self.writes.append(data)


F_SETPIPE_SZ = 1031
"""Of <linux/fcntl.h>; the module has it since Python 3.10."""
LAST = b"[a] one\nFatal Python error: no newline"


@pytest.mark.parametrize("passes", [0, 1, 2])
@pytest.mark.parametrize("said", [LAST, LAST + b"\n", b"x", b"", b"\n\n", (b"z" * 99 + b"\n") * 600 + LAST])
def test_all_that_a_daemon_says_comes_in_lines(said: bytes, passes: int) -> None:
    """Also what waits when its relay is closed, and what has no line end."""
    journal = Kept()
    relay = Relay(journal, lambda pid, how: None)
    os.set_blocking(relay.writes, False)
    taken = os.write(relay.writes, said)
    assert taken == len(said)
    for _ in range(passes):
        relay.pass_on()
    if passes:
        # The rest of a line that has been begun.
        os.write(relay.writes, b"!")
        said += b"!"
    relay.close()
    assert b"".join(journal.writes) == said + (b"" if said.endswith(b"\n") or not said else b"\n")
    assert all(one.endswith(b"\n") for one in journal.writes)


def test_what_waits_is_not_torn() -> None:
    journal = Kept()
    relay = Relay(journal, lambda pid, how: None)
    fcntl.fcntl(relay.writes, F_SETPIPE_SZ, 1 << 18)
    os.set_blocking(relay.writes, False)
    said = (b"z" * 98 + b"\n") * 2200
    assert os.write(relay.writes, said) == len(said)
    relay.close()
    assert b"".join(journal.writes) == said and all(one.endswith(b"\n") for one in journal.writes)
