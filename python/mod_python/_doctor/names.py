"""Names of directives and options, and which one is meant by one that does not exist.

The options' table is the one of src/config/options.rs and the gateways, and that of a daemon's keys the one of src/config/daemons.rs, for
who is outside httpd; a test compares them.
"""

from __future__ import annotations

from typing import Optional

from mod_python import httpdconf

DIRECTIVES = tuple(name for name in httpdconf.__all__ if name.startswith("Python"))
"""Every directive of ours."""

_GATEWAYS = ("application", "base_uri", "chunked_buffer", "trusted_headers", "trusted_proxies")
OPTIONS = (
    *(f"mod_python.wsgi.{name}" for name in _GATEWAYS),
    *(f"mod_python.asgi.{name}" for name in _GATEWAYS if name != "chunked_buffer"),
    "mod_python.asgi.detach_after",
    "mod_python.asgi.lifespan",
    "mod_python.asgi.loop",
    "mod_python.asgi.shutdown_timeout",
    "mod_python.asgi.ws_max_queue",
    "mod_python.asgi.ws_max_size",
    "mod_python.asgi.ws_per_message_deflate",
    "mod_python.asgi.ws_ping_interval",
    "mod_python.asgi.ws_ping_timeout",
    "mod_python.cookie.encoding",
    "mod_python.daemon",
    "mod_python.dbm_session.database_directory",
    "mod_python.dbm_session.database_filename",
    "mod_python.file_session.cleanup_grace_period",
    "mod_python.file_session.cleanup_time_limit",
    "mod_python.file_session.database_directory",
    "mod_python.file_session.enable_fast_cleanup",
    "mod_python.file_session.verify_session_timeout",
    "mod_python.flush",
    "mod_python.form.charset",
    "mod_python.form.max_fields",
    "mod_python.form.max_header_bytes",
    "mod_python.form.max_memory_bytes",
    "mod_python.form.max_total_bytes",
    "mod_python.log.json",
    "mod_python.mutex_directory",
    "mod_python.mutex_locks",
    "mod_python.postgres_session.connections",
    "mod_python.postgres_session.table",
    "mod_python.postgres_session.url",
    "mod_python.psp.cache_database_filename",
    "mod_python.publisher.imported",
    "mod_python.redis_session.lock_lease",
    "mod_python.redis_session.url",
    "mod_python.session.application_domain",
    "mod_python.session.application_path",
    "mod_python.session.cookie_httponly",
    "mod_python.session.cookie_name",
    "mod_python.session.cookie_samesite",
    "mod_python.session.cookie_secure",
    "mod_python.session.database_directory",
    "mod_python.session.lock_timeout",
    "mod_python.session.serializer",
    "mod_python.session.session_type",
    "mod_python.sqlite_session.database_directory",
    "mod_python.sqlite_session.database_filename",
    "mod_python.status.queries",
)
"""Every PythonOption of ours."""
DAEMON_KEYS = (
    *(
        "user",
        "group",
        "processes",
        "threads",
        "python-home",
        "python-path",
        "working-directory",
        "umask",
        "environment",
    ),
    *(
        "pass-environment",
        "module",
        "request-timeout",
        "memory-limit",
        "max-requests",
        "idle-timeout",
        "start",
        "reload",
    ),
    *("display-name", "log"),
)
"""Every key of PythonDaemon."""
_ELSEWHERE = {"mod_python.asgi.root_path": "mod_python.asgi.base_uri"}
_LONGEST = 200


def option(name: str) -> Optional[str]:
    """What is to be said of a PythonOption that bears a name of ours and that nobody reads; None of any other."""
    lower = name.lower()
    if not lower.startswith("mod_python.") or lower in OPTIONS:
        return None
    meant = _ELSEWHERE.get(lower) or nearest(lower, OPTIONS, 2 + (len(lower) - len("mod_python.")) // 3)
    return f"did you mean {meant}?" if meant else "names that begin with mod_python. are this module's own"


def daemon_key(name: str) -> Optional[str]:
    """What is to be said of a key of PythonDaemon that there is not; None of one that there is."""
    if name in DAEMON_KEYS:
        return None
    meant = nearest(name, DAEMON_KEYS, 2 + len(name) // 3)
    return f"{name}= is not known" + (f": did you mean {meant}=?" if meant else "")


def nearest(word: str, known: tuple[str, ...], most: int) -> Optional[str]:
    """The known name that is fewest letters away, if it is not more than `most`."""
    if len(word) > _LONGEST or not known:
        return None
    found = min((distance(word.lower(), name.lower()), name) for name in known)
    return found[1] if found[0] <= most else None


def distance(one: str, other: str) -> int:
    """How many letters have to be added, removed or changed to make one text of another."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one):
        corner, row[0] = row[0], place + 1
        for column, known in enumerate(other, 1):
            corner, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, corner + (letter != known))
    return row[-1]
