"""Daemons are started as their users, watched, reloaded and ended. What requests are in them is in test_daemons_handover.py."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Serve, Server
from kept_daemons import PROXY, ROOT, USERS, Daemon, asked, connects, lives, of, owner, until, user
from soak_daemons import own, soak
from websockets.sync.client import connect

from httpd import PATIENCE

VERSION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{version}"]
"""
KEPT = f"""
PythonDaemon shop {user()} processes=2 threads=4 working-directory=@ROOT@/apps environment=COLOUR=blue "environment=A=b c" umask=027 "display-name=daemon: shop"
PythonDaemon other {user(1)} working-directory=@ROOT@/apps
PythonWSGI /shop kept:application daemon=shop
PythonWSGI /other kept:application daemon=other
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
"""


def text(daemon: Daemon, uri: str = "/") -> str:
    """The body of an answer of a daemon."""
    head, _, body = asked(daemon.socket, f"/{daemon.name}{uri if uri != '/' else ''}").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), (head, daemon.server.log_text()[-2000:])
    return body.decode()


@pytest.fixture(scope="module")
def server(serve_module: Serve, mpm: str) -> Iterator[Server]:
    yield serve_module(KEPT, modules=PROXY, mpm=mpm)


@pytest.fixture
def shop(server: Server) -> Daemon:
    found = Daemon(server)
    found.serves(2)
    return found


@pytest.fixture
def other(server: Server) -> Daemon:
    found = Daemon(server, "other")
    found.serves()
    return found


def test_each_is_its_users(server: Server, shop: Daemon, other: Daemon) -> None:
    for daemon, name in ((shop, USERS[0]), (other, USERS[1])):
        wanted = pwd.getpwnam(name).pw_uid if name else os.geteuid()
        assert {owner(pid) for pid in daemon.pids()} == {wanted}
        assert len(daemon.pids()) == len(set(daemon.pids()))
        # Nobody but httpd's children (and root) may talk to it.
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
        place = daemon.directory.with_name(f"{daemon.directory.name}.{daemon.name}")
        assert stat.S_IMODE(place.stat().st_mode) == 0o700 and place.stat().st_uid == wanted
    if ROOT:
        assert connects(shop.socket, "www-data")
        assert not connects(shop.socket, USERS[1]) and not connects(shop.socket, USERS[0])


@pytest.mark.skipif(not ROOT, reason="only root has several users")
def test_neither_reads_the_others_files(server: Server, shop: Daemon, other: Daemon) -> None:
    secret = server.write("secret", "of the shop")
    secret.chmod(0o600)
    shutil.chown(secret, USERS[0])
    assert text(shop, f"/read?{secret}") == "of the shop" and text(other, f"/read?{secret}") == "PermissionError"
    place = Path(f"{shop.directory}.shop")
    for path in (next(place.glob("*/httpd.conf")), place / "state.json", shop.directory / "shop.json"):
        assert text(other, f"/read?{path}") == "PermissionError"


def test_its_surroundings_are_its_own(server: Server, shop: Daemon) -> None:
    variables = dict(line.split("=", 1) for line in text(shop, "/variables").splitlines())
    own = USERS[0] or pwd.getpwuid(os.geteuid()).pw_name
    wanted = {"COLOUR": "blue", "A": "b c", "USER": own, "LOGNAME": own, "LANG": "C.UTF-8"}
    assert {**variables, **wanted} == variables
    assert set(variables) <= {*wanted, "PATH", "HOME"}, variables
    _, parent, _, directory, mask = text(shop).split()
    assert directory == f"{server.root}/apps" and mask == "027" and int(parent) == shop.state()["httpd"]
    assert Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"daemon: shop\0")
    # Standard streams, and the directory that is listed.
    assert text(shop, "/descriptors").split() in (["0", "1", "2", "3"], ["0", "1", "2", "3", "4"])
    keeper = shop.state()["keeper"]
    inodes = {os.readlink(f"/proc/{keeper}/fd/{number}") for number in (0, 3)}
    children = set()
    for link in (link for pid in server.child_pids() for link in Path(f"/proc/{pid}/fd").iterdir()):
        # One of a connection may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            children.add(os.readlink(link))
    assert not inodes & children, "httpd's children have what is its parent's"


def test_status(server: Server, shop: Daemon) -> None:
    text(shop)
    shop.until(lambda state: state["requests"])
    found = json.loads(server.ok("/status?json").text)["daemons"]
    assert [one["name"] for one in found] == ["other", "shop"]
    known = found[1]
    assert known["state"] == "serving" and known["requests"] and len(known["processes"]) == 2
    assert known["processes"][0]["memory"] > 1 << 20 and known["user"] == (
        USERS[0] or pwd.getpwuid(os.geteuid()).pw_name
    )
    page = server.ok("/status").text
    assert "Daemons" in page and ">shop<" in page


def test_graceful_restarts_leave_it_alone(server: Server, shop: Daemon, other: Daemon) -> None:
    before = shop.pids() + other.pids()
    server.graceful()
    text(shop)
    assert shop.pids() + other.pids() == before
    # Another key: replaced, by the same keeper.
    server.configure(KEPT.replace("COLOUR=blue", "COLOUR=red"))
    server.graceful()
    shop.until(lambda state: state["httpd"] != before[1] and state["state"] == "serving")
    # The one before takes what comes until it has heard that it is to go.
    until(lambda: "COLOUR=red" in text(shop, "/variables"), server.log_text)
    assert shop.pids()[0] == before[0]
    assert other.pids() == before[4:]
    server.configure(KEPT)
    server.graceful()
    until(lambda: "COLOUR=blue" in text(shop, "/variables"), server.log_text)


def test_a_restart_restarts_it(server: Server, shop: Daemon) -> None:
    before = shop.state()
    server.signal(signal.SIGHUP)
    after = shop.until(lambda state: state["httpd"] not in (0, before["httpd"]) and len(state["processes"]) == 2)
    assert after["keeper"] == before["keeper"]
    until(lambda: not lives(before["httpd"]), lambda: "the old httpd goes on")


def test_a_rotated_log_is_followed(serve: Serve) -> None:
    server = serve(
        f"PythonDaemon shop {user()} log=@ROOT@/shop_log\nPythonWSGI / kept:application daemon=shop\nPythonPath \"['@ROOT@/apps']+sys.path\"\n",
        modules=PROXY,
    )
    shop, log = Daemon(server), server.root / "shop_log"
    shop.serves()
    until(lambda: "daemon shop: serves" in log.read_text(), log.read_text)
    before = shop.pids()
    log.rename(server.root / "shop_log.1")
    server.graceful()
    assert shop.reload().returncode == 0
    until(lambda: "daemon shop: serves" in log.read_text(), server.log_text)
    assert shop.pids()[0] == before[0]
    assert "daemon shop" not in server.log_text()


@pytest.fixture
def versions(serve: Serve) -> Iterator[tuple[Server, Daemon]]:
    server = serve("", start=False, modules=PROXY)
    server.write("code/version.py", VERSION.format(version="1"))
    server.write("code/touched", "")
    server.configure(
        f"PythonDaemon shop {user()} threads=4 working-directory=@ROOT@/code reload=@ROOT@/code/touched "
        # Versions of one second and size are one to what is compiled.
        "environment=PYTHONDONTWRITEBYTECODE=1\n"
        "PythonWSGI /shop version:application daemon=shop\n",
    )
    server.start()
    shop = Daemon(server)
    shop.serves()
    yield server, shop


def test_reload(versions: tuple[Server, Daemon]) -> None:
    server, shop = versions
    assert text(shop) == "1"
    server.write("code/version.py", VERSION.format(version="2"))
    done = shop.reload()
    assert done.returncode == 0 and re.fullmatch(r"shop serves anew \(process \d+\)\n", done.stdout), done
    assert text(shop) == "2"
    server.write("code/version.py", VERSION.format(version="3"))
    os.kill(int(Path(f"{shop.directory}.shop/keeper.pid").read_text()), signal.SIGHUP)
    until(lambda: text(shop) == "3", server.log_text)
    server.write("code/version.py", VERSION.format(version="4"))
    server.write("code/touched", "now")
    until(lambda: text(shop) == "4", server.log_text)
    shop.until(lambda state: state["reloads"] == 3)


def test_a_version_that_does_not_import_changes_nothing(versions: tuple[Server, Daemon]) -> None:
    server, shop = versions
    before = shop.pids()
    server.write("code/version.py", "import nothing_such\n")
    done = shop.reload()
    assert done.returncode == 1 and "No module named 'nothing_such'" in done.stderr, done
    assert "The version before goes on serving." in done.stderr
    assert text(shop) == "1" and shop.pids() == before
    server.claim("PythonImport .*Traceback")
    server.claim("nothing_such")
    server.claim(
        "daemon shop: its applications cannot be imported: .*nothing_such.*; the version before goes on serving"
    )
    shop.until(lambda state: "nothing_such" in state["outcome"])
    server.write("code/version.py", VERSION.format(version="2"))
    assert shop.reload().returncode == 0
    until(lambda: text(shop) == "2", server.log_text)
    shop.until(lambda state: state["outcome"] == "")


def test_a_first_version_that_does_not_import_is_said_to_clients(serve: Serve) -> None:
    server = serve("", start=False, modules=PROXY)
    server.write("code/version.py", "1/0\n")
    server.configure(
        f"PythonDaemon shop {user()} working-directory=@ROOT@/code\nPythonWSGI /shop version:application daemon=shop\n",
    )
    server.start()
    shop = Daemon(server)
    shop.until(lambda state: state["state"] == "failed")
    assert asked(shop.socket).startswith(b"HTTP/1.1 503 ")
    server.claim("PythonImport .*ZeroDivisionError")
    server.claim("daemon shop: its applications cannot be imported: .*ZeroDivisionError.*it is tried again in")
    server.claim("ZeroDivisionError")
    server.write("code/version.py", VERSION.format(version="1"))
    assert shop.reload().returncode == 0
    until(lambda: text(shop) == "1", server.log_text)


def test_on_demand_and_idle(serve: Serve) -> None:
    server = serve(
        f"PythonDaemon shop {user()} start=on-demand idle-timeout=0.2 working-directory=@ROOT@/apps\n"
        "PythonWSGI /shop kept:application daemon=shop\n",
        modules=PROXY,
    )
    shop = Daemon(server)
    shop.until(lambda state: state["state"] == "waiting")
    assert shop.state()["httpd"] == 0
    assert text(shop).split()[3] == f"{server.root}/apps"
    # A request that takes longer than that is no idleness.
    assert text(shop, "/hang?0.5") == "woken"
    shop.until(lambda state: state["state"] == "waiting" and state["requests"] == 2)
    text(shop)


def test_a_websocket_is_no_idleness(serve: Serve) -> None:
    """Nor is an event stream, nor a request that an event loop has, though no worker is in Python for them."""
    server = serve(
        f"PythonDaemon shop {user()} idle-timeout=0.2 working-directory=@ROOT@/apps\n"
        "PythonASGI /shop daemons_app:asgi daemon=shop\n",
        modules=PROXY,
    )
    shop = Daemon(server)
    with connect(f"ws://127.0.0.1:{server.port}/shop/talk", open_timeout=PATIENCE) as client:
        client.send("one")
        assert client.recv(PATIENCE) == "/shop/talk one"
        httpd = shop.serves()["httpd"]
        # Its number is counted where others see it.
        shop.until(lambda state: state["in_flight"] == 1)
        assert server.ok("/shop/rest?1").text == "rested"
        assert shop.state()["httpd"] == httpd and shop.state()["state"] == "serving"
        client.send("two")
        assert client.recv(PATIENCE) == "/shop/talk two"
    shop.until(lambda state: state["state"] == "waiting")
    assert server.ok("/shop/rest?1").text == "rested"


def test_limits(serve: Serve) -> None:
    server = serve(
        f"PythonDaemon shop {user()} request-timeout=0.3 working-directory=@ROOT@/apps\n"
        "PythonWSGI /shop kept:application daemon=shop\n"
        f"PythonDaemon greedy {user()} memory-limit=120M working-directory=@ROOT@/apps\n"
        "PythonWSGI /greedy kept:application daemon=greedy\n"
        f"PythonDaemon other {user()} max-requests=3 working-directory=@ROOT@/apps\n"
        "PythonWSGI /other kept:application daemon=other\n",
        modules=PROXY,
    )
    shop, greedy, other = Daemon(server), Daemon(server, "greedy"), Daemon(server, "other")
    shop.serves(), greedy.serves()
    assert asked(shop.socket, "/shop/hang").startswith(b"HTTP/1.1 504 ")
    server.claim("PythonTimeout: GET /shop/hang has taken")
    server.claims.append(r"\] {3,}")
    server.claim("it does not come back: the child ends when others have finished")
    server.claim(r"daemon shop: process \d+ has died: killed")
    assert asked(greedy.socket, "/greedy/eat") == b""
    server.claim(
        r"daemon greedy: process \d+ has died: it was killed; its memory-limit is 120 MB; it had \d+ MB and was at GET /greedy/eat"
    )
    text(greedy)
    other.serves()
    before = text(other).split()[0]
    until(lambda: text(other).split()[0] != before, lambda: "it goes on with one process")


def test_one_of_several_that_has_too_much_memory_ends_alone(serve: Serve) -> None:
    """In order: it answers, another takes its place, the others serve on."""
    server = serve(
        f"PythonDaemon shop {user()} processes=2 threads=2 memory-limit=150M working-directory=@ROOT@/apps\n"
        "PythonWSGI /shop kept:application daemon=shop\n",
        modules=PROXY,
    )
    shop = Daemon(server)
    before = shop.serves(2)
    # Less than what it would be killed for.
    some = 165 - (max(one["memory"] for one in before["processes"]) >> 20)
    large = int(server.ok(f"/shop/keep?{some}").text)
    server.wait_log(r"this process has 1[5-9]\d MB, and its memory-limit is 150 MB")

    def has_gone() -> bool:
        assert server.get("/shop/").status == 200
        return not lives(large)

    until(has_gone, server.log_text)
    after = shop.until(lambda state: len(state["processes"]) == 2)
    others = {one["pid"] for one in before["processes"]} - {large}
    assert others < {one["pid"] for one in after["processes"]} and after["httpd"] == before["httpd"]
    assert after["reloads"] == 0 and after["deaths"] == []


def test_nothing_is_left(serve: Serve) -> None:
    server = serve(KEPT, modules=PROXY)
    daemons = [Daemon(server), Daemon(server, "other")]
    daemons[0].serves(2), daemons[1].serves()
    text(daemons[0], "/fork")
    assert of(server)
    server.stop()
    assert of(server) == [] and list((server.root / "run").glob("mod_python.*")) == []


def test_nothing_is_left_of_an_httpd_that_is_killed(serve: Serve) -> None:
    server = serve(KEPT, modules=PROXY)
    daemons = [Daemon(server), Daemon(server, "other")]
    daemons[0].serves(2), daemons[1].serves()
    children = server.child_pids()
    # A keeper that another one has replaced goes, too.
    os.kill(daemons[1].state()["keeper"], signal.SIGKILL)
    server.claim("PythonDaemon other: its keeper .* has ended \\(signal 9\\); another one starts in 0 s")
    daemons[1].serves()
    server.signal(signal.SIGKILL)
    until(lambda: of(server) == [], lambda: str(of(server)))
    # Those are httpd's own.
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(lives, children)), lambda: "a child stays, and listens")
    server.stop()
    left = list((server.root / "run").glob("mod_python.*"))
    assert left
    server.start()
    # The log says that it runs since the first time.
    until(Daemon(server).socket.exists, server.log_text)
    Daemon(server).serves(2)
    assert not [path for path in left if path.exists()]


def test_nothing_is_lost() -> None:
    load, serious, _ = soak(20)
    assert (load.lost, serious, load.cut[own(20) :]) == ([], [], []) and load.served > 40
