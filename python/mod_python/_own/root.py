"""The server root: a directory that nobody else can have prepared, and what is written there."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shlex
import shutil
import stat
import sys
import tempfile
from typing import Any, Optional

from mod_python import _users
from mod_python._own import itself
from mod_python._own.options import Options
from mod_python._own.problems import Problem

CONFIG = "httpd.conf"
PID_FILE = "run/httpd.pid"
_STATE = "server.json"
_LOCK = "run/lock"
_INNER = (("htdocs", 0o755), ("logs", 0o700), ("run", 0), ("run/imported", 0o700))
"""The directories in a server root, and their modes; 0: as its own."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def base() -> str:
    """Where server roots lie that nobody has named: a directory of this user's own."""
    user = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if user == 0:
        # root's children are another user's, who has to pass it.
        return "/run/mod_python" if os.access("/run", os.W_OK) else os.path.join(tempfile.gettempdir(), "mod_python-0")
    if os.path.isabs(runtime) and os.access(runtime, os.W_OK) and os.stat(runtime).st_uid == user:
        return os.path.join(runtime, "mod_python")
    return os.path.join(tempfile.gettempdir(), f"mod_python-{user}")


def canonical(path: str) -> str:
    """The one name of a server root, by whatever links it is reached. One that is itself a link of another user's stays what it is."""
    path = os.path.abspath(path)
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode) and os.lstat(path).st_uid not in (0, os.geteuid()):
            return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    except OSError:
        pass
    return os.path.realpath(path)


class Lock:
    """Of one command that starts a server in a server root, or writes it. Whoever comes meanwhile is told so.

    Raises Problem where another one has it. It ends with the process, too; httpd does not inherit it.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = -1
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(os.path.join(path, _LOCK), flags, 0o600)
        except OSError as error:
            raise Problem(f"{os.path.join(path, _LOCK)} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise Problem(
                f"another mod_python is starting a server in {path} at this moment",
                f"`mod_python status {shlex.quote(path)}` says what has become of it.",
            ) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def default(options: Options) -> str:
    """The server root of an address and port."""
    host = options.host.replace(":", "-").replace("*", "all").replace("%", "-")
    return os.path.join(base(), f"{host}-{options.port}")


def make(path: str, is_named: bool, user: Optional[tuple[int, int]]) -> None:
    """Make the directories of a server root. ``user`` is whom children run as, where that is not this one. Raises Problem."""
    mode = 0o711 if user else 0o700
    try:
        if not is_named:
            _own(os.path.dirname(path), mode)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _refuse_other(path)
        _own(path, mode)
        for name, inner in _INNER:
            _own(os.path.join(path, name), inner or mode, user if name == "run/imported" else None)
    except OSError as error:
        raise Problem(
            f"the server root {path} cannot be made: {error.strerror}: {error.filename or path}",
            "Name another place: --server-root DIRECTORY.",
        ) from None
    foreign = _unsheltered(path)
    if foreign:
        raise Problem(
            f"the server root {path} is not safe there: others may rename or replace what lies in {foreign}",
            "Name a place that only you can write to: --server-root DIRECTORY.",
        )


def _refuse_other(path: str) -> None:
    """Whether a directory that is there may become a server root: nobody's files are overwritten. Raises Problem, OSError."""
    # Directories alone are what another start is making, or has left.
    others = os.path.isdir(path) and not os.path.islink(path) and set(os.listdir(path)) - {name for name, _ in _INNER}
    if others and not any(os.path.isfile(os.path.join(path, name)) for name in (_STATE, _LOCK)):
        raise Problem(
            f"{path} has other files in it, and is no server root of mod_python",
            "Name a directory that is empty, or not there yet: --server-root DIRECTORY.",
        )


def _own(path: str, mode: int, user: Optional[tuple[int, int]] = None) -> None:
    """Make a directory, or see that the one that is there is this user's, no link, and closed to others' writing.

    ``user`` is whose it shall be instead; what another one has left there goes.
    """
    if user and os.path.lexists(path) and os.lstat(path).st_uid != user[0]:
        shutil.rmtree(path) if not os.path.islink(path) else os.unlink(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        if user:
            os.chown(path, *user)
    # What has been opened is what is looked at.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:
        raise _foreign(path) from None
    except OSError as error:
        if os.path.islink(path):
            raise _foreign(path) from None
        raise error
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in (os.geteuid(), *(user or ())[:1]) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _foreign(path)
        if user and found.st_uid != user[0]:
            os.fchown(descriptor, *user)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _foreign(path: str) -> Problem:
    return Problem(
        f"{path} is not a directory of this user's alone: it is a link or a file, belongs to somebody else, or others may write to it",
        "Remove it if you do not know whose it is, or name another place: --server-root DIRECTORY.",
    )


def _unsheltered(path: str) -> Optional[str]:
    """The directory above a path in which others than root and this user may change names; None where there is none."""
    above = os.path.dirname(os.path.realpath(path))
    while True:
        found = os.stat(above)
        is_sticky = bool(found.st_mode & stat.S_ISVTX)
        by_group = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid())
        if found.st_uid not in (0, os.geteuid()) or ((by_group or found.st_mode & stat.S_IWOTH) and not is_sticky):
            return above
        if above == os.path.dirname(above):
            return None
        above = os.path.dirname(above)


def write(path: str, text: str, mode: int) -> None:
    """Write a file whole, or not at all. Raises Problem."""
    new = f"{path}.{os.getpid()}.new"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        with open(os.open(new, _NEW, mode), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise Problem(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None


@dataclasses.dataclass(frozen=True)
class State:
    """What a server root says of the server in it."""

    root: str
    program: str
    url: str
    options: Options
    log: str
    """The error log's file; empty for none."""

    @property
    def config(self) -> str:
        """httpd's configuration."""
        return os.path.join(self.root, CONFIG)

    def command(self, verb: str) -> str:
        """What to type to have a verb done to this server."""
        if self.options.server_root:
            return f"mod_python {verb} {shlex.quote(self.root)}"
        host = "" if self.options.host == Options.host else f" --host {shlex.quote(self.options.host)}"
        return f"mod_python {verb}{host} --port {self.options.port}"


def keep(state: State) -> None:
    """Write what ``find`` reads."""
    write(os.path.join(state.root, _STATE), json.dumps(dataclasses.asdict(state), indent=1), 0o600)


def find(path: str) -> State:
    """What is known of a server root. Raises Problem where it is none."""
    path = canonical(path)
    file = os.path.join(path, _STATE)
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as text:
            found: dict[str, Any] = json.load(text)
            known = os.fstat(text.fileno())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Problem(f"{path} is no server root of mod_python: {_STATE}: {reason}") from None
    if known.st_uid not in (os.geteuid(), 0):
        raise _foreign(path)
    try:
        values = found.pop("options")
        for name in ("static", "mounts"):
            values[name] = tuple(tuple(item) for item in values[name])
        values["options"] = tuple(values["options"])
        # Of another version, it may have others.
        known_options = {
            field.name: values[field.name] for field in dataclasses.fields(Options) if field.name in values
        }
        texts = {name: str(found.get(name, "")) for name in ("program", "url", "log")}
        return State(root=path, options=Options(**known_options), **texts)
    except (AttributeError, KeyError, TypeError) as error:
        raise Problem(f"{path} is no server root of mod_python: {_STATE}: {type(error).__name__}: {error}") from None


def roots() -> list[str]:
    """The server roots that nobody has named."""
    place = base()
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return []
    return [os.path.join(place, name) for name in names if os.path.isfile(os.path.join(place, name, _STATE))]


def apachectl(state: State) -> str:
    """A program that does for this server what apachectl does for the system's."""
    loads = f"{itself.LOAD}from mod_python.__main__ import main\nsys.exit(main())"
    quoted = {name: shlex.quote(value) for name, value in {
        "root": state.root, "program": state.program, "config": state.config, "python": sys.executable, "package": itself.PLACE,
        "loads": loads,
    }.items()}  # fmt: skip
    return """#!/bin/sh
# Written by mod_python: apachectl for the server in {root}.
# usage: apachectl start|stop|restart|reload|status|configtest, or options of httpd
set -a
. {root}/envvars
set +a
# After a crash, the number in httpd's file may be another process's by now, for which httpd would not start.
forget() {{
    [ -d /proc/self ] || return 0
    pid=$(cat {root}/run/httpd.pid 2>/dev/null) || return 0
    tr '\\0' '\\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- {config} || rm -f {root}/run/httpd.pid
}}
case ${{1:-}} in
start)
    shift
    forget
    exec {program} -d {root} -f {config} -k start "$@"
    ;;
stop | restart | reload | status)
    verb=$1
    exec {python} -I -c {loads} {package} "$verb" {root}
    ;;
graceful) exec "$0" restart ;;
graceful-stop) exec "$0" stop ;;
configtest) exec {program} -d {root} -f {config} -t ;;
-D*)
    forget
    exec {program} -d {root} -f {config} "$@"
    ;;
-*) exec {program} -d {root} -f {config} "$@" ;;
*)
    sed -n 's/^# usage: //p' "$0" >&2
    exit 2
    ;;
esac
""".format(**quoted)


def envvars(environment: dict[str, str]) -> str:
    """The variables of --env-file, for the shell."""
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in environment.items())


def unit(state: State) -> str:
    """A unit of systemd (systemd.service(5)) for the server."""
    program = _unit_argument(os.path.join(state.root, "apachectl"))
    after = "\n".join(f"RequiresMountsFor={_unit_path(path)}" for path in (state.root, state.options.directory))
    what = f"{state.url} ({state.options.target or state.options.directory})".replace("%", "%%")
    owner = (
        ""
        if os.geteuid() == 0
        else f"# Whose the server root is; `systemctl --user` needs no such line.\nUser={_users.name_of(os.geteuid())}\n"
    )
    return f"""# Written by `mod_python setup --systemd`.
[Unit]
Description=mod_python: {what}
After=network-online.target
Wants=network-online.target
{after}

[Service]
Type=exec
# A program's own path may have no $$ in it, an argument may.
{owner}ExecStart=/bin/sh {program} -DFOREGROUND
ExecReload=/bin/sh {program} graceful
# httpd ends what it is at (SIGWINCH); what is left after that is killed.
KillMode=mixed
KillSignal=SIGWINCH
TimeoutStopSec=40
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def _unit_path(path: str) -> str:
    """A path in a list of paths: in quotes, in which no other one stands, and backslashes are themselves."""
    pieces = re.split('(")', path.replace("%", "%%"))
    return "".join("'\"'" if piece == '"' else f'"{piece}"' for piece in pieces if piece)


def _unit_argument(text: str) -> str:
    """An argument of a command (systemd.service(5), COMMAND LINES)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
