"""Where a server of `mod_python start` and `setup` lives: its directory and home, its server root by any name, its scripts, its lock."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from client import ask
from conftest import Serve
from started import ROOT, Command, until

from httpd import CHILD_USER, free_port

WHERE = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getcwd()} {os.environ.get('HOME')}".encode()]
"""
SLOW = """
import os, time
def app(environ, start_response):
    start_response("200 OK", [])
    open("begun", "w").close()
    limit = time.monotonic() + 60
    while not os.path.exists("go") and time.monotonic() < limit:
        time.sleep(0.01)
    open("over", "w").close()
    return [b"done"]
"""
LIFE = """
def note(text):
    with open("{name}.notes", "a") as file:
        file.write(text + " ")
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        note("startup")
        scope["state"]["made"] = b"{name}"
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        note("shutdown")
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": scope["state"]["made"]}})
def make():
    async def made(scope, receive, send):
        await app(scope, receive, send)
    return made
"""
ODD = 'a\'b "c" $HOME %h `id` \\n *é'


@pytest.fixture(scope="module")
def command(serve_module: Serve) -> Iterator[Command]:
    command = Command(serve_module("", start=False))
    command.write("where.py", WHERE)
    command.write("slow.py", SLOW)
    yield command
    command.close()


def control(place: Path, *words: str, user: str = CHILD_USER) -> subprocess.CompletedProcess[str]:
    """apachectl, as cron or systemd run it."""
    other = ("runuser", "-u", user, "--") if ROOT and user != "root" else ()
    line = [*other, "/usr/bin/env", "-i", "HOME=/elsewhere", "PATH=/usr/bin:/bin", str(place / "apachectl"), *words]
    return subprocess.run(line, capture_output=True, text=True, cwd="/", check=False, timeout=60)


def answer(port: int) -> str:
    """What a server says, once it serves."""
    said: list[str] = []

    def asked() -> bool:
        try:
            said.append(ask(port, "/").text)
        except OSError:
            return False
        return True

    until(asked, lambda: "it does not serve")
    return said[0]


@contextmanager
def bystander(command: Command) -> Iterator[int]:
    """A process of the same user that is no httpd, such as has a dead one's number."""
    line = command.line(())
    process = subprocess.Popen([*line[: line.index("/usr/bin/env")], "sleep", "600"])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        if ROOT:
            until(lambda: bool(children.read_text()), lambda: "no sleep")
        pid = int(children.read_text().split()[0]) if ROOT else process.pid
        yield pid
        assert Path(f"/proc/{pid}").exists() and process.poll() is None
    finally:
        process.terminate()
        process.wait()


def test_it_runs_where_it_was_started(command: Command) -> None:
    """However it is started, as `python app.py` would."""
    server = command.start("where")
    assert server.ok() == f"{command.place} /nonexistent"
    server.stop()
    port = free_port()
    assert command("start", "where", "--background", "--port", str(port)).returncode == 0
    assert answer(port) == f"{command.place} /nonexistent"
    assert command("stop").returncode == 0
    assert command("setup", "where", "--server-root", "control", "--port", str(port)).returncode == 0
    assert control(command.place / "control", "start").returncode == 0
    assert answer(port) == f"{command.place} /elsewhere"
    assert control(command.place / "control", "stop").returncode == 0


def test_a_lifespan_comes_with_the_start(command: Command) -> None:
    """Once, before any request, whose application it is; however that is named."""
    for name in ("plain", "filed", "made"):
        command.write(f"{name}.py", LIFE.format(name=name))
    server = command.start("plain:app", "--mount", "/filed=filed.py", "--mount", "/made=made:make()")
    notes = {name: command.place / f"{name}.notes" for name in ("plain", "filed", "made")}
    assert [file.read_text() for file in notes.values()] == ["startup "] * 3
    assert [server.ok(path) for path in ("/", "/filed", "/made", "/made")] == ["plain", "filed", "made", "made"]
    assert [file.read_text() for file in notes.values()] == ["startup "] * 3
    server.stop(signal.SIGTERM)
    assert [file.read_text() for file in notes.values()] == ["startup shutdown "] * 3


@pytest.mark.skipif(not ROOT, reason="about what root does")
def test_it_has_its_users_home(command: Command) -> None:
    port, place = free_port(), command.place.parent / "of-root"
    home = pwd.getpwnam("daemon").pw_dir
    options = ("--user", "daemon", "--server-root", str(place), "--port", str(port))
    assert command("start", "where", "--background", *options, user=None).returncode == 0
    assert answer(port) == f"{command.place} {home}"
    assert command("stop", str(place), user=None).returncode == 0
    assert control(place, "start", user="root").returncode == 0
    assert answer(port) == f"{command.place} {home}"
    assert control(place, "stop", user="root").returncode == 0
    # From where that user cannot be, such as root's home.
    closed = command.place / "closed"
    closed.mkdir(mode=0o700)
    line = command.line(("start", str(command.place / "where.py"), "--background", *options), None)
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=closed, timeout=60)
    assert done.returncode == 0, done
    assert answer(port) == f"/ {home}"
    assert command("stop", str(place), user=None).returncode == 0


def test_one_root_by_several_names(command: Command) -> None:
    (command.place / "by-link").symlink_to("named")
    if ROOT:
        os.lchown(command.place / "by-link", pwd.getpwnam(CHILD_USER).pw_uid, -1)
    assert command("start", "where", "--server-root", "by-link", "--port", "0", "--background").returncode == 0
    for name in ("named", "by-link", "./named/", f"{command.place}/../{command.place.name}/named", "by-link/run/.."):
        assert "it runs already (process " in command.refused(
            "start", "where", "--server-root", name, "--port", "0", "--background"
        )
        assert "answers: process" in command("status", name).stdout, name
    assert "is stopped (process" in command("stop", "by-link/").stdout
    assert "does not run" in command("status", "named").stdout


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "::"])
def test_a_port_is_enough(command: Command, host: str) -> None:
    port = free_port()
    assert command("start", "where", "--host", host, "--port", str(port), "--background").returncode == 0
    assert "(where) answers: process " in command("status", "--port", str(port)).stdout
    assert command("status", "--port", str(port), "--host", "127.0.0.2").returncode == 1
    assert "is stopped (process" in command("stop", "--port", str(port)).stdout
    assert command("status", "--port", str(port), "--host", host).returncode == 3
    # None of the next tests' business.
    shutil.rmtree(next(command.place.glob(f"tmp/*/*-{port}")))
    assert f"no server of yours runs on port {port}" in command.refused("stop", "--port", str(port))


def test_one_of_two_starts_wins(command: Command) -> None:
    line = command.line(("start", "where", "--server-root", "twice", "--port", "0", "--background"))
    starts = [
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=command.place)
        for _ in range(4)
    ]
    said = [one.communicate(timeout=60) for one in starts]
    assert sorted(one.returncode for one in starts) == [0, 1, 1, 1], said
    for out, error in said:
        assert out or "is starting a server in" in error or "it runs already" in error, error
    assert command("stop", "twice").returncode == 0


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_server_that_is_starting_is_not_one_that_was_killed(command: Command, verb: str) -> None:
    """It has no pid file yet, as what a killed one has left; but somebody has the lock."""
    from mod_python._own import root

    port, place = free_port(), f"starting-{verb}"
    line = ("start", "where", "--background", "--server-root", place, "--port", str(port))
    assert command(*line).returncode == 0
    file = command.place / place / "run/httpd.pid"
    pid = file.read_text()
    file.unlink()
    lock = root.Lock(str(command.place / place))
    done = command(*line) if verb == "start" else command(verb, place)
    lock.release()
    assert done.returncode == 1 and "another mod_python is starting a server in" in done.stderr, done
    answer(port)
    file.write_text(pid)
    assert command("stop", place).returncode == 0


def test_the_lock_of_a_start(command: Command, tmp_path: Path) -> None:
    from mod_python._own import root
    from mod_python._own.problems import Problem

    (tmp_path / "run").mkdir()
    first = root.Lock(str(tmp_path))
    with pytest.raises(Problem, match="another mod_python is starting a server in"):
        root.Lock(str(tmp_path))
    first.release()
    root.Lock(str(tmp_path)).release()


def test_names_that_shells_and_systemd_trip_over(command: Command) -> None:
    command.write(f"{ODD}/where.py", WHERE)
    port, place = free_port(), command.place / ODD / "server"
    done = command("setup", "where", "--chdir", ODD, "--server-root", "server", "--port", str(port), "--systemd")
    assert done.returncode == 0, done
    # What is to be typed is typed.
    typed = shlex.split(done.stdout.partition(" is written. `")[2].partition("` serves")[0])
    assert typed == [str(place / "apachectl"), "start"]
    unit = place / f"mod_python-{port}.service"
    assert shlex.split(done.stdout.splitlines()[-1]) == ["systemctl", "enable", "--now", str(unit)]
    assert "Syntax OK" in control(place, "configtest").stderr
    assert control(place, "start").returncode == 0
    assert answer(port) == f"{command.place / ODD} /elsewhere"
    assert control(place, "status").returncode == 0 and control(place, "graceful").returncode == 0
    assert control(place, "stop").returncode == 0
    lines = unit.read_text().splitlines()
    # systemd.syntax(7): % is doubled everywhere, $ in commands alone; in lists of paths a backslash is itself.
    assert f"Description=mod_python: http://127.0.0.1:{port}/ (where)" in lines
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert "$$HOME %%h `id` \\\\n" in start and start.startswith('ExecStart=/bin/sh "/')
    assert sum(line.startswith("RequiresMountsFor=") and "$HOME %%h `id` \\n" in line for line in lines) == 2
    if shutil.which("systemd-analyze"):
        verified = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
        )
        assert unit.name not in verified.stderr, verified.stderr


def test_after_a_crash(command: Command) -> None:
    """The pid file that a killed httpd has left names a process of somebody else's: apachectl and the unit start all the same."""
    port, place = free_port(), command.place / "crashed"
    assert command("setup", "where", "--server-root", "crashed", "--port", str(port)).returncode == 0
    assert control(place, "start").returncode == 0
    answer(port)
    file = place / "run/httpd.pid"
    pid = int(file.read_text())
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in (pid, *map(int, children)):
        os.kill(one, signal.SIGKILL)
    until(lambda: not any(runs(one) for one in (pid, *map(int, children))), lambda: "it goes on")
    with bystander(command) as other:
        file.write_text(f"{other}\n")
        assert control(place, "status").returncode == 3 and "does not run" in control(place, "stop").stdout
        assert control(place, "start").returncode == 0
        answer(port)
        assert int(file.read_text()) != other and control(place, "stop").returncode == 0
        file.write_text(f"{other}\n")
        command.give(file)
        # As the unit starts it.
        line = ["/bin/sh", str(place / "apachectl"), "-DFOREGROUND"]
        service = subprocess.Popen(line if not ROOT else ["runuser", "-u", CHILD_USER, "--", *line], cwd="/")
        answer(port)
        assert control(place, "stop").returncode == 0 and service.wait(30) == 0


def test_stop_waits_for_requests(command: Command) -> None:
    port = free_port()
    assert command("start", "slow", "--background", "--port", str(port), "--chdir", ".").returncode == 0
    with socket.create_connection(("127.0.0.1", port), 30) as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        until((command.place / "begun").exists, lambda: "no request")
        stopping = subprocess.Popen(command.line(("stop", "--port", str(port))), cwd=command.place)
        # httpd has been told: it listens no more.
        until(lambda: not listens(port), lambda: "it listens")
        assert stopping.poll() is None
        command.write("go", "")
        assert stopping.wait(30) == 0 and (command.place / "over").exists()
        assert b"".join(iter(lambda: peer.recv(1000), b"")).endswith(b"done")


def test_nobody_reads_what_is_said(command: Command) -> None:
    """`mod_python start … | head -1`, or a terminal that has gone."""
    line = command.line(("start", "where", "--port", "0", "--reload", "--server-root", "unread"))
    with open(command.place / "unread.errors", "w") as errors:
        server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=errors, cwd=command.place, text=True)
    assert server.stdout
    said = server.stdout.readline()
    server.stdout.close()
    command.write("where.py", WHERE.replace("{os.getcwd()}", "second"))
    port = int(said.split(":")[2].split("/")[0])
    until(lambda: answer(port).startswith("second"), lambda: "no restart")
    command.write("where.py", WHERE)
    assert command("stop", "unread").returncode == 0
    assert server.wait(30) == 0
    assert (command.place / "unread.errors").read_text() == ""


def test_the_command_is_killed(command: Command) -> None:
    """httpd goes on, and is found."""
    server = command.start("where", "--server-root", "killed")
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    os.kill(int(children[0]) if ROOT else server.process.pid, signal.SIGKILL)
    assert server.process.wait(30) != 0
    assert server.ok() == f"{command.place} /nonexistent"
    said = command.refused("start", "where", "--server-root", "killed", "--port", "0")
    assert (
        f"it runs already (process {server.httpd})" in said
        and f"`mod_python stop {command.place}/killed` stops it" in said
    )
    assert f"is stopped (process {server.httpd})" in command("stop", "killed").stdout


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_httpd_is_killed(command: Command, verb: str) -> None:
    """Its children go on without it, and hold the port: they are told of, and ended by `stop`, and by the next `start`."""
    port, place = free_port(), f"orphans-{verb}"
    line = ("start", "where", "--background", "--server-root", place, "--port", str(port))
    assert command(*line).returncode == 0
    pid = int((command.place / place / "run/httpd.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not runs(pid), lambda: "httpd goes on")
    answer(port)
    status = command("status", place)
    assert status.returncode == 3 and "It has been killed, and process" in status.stdout
    # Somebody reads the file meanwhile.
    reader = subprocess.Popen(["tail", "-f", command.place / place / "httpd.conf"], stdout=subprocess.DEVNULL)
    done = command(verb, place) if verb == "stop" else command(*line)
    assert done.returncode == 0, done
    if verb == "stop":
        assert "had been killed; what went on of it is stopped" in done.stdout
        with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), 5):
            pass
        assert "does not run" in command("stop", place).stdout
    else:
        answer(port)
        assert command("stop", place).returncode == 0
    assert reader.poll() is None
    reader.kill()
    reader.wait()


def test_a_full_disk(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as such by whatever cannot be written."""
    import errno

    from mod_python._own import root
    from mod_python._own.problems import Problem

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(Problem, match=f"{tmp_path}/x cannot be written: no space left on device"):
        root.write(str(tmp_path / "x"), "text", 0o600)
    assert not list(tmp_path.iterdir())


def runs(pid: int) -> bool:
    """Is there such a process, and no zombie that nobody has waited for?"""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
