"""Gets what the benchmarks compare with: a virtual environment with the peers of PyPI, the floor's module, oha."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "target/bench"
PEER = "libapache2-mod-python"
OHA = "1.16.0"


def main() -> int:
    BUILD.mkdir(parents=True, exist_ok=True)
    environment()
    floor()
    mod_python()
    oha()
    return 0


def environment() -> None:
    """The peers of PyPI, on the Python that the module embeds."""
    wanted = (HERE / "requirements.txt").read_text()
    mark = BUILD / "venv/requirements.txt"
    if mark.exists() and mark.read_text() == wanted:
        return
    print("installing the peers of PyPI into target/bench/venv", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(BUILD / "venv")], check=True)
    pip = [str(BUILD / "venv/bin/pip"), "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "setuptools"], check=True)
    subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=True)
    mark.write_text(wanted)


def floor() -> None:
    """The C handler, with apxs."""
    folder, source = BUILD / "floor", HERE / "floor/mod_floor.c"
    built = folder / ".libs/mod_floor.so"
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return
    folder.mkdir(exist_ok=True)
    shutil.copy(source, folder)
    subprocess.run(["apxs", "-c", "mod_floor.c"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def mod_python() -> None:
    """Debian's mod_python, unpacked where it is not installed: beside this module's it must not be."""
    folder = BUILD / "mod_python-3.5"
    installed = subprocess.run(["dpkg-query", "-L", PEER], capture_output=True, text=True, check=False).stdout.split()
    if any(Path(path).name == "mod_python.so" for path in installed) or (folder / "usr").exists():
        return
    with tempfile.TemporaryDirectory() as place:
        fetched = subprocess.run(["apt-get", "-q", "download", PEER], cwd=place, check=False).returncode == 0
        if not fetched:
            print(f"{PEER} could not be had; the report will lack mod_python 3.5", flush=True)
            return
        for package in Path(place).glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)


def oha() -> None:
    """The open-loop load generator. Without it the report has no latencies at a fixed rate, and says so."""
    if (BUILD / "oha/bin/oha").exists() or shutil.which("oha"):
        return
    print(f"building oha {OHA} (once; some minutes)", flush=True)
    command = ["cargo", "install", "-q", "--locked", f"oha@{OHA}", "--root", str(BUILD / "oha")]
    if subprocess.run([*command, "--target-dir", str(BUILD / "oha/build")], check=False).returncode != 0:
        print("oha could not be built; the report will lack its part", flush=True)
    shutil.rmtree(BUILD / "oha/build", ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
