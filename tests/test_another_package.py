"""Another package of this one's name, as Debian's mod_python 3 brings it for the system's Python: nothing of this project's takes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mod_python._doctor import child
from mod_python._own import probe

from httpd import PROJECT

PACKAGE = str(PROJECT / "python")
SHOW = "import mod_python; print(mod_python.__file__)"


@pytest.fixture(name="beside")
def a_package_beside(tmp_path: Path) -> dict[str, str]:
    """An environment in which the other one comes first."""
    (tmp_path / "mod_python").mkdir()
    (tmp_path / "mod_python/__init__.py").write_text("")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def ran(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shown(environment: dict[str, str], *arguments: str) -> str:
    done = ran(environment, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_keeper_is_of_its_own_package(beside: dict[str, str]) -> None:
    """Which misses the socket that it is told its orders by."""
    done = ran(beside, f"{PACKAGE}/mod_python/_daemon/__main__.py", "name")
    assert "daemon name: its keeper cannot go on" in done.stderr, done.stderr


def test_what_start_imports_is_asked_by_its_own_package(beside: dict[str, str]) -> None:
    code = probe._MAIN.replace("main()", SHOW)
    assert shown(beside, "-c", code, PACKAGE).startswith(PACKAGE)


def test_what_check_imports_finds_its_own_package(beside: dict[str, str]) -> None:
    job = {"package": PACKAGE, "directories": [], "path": "", "module": "mod_python.apache", "object": "import_module"}
    code = f"import json, sys; sys.path.append({os.path.dirname(child.__file__)!r}); import child\n"
    code += f"print(child.attempt(json.loads({json.dumps(json.dumps(job))})).get('text')); {SHOW}"
    said = shown(beside, "-c", code).splitlines()
    assert said[0] == "None" and said[1].startswith(PACKAGE)
