"""What `httpd -t` says of daemons."""

from __future__ import annotations

import os
import shutil

import pytest
from conftest import Serve

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
