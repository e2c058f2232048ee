"""What `httpd -t` says of daemons."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Serve
from kept_daemons import Daemon, of, owner

from httpd import CHILD_USER, PROJECT, query_apxs

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
        ("PythonDaemon a module=/dev/zero" + USED, "module= /dev/zero is no file"),
        ("PythonDaemon a memory-limit=512" + USED, "memory-limit= 512 bytes are less than any process has"),
        ("PythonDaemon a log=@ROOT@/htdocs" + USED, "log= @ROOT@/htdocs: Is a directory"),
        ("PythonDaemon a log=/nowhere/log" + USED, "log= there is no directory for /nowhere/log"),
        (
            "PythonDaemon a request-timeout=1000000" + USED,
            "request-timeout= needs a number of seconds from 0.1 to 86400",
        ),
        ("PythonDaemon a umask=777" + USED, "umask= needs an octal number from 0 to 077"),
        ("PythonDaemonSocket 77", "descriptor 77 is no socket"),
        ("PythonDaemonSocket 2", "needs the number of a descriptor"),
    ],
)
def test_mistakes_are_named(serve: Serve, config: str, said: str) -> None:
    config = config.replace("@LIBEXEC@", query_apxs("LIBEXECDIR"))
    server = serve(config, start=False, modules=PROXY)
    checked = server.check()
    assert checked.returncode != 0 and said.replace("@ROOT@", str(server.root)) in checked.stderr, checked.stderr


def test_a_log_that_is_a_fifo_has_a_reader(serve: Serve) -> None:
    """Nobody waits for one: httpd would not start, and say nothing."""
    server = serve(
        "PythonDaemon a log=@ROOT@/log python-path=@ROOT@/apps\nPythonWSGI / kept:application daemon=a\n",
        start=False,
        modules=PROXY,
    )
    os.mkfifo(server.root / "log")
    checked = server.check()
    assert checked.returncode != 0 and f"log= {server.root}/log is a FIFO that nobody reads" in checked.stderr, checked
    reader = os.open(server.root / "log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        server.start()
        Daemon(server, "a").serves()
        assert b"daemon a: serves" in os.read(reader, 1 << 16)
    finally:
        server.stop()
        os.close(reader)


def test_a_socket_has_a_path_of_some_length(serve: Serve) -> None:
    server = serve("", start=False, modules=PROXY)
    place = server.root / ("x" * 80)
    place.mkdir()
    server.configure(f"DefaultRuntimeDir {place}\nPythonDaemon a{USED}")
    checked = server.check()
    assert checked.returncode != 0 and "longer than the system takes" in checked.stderr, checked.stderr


@ROOT
def test_what_is_the_modules_own_is_reached(serve: Serve) -> None:
    """A runtime directory that the daemon's user cannot pass would keep its keeper from all it has to do, once httpd has started."""
    server = serve(f"PythonDaemon a user={CHILD_USER}{USED}", start=False, modules=PROXY)
    (server.root / "run").chmod(0o700)
    checked = server.check()
    said = f"DefaultRuntimeDir {server.root}/run is there, but the daemon's user {CHILD_USER} cannot pass"
    assert checked.returncode != 0 and said in checked.stderr, checked.stderr


def test_a_keeper_takes_its_own_package(tmp_path: Path) -> None:
    """Python may have another one of the name among its own: that of mod_python 3, from which a site comes."""
    (tmp_path / "mod_python").mkdir()
    (tmp_path / "mod_python/__init__.py").write_text("")
    program = PROJECT / "python/mod_python/_daemon/__main__.py"
    code = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_path({str(program)!r}, run_name='__main__')"
    command = [sys._base_executable, "-I", "-B", "-c", code, "shop"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "daemon shop: its keeper cannot go on" in done.stderr, done


@ROOT
def test_users_are_there(serve: Serve) -> None:
    for config, said in (
        ("user=nobody-there", "there is no user nobody-there"),
        (f"user={CHILD_USER} group=nothing-there", "there is no group nothing-there"),
        ("user=root", "must not be root"),
        ("user=#4294967295", "there is no user #4294967295"),
        (f"user={CHILD_USER} group=root", "group= must not be root's"),
        (f"user={CHILD_USER} group=#0", "group= must not be root's"),
        (f"user={CHILD_USER} group=#4294967295", "there is no group #4294967295"),
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


def test_a_directory_does_not_say_what_changes_in_it(serve: Serve) -> None:
    checked = serve(f"PythonDaemon a reload=@ROOT@/apps{USED}", start=False, modules=PROXY).check()
    assert checked.returncode == 0 and "apps is a directory: it changes when" in checked.stderr, checked.stderr


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
