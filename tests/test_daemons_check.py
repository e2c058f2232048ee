"""What `httpd -t` says of daemons."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys

import pytest
from conftest import Serve
from kept_daemons import Daemon, of, owner

from httpd import CHILD_USER, query_apxs

PROXY = ("proxy", "proxy_http")
USED = "\nPythonWSGI / hello:application daemon=a\n"
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("PythonDaemon", "needs a name"),
        ("PythonDaemon a/b", "is no name for a daemon"),
        ("PythonDaemon a proceses=2", "proceses= is not known: did you mean processes=?"),
        ("PythonDaemon a threads=none", "threads= needs a number from 1 to 1024"),
        ("PythonDaemon a\n<VirtualHost *>\nPythonDaemon A\n</VirtualHost>" + USED, "or one too like it"),
        ("PythonDaemon shop\nPythonWSGI / x daemon=shp", 'there is no PythonDaemon "shp": did you mean shop?'),
        ("PythonDaemon shop\n<Location /x>\nPythonOption mod_python.daemon shp\n</Location>", "did you mean shop?"),
        ("PythonASGI / x daemon=shop", 'there is no PythonDaemon "shop", nor any other'),
        ("PythonWSGI / x deamon=shop", '"deamon=shop" is not daemon=name'),
        ("PythonDaemon a working-directory=/nowhere" + USED, "working-directory= /nowhere: No such file"),
        ("PythonDaemon a python-home=/etc" + USED, "python-home= /etc is not a virtual environment"),
        ("PythonDaemon a module=@ROOT@/httpd.conf" + USED, "is no shared object"),
        ("PythonDaemon a module=@LIBEXEC@/mod_env.so" + USED, "it is not mod_python.so"),
        ("PythonDaemon a group=daemon" + USED, "group= needs user="),
        ("PythonDaemonSocket 77", "descriptor 77 is no socket"),
        ("PythonDaemonSocket 2", "needs the number of a descriptor"),
    ],
)
def test_mistakes_are_named(serve: Serve, config: str, said: str) -> None:
    config = config.replace("@LIBEXEC@", query_apxs("LIBEXECDIR"))
    checked = serve(config, start=False, modules=PROXY).check()
    assert checked.returncode != 0 and said in checked.stderr, checked.stderr


@ROOT
def test_users_are_there(serve: Serve) -> None:
    for config, said in (
        ("user=nobody-there", "there is no user nobody-there"),
        (f"user={CHILD_USER} group=nothing-there", "there is no group nothing-there"),
        ("user=root", "must not be root"),
    ):
        checked = serve(f"PythonDaemon a {config}{USED}", start=False, modules=PROXY).check()
        assert checked.returncode != 0 and said in checked.stderr, checked.stderr


@ROOT
@pytest.mark.parametrize("key", ["python-path", "working-directory", "reload"])
def test_what_the_user_cannot_pass_is_named(serve: Serve, key: str) -> None:
    server = serve(f"PythonDaemon a user={CHILD_USER} {key}=@ROOT@/shut/inside{USED}", start=False, modules=PROXY)
    (server.root / "shut/inside").mkdir(parents=True)
    (server.root / "shut").chmod(0o700)
    checked = server.check()
    said = (
        f"{key}= {server.root}/shut/inside is there, but the daemon's user {CHILD_USER} cannot pass {server.root}/shut"
    )
    assert checked.returncode != 0 and said in checked.stderr, checked.stderr


def test_mod_proxy_is_needed(serve: Serve) -> None:
    for modules, said in (((), "needs mod_proxy:"), (("proxy",), "needs mod_proxy_http:")):
        checked = serve("PythonDaemon a" + USED, start=False, modules=modules, beside=False).check()
        assert checked.returncode != 0 and said in checked.stderr, checked.stderr


def test_a_daemon_that_nobody_uses_is_a_warning(serve: Serve) -> None:
    server = serve("PythonDaemon a\nPythonDaemon b threads=2" + USED, start=False, modules=PROXY)
    checked = server.check()
    assert checked.returncode == 0 and "PythonDaemon b on line" in checked.stderr and "nothing to do" in checked.stderr
    assert "PythonDaemon a on line" not in checked.stderr


def test_another_module_is_taken_for_what_it_is(serve: Serve) -> None:
    server = serve("PythonDaemon a module=@ROOT@/other.so" + USED, start=False, modules=PROXY)
    assert server.module is not None
    shutil.copy(server.module, server.root / "other.so")
    (server.root / "other.so").chmod(0o644)
    checked = server.check()
    assert checked.returncode == 0, checked.stderr


@ROOT
def test_directories_of_modules_are_listed(serve: Serve) -> None:
    """Python finds nothing in one that it can only pass."""
    server = serve(f"PythonDaemon a user={CHILD_USER} python-path=@ROOT@/shut{USED}", start=False, modules=PROXY)
    (server.root / "shut").mkdir()
    (server.root / "shut").chmod(0o711)
    checked = server.check()
    said = f"python-path= {server.root}/shut is there, but the daemon's user {CHILD_USER} cannot list {server.root}/shut (mode 0711); let it, with `chmod o+rx"
    assert checked.returncode != 0 and said in checked.stderr, checked.stderr


@ROOT
def test_all_of_an_environment_is_reached(serve: Serve) -> None:
    server = serve(f"PythonDaemon a user={CHILD_USER} python-home=@ROOT@/env{USED}", start=False, modules=PROXY)
    python = os.environ.get("PYO3_PYTHON", "/usr/bin/python3")
    subprocess.run([python, "-m", "venv", "--without-pip", str(server.root / "env")], check=True)
    assert server.check().returncode == 0
    (server.root / "env/pyvenv.cfg").chmod(0o600)
    checked = server.check()
    said = f"python-home= {server.root}/env/pyvenv.cfg is there, but the daemon's user {CHILD_USER} cannot read"
    assert checked.returncode != 0 and said in checked.stderr, checked.stderr


@ROOT
def test_an_applications_file_is_its_daemons_to_read(serve: Serve) -> None:
    """Not httpd's user's."""
    server = serve(
        "PythonDaemon a user=games\nPythonWSGI /its @ROOT@/shut/app.py daemon=a\n", start=False, modules=PROXY
    )
    server.write("shut/app.py", "")
    (server.root / "shut").chmod(0o700)
    checked = server.check()
    assert checked.returncode == 0 and "the daemon's user games cannot pass" in checked.stderr, checked.stderr
    shutil.chown(server.root / "shut", "games")
    checked = server.check()
    assert checked.returncode == 0 and "cannot" not in checked.stderr, checked.stderr


BECOME = f"""
import os, pwd, sys
user = pwd.getpwnam("{CHILD_USER}")
os.setgroups([]); os.setgid(user.pw_gid); os.setuid(user.pw_uid)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@ROOT
def test_a_front_without_root(serve: Serve) -> None:
    """Its daemons are its own user's; another one cannot be had."""
    server = serve("", start=False, modules=PROXY, wrapper=(sys.executable, "-c", BECOME))
    for path in (server.root, server.root / "run"):
        shutil.chown(path, CHILD_USER)
    server.configure(f"PythonDaemon a user=games{USED}")
    checked = server.check()
    said = f"user= only root can start a daemon as games, and httpd is started as {CHILD_USER}"
    assert checked.returncode != 0 and said in checked.stderr, checked.stderr
    own = f"user={CHILD_USER} working-directory=@ROOT@/apps"
    server.configure(
        f"PythonDaemon shop {own}\nPythonDaemon b working-directory=@ROOT@/apps\n"
        "PythonWSGI /shop kept:application daemon=shop\nPythonWSGI /b kept:application daemon=b\n"
    )
    server.start()
    wanted = str(pwd.getpwnam(CHILD_USER).pw_uid)
    for name in ("shop", "b"):
        assert server.ok(f"/{name}/").text.split()[2] == wanted
        assert {str(owner(pid)) for pid in Daemon(server, name).pids()} == {wanted}
    server.stop()
    assert of(server) == [] and list((server.root / "run").glob("mod_python.*")) == []
