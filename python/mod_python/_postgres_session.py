"""Sessions in PostgreSQL; see ``Session``."""

from __future__ import annotations

import contextlib
import re
import secrets
import struct
import time
from typing import TYPE_CHECKING, Any, Optional

from mod_python import _postgres, apache
from mod_python._session import BaseSession, Record, option, root_of

if TYPE_CHECKING:
    from _apache import mp_request

_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?")
_MOST = 100
_REMOVED_AT_ONCE = 10_000
_GRACE = 60
"""Seconds that the clocks of machines may differ by."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.025
"""Seconds between two looks at a lock that another machine has."""


class PostgresSession(BaseSession):
    """Sessions in a PostgreSQL database, for several machines: ``PythonOption mod_python.postgres_session.url
    postgresql://user@host/database`` (or libpq's ``host=… dbname=…``; what it leaves out is in libpq's PGHOST and so on).

    Needs the package ``psycopg`` (3). The table, ``mod_python_session`` or ``mod_python.postgres_session.table``, is made where it is
    not there. An interpreter has 4 connections at most (``mod_python.postgres_session.connections``), however many requests it serves.
    The lock is an advisory one of the database, on the connection that saves: it is gone as soon as its process or its connection is,
    and what had no lock any more is not saved.

    Raises psycopg.Error, ConnectionError or TimeoutError where the database does not do what it is asked; ValueError for options that
    make no sense.
    """

    def __init__(self, req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> None:
        if not hasattr(self, "_sid"):
            self._table = option(req, "mod_python.postgres_session.table") or "mod_python_session"
            if not _TABLE.fullmatch(self._table):
                raise ValueError(
                    f"PythonOption mod_python.postgres_session.table: {self._table!r} is not table or schema.table, in small letters"
                )
            url = option(req, "mod_python.postgres_session.url") or ""
            self._pool = _postgres.pool(url, _number_of_connections(req))
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    def _quoted(self) -> str:
        return ".".join(f'"{part}"' for part in self._table.split("."))

    def _key(self) -> int:
        return _postgres.lock_key("mod_python", self._table, self._sid)

    def _owner(self) -> str:
        """The note with the token of the request's lock, which the request's interpreters share."""
        return f"mod_python:postgres:{self._key()}"

    def do_lock(self) -> None:
        """Of one request's sessions with this id, the first takes the lock in the database, and the last gives it back."""
        begun, limit = time.monotonic(), self._patience()
        if self._acquire(limit) > 1 or self._owner() in self._notes():
            return
        had = False
        try:
            had = self._lock_in_database(None if limit < 0 else begun + limit)
        finally:
            if not had:
                super().do_unlock()
        if not had:
            raise self._in_use(limit)

    def _lock_in_database(self, until: Optional[float]) -> bool:
        key, owner, pause = self._key(), secrets.token_hex(16), _FIRST_PAUSE
        # Before it is taken: whatever happens from now on, the request's end frees it.
        root_of(self._req).register_cleanup(_end, (self, key, owner))
        while not self._pool.try_lock(key, owner):
            left = pause if until is None else min(until - time.monotonic(), pause)
            if left <= 0:
                return False
            # A lock that waited in the database would keep a connection: each waits here, longer each time, until its limit.
            time.sleep(left)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        self._notes()[self._owner()] = owner
        return True

    def _free(self, key: int, owner: str) -> None:
        try:
            self._pool.unlock(key, owner)
        except Exception as error:
            self._req.log_error(
                f"session {self._sid[:8]}...: its lock is gone with the connection: {error}", apache.APLOG_WARNING
            )

    def do_unlock(self) -> None:
        try:
            owner = self._notes().get(self._owner())
            # One that another interpreter has taken stays the request's until its end.
            if owner is not None and self._is_last() and self._pool.is_held(self._key(), owner):
                del self._notes()[self._owner()]
                self._free(self._key(), owner)
        finally:
            super().do_unlock()

    def _run(self, statement: str, *values: bytes) -> Optional[bytes]:
        """With the lock where it is ours, on its connection; `{}` is the table."""
        text = statement.format(self._quoted())
        try:
            return self._ask(text, *values)
        except Exception as error:
            # No such table.
            if getattr(error, "sqlstate", None) != "42P01":
                raise
        self._make_table()
        return self._ask(text, *values)

    def _ask(self, text: str, *values: bytes) -> Optional[bytes]:
        owner = self._notes().get(self._owner())
        if owner is not None and self._pool.is_held(self._key(), owner):
            return self._pool.ask_under(self._key(), owner, text, *values)
        return self._pool.ask(text, *values)

    def _make_table(self) -> None:
        for statement in (
            "CREATE TABLE IF NOT EXISTS {} (sid text PRIMARY KEY, over double precision NOT NULL, data bytea NOT NULL)",
            "CREATE INDEX IF NOT EXISTS {}_over ON {} (over)",
        ):
            name = self._table.rpartition(".")[2][:58]
            text = statement.replace("{}_over", f'"{name}_over"').replace("{}", self._quoted())
            try:
                self._pool.ask(text)
            except Exception as error:
                # Somebody else has made it at the same moment.
                if getattr(error, "sqlstate", None) not in ("23505", "42P07"):
                    raise

    def do_load(self) -> Optional[Record]:
        data = self._run("SELECT data FROM {} WHERE sid = $1::text", self._sid.encode())
        return None if data is None else self._unpack(data)

    def do_save(self, dict: Record) -> None:
        over = struct.pack("!d", float(dict["_accessed"]) + float(dict["_timeout"]))
        self._run(
            "INSERT INTO {} (sid, over, data) VALUES ($1::text, $2::float8, $3::bytea) "
            "ON CONFLICT (sid) DO UPDATE SET over = excluded.over, data = excluded.data",
            *(self._sid.encode(), over, self._pack(dict)),
        )

    def do_delete(self) -> None:
        self._run("DELETE FROM {} WHERE sid = $1::text", self._sid.encode())

    def do_cleanup(self) -> None:
        self._requests[1].register_cleanup(PostgresSession._clean, self)

    def _clean(self) -> None:
        over = f"over < extract(epoch from now()) - {_GRACE}"
        statement = (
            f"WITH gone AS (DELETE FROM {{0}} WHERE {over} AND sid IN (SELECT sid FROM {{0}} WHERE {over} LIMIT {_REMOVED_AT_ONCE}) "
            "RETURNING 1) SELECT count(*) FROM gone"
        )
        removed = struct.unpack("!q", self._pool.ask(statement.format(self._quoted())) or bytes(8))[0]
        self._req.log_error(f"{removed} sessions that were over have been removed", apache.APLOG_INFO)


def _end(session_key_owner: tuple[PostgresSession, int, str]) -> None:
    session, key, owner = session_key_owner
    # What another interpreter does with the session after this has to lock it anew.
    if session._notes().get(session._owner()) == owner:
        del session._notes()[session._owner()]
    session._free(key, owner)


def _number_of_connections(req: mp_request) -> int:
    name = "mod_python.postgres_session.connections"
    text = option(req, name)
    number = 4
    if text is not None:
        number = 0
        with contextlib.suppress(ValueError):
            number = int(text)
    if not 1 <= number <= _MOST:
        raise ValueError(f"PythonOption {name}: {text!r} is not a number from 1 to {_MOST}")
    return number
