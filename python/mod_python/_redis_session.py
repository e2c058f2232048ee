"""Sessions in Redis; see ``Session``."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from mod_python import apache
from mod_python._session import BaseSession, Record, option

if TYPE_CHECKING:
    from _apache import mp_request

_SAVE_WITH_LOCK = """
if redis.call("get", KEYS[1]) ~= ARGV[1] then return 0 end
redis.call("set", KEYS[2], ARGV[2], "EX", ARGV[3])
return 1
"""
_SAVE_UNCHANGED = """
if (redis.call("get", KEYS[2]) or "") ~= ARGV[4] then return 0 end
if not redis.call("set", KEYS[1], ARGV[1], "NX", "PX", ARGV[5]) then return 0 end
redis.call("set", KEYS[2], ARGV[2], "EX", ARGV[3])
return 1
"""
"""Takes the lock again, too."""


class RedisSession(BaseSession):
    """Sessions in a Redis server, for several machines: ``PythonOption mod_python.redis_session.url redis://host:6379/0``.

    Needs the package ``redis``. The lock lies in Redis, too, and is given up after 20 seconds, or as many as ``PythonOption
    mod_python.redis_session.lock_lease`` says: a machine that dies does not keep it for longer. A request that takes longer still saves
    what it has, unless another one has the session by then, or has changed it: TimeoutError. Raises redis.exceptions.RedisError where
    Redis does not do what it is asked.
    """

    _clients: ClassVar[dict[str, Any]] = {}
    _TIME_LIMIT: ClassVar[float] = 10

    def __init__(self, req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> None:
        if not hasattr(self, "_sid"):
            url = option(req, "mod_python.redis_session.url") or "redis://127.0.0.1:6379/0"
            # Both are one step: no thread gets another client than the others.
            self._client = self._clients.get(url) or self._clients.setdefault(url, self._connected(url))
            self._lease = _seconds_of_lease(req)
            self._seen = b""
        super().__init__(req, sid=sid, secret=secret, timeout=timeout, lock=lock)

    @classmethod
    def _connected(cls, url: str) -> Any:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise ImportError("RedisSession needs the package redis: pip install redis") from error
        # Once more where an idle connection was cut; by itself it would try a server that does not answer ten times.
        once_more = Retry(NoBackoff(), 1, (redis.ConnectionError,))
        limits = {"socket_timeout": cls._TIME_LIMIT, "socket_connect_timeout": 5}
        return redis.Redis.from_url(url, **limits, retry=once_more)

    def _name(self, what: str = "session") -> str:
        return f"mod_python:{what}:{self._sid}"

    def _lock_in_redis(self) -> Any:
        # Not bound to a thread: the request's end, which unlocks, may come in another one.
        return self._client.lock(self._name("lock"), timeout=self._lease, sleep=0.01, thread_local=False)

    def do_lock(self) -> None:
        """Of one request's sessions with this id, the first takes the lock in Redis, and the last gives it back."""
        begun, limit = time.monotonic(), self._patience()
        if self._acquire(limit) > 1:
            return
        had, token = False, secrets.token_hex(16)
        left = None if limit < 0 else max(limit - (time.monotonic() - begun), 0)
        try:
            had = self._lock_in_redis().acquire(blocking=left != 0, blocking_timeout=left, token=token)
        finally:
            if not had:
                super().do_unlock()
        if not had:
            raise self._in_use(limit)
        self._notes()[self._name("lock")] = token

    def do_unlock(self) -> None:
        try:
            token = self._notes().get(self._name("lock"))
            if token is not None and self._is_last():
                del self._notes()[self._name("lock")]
                self._free(token)
        finally:
            super().do_unlock()

    def _free(self, token: str) -> None:
        lock = self._lock_in_redis()
        lock.local.token = token.encode()
        try:
            lock.release()
        except Exception as error:
            self._req.log_error(f"session {self._sid[:8]}... was locked too long: {error}", apache.APLOG_WARNING)

    def do_load(self) -> Optional[Record]:
        data = self._client.get(self._name())
        self._seen = data or b""
        return None if data is None else self._unpack(data)

    def do_save(self, dict: Record) -> None:
        # Redis forgets it by itself.
        data, seconds = self._pack(dict), max(int(dict["_timeout"]) + 1, 1)
        token = self._notes().get(self._name("lock"))
        if token is None:
            self._client.set(self._name(), data, ex=seconds)
        else:
            names = self._name("lock"), self._name()
            if not self._client.eval(_SAVE_WITH_LOCK, 2, *names, token, data, seconds) and not self._client.eval(
                _SAVE_UNCHANGED, 2, *names, token, data, seconds, self._seen, int(self._lease * 1000)
            ):
                raise TimeoutError(
                    f"session {self._sid[:8]}...: its lock was given up after {self._lease:g} seconds, and another request has it or has "
                    "changed it; nothing has been saved; see PythonOption mod_python.redis_session.lock_lease"
                )
        self._seen = data

    def do_delete(self) -> None:
        self._client.delete(self._name())
        self._seen = b""


def _seconds_of_lease(req: mp_request) -> float:
    name = "mod_python.redis_session.lock_lease"
    text = option(req, name)
    try:
        seconds = 20.0 if text is None else float(text)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 86400:
        raise ValueError(f"PythonOption {name}: {text!r} is not a number of seconds from 0.1 to 86400")
    return seconds
