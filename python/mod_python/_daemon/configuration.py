"""The daemon's httpd.conf, made of what ``mod_python start`` makes its own of."""

from __future__ import annotations

import os
from typing import Any

from mod_python._daemon.task import Mount, Task
from mod_python._own import configuration
from mod_python._own.configuration import line
from mod_python._own.programs import Httpd
from mod_python.httpdconf import Comment, Container

SOCKET = 3
"""The descriptor of the socket that the operator's httpd has made."""
_KEPT = 1000
"""Connections for each free worker: those that the operator's httpd keeps, and does not use at present, hold none."""
_LARGEST_HEADER = 1 << 17
"""What that httpd knows of a request comes in one field; it has limited the client's own already."""


def patience_at_the_end(task: Task) -> int:
    """For how many seconds requests may go on in an httpd that is to end."""
    return max(30, task.timeout, int(task.request_timeout))


def text_of(task: Task, httpd: Httpd, place: str, ready: int, board: int) -> str:
    """The whole configuration of a generation that has its files in ``place``; ``ready`` and ``board`` are descriptors that it is
    started with. Raises Problem."""
    parts = Container(
        Comment(f"Written by the keeper of PythonDaemon {task.name}, for each start anew."),
        configuration.modules(httpd, ["unixd", "authz_core"], is_private=True),
        configuration.place(place, os.path.join(place, "run"), os.path.join(place, "run/httpd.pid")),
        line("ServerName", f"{task.name}.mod-python.internal"),
        *configuration.sizes(httpd.mpm, task.processes, task.threads, task.processes, 3),
        *configuration.many_connections(httpd, _KEPT),
        *_limits(task),
        # Its standard error, which the keeper reads.
        line("ErrorLog", "/dev/stderr"),
        line("LogLevel", task.log_level),
        *([line("ServerAdmin", task.admin)] if task.admin else []),
        line("ServerTokens", "Prod"),
        line("TraceEnable", "Off"),
        # The operator's httpd has read them, and says with each request what they have said.
        configuration.section(
            "Directory",
            "/",
            line("Options", "FollowSymLinks"),
            line("AllowOverride", "None"),
            line("AllowOverrideList", "None"),
        ),
        Comment("mod_python"),
        *configuration.module_lines(task.module, _is_from_wheel(task.module), task.python_home),
        line("PythonDaemonSocket", SOCKET, f"ready={ready}"),
        line("PythonOption", "daemon.keeper", os.getpid()),
        *([line("PythonOption", "daemon.board", board)] if board >= 0 else []),
        # One of several ends by itself; a single one is replaced with its httpd, so that somebody always serves.
        *(
            [line("PythonOption", "daemon.memory", task.memory_limit)]
            if task.memory_limit and task.processes > 1
            else []
        ),
        *([line("PythonOption", "mod_python.log.json", "on")] if task.logs_objects else []),
        *_content(task),
    )
    return configuration.finished(parts)


def _limits(task: Task) -> list[Any]:
    return [
        # A UNIX socket has none.
        line("AcceptFilter", "http", "none"),
        line("Timeout", task.timeout),
        line("GracefulShutdownTimeout", patience_at_the_end(task)),
        # Event does not time those of the operator's httpd by it: they are closed when they have not been used for Timeout.
        line("KeepAliveTimeout", task.timeout),
        line("MaxKeepAliveRequests", 0),
        line("LimitRequestBody", task.body_limit),
        line("LimitRequestLine", _LARGEST_HEADER),
        line("LimitRequestFieldSize", _LARGEST_HEADER),
        line("LimitRequestFields", 0),
        line("AllowEncodedSlashes", "NoDecode"),
    ]


def _is_from_wheel(module: str) -> bool:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.realpath(module) == os.path.realpath(os.path.join(package, "mod_python.so"))


def _content(task: Task) -> list[Any]:
    found: list[Any] = []
    directories = [*task.directories, *([task.working_directory] if task.working_directory != "/" else [])]
    if directories:
        found.append(line("PythonPath", f"{directories!r}+sys.path"))
    elif task.python_path:
        found.append(line("PythonPath", task.python_path))
    # The keeper has an application read anew as a whole.
    found.append(line("PythonAutoReload", "Off"))
    if task.request_timeout:
        # Every digit, and none as 1e-05.
        found.append(line("PythonTimeout", f"{task.request_timeout:.9f}".rstrip("0").rstrip(".")))
    imported = [mount for mount in task.mounts if "$" not in mount.target]
    if imported:
        what = [f"{mount.kind} {_imported(mount.target)}" for mount in imported]
        found += configuration.preloaded(what, task.working_directory)
    # For what is done at the start; with each request the operator's httpd says which ones it has.
    if task.mounts:
        shared = [pair for pair in task.mounts[0].options if all(pair in mount.options for mount in task.mounts)]
        found += [line("PythonOption", key, *([value] if value else [])) for key, value in shared]
    return [*found, *map(_mounted, task.mounts)]


def _imported(target: str) -> str:
    """A target as ``_own.preload`` takes it."""
    place, colons, name = target.rpartition("::")
    if not colons:
        place, _, name = target.rpartition(":")
    return f"{place or name}::{name if place else ''}"


def _mounted(mount: Mount) -> Any:
    if mount.pattern:
        return line("PythonWSGIMatch", mount.pattern, mount.target)
    return line("PythonWSGI" if mount.kind == "wsgi" else "PythonASGI", mount.prefix or "/", mount.target)
