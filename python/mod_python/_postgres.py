"""Connections to PostgreSQL, and session-level advisory locks held on them; for ``PostgresSession``.

A few connections serve all threads of an interpreter, each for one statement at a time: nobody keeps one while he waits, and none is
ever inside a transaction between two statements. A lock belongs to the connection that it was taken on. What is written under the
lock goes through that same connection: where it has been cut, and the lock with it, the writing fails, and nobody's update is lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any, Optional

TIME_LIMIT = 10.0
"""Seconds for a statement, and to wait for a free connection."""
_SETTINGS = (
    "SET statement_timeout = 9000; SET default_transaction_isolation = 'read committed'; "
    # A machine that vanishes does not keep its locks for the two hours that are usual.
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
_OF_THE_CLIENT = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "application_name": "mod_python",
}
_CUT = "the connection to PostgreSQL that held the session's lock has been cut; nothing has been saved since"
_IDLE_SESSIONS_END_SINCE = 140000


def _driver() -> Any:
    """psycopg. Raises ImportError that says what to install."""
    try:
        import psycopg
    except ImportError as error:
        raise ImportError(
            f"PostgresSession needs the package psycopg, version 3: pip install 'psycopg[binary]' ({error}). Its C parts load in the first "
            "interpreter of a process alone; in others it needs the C library libpq (Debian: libpq5), too"
        ) from error
    return psycopg


class Connection:
    """One connection, for one thread at a time. Raises psycopg.Error for whatever goes wrong, ConnectionTimeout included."""

    def __init__(self, url: str) -> None:
        self._psycopg = _driver()
        given = self._psycopg.conninfo.conninfo_to_dict(url)
        self._connection = self._psycopg.Connection.connect(**{**_OF_THE_CLIENT, **given}, autocommit=True)
        self._native = self._connection.pgconn
        self.is_late = False
        try:
            newer = self._native.server_version >= _IDLE_SESSIONS_END_SINCE
            # psycopg has resolved the names by now, and libpq is never blocked in: this module waits, and has a limit.
            self._native.send_query((_SETTINGS + ("; SET idle_session_timeout = 0" if newer else "")).encode())
            self._answer()
        except BaseException:
            self.close()
            raise

    @property
    def is_closed(self) -> bool:
        """Is it of no use any more?"""
        return bool(self._connection.closed)

    def close(self) -> None:
        """Its locks go, too."""
        self._connection.close()

    def ask(self, statement: str, *values: bytes) -> Optional[bytes]:
        """The first value of the first row, in PostgreSQL's binary form; None where there is none."""
        try:
            self._native.send_query_params(statement.encode(), values, param_formats=[1] * len(values), result_format=1)
            return self._answer()
        except self._psycopg.Error as error:
            state = error.sqlstate
            # Without a state it is the connection's; 57P: the server is being stopped, or an administrator has ended the connection.
            if state is None or state.startswith(("57P", "08")):
                self.close()
            raise
        except BaseException:
            # Whoever came next would read this one's answer.
            self.close()
            raise

    def _answer(self) -> Optional[bytes]:
        native, limit, value, refusal = self._native, time.monotonic() + TIME_LIMIT, None, None
        while native.flush():
            if self._wait(select.POLLIN | select.POLLOUT, limit) & ~select.POLLOUT:
                native.consume_input()
        while True:
            while native.is_busy():
                self._wait(select.POLLIN, limit)
                native.consume_input()
            result = native.get_result()
            if result is None:
                break
            pq = self._psycopg.pq
            if result.status == pq.ExecStatus.TUPLES_OK:
                value = result.get_value(0, 0) if result.ntuples else None
            elif result.status != pq.ExecStatus.COMMAND_OK and refusal is None:
                refusal = self._refusal(result)
        if refusal is not None:
            raise refusal
        return None if value is None else bytes(value)

    def _refusal(self, result: Any) -> Exception:
        code = result.error_field(self._psycopg.pq.DiagnosticField.SQLSTATE)
        text = result.get_error_message()
        error: Exception
        try:
            error = self._psycopg.errors.lookup((code or b"").decode())(text)
        except KeyError:
            error = self._psycopg.OperationalError(text)
        return error

    def _wait(self, events: int, limit: float) -> int:
        poll = select.poll()
        poll.register(self._native.socket, events)
        ready = poll.poll(max(limit - time.monotonic(), 0) * 1000)
        if not ready:
            self.is_late = True
            raise self._psycopg.errors.ConnectionTimeout(f"PostgreSQL has not answered for {TIME_LIMIT:g} seconds")
        return ready[0][1]


class _Slot:
    """A place for a connection, and whose turn it is to use it."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.connection: Optional[Connection] = None

    def is_used(self) -> bool:
        """Is there a connection that seems to be good?"""
        return self.connection is not None and not self.connection.is_closed

    def open(self, url: str) -> Connection:
        """The connection, made where there is none. In one's own turn."""
        if self.connection is None or self.connection.is_closed:
            self.connection = Connection(url)
        return self.connection

    def ask(self, url: str, statement: str, *values: bytes) -> Optional[bytes]:
        """The same as `Connection.ask`; once more on a new connection where the old one was cut since it was used last."""
        had = self.is_used()
        connection = self.open(url)
        try:
            return connection.ask(statement, *values)
        except connection._psycopg.Error:
            if not had or connection.is_late or not connection.is_closed:
                raise
        return self.open(url).ask(statement, *values)


class Pool:
    """The connections of one interpreter to one server, made when they are needed, and the locks held on them."""

    def __init__(self, url: str, most: int) -> None:
        self._url = url
        self._slots = [_Slot() for _ in range(most)]
        self._turn = 0
        self._held: dict[int, tuple[_Slot, Connection, str]] = {}
        """By the lock's key: where it was taken, and for whom. An entry is made and removed in its slot's turn."""

    @contextlib.contextmanager
    def _slot(self) -> Iterator[_Slot]:
        """One whose turn is ours: of those in use if possible."""
        had = False
        try:
            for slot in sorted(self._slots, key=lambda slot: not slot.is_used()):
                had = slot.turn.acquire(False)
                if had:
                    break
            else:
                self._turn += 1
                slot = self._slots[self._turn % len(self._slots)]
                had = slot.turn.acquire(timeout=TIME_LIMIT)
                if not had:
                    self._forget(slot)
                    raise TimeoutError(f"no connection to PostgreSQL has become free for {TIME_LIMIT:g} seconds")
            yield slot
        finally:
            if had:
                slot.turn.release()

    def _forget(self, slot: _Slot) -> None:
        """Do without one that somebody does not give back. Its connection ends, and the locks with it, when nobody refers to it any more."""
        self._slots = [_Slot() if one is slot else one for one in self._slots]
        slot.connection = None

    def ask(self, statement: str, *values: bytes) -> Optional[bytes]:
        """The same as `Connection.ask`, on any connection. Raises TimeoutError where all are busy."""
        with self._slot() as slot:
            return slot.ask(self._url, statement, *values)

    def ask_under(self, key: int, owner: str, statement: str, *values: bytes) -> Optional[bytes]:
        """The same on the connection that the owner's lock is held on. Raises ConnectionError where it has been lost.

        Raises KeyError where it is not held here.
        """
        slot, connection, holder = self._held[key]
        if holder != owner:
            raise KeyError(key)
        had = False
        try:
            had = slot.turn.acquire(timeout=TIME_LIMIT)
            if not had:
                raise TimeoutError(f"the session's connection to PostgreSQL has been busy for {TIME_LIMIT:g} seconds")
            if slot.connection is not connection or connection.is_closed:
                raise ConnectionError(_CUT)
            return connection.ask(statement, *values)
        except _driver().Error as error:
            if connection.is_closed and not connection.is_late:
                raise ConnectionError(_CUT) from error
            raise
        finally:
            if had:
                slot.turn.release()

    def is_held(self, key: int, owner: str) -> bool:
        """Has the owner taken it, here?"""
        found = self._held.get(key)
        return found is not None and found[2] == owner

    def try_lock(self, key: int, owner: str) -> bool:
        """Take the lock if nobody has it, here or elsewhere."""
        with self._slot() as slot:
            # Taking one twice on the same connection succeeds.
            found = self._held.get(key)
            if found is not None and found[0].connection is found[1] and not found[1].is_closed:
                return False
            try:
                had = slot.ask(self._url, "SELECT pg_try_advisory_lock($1::int8)", struct.pack("!q", key)) == b"\x01"
                if had and slot.connection is not None:
                    self._held[key] = slot, slot.connection, owner
            except _driver().Error:
                raise
            except BaseException:
                # A lock that nobody knows of must not stay.
                if slot.connection is not None:
                    slot.connection.close()
                self._held.pop(key, None)
                raise
            return had

    def unlock(self, key: int, owner: str) -> None:
        """Give it back, if it is the owner's. Where that fails, the connection is closed, which gives it back, too."""
        found = self._held.get(key)
        if found is None or found[2] != owner:
            return
        slot, connection, _ = found
        had = False
        try:
            had = slot.turn.acquire(timeout=TIME_LIMIT)
            if not had:
                self._forget(slot)
            elif slot.connection is connection and not connection.is_closed:
                connection.ask("SELECT pg_advisory_unlock($1::int8)", struct.pack("!q", key))
        except BaseException:
            if had:
                connection.close()
            raise
        finally:
            if self._held.get(key) is found:
                del self._held[key]
            if had:
                slot.turn.release()


_pools: dict[tuple[int, str, int], Pool] = {}


def pool(url: str, most: int) -> Pool:
    """The interpreter's pool of at most so many connections. One that was forked off makes its own."""
    key = os.getpid(), url, most
    # Both are one step: no thread gets another pool than the others.
    return _pools.get(key) or _pools.setdefault(key, Pool(url, most))


def lock_key(*names: str) -> int:
    """The number of the advisory lock for something."""
    digest = hashlib.blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    number: int = struct.unpack("!q", digest)[0]
    return number
