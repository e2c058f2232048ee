"""tools/circles.py: circles of files, and arrows that go up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from httpd import PROJECT

TABLE = "# A map\n\n| layer | what it does |\n| --- | --- |\n| `lib.rs` | the root |\n| `top.rs`, `side.rs` | above |\n| `room/` | below |\n\n| `room/` | another table |\n"
SOUND = {
    "src/README.md": TABLE,
    "src/lib.rs": "mod room;\nmod side;\nmod top;\n#[cfg(test)]\nmod proof;\nfn f() { top::run() }\n",
    "src/proof.rs": "use crate::top;\n",
    "src/top.rs": """//! `crate::room` is not an arrow, "super::side" is none.
use crate::room::{self as below, one::{One, Two as Twice}};
const TEXT: &str = "super::side::f";
fn run() -> [char; 3] { below::ready(); for _ in super::side::all() {} ['"', '\\'', '{'] }
#[cfg(test)]
mod tests {
    use super::*;
    fn f() { crate::lib() }
}
""",
    "src/side.rs": "fn all() -> impl Iterator + use<'static> { crate::room::Handed::new() } // crate::top::run\n",
    "src/room/mod.rs": "mod one;\nmod two;\npub(crate) use two::Handed;\n",
    "src/room/one.rs": "pub(in crate::room) struct One; struct Two(super::Handed);\n",
    "src/room/two.rs": "mod inner {\n    use super::Handed;\n}\npub(crate) struct Handed;\n",
    "bench/run.py": "import load\n",
    "bench/load.py": "import json\n",
}
ARROWS = """src/lib.rs -> src/top.rs
src/room/one.rs -> src/room/two.rs
src/side.rs -> src/room/two.rs
src/top.rs -> src/room/mod.rs
src/top.rs -> src/room/one.rs
src/top.rs -> src/side.rs
bench/run.py -> bench/load.py
"""
FAULTS = {
    "a circle": ("src/room/two.rs", "use super::one::One;", "src/: a circle of 2 files: room/one.rs, room/two.rs\n"),
    "a child's": (
        "src/room/mod.rs",
        "struct Held;\nmod three;\ntype Third = three::Third;",
        "src/: a circle of 2 files: room/mod.rs, room/three.rs\n  none without room/mod.rs -> room/three.rs\n",
    ),
    "between files of a row": (
        "src/side.rs",
        "fn back() { crate::top::run() }",
        "src/: a circle of 2 files: side.rs, top.rs\n  none without side.rs -> top.rs\n",
    ),
    "upward": ("src/room/two.rs", "fn up() { crate::top::run() }", "src/room/two.rs -> src/top.rs: an arrow upward\n"),
    "no layer": ("src/lib.rs", "mod attic;", "src/attic.rs: src/README.md names no layer of it\n"),
    "in bench": (
        "bench/load.py",
        "def f():\n    from run import g",
        "bench/: a circle of 2 files: load.py, run.py\n",
    ),
}


def circles(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROJECT / "tools/circles.py"), *options, str(project)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in SOUND.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "src/room/three.rs").write_text("use super::Held;\nfn f() -> Held { super::Held }\n")
    (tmp_path / "src/attic.rs").write_text("")
    return tmp_path


def test_arrows(project: Path) -> None:
    found = circles(project, "--list")
    assert (found.returncode, found.stderr, found.stdout) == (0, "", ARROWS)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(project: Path, fault: str) -> None:
    name, more, expected = FAULTS[fault]
    with (project / name).open("a") as file:
        file.write(more + "\n")
    found = circles(project)
    assert found.returncode == 1 and expected in found.stderr, found.stderr
