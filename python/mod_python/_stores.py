"""Where sessions are kept on one machine: memory, files, dbm, SQLite; see ``Session``."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Optional, Union

import _apache

from mod_python import _private, _serializer, apache
from mod_python._later import later
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
    private_place,
    true_or_false,
)

if TYPE_CHECKING:
    import sqlite3

    from _apache import mp_request
else:
    sqlite3 = later("sqlite3")
_dbm = later("dbm")


class MemorySession(BaseSession):
    """Sessions in the memory of one process: for a single child."""

    # No lock: what a collection of garbage or a comparison calls may use a session, too. Each step is whole by itself.
    sdict: ClassVar[dict[str, Record]] = {}

    def __init__(self, req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> None:
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    def do_load(self) -> Optional[Record]:
        record = self.sdict.get(self._sid)
        return record and dict(record, _data=dict(record["_data"]))

    def do_save(self, dict: Record) -> None:
        self.sdict[self._sid] = dict

    def do_delete(self) -> None:
        self.sdict.pop(self._sid, None)

    def do_cleanup(self) -> None:
        self._req.register_cleanup(_clean_memory, self)


def _clean_memory(session: MemorySession) -> None:
    now = time.time()
    for sid, record in session.sdict.copy().items():
        # One that was saved meanwhile is another record.
        if now - record["_accessed"] > record["_timeout"] and session.sdict.get(sid) is record:
            session.sdict.pop(sid, None)


_FILE_OPTIONS = (
    "mod_python.file_session.enable_fast_cleanup",
    "session_fast_cleanup",
    "mod_python.file_session.verify_session_timeout",
    "session_verify_cleanup",
    "mod_python.file_session.cleanup_grace_period",
    "session_grace_period",
    "mod_python.file_session.cleanup_time_limit",
    "session_cleanup_time_limit",
    "mod_python.file_session.database_directory",
    "mod_python.session.database_directory",
    "session_directory",
)


@functools.lru_cache(maxsize=64)
def _file_settings(values: tuple[Optional[str], ...]) -> tuple[Union[bool, str], Union[bool, str], int, int, str]:
    """What these options say: two flags (as they are written where they are none), two numbers, the private directory. Raises
    ValueError."""
    fast, verify, grace, limit = (values[place] or values[place + 1] for place in range(0, 8, 2))
    return (
        *(_flag(fast or str(DFT_FAST_CLEANUP)), _flag(verify or str(DFT_VERIFY_CLEANUP))),
        *(int(grace or DFT_GRACE_PERIOD), int(limit or DFT_CLEANUP_TIME_LIMIT)),
        private_place(values[8] or values[9] or values[10]),
    )


def _flag(text: str) -> Union[bool, str]:
    try:
        return true_or_false(text)
    except ValueError:
        return text


_TOUCHED = 10
"""Seconds by which a file's time may be behind its last use (session_file.rs)."""


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
            self._said = _file_settings(_apache._options(req, _FILE_OPTIONS))
            fast, verify, _, _, self._place = self._said
            # One that is no flag raises here.
            for given, said in ((fast_cleanup, fast), (verify_cleanup, verify)):
                if given == -1 and type(said) is str:
                    true_or_false(said)
            self._cleanup = (fast_cleanup, verify_cleanup, timeout)
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    @contextlib.contextmanager
    def _bucket(self) -> Iterator[int]:
        with _private.entered(self._place) as place, _private.entered(self._sid[:2], place) as bucket:
            yield bucket

    def do_load(self) -> Optional[Record]:
        try:
            data = _apache._session_read(self._place, self._sid, True, _private.refusal)
        except _private.NotAlone:
            raise
        except OSError as error:
            self._req.log_error(f"session {self._sid} cannot be read: {error}", apache.APLOG_ERR)
            return None
        return None if data is None else self._unpack(data)

    def do_save(self, dict: Record) -> None:
        _apache._session_write(self._place, self._sid, self._pack(dict), _private.refusal)

    def do_delete(self) -> None:
        with self._bucket() as bucket, contextlib.suppress(FileNotFoundError):
            os.unlink(self._sid, dir_fd=bucket)

    def do_cleanup(self) -> None:
        self._requests[1].register_cleanup(FileSession._clean, self)

    def _clean(self) -> None:
        """Walks the directories until the time is up; goes on from there the next time."""
        begun, removed, limit = time.time(), 0, self._said[3]
        with _private.entered(self._place) as place, _private.alone(".mp_sess.lck", place) as is_alone:
            if not is_alone:
                return
            status = "fs_status.txt"
            try:
                first = int(_private.read(status, place)) % 256
            except (OSError, ValueError):
                first = 0
            bucket = first
            known = set(os.listdir(place))
            for bucket in [*range(first, 256), *range(first)]:
                if f"{bucket:02x}" in known:
                    with _private.entered(f"{bucket:02x}", place) as descriptor:
                        removed += self._clean_bucket(descriptor)
                if limit and time.time() - begun > limit:
                    break
            _private.replace(status, str((bucket + 1) % 256).encode(), place)
        self._req.log_error(f"{removed} sessions that were over have been removed", apache.APLOG_INFO)

    def _clean_bucket(self, bucket: int) -> int:
        removed = 0
        (fast, verify, timeout), (said_fast, said_verify, grace, *_) = self._cleanup, self._said
        is_fast = said_fast is True if fast == -1 else bool(fast)
        is_verified = said_verify is True if verify == -1 else bool(verify)
        usual = (timeout or DFT_TIMEOUT) + grace + _TOUCHED
        for name in os.listdir(bucket):
            try:
                age = time.time() - os.stat(name, dir_fd=bucket, follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue
            if not SID.fullmatch(name):
                # What a process left that died while it wrote.
                over = age > 3600
            elif is_fast and age <= usual:
                over = False
            else:
                over = not is_verified or self._is_over(name)
            if over and self._remove(name, bucket):
                removed += 1
        return removed

    def _is_over(self, name: str) -> bool:
        try:
            data = _apache._session_read(self._place, name, False, _private.refusal)
            if data is None:
                return False
            record = _serializer.loads(data, self._pickle)
        except Exception:
            return True
        return bool(time.time() - record["_accessed"] > record["_timeout"] + self._said[2])

    def _remove(self, sid: str, bucket: int) -> bool:
        """Not while a request has the session, this one included."""
        count = _apache._session_lock(self._req, sid, 0)
        if not count:
            return False
        try:
            if count > 1:
                return False
            os.unlink(sid, dir_fd=bucket)
        except FileNotFoundError:
            return False
        finally:
            _apache._session_unlock(self._req, sid)
        return True


class DbmSession(BaseSession):
    """All sessions in one dbm file, opened for one operation at a time: ``PythonOption
    mod_python.dbm_session.database_filename``.

    In a directory that others may write to it lies in a private one beside that name. Raises PermissionError for a file
    that others may have written.
    """

    def __init__(
        self,
        req: mp_request,
        dbm: Optional[str] = None,
        sid: Any = 0,
        secret: Any = None,
        dbmtype: Any = _dbm,
        timeout: int = 0,
        lock: Any = 1,
    ) -> None:
        if not hasattr(self, "_sid"):
            names = ("mod_python.dbm_session.database_filename", "session_dbm")
            self._type = dbmtype
            self._file = dbm or option(req, *names) or ""
            if not self._file:
                place = private_directory(req, "mod_python.dbm_session.database_directory")
                with _private.entered(place):
                    self._file = os.path.join(place, "mp_sess.dbm")
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    @classmethod
    def _given_sid(cls, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        return kw.get("sid") or (args[1] if len(args) > 1 else None)

    def _with(self, action: Callable[[Any], Any]) -> Any:
        def work() -> Any:
            with _private.database(self._file) as name:
                database = _private.open_dbm(name, "c", self._type)
                try:
                    return action(database)
                finally:
                    database.close()

        return _apache._global_held(self._req.server, None, 0, work)

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
        self._requests[1].register_cleanup(DbmSession._clean, self)

    def _clean(self) -> None:
        # What a pickle runs must not run while everybody waits for the database.
        records = self._with(lambda database: [(sid, bytes(database[sid])) for sid in list(database.keys())])
        over = [(sid, data) for sid, data in records if self._is_over(data)]

        def remove(database: Any) -> int:
            removed = 0
            for sid, data in over:
                if database.get(sid) == data:
                    del database[sid]
                    removed += 1
            return removed

        removed = self._with(remove) if over else 0
        self._req.log_error(f"{removed} sessions that were over have been removed", apache.APLOG_INFO)

    def _is_over(self, data: bytes) -> bool:
        record = self._unpack(data)
        return record is None or time.time() - record["_accessed"] > record["_timeout"]


class SqliteSession(BaseSession):
    """All sessions in one SQLite database (0600): ``PythonOption mod_python.sqlite_session.database_filename``.

    In a directory like /tmp it lies in a private one beside that name. Raises PermissionError for files that others may
    have written, and for places where they may replace them.
    """

    def __init__(self, req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> None:
        if not hasattr(self, "_sid"):
            chosen = option(req, "mod_python.sqlite_session.database_filename")
            if not chosen:
                place = private_directory(req, "mod_python.sqlite_session.database_directory")
                with _private.entered(place):
                    chosen = os.path.join(place, "mp_sess.sqlite")
            self._file = chosen
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    def _run(self, statement: str, *values: Any) -> Any:
        # Its -journal and -wal get the database's mode from SQLite.
        connection = sqlite3.connect(_private.sqlite(self._file), timeout=30)
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
