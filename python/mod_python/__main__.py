"""The command ``mod_python`` (``python -m mod_python``): makes, starts and stops servers of one's own."""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import os
import platform
import re
import runpy
import sys
from collections.abc import Sequence
from typing import NoReturn, Optional

from mod_python import _control, _users, httpdconf, version


def _program() -> str:
    program: str = version.HTTPD
    if not program:
        raise SystemExit("there is no httpd on this machine")
    return program


def _httpd(config: str, action: str) -> NoReturn:
    program = _program()
    os.execv(program, [program, "-f", os.path.abspath(config), "-k", action])


def cmd_start(arguments: argparse.Namespace) -> int:
    """start a server, and wait until it serves"""
    return _control.start(_program(), os.path.abspath(arguments.config))


def cmd_stop(arguments: argparse.Namespace) -> int:
    """stop a server when its requests are done"""
    _httpd(arguments.config, "graceful-stop")


def cmd_restart(arguments: argparse.Namespace) -> int:
    """restart a server without losing a request"""
    _httpd(arguments.config, "graceful")


def cmd_genconfig(arguments: argparse.Namespace) -> int:
    """print the configuration that a Python file describes"""
    runpy.run_path(arguments.source, run_name="__main__")
    return 0


def cmd_version(arguments: argparse.Namespace) -> int:
    """print versions and places"""
    print(f"""
mod_python:  {version.version}
             {os.path.dirname(os.path.abspath(__file__))!r}

python:      {" ".join(sys.version.split())}
             {sys.executable!r}

httpd:       {version.HTTPD_VERSION}
             {version.HTTPD!r}

apr:         {version.APR_VERSION}
platform:    {platform.platform()}
""")
    return 0


_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")
_NUMBERS = re.compile(r"[0-9.]+")


def _listen(text: str) -> str:
    """The argument of httpd's Listen for a port, of 127.0.0.1, or for an address and a port. Raises ValueError.

    httpd would say so itself, but of a file that nobody has written.
    """
    host, colon, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"--listen {text!r}: {port!r} is no port, which is a number from 1 to 65535")
    if not colon:
        host = "127.0.0.1"
    elif not _is_host(host):
        raise ValueError(
            f"--listen {text!r}: {host!r} is no address in front of a port, such as 127.0.0.1, [::1], localhost, or * for all"
        )
    return f"{host}:{int(port)}"


def _is_host(host: str) -> bool:
    if host == "*":
        return True
    try:
        if host.startswith("[") and host.endswith("]"):
            # The zone, as in fe80::1%eth0, stands in a configuration as a word of its own.
            address = ipaddress.IPv6Address(host[1:-1])
            return re.fullmatch(r"[\w.-]+", address.scope_id or "eth0", re.ASCII) is not None
        elif _NUMBERS.fullmatch(host):
            ipaddress.IPv4Address(host)
        else:
            return len(host) < 254 and _HOST.fullmatch(host) is not None
    except ValueError:
        return False
    return True


def cmd_create(arguments: argparse.Namespace) -> int:
    """make a directory for a server, with a configuration"""
    comments = []
    if arguments.pythonhandler == "mod_python.wsgi":
        comments = [
            "PythonOption mod_python.wsgi.application package.module::application",
            "PythonOption mod_python.wsgi.base_uri /prefix",
        ]
    try:
        listen = _listen(arguments.listen)
        user = _users.children_user(arguments.user)
    except ValueError as error:
        raise SystemExit(f"mod_python create: {error}") from None
    target = httpdconf.write_basic_config(
        arguments.directory,
        listen=listen,
        user=user and user[0],
        pythonhandler=arguments.pythonhandler,
        pythonpath=[path for path in arguments.pythonpath.split(":") if path],
        pythonoptions=arguments.pythonoption,
        mp_comments=comments,
    )
    if target is None:
        return 1
    config = os.path.join(os.path.dirname(target), "httpd.conf")
    if user:
        closed = _users.closed_to(user[0], os.path.dirname(target))
        print(f"Handlers will run as {user[0]} (--user chooses another one).")
        if closed:
            print(
                f"But {user[0]} cannot pass {closed}: let it, with `chmod o+x {closed}`, or choose another directory."
            )
    print(f"""
The server's configuration is described in {target}. Make httpd's file of it, then start the server:

  mod_python genconfig {target} > {config}
  mod_python start {config}
""")
    return 0


_ELSEWHERE = {
    "check": ("_doctor", "say what keeps a configuration or a site from working"),
    "migrate": (
        "_migrate",
        "say what changes for a site of mod_python 3 or mod_wsgi, and write its configuration anew",
    ),
}
"""Commands that are packages with a `main`, which reads the arguments itself."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="mod_python", description="Servers of one's own with mod_python.")
    commands = main.add_subparsers(dest="command", metavar="command", required=True)
    for name in ("start", "stop", "restart"):
        command = commands.add_parser(name, help=globals()[f"cmd_{name}"].__doc__)
        command.add_argument("config", metavar="httpd.conf")
    command = commands.add_parser("genconfig", help=cmd_genconfig.__doc__)
    command.add_argument("source", help="the Python file, such as httpd_conf.py")
    commands.add_parser("version", help=cmd_version.__doc__)
    for name, (_, explained) in _ELSEWHERE.items():
        commands.add_parser(name, help=explained, add_help=False)
    command = commands.add_parser("create", help=cmd_create.__doc__)
    command.add_argument("directory")
    command.add_argument(
        "--listen", default="8888", help="port, or address:port, such as [::1]:8888 (8888, of 127.0.0.1)"
    )
    command.add_argument("--pythonpath", default="", help="directories for modules, with colons between")
    command.add_argument("--user", help="whom handlers run as, where root starts the server (httpd's usual user)")
    command.add_argument("--pythonhandler", required=True, help="such as mod_python.publisher")
    command.add_argument("--pythonoption", action="append", default=[], metavar="'key value'", help="may be repeated")
    return main


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command; its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _ELSEWHERE:
        package = importlib.import_module(f"mod_python.{_ELSEWHERE[words[0]][0]}")
        done: int = package.main(words[1:])
        return done
    parsed = parser().parse_args(arguments)
    result: int = globals()[f"cmd_{parsed.command}"](parsed)
    return result


if __name__ == "__main__":
    sys.exit(main())
