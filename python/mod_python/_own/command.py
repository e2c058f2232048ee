"""``mod_python start``, ``setup``, ``stop``, ``restart``, ``reload`` and ``status``: their options, and what they say."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any, Callable, NoReturn, Optional, TypeVar

from mod_python._own import options, process, root, targets
from mod_python._own.problems import Problem

_EXAMPLES = """examples:
  mod_python start shop.wsgi:application            a WSGI application: Flask, Django, …
  mod_python start main:app --reload                FastAPI, Starlette, …; restarted when a file changes
  mod_python start 'shop:create_app()' --port 8080  what a function makes
  mod_python start site/                            a directory of handlers (*.py), or of pages (*.py, *.psp)
  mod_python start --handler mp                     the handler of mp.py for every URL
"""

_MOST = 20_000
"""Requests at once: so many slots are httpd's own limit."""

_Value = TypeVar("_Value")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        self.exit(2, f"{self.prog}: {message.removeprefix('argument ')}\n  {self.prog} --help lists the options.\n")


def _checked(check: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """A type for argparse that passes on what a check says."""

    def convert(text: str) -> _Value:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _number(least: int, most: int, what: str) -> Callable[[str], int]:
    return _checked(lambda text: options.number(text, least, most, what))


def _pair(what: str) -> Callable[[str], tuple[str, str]]:
    return _checked(lambda text: options.pair(text, what))


def parser(verb: str) -> Parser:
    """The command line of ``start`` and ``setup``."""
    found = Parser(
        prog=f"mod_python {verb}",
        description="Start an httpd of your own that serves an application, handlers or pages."
        if verb == "start"
        else "Write the server root of an httpd of your own, with httpd.conf and apachectl, without starting it.",
        epilog=_EXAMPLES.replace("mod_python start", f"mod_python {verb}"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = found.add_argument
    add(
        "target",
        nargs="?",
        default="",
        help="package.module:name, module:factory(), file.py, or a directory",
    )
    what = found.add_argument_group("what it is (found out where it can be)").add_mutually_exclusive_group()
    what.add_argument("--wsgi", dest="kind", action="store_const", const="wsgi", default="", help="a WSGI application")
    what.add_argument("--asgi", dest="kind", action="store_const", const="asgi", help="an ASGI application")
    what.add_argument(
        "--handler",
        default="",
        metavar="MODULE[::NAME]",
        help="a handler; for a directory, such as mod_python.publisher",
    )
    _add_network(found)
    _add_content(found)
    _add_operation(found, verb)
    return found


def _add_network(found: argparse.ArgumentParser) -> None:
    add = found.add_argument_group("network").add_argument
    add(
        "--host",
        type=_checked(options.host),
        default="127.0.0.1",
        help="address, name, or * for all addresses (127.0.0.1)",
    )
    add("--port", type=_checked(options.port), default=8000, help="port; 0 finds a free one (8000)")
    add("--https-cert", default="", metavar="FILE", help="certificate (PEM, its chain behind it): serve HTTPS")
    add("--https-key", default="", metavar="FILE", help="its key, where it is not in the same file")
    add("--http2", action="store_true", help="HTTP/2, too")
    add(
        "--timeout",
        type=_number(1, 86400, "seconds"),
        default=60,
        metavar="SECONDS",
        help="how long a client may be silent (60)",
    )
    add(
        "--limit-request-body",
        type=_checked(options.size),
        default=1 << 30,
        metavar="SIZE",
        help="such as 10M; 0: no limit (1G)",
    )


def _add_content(found: argparse.ArgumentParser) -> None:
    add = found.add_argument_group("content").add_argument
    add(
        "--mount",
        dest="mounts",
        action="append",
        default=[],
        type=_pair("an application"),
        metavar="/PATH=TARGET",
        help="another application there",
    )
    add(
        "--static",
        action="append",
        default=[],
        type=_pair("a directory"),
        metavar="/PATH=DIRECTORY",
        help="files there, sent by httpd itself",
    )
    add("--env-file", default="", metavar="FILE", help="environment variables: lines of NAME=value")
    add("--option", dest="options", action="append", default=[], metavar="'KEY VALUE'", help="a PythonOption")
    add("--include", default="", metavar="FILE", help="more directives for httpd.conf")
    add("--chdir", default=".", metavar="DIRECTORY", help="where modules and relative names are meant (this directory)")


def _add_operation(found: argparse.ArgumentParser, verb: str) -> None:
    add = found.add_argument_group("processes and logs").add_argument
    add("--processes", type=_number(1, 1000, "processes"), default=1, metavar="N", help="processes (1)")
    add("--threads", type=_number(1, 1000, "threads"), default=25, metavar="N", help="threads of each (25)")
    add("--user", default="", help="whom the application runs as, where root starts it")
    add("--group", default="", help="and its group")
    add("--access-log", default="", metavar="FILE", help="log requests there")
    add("--error-log", default="", metavar="FILE", help="in place of logs/error_log of the server root")
    add("--log-to-terminal", action="store_true", help="both logs to standard output and standard error (containers)")
    add("--server-root", default="", metavar="DIRECTORY", help="where configuration, logs and pid file lie")
    add(
        "--venv",
        default="",
        metavar="DIRECTORY",
        help="the application's virtual environment (the one of this command)",
    )
    add("--debug", action="store_true", help="show tracebacks in the browser")
    add("--httpd", default="", metavar="PROGRAM", help="httpd's program, such as /usr/sbin/apache2")
    if verb == "start":
        add("--reload", action="store_true", help="restart when a file that the application has imported changes")
        add("--background", action="store_true", help="return when it serves")
    else:
        add("--systemd", action="store_true", help="write a unit for systemd, too")


def read(verb: str, arguments: Sequence[str]) -> tuple[options.Options, argparse.Namespace]:
    """Options from a command line. Raises Problem, SystemExit."""
    line = parser(verb)
    parsed = line.parse_args(arguments)
    if not (parsed.target or parsed.handler or parsed.mounts or parsed.include):
        line.error(
            "say what to serve: an application, such as shop.wsgi:application, a file, or a directory (. for this one)"
        )
    try:
        directory = os.path.abspath(parsed.chdir)
    except FileNotFoundError:
        raise Problem("the directory that you are in has been removed", "Go to another one, or --chdir /…") from None
    if not os.path.isdir(directory):
        raise Problem(f"--chdir {parsed.chdir}: there is no directory {directory}")
    if parsed.https_key and not parsed.https_cert:
        raise Problem("--https-key needs --https-cert, the certificate")
    if parsed.kind and parsed.handler:
        raise Problem("--handler and --wsgi or --asgi exclude one another")
    if parsed.log_to_terminal and (parsed.error_log or parsed.access_log):
        raise Problem("--log-to-terminal takes the place of --error-log and --access-log", "Leave one of them out.")
    if parsed.processes * parsed.threads > _MOST:
        raise Problem(
            f"--processes {parsed.processes} times --threads {parsed.threads} is more than {_MOST} at once, which no machine serves",
            "One process has 25 threads unless you say otherwise; more processes than cores seldom help.",
        )
    for text in parsed.options:
        _check_option(re.split(r"[\s=]", text.strip())[0])
        options.option(text)
    in_background = getattr(parsed, "background", False)
    reload = getattr(parsed, "reload", False)
    if in_background and (parsed.log_to_terminal or reload):
        other = "--reload" if reload else "--log-to-terminal"
        raise Problem(f"{other} needs the terminal, and --background leaves it", "Leave one of them out.")
    static = []
    for prefix, place in parsed.static:
        if not prefix:
            raise Problem(
                f"--static /={place} would take everything: nothing would be left for applications",
                "Name a part of the URI: --static /static=…",
            )
        found = os.path.abspath(os.path.join(directory, place))
        if not os.path.isdir(found):
            raise Problem(f"--static {prefix}={place}: there is no directory {found}")
        static.append((prefix, found))
    same = ("target", "kind", "handler", "host", "port", "processes", "threads", "user", "group", "http2", "debug")
    others = ("limit_request_body", "timeout", "httpd", "log_to_terminal")
    values: dict[str, Any] = {name: getattr(parsed, name) for name in (*same, *others)}
    for name in ("https_cert", "https_key", "env_file", "include", "access_log", "error_log"):
        check = options.file_to_write if name.endswith("_log") else options.file_to_read
        value = getattr(parsed, name)
        values[name] = check(value, directory, f"--{name.replace('_', '-')}") if value else ""
    if values["https_cert"]:
        options.check_certificate(values["https_cert"], values["https_key"])
    if parsed.venv:
        values["venv"] = os.path.abspath(os.path.join(directory, parsed.venv))
        if not os.path.isfile(os.path.join(values["venv"], "pyvenv.cfg")):
            raise Problem(
                f"--venv {parsed.venv}: {values['venv']} is no virtual environment",
                f"Make it: {shlex.quote(sys.executable)} -m venv {shlex.quote(values['venv'])}",
            )
    if parsed.server_root:
        values["server_root"] = os.path.abspath(os.path.join(directory, parsed.server_root))
    values.update(directory=directory, reload=reload, background=in_background)
    values.update(static=tuple(static), mounts=tuple(parsed.mounts), options=tuple(parsed.options))
    return options.Options(**values), parsed


def _check_option(name: str) -> None:
    """Raises Problem for a name that is kept for this module, and that nobody reads."""
    from mod_python._doctor import names

    said = names.option(name)
    if said is not None:
        raise Problem(f"--option {name}: there is no such PythonOption", said[:1].upper() + said[1:])


def start(arguments: Sequence[str]) -> int:
    """``mod_python start``."""
    if len(arguments) == 1 and _is_configuration(arguments[0]):
        from mod_python import _control

        return _control.start(_httpd(), os.path.abspath(arguments[0]))
    wanted, _ = read("start", arguments)
    from mod_python._own import foreground, problems, serving

    if wanted.server_root or wanted.port:
        serving.refuse_running(wanted.server_root or root.default(wanted))
    for left in (2, 1, 0):
        prepared = serving.prepare(wanted)
        try:
            if not wanted.background:
                status = foreground.Foreground(prepared).run()
                process.forget(prepared.state)
                return status
            foreground.background(prepared)
            break
        except problems.PortTaken:
            # One that was free a moment ago, and that nobody has asked for.
            if wanted.port or not left:
                raise
            process.forget(prepared.state)
        finally:
            prepared.lock.release()
    print("\n".join(foreground.describe(prepared)))
    print(f"`{prepared.state.command('stop')}` stops it.")
    return 0


def _is_configuration(text: str) -> bool:
    """Upstream's form, `mod_python start httpd.conf`."""
    return text.endswith(".conf") or (os.path.isfile(text) and not text.endswith(targets.NO_CONFIGURATION))


def _httpd() -> str:
    from mod_python import version
    from mod_python._own import problems

    program: str = version.HTTPD
    if not program:
        raise problems.no_httpd()
    return program


def setup(arguments: Sequence[str]) -> int:
    """``mod_python setup``."""
    wanted, parsed = read("setup", arguments)
    if not wanted.server_root:
        raise Problem("setup needs a place that stays", "--server-root DIRECTORY")
    if not wanted.port:
        raise Problem("setup needs a port: nobody could find a server on another one at each start", "--port 8000")
    from mod_python._own import serving

    state = serving.prepare(wanted, is_setup=True).state
    control = shlex.quote(os.path.join(state.root, "apachectl"))
    print(f"{state.config} is written. `{control} start` serves {state.url}")
    if parsed.systemd:
        path = os.path.join(state.root, f"mod_python-{wanted.port}.service")
        root.write(path, root.unit(state), 0o644)
        print(f"The unit is {path}; as root:\n  systemctl enable --now {shlex.quote(path)}")
    return 0


def parser_of_running(verb: str) -> Parser:
    """The command line of ``stop``, ``restart``, ``reload`` and ``status``."""
    found = Parser(prog=f"mod_python {verb}", description=_VERBS[verb])
    found.add_argument(
        "server",
        nargs="?",
        default="",
        help="its server root, or a configuration file (the only one that runs)"
        + ("; or the name of a PythonDaemon" if verb == "reload" else ""),
    )
    found.add_argument("--server-root", default="", metavar="DIRECTORY", help="the same, as start has it")
    found.add_argument("--host", type=_checked(options.host), default=None, help="where several have the same port")
    found.add_argument("--port", type=_checked(options.port), default=None, help="the one on that port")
    return found


def _found(verb: str, arguments: Sequence[str]) -> tuple[Optional[str], Optional[root.State]]:
    """The configuration file that is named (upstream's form), or the server. Raises Problem."""
    parsed = parser_of_running(verb).parse_args(arguments)
    named = parsed.server or parsed.server_root
    if named and _is_configuration(named):
        return os.path.abspath(named), None
    if named:
        return None, root.find(os.path.abspath(named))
    known = []
    for path in root.roots():
        # One that cannot be read hides no other.
        with contextlib.suppress(Problem):
            known.append(root.find(path))
    if parsed.port is not None:
        # Of all addresses, or of 127.0.0.1 or whatever: mostly there is one with that port.
        known = [state for state in known if state.options.port == parsed.port]
    if parsed.host is not None:
        known = [state for state in known if state.options.host == parsed.host]
    active = [state for state in known if process.running(state)] or [state for state in known if process.left(state)]
    if len(active) == 1 or (not active and len(known) == 1):
        return None, (active or known)[0]
    if not active:
        place = "" if parsed.port is None else f" on port {parsed.port}"
        raise Problem(f"no server of yours runs{place}", "Name its server root, if it has one of its own.")
    listing = "\n".join(f"{state.root}  {state.url}" for state in active)
    raise Problem(f"several servers run: say which one, such as {active[0].command(verb)}", listing)


_VERBS = {
    "stop": "Stop a server when its requests are done.",
    "restart": "Restart a server without losing a request.",
    "reload": "Restart a server without losing a request, if its application can be imported.",
    "status": "Say whether a server runs, and where.",
}


def _upstream(config: str, action: str) -> NoReturn:
    from mod_python import _control

    site = _control.Site(config)
    if site.pid_file is not None and site.pid() is None:
        # httpd itself would signal whatever process has the number that it has left behind.
        raise Problem(f"no server runs with {config}")
    program = _httpd()
    os.execv(program, [program, "-f", config, "-k", action])


def stop(arguments: Sequence[str]) -> int:
    """``mod_python stop``."""
    config, state = _found("stop", arguments)
    if config:
        _upstream(config, "graceful-stop")
    assert state is not None
    pid = process.stop(state)
    count = 0 if pid else process.end_left(state)
    process.forget(state)
    if count:
        print(
            f"{state.url} had been killed; what went on of it is stopped ({count} process{'es' if count > 1 else ''})"
        )
    else:
        print(f"{state.url} is stopped (process {pid})" if pid else f"{state.url} does not run")
    return 0


def restart(arguments: Sequence[str]) -> int:
    """``mod_python restart``."""
    config, state = _found("restart", arguments)
    if config:
        _upstream(config, "graceful")
    return _graceful(state)


def reload(arguments: Sequence[str]) -> int:
    """``mod_python reload``: a server of one's own, or a daemon by its name."""
    from mod_python._daemon import command as daemons

    if len(arguments) == 1 and daemons.is_name(arguments[0]):
        return daemons.reload(arguments[0])
    config, state = _found("reload", arguments)
    if config:
        _upstream(config, "graceful")
    assert state is not None
    if process.running(state):
        from mod_python._own import serving

        serving.check_imports(state.options)
    return _graceful(state)


def _graceful(state: Optional[root.State]) -> int:
    assert state is not None
    pid = process.tell(state, signal.SIGUSR1)
    if pid is None:
        raise Problem(f"{state.url} does not run", "mod_python start starts it.")
    print(f"{state.url} restarts (process {pid}): requests go on in the old children, new ones come to the new")
    return 0


def status(arguments: Sequence[str]) -> int:
    """``mod_python status``: 0 where it runs, 3 where it does not (as of LSB's scripts)."""
    config, state = _found("status", arguments)
    if config:
        from mod_python import _control

        pid = _control.Site(config).pid()
        print(f"{config} is served by process {pid}" if pid else f"{config} is not served")
        return 0 if pid else 3
    assert state is not None
    pid = process.running(state)
    what = state.options.target or state.options.handler or state.options.directory
    if pid is None:
        left = process.left(state)
        print(f"{state.url} ({what}) does not run; server root: {state.root}")
        if left:
            print(
                f"It has been killed, and {'processes' if len(left) > 1 else 'process'} {', '.join(map(str, left))} of it went on: `{state.command('stop')}` ends that."
            )
        return 3
    does = "answers" if process.answers(state.options, 5) else "does not answer"
    print(
        f"{state.url} ({what}) {does}: process {pid}\nserver root: {state.root}"
        + (f"\nerror log: {state.log}" if state.log else "")
    )
    return 0
