"""What all kinds of sessions share: identity, cookie, time limits, locking; see ``Session``."""

from __future__ import annotations

import functools
import math
import os
import random
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

import _apache

from mod_python import Cookie, _private, _serializer, apache

if TYPE_CHECKING:
    from _apache import mp_request

COOKIE_NAME = "pysid"
DFT_TIMEOUT = 1800
"""Seconds without a request after which a session is over."""
DFT_LOCK = True
CLEANUP_CHANCE = 1000
"""One session in so many removes the ones that are over."""
DFT_FAST_CLEANUP = True
DFT_VERIFY_CLEANUP = True
DFT_GRACE_PERIOD = 240
DFT_CLEANUP_TIME_LIMIT = 2
DFT_LOCK_TIMEOUT = 30.0
"""Seconds to wait for a session that another request has."""

Record = dict[str, Any]
SID = re.compile(r"[0-9a-f]{32}")


def true_or_false(item: Any) -> bool:
    """A PythonOption as a flag: yes, true, on, 1, or no, false, off, 0. Raises ValueError for anything else."""
    text = str(item).lower()
    if text in ("yes", "true", "on", "1"):
        return True
    if text in ("no", "false", "off", "0", "none"):
        return False
    raise ValueError(f"{item!r} is neither yes nor no")


def option(req: mp_request, *names: str, default: Optional[str] = None) -> Optional[str]:
    """The first PythonOption that is set: the current name, then what it was called before."""
    for value in _apache._options(req, names):
        if value is not None:
            return value
    return default


def root_of(req: mp_request) -> mp_request:
    """The request that the client sent, of sub-requests and redirects, as far as it can be reached."""
    try:
        while (outer := req.main or req.prev) is not None:
            req = outer
    except RuntimeError:
        # The others cannot be reached any more.
        pass
    return req


def _answered(req: mp_request) -> mp_request:
    """The request whose headers the client gets: a sub-request's go nowhere."""
    try:
        while (outer := req.main) is not None:
            req = outer
    except RuntimeError:
        pass
    return req


def _can_be_used(req: mp_request) -> bool:
    try:
        _ = req.main
    except RuntimeError:
        return False
    return True


class BaseSession(dict[Any, Any]):
    """What all sessions share. A subclass stores records: ``do_load() -> record or None``, ``do_save(record)``,
    ``do_delete()``, ``do_cleanup()``.

    With ``lock`` it waits while another request has the session, for as many seconds as ``PythonOption
    mod_python.session.lock_timeout`` says (30; 0: not at all; negative: for ever). The lock belongs to the request that the
    client sent: its sub-requests, redirects, phases and interpreters share it, and its end frees it. Made again with
    ``lock`` after it was made without, or unlocked, it is locked, and holds what has been saved by then.

    Raises ValueError for a session id that is not 32 hexadecimal digits in lower case, SERVER_RETURN (503) for a session
    that others had for too long.
    """

    __hash__ = object.__hash__  # type: ignore[assignment]
    _secret: Union[str, bytes, None] = None
    _locked = False
    _new = True
    _invalid = False
    _created = 0.0
    _accessed = 0.0
    _timeout: float = 0
    _requests: tuple[mp_request, mp_request]
    _settings: _Settings

    @classmethod
    def _given_sid(cls, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        return kw.get("sid") or (args[0] if args else None)

    def __new__(cls, req: mp_request, *args: Any, **kw: Any) -> Any:
        root = root_of(req)
        sessions = getattr(root, "_mp_sessions", None)
        known = sessions and sessions.get((cls, _settings(req).cookie_name))
        if known is not None and not known._invalid and cls._given_sid(args, kw) in (None, 0, "", known.id()):
            # The sub-request that it was made in may be over.
            known._requests = (req, root)
            return known
        new = dict.__new__(cls)
        new._requests = (req, root)
        return new

    def __init__(
        self,
        req: mp_request,
        sid: Any = None,
        secret: Union[str, bytes, None] = None,
        lock: Any = DFT_LOCK,
        timeout: int = 0,
    ) -> None:
        if hasattr(self, "_sid"):
            if lock and not self._locked:
                self._lock = True
                self._lock_again(timeout)
            return
        super().__init__()
        if self._requests[0] is not req:
            self._req = req
        if secret:
            self._secret = secret
        self._lock = bool(lock)
        self._sid = ""
        self._settings = settings = _settings(req)
        self.cookie_name, self._pickle = settings.cookie_name, settings.pickle
        self.init_lock()
        if sid and not _apache._is_sid(str(sid)):
            raise ValueError("a session id is 32 hexadecimal digits in lower case")
        noted = None if sid else self._noted()
        wanted = str(sid) if sid else noted or self._sid_from_cookie()
        is_stored = False
        if wanted and _apache._is_sid(wanted):
            self._sid = wanted
            self.lock()
            is_stored = self.load()
            self._new = not is_stored or wanted == noted
            if not is_stored and wanted != noted:
                # An id that stands for nothing is never taken over from a client.
                self.unlock()
        if not is_stored:
            self._begin(timeout, noted)
        self._accessed = time.time()
        root = self._requests[1]
        sessions = getattr(root, "_mp_sessions", None)
        if sessions is None:
            sessions = root._mp_sessions = {}
        sessions[type(self), self.cookie_name] = self
        if random.random() * CLEANUP_CHANCE < 1:
            self.cleanup()

    def _begin(self, timeout: int, noted: Optional[str] = None) -> None:
        """A session that nobody has stored: a new one, or one that this request has begun elsewhere (``noted``)."""
        super().clear()
        self._new = True
        self._created = time.time()
        self._timeout = timeout or DFT_TIMEOUT
        if not noted:
            self._sid = os.urandom(16).hex()
            self.lock()
            self._notes()[self._note()] = self._sid
            Cookie.add_cookie(_answered(self._req), self.make_cookie())

    def _lock_again(self, timeout: int) -> None:
        """Lock what this request has had without a lock. Others may have changed it since, or ended it."""
        self.lock()
        before = dict(self)
        super().clear()
        if self.load():
            self._accessed = time.time()
        elif self._new:
            self.update(before)
        else:
            self.unlock()
            self._begin(timeout)

    @property
    def _req(self) -> mp_request:
        """A request that can be used: the one that took the session up last, or the one that the client sent."""
        latest, root = self._requests
        return root if latest is not root and not _can_be_used(latest) and _can_be_used(root) else latest

    @_req.setter
    def _req(self, req: mp_request) -> None:
        self._requests = (req, root_of(req))

    def _notes(self) -> Any:
        """Where a new session's id is noted for the request's other interpreters, which have objects of their own."""
        latest, root = self._requests
        return root.notes if latest is root or _can_be_used(root) else latest.notes

    def _note(self) -> str:
        return f"mod_python.session.{type(self).__module__}.{type(self).__qualname__}.{self.cookie_name}"

    def _noted(self) -> Optional[str]:
        """The id that this request has begun a session with elsewhere."""
        found: Optional[str] = self._notes().get(self._note())
        return found

    def _sid_from_cookie(self) -> Optional[str]:
        if self._secret:
            arguments = {"secret": self._secret, "mismatch": Cookie.Cookie.IGNORE}
            found = Cookie.get_cookie(self._req, self.cookie_name, Cookie.SignedCookie, **arguments)
        else:
            sent = _apache._cookie_value(self._req, self.cookie_name)
            if not isinstance(sent, bool):
                return sent
            found = Cookie.get_cookie(self._req, self.cookie_name)
        return found.value if found else None

    def make_cookie(self) -> Cookie.Cookie:
        """The cookie for the session's id. Override it to change the attributes that options do not."""
        cookie: Cookie.Cookie
        if self._secret:
            cookie = Cookie.SignedCookie(self.cookie_name, self._sid, secret=self._secret)
        else:
            cookie = Cookie.Cookie(self.cookie_name, self._sid)
        req = self._req
        cookie.path = option(
            req, "mod_python.session.application_path", "ApplicationPath", default=None
        ) or _application_path(req)
        domain = option(req, "mod_python.session.application_domain")
        if domain:
            cookie.domain = domain
        cookie.httponly = true_or_false(option(req, "mod_python.session.cookie_httponly", default="yes"))
        same_site = option(req, "mod_python.session.cookie_samesite", default="Lax")
        if same_site and same_site.lower() != "off":
            cookie.samesite = same_site
        secure = option(req, "mod_python.session.cookie_secure", default="auto")
        cookie.secure = bool(req.is_https()) if secure == "auto" else true_or_false(secure)
        return cookie

    def is_new(self) -> bool:
        """Has it been made by this request?"""
        return self._new

    def id(self) -> str:
        """Its id."""
        return self._sid

    def created(self) -> float:
        """When it was made, in seconds since the epoch."""
        return self._created

    def last_accessed(self) -> float:
        """When this request took it up, in seconds since the epoch."""
        return self._accessed

    def timeout(self) -> float:
        """Seconds without a request after which it is over."""
        return self._timeout

    def set_timeout(self, secs: int) -> None:
        """Change that; it counts once saved."""
        self._timeout = secs

    def load(self) -> bool:
        """Read what was saved under the id; False when there is nothing, or it is over."""
        record = self.do_load()
        if record is None or time.time() - record["_accessed"] > record["_timeout"]:
            return False
        self._created, self._accessed, self._timeout = record["_created"], record["_accessed"], record["_timeout"]
        self.update(record["_data"])
        return True

    def save(self) -> None:
        """Keep the data. Nothing is kept without it. Raises TypeError for data that the serializer cannot carry."""
        if not self._invalid:
            self.do_save(
                {
                    "_data": dict(self),
                    "_created": self._created,
                    "_accessed": self._accessed,
                    "_timeout": self._timeout,
                }
            )

    def delete(self) -> None:
        """Forget the data."""
        self.do_delete()
        self.clear()

    def invalidate(self) -> None:
        """End the session: its data go, and so does the browser's cookie."""
        cookie = self.make_cookie()
        cookie.expires, cookie.max_age = 0, 0
        Cookie.add_cookie(_answered(self._req), cookie)
        if self._notes().get(self._note()) == self._sid:
            del self._notes()[self._note()]
        self.delete()
        self._invalid = True

    def cleanup(self) -> None:
        """Remove the sessions that are over."""
        self.do_cleanup()

    def init_lock(self) -> None:
        """For subclasses that lock in another way."""

    def lock(self) -> None:
        """Keep other requests of this session waiting until ``unlock`` or the end of the request. What they have saved
        meanwhile is there after ``load``. Raises SERVER_RETURN (503) where they keep it for too long."""
        if self._lock and not self._locked:
            self.do_lock()
            self._locked = True
            if type(self).do_lock is not BaseSession.do_lock:
                # Ours ends by itself.
                root_of(self._req).register_cleanup(BaseSession.unlock, self)

    def unlock(self) -> None:
        """Let others have it."""
        if self._locked:
            self._locked = False
            self.do_unlock()

    def do_lock(self) -> None:
        """Take the id's lock for the request that the client sent, which may have it already."""
        self._acquire(self._patience())

    def do_unlock(self) -> None:
        """Give it back; the last session of the request that needs it frees it."""
        _apache._session_unlock(self._req, self._sid)

    def _acquire(self, seconds: float) -> int:
        """The same for subclasses: how often the request has it now. Raises SERVER_RETURN (503)."""
        count = _apache._session_lock(self._req, self._sid, seconds)
        if not count:
            raise self._in_use(seconds)
        return count

    def _is_last(self) -> bool:
        """The same: is this the last of the request's sessions that need the lock? What lies elsewhere is freed before the lock of this
        httpd is, so that who comes next need not try it again and again."""
        count = _apache._session_lock(self._req, self._sid, 0)
        if count:
            _apache._session_unlock(self._req, self._sid)
        return count <= 2

    def _in_use(self, seconds: float) -> apache.SERVER_RETURN:
        text = (
            f"session {self._sid[:8]}...: another request has had it for {seconds:g} seconds, answered with 503; see "
            "PythonOption mod_python.session.lock_timeout"
        )
        self._req.log_error(text, apache.APLOG_WARNING)
        return apache.SERVER_RETURN(apache.HTTP_SERVICE_UNAVAILABLE)

    def _patience(self) -> float:
        """Seconds to wait for the lock; negative: for ever."""
        seconds = self._settings.patience
        if seconds is None:
            return DFT_LOCK_TIMEOUT
        if math.isnan(seconds):
            text = self._settings.lock_timeout
            raise ValueError(f"PythonOption mod_python.session.lock_timeout: {text!r} is not a number of seconds")
        return seconds

    def _pack(self, record: Record) -> bytes:
        return _serializer.dumps(record, self._pickle)

    def _unpack(self, data: bytes) -> Optional[Record]:
        """The record, or None and a line in the log for data that are none."""
        try:
            return _serializer.loads(data, self._pickle)
        except Exception as error:
            self._req.log_error(f"session {self._sid} cannot be read: {error}", apache.APLOG_WARNING)
            return None

    def do_load(self) -> Optional[Record]:
        """The record that was saved under the id."""
        raise NotImplementedError

    def do_save(self, dict: Record) -> None:
        """Keep a record under the id."""
        raise NotImplementedError

    def do_delete(self) -> None:
        """Remove the record."""
        raise NotImplementedError

    def do_cleanup(self) -> None:
        """Remove every record that is over."""


_OPTIONS = (
    "mod_python.session.cookie_name",
    "session_cookie_name",
    "mod_python.session.serializer",
    "mod_python.session.lock_timeout",
)


class _Settings(NamedTuple):
    """What the options say that every session needs."""

    cookie_name: str
    pickle: bool
    lock_timeout: Optional[str]
    patience: Optional[float]
    """The same as a number, if it is one; None where there is no such option."""


def _settings(req: mp_request) -> _Settings:
    """The same for a request. Raises ValueError for a serializer that there is not."""
    return _said(_apache._options(req, _OPTIONS))


@functools.lru_cache(maxsize=64)
def _said(values: tuple[Optional[str], ...]) -> _Settings:
    name, before, serializer, lock_timeout = values
    if serializer not in (None, "json", "pickle"):
        raise ValueError(f"PythonOption mod_python.session.serializer: {serializer!r} is neither json nor pickle")
    try:
        patience = None if lock_timeout is None else float(lock_timeout)
    except ValueError:
        patience = math.nan
    return _Settings(name or before or COOKIE_NAME, serializer == "pickle", lock_timeout, patience)


def _application_path(req: mp_request) -> str:
    """The URI of the place where the handler is configured, as far as that can be told; else /."""
    directory = (req.hlist.directory if req.hlist is not None else None) or ""
    root = req.document_root()
    if req.hlist is not None and req.hlist.is_location:
        path = directory
    elif directory.startswith(root.rstrip("/") + "/"):
        path = directory[len(root.rstrip("/")) :]
    else:
        path = ""
    return path if path and (req.uri or "").startswith(path) and re.fullmatch(r"[!-:<-~]+", path) else "/"


def private_directory(req: mp_request, own: str) -> str:
    """The path of the private directory of stored sessions; ``_private`` makes it."""
    names = (own, "mod_python.session.database_directory", "session_directory")
    return private_place(option(req, *names))


def private_place(chosen: Optional[str]) -> str:
    """The same for a directory that has been chosen, or none."""
    return os.path.join(chosen, "mp_sess") if chosen else _private.default("mp_sess")
