"""`make run`: serves a directory of handlers by `mod_python start`, with the module that `make build` has made.

Where root runs it, and httpd's user cannot reach the checkout or the site, copies are served.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Optional

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "python"))
MODULE = Path(os.environ.get("MOD_PYTHON_MODULE") or PROJECT / "target/release/libmod_python.so")


def children_can_read(path: Path) -> bool:
    """Whether somebody else, such as httpd's user, can read what is there."""
    if os.geteuid() != 0:
        return True
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents) and bool(path.stat().st_mode & 0o004)


def closed_to_children(site: Path) -> Optional[Path]:
    """What the children cannot read of a site; None where they can read it all. What is hidden, such as .git, is no part of it."""
    inner = (path for path in site.rglob("*") if not any(part[0] == "." for part in path.relative_to(site).parts))
    return next((path for path in (site, *inner) if path.exists() and not children_can_read(path)), None)


def copied(source: Path, target: Path) -> Path:
    """A copy that everybody can read."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    subprocess.run(["chmod", "-R", "a+rX", str(target)], check=True)
    return target


def main() -> int:
    from mod_python import _users
    from mod_python._own import options

    parser = argparse.ArgumentParser(description="Serve a directory of mod_python handlers with a private httpd.")
    parser.add_argument("--site", type=Path, required=True, help="directory of handlers")
    parser.add_argument("--port", default="8888")
    arguments = parser.parse_args()
    try:
        port = options.port(arguments.port) or int("x")
    except ValueError:
        raise SystemExit(
            f"{arguments.port!r} is no port, which is a number from 1 to 65535: make run PORT=8888"
        ) from None
    site = arguments.site.resolve()
    if not site.is_dir():
        raise SystemExit(f"there is no directory {site}")
    children = _users.children_user()
    with tempfile.TemporaryDirectory(prefix="mod_python-run-") as name:
        place = Path(name)
        place.chmod(0o755)
        module, package = MODULE, PROJECT / "python"
        if not (children_can_read(module) and children_can_read(package / "mod_python/apache.py")):
            module = copied(module, place / "module" / module.name)
            package = copied(package, place / "module/python")
        shown, what = site, str(site)
        closed = closed_to_children(site)
        if closed and children:
            shown = copied(site, place / "site")
            what = f"a copy of {site} as it is now, since {children[0]} cannot reach {closed} (`chmod o+rX` lets it)"
        print(f"Serving {what}", flush=True)
        command = [sys.executable, "-m", "mod_python", "start", "--port", str(port), "--reload"]
        command += ["--server-root", str(place / "httpd"), *(["--user", children[0]] if children else [])]
        if (shown / ".venv/pyvenv.cfg").exists():
            print(f"  with the packages of {shown / '.venv'}", flush=True)
            command += ["--venv", str(shown / ".venv")]
        command += _content(shown, place)
        return _run(command, {**os.environ, "PYTHONPATH": str(package), "MOD_PYTHON_MODULE": str(module)}, shown)


def _content(site: Path, place: Path) -> list[str]:
    """What is served: handlers and pages, or what the site's own configuration says."""
    own = site / "site.conf"
    if not own.exists():
        return [str(site)]
    written = place / "site.conf"
    written.write_text(own.read_text().replace("@SITE@", str(site)))
    return ["--include", str(written)]


def _run(command: list[str], environment: dict[str, str], site: Path) -> int:
    child: Optional[subprocess.Popen[bytes]] = None
    early: list[int] = []

    def pass_on(number: int, frame: Optional[FrameType]) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    # Before there is a child: nobody else would end one that has just begun.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    # A session of its own: Ctrl-C comes to it once.
    child = subprocess.Popen(command, env=environment, cwd=site, start_new_session=True)
    for number in early:
        child.send_signal(number)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
