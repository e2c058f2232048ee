"""A checkout that is built, from which tests install, and pack."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from httpd import PROJECT, RELEASE

VERSION = re.findall(r'^version = "(.*)"', (PROJECT / "python/mod_python/version.py").read_text(), re.M)[0]


class Tree:
    """A copy of the checkout whose build is the module under test, and programs that stand for the system's."""

    def __init__(self, root: Path) -> None:
        self.project, self.system = root / "project", root / "system"
        for name in ("Makefile", "Cargo.toml", "Cargo.lock", "build.rs", "README.md", "CHANGELOG.md"):
            self.project.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, self.project / name)
        for name in ("apache", "tools", "python", "docs"):
            shutil.copytree(PROJECT / name, self.project / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.project / "src").mkdir()
        self.built = self.project / "target/release/libmod_python.so"
        self.built.parent.mkdir(parents=True)
        self.built.symlink_to(RELEASE.resolve())
        # No cargo, as under sudo.
        self.programs = root / "bin"
        self.programs.mkdir()

    def become(self, version: str) -> None:
        """Another version, module and package."""
        module = self.built.read_bytes()
        self.built.unlink()
        self.built.write_bytes(module.replace(f"mod_python/{VERSION}".encode(), f"mod_python/{version}".encode()))
        source = self.project / "python/mod_python/version.py"
        source.write_text(source.read_text().replace(f'"{VERSION}"', f'"{version}"'))

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def make(self, verb: str, *arguments: str, destination: bool = True) -> subprocess.CompletedProcess[str]:
        if destination:
            arguments = (*arguments, f"DESTDIR={self.system}")
        path = f"{self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        command = ["make", "-s", verb, *arguments]
        environment = {"PATH": path, "HOME": "/nowhere"}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.project, env=environment, timeout=60
        )

    def ok(self, verb: str, *arguments: str, destination: bool = True) -> str:
        done = self.make(verb, *arguments, destination=destination)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def path(self, name: str) -> Path:
        """An installed file."""
        return self.system / name.lstrip("/")

    def files(self) -> set[str]:
        found = (path for path in self.system.rglob("*") if not path.is_dir())
        return {f"/{path.relative_to(self.system)}" for path in found}
