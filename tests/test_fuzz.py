"""The kept corpora of `make fuzz` through the checks in Python; `cargo test` does the same for those in Rust."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz"
sys.path.insert(0, str(FUZZ))

from checks import CHECKS  # noqa: E402


@pytest.mark.parametrize("name", CHECKS)
def test_corpus(name: str) -> None:
    inputs = sorted((FUZZ / "corpus" / name).iterdir())
    assert inputs
    for file in inputs:
        CHECKS[name](file.read_bytes())
