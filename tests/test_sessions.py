"""mod_python.Session: every store, shared by several processes."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Optional

import pytest
from conftest import Serve, Server, install, places
from databases import Database, Postgres, Redis

from httpd import CHILD_USER

PATIENT = "PythonOption mod_python.session.lock_timeout 600\n"
"""However slow the machine is, each of many clients has its turn."""
STORES = ("FileSession", "DbmSession", "SqliteSession", "RedisSession", "PostgresSession")


def served(
    serve: Serve, mpm: str, store: str, more: str = "", database: Optional[Database] = None, **settings: object
) -> Server:
    config = places("sessions") + f"PythonOption mod_python.session.session_type {store}\n"
    config += f"PythonOption mod_python.session.database_directory @ROOT@/sessions\n{more}"
    config += database.config() if database else ""
    server = serve(config, mpm=mpm, start=False, **settings)
    directory = server.root / "sessions"
    directory.mkdir()
    if os.geteuid() == 0:
        shutil.chown(directory, CHILD_USER)
    if database:
        install(server, *database.packages)
    return server.start()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> tuple[str, Optional[Database]]:
    name = request.param
    database = {"RedisSession": "redis", "PostgresSession": "postgres"}.get(name)
    return name, request.getfixturevalue(database) if database else None


@pytest.fixture(params=("redis", "postgres"))
def database(request: pytest.FixtureRequest) -> Database:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Database)
    return found


def cookie(answer: object) -> dict[str, str]:
    header = answer.header("Set-Cookie")  # type: ignore[attr-defined]
    assert header is not None
    return {"Cookie": header.partition(";")[0]}


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_no_update_is_lost_among_four_children(serve: Serve, mpm: str, store: tuple[str, Optional[Database]]) -> None:
    server = served(serve, mpm, store[0], PATIENT, store[1], children=4, threads=8)
    first = server.ok("/sessions/count")
    sent = cookie(first)
    command = [
        "ab",
        "-q",
        "-s",
        "600",
        "-n",
        "240",
        "-c",
        "16",
        "-H",
        f"Cookie: {sent['Cookie']}",
        server.url("/sessions/count"),
    ]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Complete requests:      240" in report and "Non-2xx" not in report, report + server.log_text()[-2000:]
    number, new, sid, _, kind = server.ok("/sessions/count", headers=sent).text.split()
    assert (number, new, kind) == ("242", "False", store[0]) and sid == first.text.split()[2]


def test_what_a_session_holds(serve: Serve, store: tuple[str, Optional[Database]]) -> None:
    server = served(serve, "event", store[0], database=store[1])
    answer = server.ok("/sessions/data")
    sid = answer.text
    assert server.ok("/sessions/data", headers=cookie(answer)).text == sid
    assert server.ok("/sessions/twice").text == "ok"
    assert server.get("/sessions/cannot").status == 500
    server.claim("TypeError: a session cannot hold a value of type object")
    # Ended, expired, unknown and impossible ids are never taken over.
    answer = server.ok("/sessions/count")
    ended = server.ok("/sessions/ends", headers=cookie(answer))
    assert "Max-Age=0" in (ended.header("Set-Cookie") or "")
    for headers in (cookie(answer), {"Cookie": "pysid=" + "0" * 32}, {"Cookie": "pysid=../../etc/passwd"}):
        number, new, sid, *_ = server.ok("/sessions/count", headers=headers).text.split()
        assert (number, new) == ("1", "True") and sid not in headers["Cookie"]
    answer = server.ok("/sessions/expires")
    assert server.ok("/sessions/expires", headers=cookie(answer)).text == "True"
    # Signed.
    answer = server.ok("/sessions/signed")
    assert server.ok("/sessions/signed", headers=cookie(answer)).text == "2"
    forged = cookie(answer)["Cookie"]
    assert (
        server.ok("/sessions/signed", headers={"Cookie": forged[:-1] + ("0" if forged[-1] != "0" else "1")}).text == "1"
    )
    assert server.ok("/sessions/cleans").text == "cleaned"
    text = server.ok("/sessions/redirected").text
    assert text == "[2, 0]", "an inner request has the same session"


def test_a_process_that_is_forked_keeps_no_lock(serve: Serve) -> None:
    """Nobody waits for it when the session is saved again. Only an interpreter that is alone can fork."""
    server = served(serve, "event", "FileSession", interpreter=None)
    sent = cookie(server.ok("/sessions/count"))
    try:
        for number in range(2, 5):
            # By now it has a file that is written over in place.
            assert server.ok("/sessions/count", headers=sent).text.startswith(f"{number} ")
        assert server.ok("/sessions/forks", headers=sent).text == "5"
        for number in range(6, 9):
            assert server.ok("/sessions/count", headers=sent).text.startswith(f"{number} ")
    finally:
        server.write("apps/go_on", "")


@pytest.mark.parametrize("sid", ["../" * 5, "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "%0a", "%00"])
def test_bad_ids(serve_bad: Server, sid: str) -> None:
    assert "32 hexadecimal digits" in serve_bad.ok(f"/sessions/given?{sid}").text


@pytest.fixture(scope="module")
def serve_bad(serve_module: Serve) -> Server:
    return served(serve_module, "event", "FileSession")


def test_the_cookie(serve: Serve) -> None:
    server = served(serve, "event", "MemorySession", threads=2)
    header = server.ok("/sessions/count").header("Set-Cookie") or ""
    assert header.endswith(
        "; Path=/sessions/count; HttpOnly; SameSite=Lax".replace("HttpOnly; SameSite=Lax", "SameSite=Lax; HttpOnly")
    ), header
    assert "Path=/own;" in (server.ok("/sessions/own").header("Set-Cookie") or "")
    options = (
        "cookie_name sid",
        "application_path /x",
        "application_domain x.org",
        "cookie_secure yes",
        "cookie_httponly no",
        "cookie_samesite Strict",
    )
    more = "".join(f"PythonOption mod_python.session.{option}\n" for option in options)
    server = served(serve, "event", "MemorySession", more, threads=2)
    header = server.ok("/sessions/count").header("Set-Cookie") or ""
    assert header.partition(";")[2] == " Path=/x; Domain=x.org; Secure; SameSite=Strict" and header.startswith("sid=")


def test_what_cleaning_calls_uses_sessions(serve: Serve) -> None:
    server = served(serve, "event", "MemorySession", threads=2)
    for _ in range(2):
        assert server.ok("/sessions/saves_while_it_cleans").text == "cleaned"
        assert server.ok("/sessions/count").text


def test_an_exception_anywhere_keeps_no_lock(serve: Serve, mpm: str) -> None:
    server = served(serve, mpm, "DbmSession", threads=2)
    # dbm.dumb, where a Python has no other, tells of a database whose opening was broken off.
    server.claims += ["Exception ignored (in|while)", r"mp_sess\.dbm"]
    assert server.ok("/sessions/stopped_anywhere").text == "True True"
    assert server.ok("/sessions/count").text


def test_files_are_private(serve: Serve) -> None:
    server = served(serve, "event", "FileSession")
    answer = server.ok("/sessions/count")
    place = server.root / "sessions/mp_sess"
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) == 1 and stat.S_IMODE(files[0].stat().st_mode) == 0o600 and files[0].read_bytes()[:2] == b"J{"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in (place, files[0].parent))
    # What another user could have written is not even looked at.
    pickled = b"Pcos\nsystem\n(S'touch /tmp/owned'\ntR."
    files[0].write_bytes(pickled)
    assert server.ok("/sessions/count", headers=cookie(answer)).text.startswith("1 True")
    server.wait_log("cannot be read: the session was pickled")
    target = server.write("secret", "J{}")
    files = [path for path in place.rglob("*") if path.is_file()]
    for file in files:
        file.unlink()
        file.symlink_to(target)
    assert server.ok("/sessions/count", headers=cookie(answer)).text.startswith("1 True")
    server.claims.append("cannot be read: .*[Ss]ymbolic link|Too many levels")
    place.chmod(0o777)
    assert server.get("/sessions/count").status == 500
    server.claim("is not a directory of this user's alone")


def test_pickle_only_where_it_is_asked_for(serve: Serve) -> None:
    server = served(serve, "event", "FileSession", "PythonOption mod_python.session.serializer pickle\n")
    answer = server.ok("/sessions/data")
    assert server.ok("/sessions/data", headers=cookie(answer)).text == answer.text
    files = [path for path in (server.root / "sessions").rglob("*") if path.is_file()]
    assert files[0].read_bytes()[:1] == b"P"


def test_old_files_are_removed(serve: Serve) -> None:
    """docs/differences.md#sessions-that-have-expired"""
    more = "PythonOption mod_python.file_session.cleanup_grace_period 0\nPythonOption mod_python.file_session.cleanup_time_limit 0\n"
    server = served(serve, "event", "FileSession", more)
    server.ok("/sessions/expires")
    server.ok("/sessions/count")
    place = server.root / "sessions/mp_sess"
    files = [path for path in place.rglob("*") if path.is_file()]
    for file in files:
        os.utime(file, (time.time() - 10_000,) * 2)
    tries = clean(server)
    assert len([path for path in place.glob("??/*") if path.is_file()]) == len(files) - 1 + tries
    server = served(serve, "event", "DbmSession")
    server.ok("/sessions/expires")
    clean(server)


def clean(server: Server) -> int:
    """Clean until the one session that is over has gone; how many requests, each with a session, that took.

    A session whose lock is the request's own by chance stays for the next time.
    """
    for tries in range(1, 30):
        server.new_log()
        server.ok("/sessions/cleans")
        if " 1 sessions" in server.wait_log("sessions that were over have been removed"):
            return tries
    raise AssertionError(server.log_text())


def test_no_update_is_lost_among_two_servers(serve: Serve, database: Database) -> None:
    one, two = (served(serve, "event", database.store, PATIENT, database, children=2) for _ in range(2))
    answer = one.ok("/sessions/count")
    sent = cookie(answer)
    command = ["ab", "-q", "-s", "600", "-n", "100", "-c", "4", "-H", f"Cookie: {sent['Cookie']}"]
    running = [
        subprocess.Popen([*command, server.url("/sessions/count")], stdout=subprocess.PIPE, text=True)
        for server in (one, two)
    ]
    for process in running:
        report, _ = process.communicate()
        assert "Non-2xx" not in report and "Complete requests:      100" in report, report
    assert two.ok("/sessions/count", headers=sent).text.split()[0] == "202"


def test_a_database_s_lock_belongs_to_the_root_request(serve: Serve, database: Database) -> None:
    """Whatever the interpreter; and nobody waits longer than the option says."""
    more = places("visits") + (
        "PythonOption go @ROOT@/sessions/go\nPythonOption mod_python.session.application_path /\n"
        "PythonOption mod_python.session.lock_timeout 3\n"
        "<Location /apart>\nPythonInterpPerDirective On\nSetHandler mod_python\nPythonAccessHandler visits::apart\n</Location>\n"
        "<Location /apart/inner>\nPythonHandler visits::apart\n</Location>\n"
    )
    one, two = (served(serve, "event", database.store, more, database) for _ in range(2))
    sent = cookie(one.ok("/visits/count"))
    for number in (2, 4, 6):
        lines = one.ok("/apart/inner", headers=sent).text.splitlines()
        assert [line.split()[0] for line in lines] == [str(number), str(number + 1)]
    go = one.root / "sessions/go"
    holds = threading.Thread(target=lambda: one.get("/visits/holds", headers=sent))
    holds.start()
    one._wait(Path(f"{go}.held").exists, "the session is not held")
    assert [server.get("/visits/count", headers=sent).status for server in (one, two)] == [503, 503]
    for server in (one, two):
        server.wait_log("warn.*another request has had it for 3 seconds, answered with 503")
    go.write_text("")
    holds.join()
    assert two.ok("/visits/count", headers=sent).text == "8"


def test_mistakes_are_told(serve: Serve) -> None:
    server = served(serve, "event", "NoSession")
    assert server.get("/sessions/count").status == 500
    server.claim("mod_python.session.session_type: 'NoSession' is none of FileSession")
    for kind, error in ((Redis, "redis.exceptions.ConnectionError"), (Postgres, "psycopg.OperationalError: .*refused")):
        nowhere = kind.__new__(kind)
        nowhere.port = 1
        server = served(serve, "event", kind.store, database=nowhere)
        assert server.get("/sessions/count").status == 500
        server.claim(error)


def test_the_kind_is_chosen_by_the_mpm(serve: Serve) -> None:
    for mpm, children, kind in (
        ("event", 1, "MemorySession"),
        ("prefork", 2, "DbmSession"),
        ("event", 2, "DbmSession"),
    ):
        server = served(serve, mpm, '""', children=children, threads=4)
        assert server.ok("/sessions/count").text.split()[-1] == kind
