"""Another Python than the one that is embedded, and this module built for it.

MOD_PYTHON_SECOND names its program; else those on the PATH are tried, what tools/python.sh has made, and pyenv's. Built is in
target/other-VERSION/, which stays.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import os
import shutil
import subprocess
from pathlib import Path
from typing import Optional

import pytest

from httpd import CHILD_USER, PROJECT

_ABOUT = """
import os, sys, sysconfig
print("%d.%d" % sys.version_info[:2], sysconfig.get_config_var("Py_ENABLE_SHARED") or 0, sysconfig.get_config_var("Py_GIL_DISABLED") or 0,
      int(os.path.isfile(sysconfig.get_path("include") + "/Python.h")))
"""
_VERSIONS = ("3.12", "3.13", "3.14", "3.11", "3.10", "3.9")


@dataclasses.dataclass(frozen=True)
class Second:
    """Another Python."""

    program: str
    version: str
    """Such as 3.12."""
    module: Path
    """This module, built for it."""


@functools.lru_cache(None)
def second() -> Second:
    """The Python, and the module, which is built if need be. Skips the test, and says why, where there is none."""
    program = os.environ.get("PYO3_PYTHON", "/usr/bin/python3")
    own = (_asked(program) or "").split(" ")[0]
    out_of_reach = []
    for found in dict.fromkeys(_candidates()):
        about = (_asked(found) or "").split()
        if len(about) != 4 or about[0] not in _VERSIONS or about[0] == own or about[1:] != ["1", "0", "1"]:
            continue
        if not _is_for_everybody(found):
            out_of_reach.append(found)
            continue
        return Second(found, about[0], _built(found, about[0]))
    more = f"; {CHILD_USER} cannot run {', '.join(out_of_reach)}: tools/python.sh makes a copy" if out_of_reach else ""
    pytest.skip(f"there is no other Python than {own} with a shared library and headers (MOD_PYTHON_SECOND=){more}")


def _candidates() -> list[str]:
    named = os.environ.get("MOD_PYTHON_SECOND")
    if named:
        return [named]
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = [f"/opt/mod_python/python{version}/bin/python3" for version in _VERSIONS]
    for version in _VERSIONS:
        found += [
            shutil.which(f"python{version}") or "",
            *sorted(glob.glob(f"{root}/versions/{version}.*/bin/python3")),
        ]
    return [path for path in found if os.access(path, os.X_OK)]


def _asked(program: str) -> Optional[str]:
    try:
        done = subprocess.run([program, "-I", "-c", _ABOUT], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _is_for_everybody(program: str) -> bool:
    if os.geteuid() != 0:
        return True
    try:
        done = subprocess.run(
            [program, "-I", "-c", "import encodings"], user=CHILD_USER, extra_groups=[], capture_output=True,
            check=False, cwd="/", timeout=30,
        )  # fmt: skip
    except OSError:
        return False
    return done.returncode == 0


def _built(program: str, version: str) -> Path:
    cargo = shutil.which("cargo")
    target = PROJECT / f"target/other-{version}"
    if not cargo:
        pytest.skip("there is no cargo to build the module for another Python with")
    command = [cargo, "build", "--locked", "-q", "--features", "test-faults", "--target-dir", str(target)]
    environment = {name: value for name, value in os.environ.items() if name not in ("RUSTFLAGS", "LD_PRELOAD")}
    done = subprocess.run(
        command, cwd=PROJECT, env={**environment, "PYO3_PYTHON": program}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return target / "debug/libmod_python.so"
