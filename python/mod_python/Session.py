"""Sessions: data that belong to a browser, found by a cookie.

::

    session = Session.Session(req)
    session["visits"] = session.get("visits", 0) + 1
    session.save()

A session is locked from its making to the end of the request, across all processes; making it a second time in one
request gives the same one. Data are JSON (and tuples, sets, bytes, dates); pickle only where PythonOption
mod_python.session.serializer says so, since whoever can write where sessions are kept could then run code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mod_python import apache
from mod_python._postgres_session import PostgresSession as PostgresSession
from mod_python._redis_session import RedisSession as RedisSession
from mod_python._session import (
    CLEANUP_CHANCE as CLEANUP_CHANCE,
)
from mod_python._session import COOKIE_NAME as COOKIE_NAME
from mod_python._session import DFT_CLEANUP_TIME_LIMIT as DFT_CLEANUP_TIME_LIMIT
from mod_python._session import DFT_FAST_CLEANUP as DFT_FAST_CLEANUP
from mod_python._session import DFT_GRACE_PERIOD as DFT_GRACE_PERIOD
from mod_python._session import DFT_LOCK as DFT_LOCK
from mod_python._session import DFT_TIMEOUT as DFT_TIMEOUT
from mod_python._session import DFT_VERIFY_CLEANUP as DFT_VERIFY_CLEANUP
from mod_python._session import BaseSession as BaseSession
from mod_python._session import option
from mod_python._session import true_or_false as true_or_false
from mod_python._stores import DbmSession as DbmSession
from mod_python._stores import FileSession as FileSession
from mod_python._stores import MemorySession as MemorySession
from mod_python._stores import SqliteSession as SqliteSession

if TYPE_CHECKING:
    from _apache import mp_request

_TYPES: dict[str, type[BaseSession]] = {
    kind.__name__: kind
    for kind in (FileSession, DbmSession, MemorySession, SqliteSession, RedisSession, PostgresSession)
}


def Session(req: mp_request, sid: Any = 0, secret: Any = None, timeout: int = 0, lock: Any = 1) -> BaseSession:
    """A session of the kind that PythonOption mod_python.session.session_type names.

    Without the option: MemorySession where httpd has one process with threads, else DbmSession. Raises ValueError for an
    unknown kind.
    """
    name = option(req, "mod_python.session.session_type", "session")
    if name is None:
        threaded = apache.mpm_query(apache.AP_MPMQ_IS_THREADED)
        forked = apache.mpm_query(apache.AP_MPMQ_IS_FORKED)
        single = not forked or apache.mpm_query(apache.AP_MPMQ_MAX_DAEMONS) == 1
        name = "MemorySession" if threaded and single else "DbmSession"
    if name not in _TYPES:
        known = ", ".join(_TYPES)
        raise ValueError(f"PythonOption mod_python.session.session_type: {name!r} is none of {known}")
    kind: Any = _TYPES[name]
    session: BaseSession = kind(req, sid=sid, secret=secret, timeout=timeout, lock=lock)
    return session
