"""What a keeper may write: of its daemon's state, for the operator's status page, and of what its httpd says, for the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mod_python import _status_page
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
