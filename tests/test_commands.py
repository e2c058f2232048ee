"""`mod_python create`, `genconfig`, `start`, `stop`: a server of one's own, from nothing, as root and as somebody else."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from client import ask
from conftest import Serve, Server
from mod_python.httpdconf import write_basic_config

from httpd import CHILD_USER, PROJECT, free_port, query_apxs

ROOT = os.geteuid() == 0
WORD = "def handler(req):\n    import os, pwd\n    req.write(pwd.getpwuid(os.geteuid()).pw_name)\n    return 0\n"


class Command:
    """The command beside the module under test, run by a user; the sites that it has started are stopped."""

    def __init__(self, server: Server, user: Optional[str]) -> None:
        self.user = user
        self.place = server.root / "sites"
        self.place.mkdir()
        self.place.chmod(0o755)
        if user:
            shutil.chown(self.place, user)
        assert server.module
        staged = server.root / "module/libmod_python.so"
        self.module = staged if staged.exists() else server.module
        self.package = server.root / "module/python" if staged.exists() else PROJECT / "python"
        self.configs: list[Path] = []

    def __call__(self, *arguments: str, user: Optional[str] = None) -> subprocess.CompletedProcess[str]:
        user = user or self.user
        other = ("runuser", "-u", user, "--") if user and ROOT else ()
        command = [
            *other,
            "env",
            f"PYTHONPATH={self.package}",
            sys._base_executable,
            "-B",
            "-m",
            "mod_python",
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)

    def create(self, *options: str) -> tuple[Path, str]:
        """A site with a handler that tells its user; its configuration, and what the command has said."""
        site = self.place / "a site"
        made = self("create", str(site), "--pythonhandler", "who", "--pythonpath", str(site / "public"), *options)
        assert made.returncode == 0, made.stderr
        generated = self("genconfig", str(site / "conf/httpd_conf.py"))
        assert generated.returncode == 0, generated.stderr
        config = site / "conf/httpd.conf"
        config.write_text(generated.stdout.replace(f"{query_apxs('LIBEXECDIR')}/mod_python.so", str(self.module)))
        (site / "public/who.py").write_text(WORD)
        self.configs.append(config)
        return config, made.stdout

    def close(self) -> None:
        for config in self.configs:
            file = config.parent.parent / "logs/httpd.pid"
            if file.exists():
                pid = int(file.read_text())
                self("stop", str(config))
                limit = time.monotonic() + 30
                while Path(f"/proc/{pid}").exists() and time.monotonic() < limit:
                    time.sleep(0.02)


@pytest.fixture(params=["root", CHILD_USER] if ROOT else ["own"])
def command(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Command]:
    # Staged where others can read it, if the checkout is not.
    command = Command(serve("", start=False), CHILD_USER if request.param == CHILD_USER else None)
    yield command
    command.close()


def test_it_serves(command: Command) -> None:
    port = free_port()
    config, said = command.create("--listen", str(port))
    text = config.read_text()
    root = config.parent.parent
    assert f"Listen 127.0.0.1:{port}\n" in text and f'DefaultRuntimeDir "{root}/run"\n' in text
    user = CHILD_USER if ROOT else pwd.getpwuid(os.geteuid()).pw_name
    assert (f"User {user}\n" in text) is (ROOT and not command.user)
    assert (f"Handlers will run as {user} (--user chooses another one)" in said) is (ROOT and not command.user)
    started = command("start", str(config))
    assert started.returncode == 0, started
    assert f"it serves http://127.0.0.1:{port}/ (process " in started.stdout
    # It waits: no patience needed.
    assert ask(port, "/").text == user
    link = config.with_name("by-link.conf")
    link.symlink_to(config)
    for name in (config, link):
        again = command("start", str(name))
        assert again.returncode == 0 and "it runs already (process " in again.stdout


def test_a_start_that_fails_is_told(command: Command) -> None:
    port = free_port()
    config, _ = command.create("--listen", str(port))
    text = config.read_text()
    config.write_text(text + "Nonsense\n")
    started = command("start", str(config))
    assert started.returncode == 1 and "Invalid command 'Nonsense'" in started.stderr
    # What httpd finds when it has gone to the background, and `-k start` has said that all is well.
    missing = config.parent / "missing/log"
    config.write_text(text + f'CustomLog "{missing}" combined\n')
    started = command("start", str(config))
    assert started.returncode == 1 and started.stderr, started


def test_a_start_without_python_is_told(command: Command) -> None:
    config, _ = command.create("--listen", str(free_port()))
    package = command.place / "module"
    (package / "python").mkdir(parents=True)
    shutil.copy(command.module, package / "mod_python.so")
    shutil.copytree(
        PROJECT / "python/mod_python", package / "python/mod_python", ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "python/mod_python/apache.py").write_text("raise RuntimeError('broken')\n")
    subprocess.run(["chmod", "-R", "a+rX", str(package)], check=True)
    config.write_text(config.read_text().replace(str(command.module), str(package / "mod_python.so")))
    started = command("start", str(config))
    assert started.returncode == 1 and "httpd runs, but not Python in it" in started.stderr, started
    assert "broken" in started.stderr


needs_root = pytest.mark.skipif(not ROOT, reason="about what root does")


@needs_root
def test_root_chooses_a_user(serve: Serve) -> None:
    command = Command(serve("", start=False), None)
    nobody = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    config, said = command.create("--user", "nobody")
    text = config.read_text()
    assert "User nobody\n" in text and f"Group {nobody}\n" in text and "run as nobody" in said
    assert "Listen 127.0.0.1:8888\n" in text
    for user, reason in (("root", "root is root, whom"), ("nosuch", "there is no user nosuch")):
        made = command("create", str(command.place / "other"), "--pythonhandler", "x", "--user", user)
        assert made.returncode == 1 and reason in made.stderr and not (command.place / "other").exists()


def test_a_foreign_process_is_not_told_anything(command: Command) -> None:
    """httpd's own `-k` signals whatever has the number in the pid file that a crashed one has left."""
    config, _ = command.create("--listen", str(free_port()))
    file = config.parent.parent / "logs/httpd.pid"
    other = ["runuser", "-u", command.user, "--"] if command.user and ROOT else []
    bystander = subprocess.Popen([*other, "sleep", "60"])
    try:
        children = Path(f"/proc/{bystander.pid}/task/{bystander.pid}/children")
        limit = time.monotonic() + 30
        while other and not children.read_text() and time.monotonic() < limit:
            time.sleep(0.01)
        pid = int(children.read_text().split()[0]) if other else bystander.pid
        for verb in ("restart", "reload", "stop"):
            file.write_text(f"{pid}\n")
            told = command(verb, str(config))
            assert told.returncode == 1 and f"no server runs with {config}" in told.stderr, told
        assert command("status", str(config)).returncode == 3
        assert Path(f"/proc/{pid}").exists() and bystander.poll() is None
    finally:
        file.unlink()
        bystander.terminate()
        bystander.wait()


def test_where_a_server_cannot_listen(command: Command) -> None:
    place = command.place / "other"
    for listen in ("99999", "abc", "127.0.0.1:0"):
        made = command("create", str(place), "--listen", listen, "--pythonhandler", "x")
        assert made.returncode == 1 and "is no port, which is a number from 1 to 65535" in made.stderr
        assert made.stderr.count("\n") == 1 and not place.exists()


def test_only_root_chooses_a_user(command: Command) -> None:
    made = command("create", str(command.place / "other"), "--pythonhandler", "x", "--user", "daemon")
    if ROOT and not command.user:
        assert made.returncode == 0
    else:
        assert made.returncode == 1 and "only root can have a server run as daemon" in made.stderr


@needs_root
def test_what_the_user_cannot_pass_is_told(serve: Serve) -> None:
    command = Command(serve("", start=False), None)
    command.place.chmod(0o700)
    _, said = command.create()
    assert f"But {CHILD_USER} cannot pass {command.place}: let it, with `chmod o+x {command.place}`" in said


def test_the_function_is_as_careful(tmp_path: Path) -> None:
    """write_basic_config() without arguments: not as root, and for this machine alone."""
    old = os.umask(0o077)
    try:
        script = write_basic_config(str(tmp_path / "site"))
    finally:
        os.umask(old)
    assert script
    text = Path(script).read_text()
    assert "Listen('127.0.0.1:8888')" in text and "DefaultRuntimeDir(" in text
    assert bool(re.search(r"User\('(?!root)", text)) is ROOT
    modes = {stat.S_IMODE((tmp_path / "site" / name).stat().st_mode) for name in ("", "public", "logs", "run", "conf")}
    assert modes == {0o755 if ROOT else 0o700}
