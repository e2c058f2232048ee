"""atheris on one of the checks: python tests/fuzz/drive.py psp [libFuzzer's arguments]."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "python"), str(HERE)]
with atheris.instrument_imports(include=["mod_python"]):
    from checks import CHECKS

check = CHECKS[sys.argv.pop(1)]


def one(data: bytes) -> None:
    """What libFuzzer calls."""
    check(data)


atheris.Setup(sys.argv, one)
atheris.Fuzz()
