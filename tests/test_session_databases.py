"""Sessions in Redis and PostgreSQL when something goes wrong: the database, a connection, a process, the configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from http.client import RemoteDisconnected
from pathlib import Path

import pytest
from client import Answer
from conftest import Serve, Server, install, places
from databases import Database, Postgres, Redis

from httpd import CHILD_USER, MODE


@pytest.fixture(params=("redis", "postgres"))
def database(request: pytest.FixtureRequest) -> Database:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Database)
    return found


def served(serve: Serve, database: Database, more: str = "", *, driver: bool = True, **settings: object) -> Server:
    config = places("stored", "visits") + f"PythonOption mod_python.session.session_type {database.store}\n"
    config += (
        f"PythonOption mod_python.session.application_path /\nPythonOption go @ROOT@/go/go\n{database.config()}{more}"
    )
    server = serve(config, start=False, **settings)
    (server.root / "go").mkdir()
    if os.geteuid() == 0:
        shutil.chown(server.root / "go", CHILD_USER)
    if driver:
        install(server, *database.packages)
    return server.start()


def cookie(answer: Answer) -> dict[str, str]:
    return {"Cookie": (answer.header("Set-Cookie") or "").partition(";")[0]}


def counted(answer: Answer) -> int:
    assert answer.status == 200, answer
    return int(answer.text.split()[0])


class Holding:
    """A request that keeps its session until it is let go."""

    def __init__(self, server: Server, headers: dict[str, str]) -> None:
        self.answers: list[Answer] = []
        self._go = server.root / "go/go"
        for path in (self._go, Path(f"{self._go}.held")):
            path.unlink(missing_ok=True)
        self._thread = threading.Thread(
            target=lambda: self.answers.append(server.get("/visits/holds", headers=headers))
        )
        self._thread.start()
        server._wait(Path(f"{self._go}.held").exists, "the session is not held")

    def let_go(self) -> Answer:
        self._go.write_text("")
        self._thread.join()
        return self.answers[0]


GONE = "redis.exceptions.ConnectionError|psycopg.OperationalError"
LATE = "redis.exceptions.TimeoutError|psycopg.errors.ConnectionTimeout"


def test_a_server_that_goes_and_comes_back(serve: Serve, database: Database) -> None:
    """No hang, a line, and nothing to be done by hand."""
    server = served(serve, database)
    sent = cookie(server.ok("/stored/count"))
    database.stop()
    try:
        for _ in range(3):
            assert server.get("/stored/count", headers=sent).status == 500
        server.claim(GONE)
    finally:
        database.start()
    if isinstance(database, Postgres):
        assert counted(server.get("/stored/count", headers=sent)) == 2
        # One that was restarted while nobody asked is not noticed at all.
        database.stop()
        database.start()
        assert counted(server.get("/stored/count", headers=sent)) == 3
    assert counted(server.get("/stored/count")) == 1


def test_a_server_that_does_not_answer(serve: Serve, database: Database) -> None:
    server = served(serve, database, "PythonOption mod_python.redis_session.lock_lease 1\n")
    server.ok("/stored/impatient")
    sent = cookie(server.ok("/stored/count"))
    with database.frozen():
        assert server.get("/stored/count", headers=sent).status == 500
        server.claim(LATE)
    # What it was asked it may do afterwards: Redis gives a lock to who has left, until its lease is over.
    assert counted(server.ok("/stored/count", headers=sent)) == 2


def test_who_has_lost_the_lock_overwrites_nothing(serve: Serve, postgres: Postgres) -> None:
    one, two = (served(serve, postgres) for _ in range(2))
    sent = cookie(one.ok("/stored/count"))
    held = Holding(one, sent)
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mod_python'")
    assert counted(two.ok("/stored/count", headers=sent)) == 2
    assert held.let_go().status == 500
    one.claim("ConnectionError: the connection to PostgreSQL that held the session's lock has been cut")
    assert counted(one.ok("/stored/count", headers=sent)) == 3


def test_a_lease_that_is_over(serve: Serve, redis: Redis) -> None:
    one, two = (served(serve, redis, "PythonOption mod_python.redis_session.lock_lease 0.2\n") for _ in range(2))
    sent = cookie(one.ok("/stored/count"))
    held = Holding(one, sent)
    assert counted(two.ok("/stored/count", headers=sent)) == 2, "it waits for the lease"
    assert held.let_go().status == 500
    one.claim(
        "TimeoutError: session .*lock was given up after 0.2 seconds, and another request has it or has changed it"
    )
    # Nobody has come: what was done is kept.
    held = Holding(one, sent)
    lock = f"mod_python:lock:{sent['Cookie'].partition('=')[2]}"
    one._wait(lambda: ask_redis(redis, "EXISTS", lock) == "0", "the lease does not end")
    assert held.let_go().status == 200 and counted(two.ok("/stored/count", headers=sent)) == 3


def ask_redis(redis: Redis, *words: str) -> str:
    command = ["redis-cli", "-p", str(redis.port), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_process_that_dies_keeps_no_lock(serve: Serve, database: Database) -> None:
    lease = "PythonOption mod_python.redis_session.lock_lease 1\n"
    one, two = (served(serve, database, lease) for _ in range(2))
    sent = cookie(one.ok("/stored/count"))
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        one.get("/visits/dies", headers=sent)
    one.claims.append("exit signal Killed")
    assert counted(two.ok("/stored/count", headers=sent)) == 2


def test_who_waits_for_somebody_who_waits_for_him(serve: Serve, database: Database) -> None:
    """It ends, as any waiting for a session does, and leaves nothing."""
    one, two = (served(serve, database, "PythonOption mod_python.session.lock_timeout 3\n") for _ in range(2))
    sids = [cookie(one.ok("/stored/count"))["Cookie"].partition("=")[2] for _ in range(2)]
    statuses: list[int] = []

    def crosses(server: Server, first: str, second: str) -> None:
        statuses.append(server.get(f"/stored/crosses?{one.root}/go,{first},{second}").status)

    threads = [
        threading.Thread(target=crosses, args=(one, *sids)),
        threading.Thread(target=crosses, args=(two, *sids[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) in ([200, 503], [503, 503])
    for sid in sids:
        assert one.get("/stored/count", headers={"Cookie": f"pysid={sid}"}).status == 200


def test_connections(serve: Serve, postgres: Postgres) -> None:
    """Few, never inside a transaction, and no lock is left; the first requests make the table all at once."""
    server = served(
        serve, postgres, "PythonOption mod_python.postgres_session.table shop_sessions\n", threads=24, children=2
    )
    url = server.url("/stored/count")
    report = subprocess.run(["ab", "-q", "-k", "-n", "600", "-c", "24", url], capture_output=True, text=True).stdout
    assert "Complete requests:      600" in report and "Non-2xx" not in report, report + server.log_text()[-3000:]
    states: list[tuple[object, ...]] = []

    def are_idle() -> bool:
        # An answer may be there before its request's end.
        states[:] = postgres.sql("SELECT state FROM pg_stat_activity WHERE application_name = 'mod_python'")
        return set(states) == {("idle",)}

    server._wait(are_idle, "a connection is in a transaction")
    assert 1 <= len(states) <= 8, states
    server._wait(
        lambda: postgres.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)], "a lock is left"
    )
    assert postgres.sql("SELECT count(*) FROM shop_sessions") == [(600,)]


def test_what_is_over_is_removed(serve: Serve, postgres: Postgres) -> None:
    server = served(serve, postgres, "PythonOption mod_python.postgres_session.table public.order\n")
    sids = [cookie(server.ok("/stored/count"))["Cookie"].partition("=")[2] for _ in range(3)]
    postgres.sql(f"UPDATE public.\"order\" SET over = {time.time() - 100} WHERE sid <> '{sids[0]}'")
    assert server.ok("/visits/sweeps").text == "swept"
    server.wait_log("2 sessions that were over have been removed")
    assert postgres.sql('SELECT sid FROM public."order"') == [(sids[0],)]


def test_interpreters_of_one_process(serve: Serve, database: Database) -> None:
    """C parts of a driver that load in one interpreter alone are done without in the others."""
    apart = (
        "<Location /apart>\nSetHandler mod_python\nPythonInterpreter apart\nPythonHandler stored::count\n</Location>\n"
    )
    server = served(serve, database, apart)
    sent = cookie(server.ok("/stored/count?driver"))
    answers = [server.ok(f"{path}?driver", headers=sent).text.split() for path in ("/apart", "/stored/count", "/apart")]
    assert [number for number, *_ in answers] == ["2", "3", "4"]
    assert answers[0][1] == answers[2][1] != answers[1][1]
    if isinstance(database, Postgres):
        # One with a lock of its own never gets them: where that is the other one, this one does.
        first = "binary" if MODE == "pool" and sys.version_info >= (3, 13) else "python"
        assert answers[0][2] == answers[2][2] == first


def test_forks_and_large_sessions(serve: Serve, postgres: Postgres) -> None:
    # No other interpreter than the main one may fork.
    server = served(serve, postgres, interpreter=None)
    sent = cookie(server.ok("/stored/count"))
    assert [server.ok("/stored/forks", headers=sent).text for _ in range(3)] == ["0"] * 3
    assert [server.ok("/stored/big", headers=sent).text for _ in range(2)] == ["False", "True"]
    # Other requests go on meanwhile.
    assert counted(server.ok("/stored/count", headers=sent)) == 1


def test_an_exception_anywhere_leaves_no_lock(serve: Serve, postgres: Postgres) -> None:
    server = served(serve, postgres)
    assert server.ok("/stored/stopped_anywhere", timeout=60).text == "True"
    server._wait(
        lambda: postgres.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)], "a lock is left"
    )
    assert counted(server.ok("/stored/count")) == 1


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("postgres_session.table 'x;DROP TABLE y'", "ValueError: .*postgres_session.table: .*small letters"),
        ("postgres_session.table a.b.c", "ValueError: .*postgres_session.table: 'a.b.c'"),
        ("postgres_session.connections 0", "ValueError: .*postgres_session.connections: '0' is not a number from 1 to"),
        ("postgres_session.connections many", "ValueError: .*postgres_session.connections: 'many' is not"),
        ("postgres_session.url no=such", "ProgrammingError: invalid connection option"),
        ("redis_session.lock_lease soon", "ValueError: .*redis_session.lock_lease: 'soon' is not a number of seconds"),
    ],
)
def test_options_that_make_no_sense(serve: Serve, request: pytest.FixtureRequest, option: str, error: str) -> None:
    database = request.getfixturevalue(option.partition("_")[0])
    server = served(serve, database, f"PythonOption mod_python.{option.replace(chr(39), chr(34))}\n")
    assert server.get("/stored/count").status == 500
    server.claim(error)


def test_a_driver_that_is_not_there(serve: Serve, database: Database) -> None:
    server = served(serve, database, driver=False)
    assert server.get("/stored/count").status == 500
    server.claim(f"ImportError: {database.store} needs the package {database.packages[0]}.*: pip install")
