"""Several Pythons at once: a daemon whose module was built for another one than httpd's own (`module=`)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Serve, Server
from kept_daemons import PROXY, Daemon, until, user
from second_python import Second, second
from websockets.sync.client import connect

from httpd import CHILD_USER, PATIENCE

CONFIG = """
PythonPath "['@ROOT@/apps']+sys.path"
PythonDaemon shop {options} {user} threads=4 request-timeout=5 reload=@ROOT@/touched python-path=@ROOT@/apps
PythonWSGI /here pythons:wsgi
PythonWSGI /w pythons:wsgi daemon=shop
PythonASGI /a pythons:asgi daemon=shop
<Location /h>
    SetHandler mod_python
    PythonHandler pythons
    PythonOption mod_python.daemon shop
</Location>
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
"""
USED = "\nPythonWSGI / hello:application daemon=a\n"


@pytest.fixture(scope="module")
def other() -> Second:
    return second()


@pytest.fixture(scope="module")
def front(serve_module: Serve, other: Second) -> Iterator[Server]:
    server = serve_module("", start=False, modules=PROXY)
    server.write("touched", "")
    module = server.staged(other.module, "other")
    server.configure(CONFIG.format(options=f"module={module}", user=user()))
    server.start()
    Daemon(server).serves()
    yield server


def told(server: Server, place: str) -> list[str]:
    return server.ok(f"{place}/x").text.split(" ")


def test_each_has_its_python(front: Server, other: Second) -> None:
    own = told(front, "/here")[0]
    assert {told(front, place)[0] for place in ("/w", "/a", "/h")} == {other.version} != {own}
    with connect(f"ws://127.0.0.1:{front.port}/a/talk", open_timeout=PATIENCE) as client:
        client.send("hello")
        assert client.recv(PATIENCE) == f"{other.version} hello"


def test_the_status_page_says_which(front: Server, other: Second) -> None:
    (known,) = json.loads(front.ok("/status?json").text)["daemons"]
    assert known["python"].startswith(f"{other.version}.")
    assert f">{known['python']}<" in front.ok("/status").text
    assert re.search(rf"daemon shop: serves \(process \d+, as \S+, Python {known['python']}\)", front.log_text())


@pytest.mark.parametrize("place", ["/w", "/a", "/h"])
def test_errors_are_told_as_here(front: Server, place: str) -> None:
    assert front.get(f"{place}/break").status == 500
    front.claim("RuntimeError: broken on purpose")


@pytest.mark.parametrize("place", ["/w", "/h"])
def test_deadlines(front: Server, place: str) -> None:
    assert front.get(f"{place}/hang").status == 504
    front.claim("PythonTimeout|RequestTimeout")
    front.claims += [r"\] {3,}", "RequestTimeout", "PythonTimeout", "daemon shop has not answered in time"]
    told(front, place)


def test_reload(front: Server) -> None:
    before = told(front, "/w")[2]
    reloads = Daemon(front).state()["reloads"]
    front.write("touched", "now")
    Daemon(front).until(lambda state: state["reloads"] > reloads)
    until(lambda: told(front, "/w")[2] != before, front.log_text)
    assert Daemon(front).reload().returncode == 0


def test_an_environment_of_that_python(serve: Serve, other: Second) -> None:
    server = serve("", start=False, modules=PROXY)
    subprocess.run([other.program, "-m", "venv", "--without-pip", str(server.root / "env")], check=True)
    server.write("touched", "")
    module = server.staged(other.module, "other")
    server.configure(CONFIG.format(options=f"module={module} python-home=@ROOT@/env", user=user()))
    assert server.check().returncode == 0
    server.start()
    Daemon(server).serves()
    assert told(server, "/a")[:2] == [other.version, f"{server.root}/env"]
    # For httpd's own Python it is none.
    server.configure(f"PythonDaemon a python-home=@ROOT@/env{USED}")
    checked = server.check()
    assert checked.returncode != 0 and f"is an environment of Python {other.version}" in checked.stderr
    own = os.environ.get("PYO3_PYTHON", "/usr/bin/python3")
    subprocess.run([own, "-m", "venv", "--without-pip", str(server.root / "own")], check=True)
    server.configure(f"PythonDaemon a module={module} python-home=@ROOT@/own{USED}")
    checked = server.check()
    said = f"but mod_python was built with Python {other.version}; make one with `python{other.version} -m venv {server.root}/own`"
    assert checked.returncode != 0 and said in checked.stderr, checked.stderr


def changed(server: Server, name: str, old: bytes, new: bytes) -> Path:
    """A copy of the module in which something is called otherwise."""
    assert server.module is not None and len(old) == len(new)
    data = server.module.read_bytes()
    assert old in data
    path = server.root / name
    path.write_bytes(data.replace(old, new))
    path.chmod(0o644)
    return path


def test_a_module_without_its_python(serve: Serve) -> None:
    server = serve("", start=False, modules=PROXY)
    path = changed(server, "lost.so", b"libpython3.", b"libpython9.")
    server.configure(f"PythonDaemon a module={path}{USED}")
    checked = server.check()
    assert checked.returncode != 0, checked.stderr
    assert re.search(
        rf"PythonDaemon a on line \d+ of .*: module= {path} cannot be loaded: libpython9\.", checked.stderr
    )


def test_a_module_of_another_version(serve: Serve) -> None:
    server = serve("", start=False, modules=PROXY)
    path = changed(server, "newer.so", b"mod_python/4.", b"mod_python/8.")
    server.configure(f"PythonDaemon a module={path}{USED}")
    checked = server.check()
    assert checked.returncode == 0 and f"module= {path} is version 8." in checked.stderr, checked.stderr
    path = changed(server, "old.so", b"mod_python/4.", b"mod_python/3.")
    server.configure(f"PythonDaemon a module={path}{USED}")
    checked = server.check()
    assert checked.returncode != 0 and "another mod_python.so than this project's" in checked.stderr, checked.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_module_whose_library_is_out_of_reach(serve: Serve, other: Second) -> None:
    server = serve("", start=False, modules=PROXY)
    place = server.root / "shut"
    place.mkdir()
    with open(other.module, "rb") as file:
        (name,) = set(re.findall(rb"libpython3\.\d+\.so\.1\.0", file.read()))
    (place / name.decode()).write_bytes(b"")
    place.chmod(0o700)
    module = server.staged(other.module, "other")
    # The loader looks there first, and is not let in: it goes on with where it was built to look.
    options = f"user={CHILD_USER} module={module}"
    server.configure(f"PythonDaemon a {options} environment=LD_LIBRARY_PATH={place}{USED}")
    assert server.check().returncode == 0
    place.chmod(0o755)
    checked = server.check()
    assert checked.returncode != 0 and f"{place}/{name.decode()}: file too short" in checked.stderr, checked.stderr
    shutil.rmtree(place)
