"""Preparing a server: from options to a server root, with all that can be said before httpd starts."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import shlex
from typing import Optional

from mod_python import _users
from mod_python._own import configuration, options, probe, problems, process, programs, root, targets
from mod_python._own.problems import Problem


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A server that can be started."""

    state: root.State
    site: configuration.Site
    environment: dict[str, str]
    """Of httpd: this process's, and what says whose it is, and --env-file's."""
    identity: Optional[tuple[int, int, list[int]]]
    """User, group and further groups of the children, where root starts it."""
    lock: root.Lock
    """The server root's: to be released once the server runs, or does not."""


def prepare(wanted: options.Options, is_setup: bool = False) -> Prepared:
    """Check everything, and write the server root. Raises Problem."""
    children = _children(wanted)
    found = programs.find(wanted.httpd or None)
    module, from_wheel = programs.python_module()
    if not is_setup:
        is_found = not wanted.port
        wanted = dataclasses.replace(wanted, port=problems.check_port(wanted.host, wanted.port), is_port_found=is_found)
        if is_found:
            process.forget_left()
    wanted = dataclasses.replace(wanted, working=_working(wanted, children))
    own = {**_of_user(children), **(options.environment_of(wanted.env_file) if wanted.env_file else {})}
    identity = _identity(children)
    environment = _environment(wanted, own)
    served, pages = _served(wanted)
    if children:
        needed = _needed(served, pages, module, from_wheel, wanted)
        _check_reach(children[0], [*needed, *(directory for _, directory in wanted.static)])
    if pages and not pages.is_ours():
        probe.probed([pages.probed()], wanted, environment, identity)
    unknown = [target for target in served if not target.kind or (target.kind != "handler" and not target.name)]
    if unknown:
        told = iter(probe.probed(unknown, wanted, environment, identity))
        served = [next(told) if target in unknown else target for target in served]
    path = root.canonical(wanted.server_root or root.default(wanted))
    mime = configuration.mime_types(os.path.join(path, "mime.types"))
    site = configuration.Site(path, module, from_wheel, wanted.venv, tuple(served), pages, children, mime)
    text = configuration.text_of(wanted, found, site)
    root.make(path, bool(wanted.server_root), identity[:2] if identity else None)
    lock = root.Lock(path)
    log = "" if wanted.log_to_terminal else wanted.error_log or os.path.join(path, "logs/error_log")
    url = f"{wanted.scheme}://{wanted.netloc}/"
    state = root.State(path, found.program, url, wanted, log)
    try:
        if not is_setup:
            # Somebody may have been faster since that was looked at first.
            refuse_running(path, has_lock=True)
        _write(state, text, site, own)
    except BaseException:
        lock.release()
        raise
    return Prepared(state, site, environment, identity, lock)


def refuse_running(path: str, has_lock: bool = False) -> None:
    """Raises Problem where a server runs in a server root. What a killed one has left there is ended: it would hold the port."""
    try:
        state = root.find(path)
    except Problem:
        return
    pid = process.running(state)
    if pid:
        raise Problem(
            f"it runs already (process {pid}), and serves {state.url}",
            f"`{state.command('reload')}` has it read its application anew, `{state.command('stop')}` stops it.",
        )
    process.end_left(state, has_lock)


def _working(wanted: options.Options, children: Optional[tuple[str, str]]) -> str:
    """Where the application runs: its directory, unless root serves from one that its user cannot enter."""
    return "/" if children and _users.closed_to(children[0], wanted.directory) else wanted.directory


def _write(state: root.State, text: str, site: configuration.Site, own: dict[str, str]) -> None:
    # Options of an application may be secrets.
    root.write(state.config, text, 0o600)
    root.write(os.path.join(state.root, "envvars"), root.envvars(own), 0o600)
    root.write(os.path.join(state.root, "apachectl"), root.apachectl(state), 0o755)
    if site.mime_types.startswith(state.root + os.sep):
        root.write(site.mime_types, _mime_types(), 0o600)
    root.keep(state)


def check_imports(wanted: options.Options) -> None:
    """Whether what a server serves can be imported as it is now, by its user. Raises Problem."""
    children = _children(wanted)
    own = {**_of_user(children), **(options.environment_of(wanted.env_file) if wanted.env_file else {})}
    served, _ = _served(wanted)
    if served:
        wanted = dataclasses.replace(wanted, working=_working(wanted, children))
        probe.probed(served, wanted, _environment(wanted, own), _identity(children))


def _served(wanted: options.Options) -> tuple[list[targets.Target], Optional[targets.Pages]]:
    found: list[targets.Target] = []
    pages = None
    place = os.path.join(wanted.directory, wanted.target)
    if wanted.handler and (not wanted.target or not os.path.isdir(place)):
        if wanted.target:
            raise Problem(
                f"--handler {wanted.handler} needs a directory, and {wanted.target} is none",
                f"Without one: mod_python start --handler {wanted.handler}",
            )
        found = [_handler(wanted)]
    elif not wanted.target:
        pass
    elif os.path.isdir(place) and (wanted.handler or not targets.is_module(wanted.target, wanted.directory)):
        found, pages = targets.of_directory(place, wanted.handler)
    else:
        found = [targets.parse(wanted.target, wanted.directory, "", wanted.kind)]
    found += [targets.parse(text, wanted.directory, prefix) for prefix, text in wanted.mounts]
    prefixes = [
        *([""] if pages else []),
        *(target.prefix for target in found),
        *(prefix for prefix, _ in wanted.static),
    ]
    twice = next((prefix for prefix in prefixes if prefixes.count(prefix) > 1), None)
    if twice is not None:
        raise Problem(f"two things are to be at {twice or '/'}", "Give each its own part of the URI: --mount /other=…")
    for prefix, _ in wanted.static:
        hidden = next((target.prefix for target in found if target.prefix.startswith(f"{prefix}/")), None)
        if hidden:
            raise Problem(
                f"--mount {hidden} lies below --static {prefix}, whose files come first",
                "Give one of them another part of the URI.",
            )
    return found, pages


def _handler(wanted: options.Options) -> targets.Target:
    module, _, name = wanted.handler.partition("::")
    if module.startswith("mod_python."):
        return targets.Target("", "handler", module, name, False, wanted.directory, wanted.handler)
    found = targets.parse(module, wanted.directory, "", "handler")
    return dataclasses.replace(found, name=name, is_factory=False, text=wanted.handler)


def _children(wanted: options.Options) -> Optional[tuple[str, str]]:
    """User and group of the children, where root starts the server. Raises Problem."""
    if os.geteuid() != 0:
        own = _users.name_of(os.geteuid())
        if wanted.user and wanted.user not in (own, str(os.geteuid())):
            raise Problem(f"only root can have a server run as {wanted.user}", f"Leave --user out: it runs as {own}.")
        if wanted.group:
            raise Problem("only root can choose a server's group", "Leave --group out.")
        return None
    if not wanted.user:
        raise Problem(
            "this is root, and nothing of an application should run as root",
            "Say whom it is to run as, such as --user www-data; or start it as another user.",
        )
    try:
        found = _users.children_user(_user(wanted.user))
    except ValueError as error:
        raise Problem(str(error), "Name a user of its own for the application: --user NAME") from None
    assert found is not None
    return found[0], _group(wanted.group) or found[1]


def _user(text: str) -> str:
    """The name of a user, who may be given by number, as containers have it. Raises ValueError."""
    if not text.isdecimal() or len(text) > 10:
        return text
    try:
        return pwd.getpwuid(int(text)).pw_name
    except (KeyError, OverflowError):
        raise ValueError(f"there is no user with the number {text}") from None


def _group(text: str) -> str:
    """The name of a group, by its name or number. Raises Problem."""
    if not text:
        return ""
    try:
        found = grp.getgrgid(int(text)) if text.isdecimal() and len(text) <= 10 else grp.getgrnam(text)
    except (KeyError, OverflowError):
        raise Problem(f"there is no group {text}", "Leave --group out: it is the user's own then.") from None
    if found.gr_gid == 0:
        raise Problem(f"{text} is root's group, which httpd's children must not be in", "Name another: --group NAME")
    return found.gr_name


def _identity(children: Optional[tuple[str, str]]) -> Optional[tuple[int, int, list[int]]]:
    if children is None:
        return None
    user, group = children
    entry = pwd.getpwnam(user)
    number = int(group[1:]) if group.startswith("#") else grp.getgrnam(group).gr_gid
    return entry.pw_uid, number, os.getgrouplist(user, number)


def _of_user(children: Optional[tuple[str, str]]) -> dict[str, str]:
    """What the environment says of the children's user, instead of what it says of root."""
    if not children:
        return {}
    return {"HOME": pwd.getpwnam(children[0]).pw_dir, "USER": children[0], "LOGNAME": children[0]}


def _environment(wanted: options.Options, own: dict[str, str]) -> dict[str, str]:
    """What httpd and the application have for an environment; ``own`` is the user's and --env-file's."""
    found = dict(os.environ)
    if wanted.reload:
        # Bytecode of a source that has been changed twice within a second would be that of the first.
        found["PYTHONDONTWRITEBYTECODE"] = "1"
    return {**found, **own}


def _needed(
    served: list[targets.Target], pages: Optional[targets.Pages], module: str, from_wheel: bool, wanted: options.Options
) -> list[str]:
    found = [module, os.path.dirname(os.path.abspath(__file__))]
    home = configuration.home(from_wheel, wanted.venv)
    found += [os.path.join(home, "bin")] if home else []
    found += [target.source() or target.path for target in served]
    return [*found, *([pages.directory] if pages else [])]


def _check_reach(user: str, paths: list[str]) -> None:
    """Whether the children can pass the directories on the way to what they need. Raises Problem."""
    for path in dict.fromkeys(path for path in paths if path and os.path.exists(path)):
        closed = _users.closed_to(user, path)
        if closed:
            raise Problem(
                f"{user} cannot pass {closed}, which is on the way to {path}",
                f"Let everybody pass it: chmod o+x {shlex.quote(closed)}\nOr put it where {user} can reach it, such as below /srv or /opt.",
            )


def _mime_types() -> str:
    import mimetypes

    known = mimetypes.MimeTypes(filenames=()).types_map[True]
    return "".join(f"{kind} {suffix[1:]}\n" for suffix, kind in sorted(known.items()))
