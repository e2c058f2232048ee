"""Where sessions are kept: memory, files, dbm, SQLite, Redis; see ``Session``."""

from __future__ import annotations

import contextlib
import dbm
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Optional

import _apache

from mod_python import _private, _serializer, apache
from mod_python._session import (
    DFT_CLEANUP_TIME_LIMIT,
    DFT_FAST_CLEANUP,
    DFT_GRACE_PERIOD,
    DFT_TIMEOUT,
    DFT_VERIFY_CLEANUP,
    SID,
    BaseSession,
    Record,
    option,
    private_directory,
    true_or_false,
)

if TYPE_CHECKING:
    from _apache import mp_request


class MemorySession(BaseSession):
    """Sessions in the memory of one process: for a single child."""

    sdict: ClassVar[dict[str, Record]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> None:
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    def do_load(self) -> Optional[Record]:
        with self._guard:
            record = self.sdict.get(self._sid)
        return record and dict(record, _data=dict(record["_data"]))

    def do_save(self, dict: Record) -> None:
        with self._guard:
            self.sdict[self._sid] = dict

    def do_delete(self) -> None:
        with self._guard:
            self.sdict.pop(self._sid, None)

    def do_cleanup(self) -> None:
        self._req.register_cleanup(_clean_memory, self)


def _clean_memory(session: MemorySession) -> None:
    now = time.time()
    with session._guard:
        over = [sid for sid, record in session.sdict.items() if now - record["_accessed"] > record["_timeout"]]
        for sid in over:
            del session.sdict[sid]


class FileSession(BaseSession):
    """A file (0600) for each session, in a directory (0700) of httpd's user."""

    def __init__(
        self,
        req: mp_request,
        sid: Any = 0,
        secret: Any = None,
        timeout: int = 0,
        lock: Any = 1,
        fast_cleanup: Any = -1,
        verify_cleanup: Any = -1,
    ) -> None:
        if not hasattr(self, "_sid"):
            prefix = "mod_python.file_session."
            self._fast = true_or_false(
                option(req, prefix + "enable_fast_cleanup", "session_fast_cleanup", default=str(DFT_FAST_CLEANUP))
                if fast_cleanup == -1
                else bool(fast_cleanup)
            )
            self._verify = true_or_false(
                option(
                    req, prefix + "verify_session_timeout", "session_verify_cleanup", default=str(DFT_VERIFY_CLEANUP)
                )
                if verify_cleanup == -1
                else bool(verify_cleanup)
            )
            grace = option(req, prefix + "cleanup_grace_period", "session_grace_period")
            limit = option(req, prefix + "cleanup_time_limit", "session_cleanup_time_limit")
            self._grace = int(grace or DFT_GRACE_PERIOD)
            self._limit = int(limit or DFT_CLEANUP_TIME_LIMIT)
            self._usual = timeout or DFT_TIMEOUT
            self._place = private_directory(req, prefix + "database_directory")
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    def _file(self) -> str:
        return os.path.join(self._place, self._sid[:2], self._sid)

    def do_load(self) -> Optional[Record]:
        try:
            data = _private.read(self._file())
            os.utime(self._file())
        except FileNotFoundError:
            return None
        except OSError as error:
            self._req.log_error(f"session {self._sid} cannot be read: {error}", apache.APLOG_ERR)
            return None
        return self._unpack(data)

    def do_save(self, dict: Record) -> None:
        data = self._pack(dict)
        _private.directory(os.path.join(self._place, self._sid[:2]))
        _private.replace(self._file(), data)

    def do_delete(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file())

    def do_cleanup(self) -> None:
        self._req.register_cleanup(FileSession._clean, self)

    def _clean(self) -> None:
        """Walks the directories until the time is up; goes on from there the next time."""
        begun, removed = time.time(), 0
        with _private.alone(os.path.join(self._place, ".mp_sess.lck")) as is_alone:
            if not is_alone:
                return
            status = os.path.join(self._place, "fs_status.txt")
            try:
                first = int(_private.read(status)) % 256
            except (OSError, ValueError):
                first = 0
            bucket = first
            for bucket in [*range(first, 256), *range(first)]:
                removed += self._clean_bucket(os.path.join(self._place, f"{bucket:02x}"))
                if self._limit and time.time() - begun > self._limit:
                    break
            _private.replace(status, str((bucket + 1) % 256).encode())
        self._req.log_error(f"{removed} sessions that were over have been removed", apache.APLOG_INFO)

    def _clean_bucket(self, bucket: str) -> int:
        removed = 0
        try:
            names = os.listdir(bucket)
        except FileNotFoundError:
            return 0
        for name in names:
            path = os.path.join(bucket, name)
            try:
                age = time.time() - os.lstat(path).st_mtime
            except FileNotFoundError:
                continue
            if not SID.fullmatch(name):
                # What a process left that died while it wrote.
                over = age > 3600
            elif self._fast and age <= self._usual + self._grace:
                over = False
            else:
                over = not self._verify or self._is_over(path)
            if over and self._remove(path, name):
                removed += 1
        return removed

    def _is_over(self, path: str) -> bool:
        try:
            record = _serializer.loads(_private.read(path), self._pickle)
        except FileNotFoundError:
            return False
        except Exception:
            return True
        return bool(time.time() - record["_accessed"] > record["_timeout"] + self._grace)

    def _remove(self, path: str, sid: str) -> bool:
        """Not while a request has the session."""
        place = _apache._global_place(sid)
        if self._held().get(place) or not _apache._global_trylock(self._req.server, None, place):
            return False
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        finally:
            _apache._global_unlock(self._req.server, None, place)
        return True


class DbmSession(BaseSession):
    """All sessions in one dbm file, opened for one operation at a time."""

    def __init__(
        self,
        req: mp_request,
        dbm: Optional[str] = None,
        sid: Any = 0,
        secret: Any = None,
        dbmtype: Any = dbm,
        timeout: int = 0,
        lock: Any = 1,
    ) -> None:
        if not hasattr(self, "_sid"):
            names = ("mod_python.dbm_session.database_filename", "session_dbm")
            self._type = dbmtype
            self._file = dbm or option(req, *names)
            if not self._file:
                self._file = os.path.join(
                    private_directory(req, "mod_python.dbm_session.database_directory"), "mp_sess.dbm"
                )
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    @classmethod
    def _given_sid(cls, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        return kw.get("sid") or (args[1] if len(args) > 1 else None)

    def _with(self, action: Callable[[Any], Any]) -> Any:
        server = self._req.server
        _apache._global_lock(server, None, 0)
        try:
            database = self._type.open(self._file, "c", 0o600)
            try:
                return action(database)
            finally:
                database.close()
        finally:
            _apache._global_unlock(server, None, 0)

    def do_load(self) -> Optional[Record]:
        sid = self._sid.encode()
        data = self._with(lambda database: database.get(sid))
        return None if data is None else self._unpack(bytes(data))

    def do_save(self, dict: Record) -> None:
        sid, data = self._sid.encode(), self._pack(dict)
        self._with(lambda database: database.__setitem__(sid, data))

    def do_delete(self) -> None:
        sid = self._sid.encode()
        self._with(lambda database: database.__delitem__(sid) if sid in database else None)

    def do_cleanup(self) -> None:
        self._req.register_cleanup(DbmSession._clean, self)

    def _clean(self) -> None:
        def remove(database: Any) -> int:
            over = []
            for sid in list(database.keys()):
                record = self._unpack(bytes(database[sid]))
                if record is None or time.time() - record["_accessed"] > record["_timeout"]:
                    over.append(sid)
            for sid in over:
                del database[sid]
            return len(over)

        removed = self._with(remove)
        self._req.log_error(f"{removed} sessions that were over have been removed", apache.APLOG_INFO)


class SqliteSession(BaseSession):
    """All sessions in one SQLite database: ``PythonOption mod_python.sqlite_session.database_filename``."""

    def __init__(self, req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> None:
        if not hasattr(self, "_sid"):
            self._file = option(req, "mod_python.sqlite_session.database_filename") or os.path.join(
                private_directory(req, "mod_python.sqlite_session.database_directory"), "mp_sess.sqlite"
            )
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    def _run(self, statement: str, *values: Any) -> Any:
        old = os.umask(0o077) if not os.path.exists(self._file) else None
        try:
            connection = sqlite3.connect(self._file, timeout=30)
        finally:
            if old is not None:
                os.umask(old)
        try:
            with connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS session (sid TEXT PRIMARY KEY, over REAL NOT NULL, data BLOB NOT NULL)"
                )
                return connection.execute(statement, values).fetchone()
        finally:
            connection.close()

    def do_load(self) -> Optional[Record]:
        row = self._run("SELECT data FROM session WHERE sid = ?", self._sid)
        return None if row is None else self._unpack(row[0])

    def do_save(self, dict: Record) -> None:
        over = dict["_accessed"] + dict["_timeout"]
        self._run("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", self._sid, over, self._pack(dict))

    def do_delete(self) -> None:
        self._run("DELETE FROM session WHERE sid = ?", self._sid)

    def do_cleanup(self) -> None:
        self._req.register_cleanup(
            lambda session: session._run("DELETE FROM session WHERE over < ?", time.time()), self
        )


class RedisSession(BaseSession):
    """Sessions in a Redis server, for several machines: ``PythonOption mod_python.redis_session.url redis://host:6379/0``.

    Needs the package ``redis``. The lock lies in Redis, too, and is given up after a minute: a machine that dies does not
    keep it. Raises TimeoutError for a session that is not to be had within half a minute.
    """

    _LOCK_SECONDS, _WAIT_SECONDS = 60, 30
    _clients: ClassVar[dict[str, Any]] = {}

    def __init__(self, req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> None:
        if not hasattr(self, "_sid"):
            url = option(req, "mod_python.redis_session.url") or "redis://127.0.0.1:6379/0"
            if url not in self._clients:
                try:
                    import redis
                except ImportError as error:
                    raise ImportError("RedisSession needs the package redis: pip install redis") from error
                self._clients[url] = redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5)
            self._client = self._clients[url]
            self._held_lock: Any = None
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    def _name(self, what: str = "session") -> str:
        return f"mod_python:{what}:{self._sid}"

    def do_lock(self) -> None:
        # Not bound to a thread: the request's end, which unlocks, may come in another one.
        lock = self._client.lock(self._name("lock"), timeout=self._LOCK_SECONDS, sleep=0.01, thread_local=False)
        if not lock.acquire(blocking_timeout=self._WAIT_SECONDS):
            raise TimeoutError(f"session {self._sid} is in use for more than {self._WAIT_SECONDS} seconds")
        self._held_lock = lock

    def do_unlock(self) -> None:
        lock, self._held_lock = self._held_lock, None
        try:
            lock.release()
        except Exception as error:
            self._req.log_error(f"session {self._sid} was locked too long: {error}", apache.APLOG_WARNING)

    def do_load(self) -> Optional[Record]:
        data = self._client.get(self._name())
        return None if data is None else self._unpack(data)

    def do_save(self, dict: Record) -> None:
        # Redis forgets it by itself.
        self._client.set(self._name(), self._pack(dict), ex=max(int(dict["_timeout"]) + 1, 1))

    def do_delete(self) -> None:
        self._client.delete(self._name())
