"""What httpd's parent tells the keeper of its daemon: lines of JSON on the keeper's standard input."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Optional


@dataclasses.dataclass(frozen=True)
class Mount:
    """An application, and the part of the URI where it answers."""

    prefix: str
    """Without a slash at its end; empty for the whole server."""
    target: str
    """As PythonWSGI and PythonASGI take it."""
    kind: str
    """``wsgi`` or ``asgi``."""
    pattern: str = ""
    """Instead of the prefix, of PythonWSGIMatch."""
    options: tuple[tuple[str, str], ...] = ()
    """Of PythonOption, where the mount is."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A daemon as the operator's configuration describes it. Times are in seconds, sizes in bytes; 0 stands for no limit."""

    name: str
    user: str
    httpd: str
    module: str
    directory: str
    """The keeper's own (0700): made by httpd's parent, or empty."""
    mounts: tuple[Mount, ...] = ()
    handlers: bool = False
    python_path: str = ""
    """PythonPath, where the daemon's applications are."""
    log_level: str = "warn"
    admin: str = ""
    """ServerAdmin."""
    logs_objects: bool = False
    """``mod_python.log.json``."""
    timeout: int = 60
    body_limit: int = 0
    processes: int = 1
    threads: int = 15
    python_home: str = ""
    directories: tuple[str, ...] = ()
    """``python-path=``."""
    working_directory: str = "/"
    umask: int = -1
    """As httpd's own where it is below 0."""
    environment: tuple[tuple[str, str], ...] = ()
    request_timeout: float = 0
    memory_limit: int = 0
    max_requests: int = 0
    idle_timeout: float = 0
    on_demand: bool = False
    reload: tuple[str, ...] = ()
    display_name: str = ""


@dataclasses.dataclass(frozen=True)
class Order:
    """A line: the daemon as it is to be, and what is to become of the httpd that runs."""

    task: Optional[Task]
    """None where the daemon is to end."""
    restart: str
    """``no``, ``graceful`` or ``now``; of one that is to end also ``replaced``: gracefully, and another keeper takes its place."""
    parent: int
    """httpd's parent; 0 where it does not say."""


def read(line: bytes) -> Order:
    """Read a line. Raises ValueError for what is none of httpd's."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    restart, parent = str(found.get("restart", "no")), int(found.get("parent", 0))
    if "stop" in found:
        return Order(None, str(found["stop"]), parent)
    try:
        return Order(_task(found), restart, parent)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _task(found: dict[str, Any]) -> Task:
    options = found["options"]
    mounts = tuple(
        Mount(
            str(one.get("prefix", "")).rstrip("/"),
            str(one["target"]),
            "asgi" if one["kind"] == "asgi" else "wsgi",
            str(one.get("pattern", "")),
            tuple((str(key), str(value)) for key, value in dict(one.get("options") or {}).items()),
        )
        for one in found["mounts"]
    )
    environment = [str(pair).partition("=") for pair in _list(options.get("environment"))]
    return Task(
        name=str(found["name"]),
        user=str(found.get("user", "")),
        httpd=str(found["httpd"]),
        module=str(options.get("module") or found["module"]),
        directory=str(found.get("directory", "")),
        mounts=mounts,
        handlers=bool(found.get("handlers")),
        python_path=str(found.get("path") or ""),
        log_level=str(found.get("log_level") or "warn"),
        admin=str(found.get("admin") or ""),
        logs_objects=bool(found.get("json")),
        timeout=int(found.get("timeout") or 60),
        body_limit=int(found.get("body_limit") or 0),
        processes=int(options.get("processes", 1)),
        threads=int(options.get("threads", 15)),
        python_home=str(options.get("python-home", "")),
        directories=tuple(str(path) for path in _list(options.get("python-path"))),
        working_directory=str(options.get("working-directory") or "/"),
        umask=int(options.get("umask", -1)),
        environment=tuple((key, value) for key, equals, value in environment if equals),
        request_timeout=float(options.get("request-timeout", 0)),
        memory_limit=int(options.get("memory-limit", 0)),
        max_requests=int(options.get("max-requests", 0)),
        idle_timeout=float(options.get("idle-timeout", 0)),
        on_demand=options.get("start") == "on-demand",
        reload=tuple(str(path) for path in _list(options.get("reload"))),
        display_name=str(options.get("display-name", "")),
    )


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value] if value else []
