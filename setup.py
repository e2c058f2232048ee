"""Makes the wheel: the Python package, with the module that httpd loads in it (`make wheel`; `pip wheel .`).

The module is a library for httpd, which no Python can import. So neither setuptools-rust nor maturin fits, which place and name
extension modules: here it is copied into the package, as mod_python.so. What `make build` has made is taken; without it, or for
another Python, cargo builds it, for which Rust, and the headers of httpd and Python have to be there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PROJECT = Path(__file__).resolve().parent
BUILT = PROJECT / "target/release/libmod_python.so"
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
THREADING = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
WORK = Path("target/wheel")
"""Relative: setuptools wants it so."""

BESIDE = '''"""Where mod_python.so looks for its Python package: this is the one that it lies in, without what else is installed beside that."""

import os

__path__ = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]
__file__ = os.path.join(__path__[0], "__init__.py")
with open(__file__, encoding="utf-8") as _source:
    exec(compile(_source.read(), __file__, "exec"))
'''
"""The path of interpreters inside httpd begins with this directory: with site-packages in its place, a package there could hide a
module of the standard library."""


def module() -> Path:
    """The module for this Python: what is built, or is built now."""
    if BUILT.is_file() and f"libpython{VERSION}{THREADING}.so".encode() in BUILT.read_bytes():
        return BUILT
    if not shutil.which("cargo"):
        raise SystemExit(
            f"there is no {BUILT} for Python {VERSION}, and no Rust to build it: see https://rustup.rs, then `make build`"
        )
    environment = {**os.environ, "PYO3_PYTHON": sys.executable}
    subprocess.run(["cargo", "build", "--release", "--locked"], check=True, cwd=PROJECT, env=environment)
    return BUILT


def platform_tag(built: Path) -> str:
    """manylinux_2_x (PEP 600), by the newest symbol of glibc that the module needs; this machine's own where it needs none.

    libpython is not brought along: it has to be the process's only one, and be the distribution's or the environment's own.
    """
    needed = [int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)(?=\0)", built.read_bytes())]
    if not needed:
        return re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"manylinux_2_{max(needed)}_{platform.machine()}"


class Package(build_py):
    """The package, and the module in it."""

    def run(self) -> None:
        """See setuptools."""
        package = Path(self.build_lib) / "mod_python"
        # What another build has left there would go into this wheel.
        shutil.rmtree(package, ignore_errors=True)
        super().run()
        target = package / "mod_python.so"
        shutil.copy(module(), target)
        target.chmod(0o755)
        if shutil.which("strip"):
            subprocess.run(["strip", "--strip-unneeded", target], check=True)
        beside = package / "python/mod_python/__init__.py"
        beside.parent.mkdir(parents=True)
        beside.write_text(BESIDE)


class Wheel(bdist_wheel):
    """A wheel for one Python and one platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """See setuptools."""
        python = f"cp{VERSION.replace('.', '')}"
        return python, python + THREADING, platform_tag(module())


class Compiled(Distribution):
    """It has compiled code, though not as setuptools knows it."""

    def has_ext_modules(self) -> bool:
        """See setuptools."""
        return True


if __name__ == "__main__":
    (PROJECT / WORK).mkdir(parents=True, exist_ok=True)
    setup(
        distclass=Compiled,
        cmdclass={"build_py": Package, "bdist_wheel": Wheel},
        options={
            "build": {"build_base": str(WORK / "build")},
            "bdist": {"bdist_base": str(WORK / "bdist")},
            "bdist_wheel": {"bdist_dir": str(WORK / "bdist")},
            "egg_info": {"egg_base": str(WORK)},
        },
    )
