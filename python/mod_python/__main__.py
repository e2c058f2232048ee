"""The command ``mod_python`` (``python -m mod_python``): makes, starts and stops servers of one's own."""

from __future__ import annotations

import argparse
import os
import platform
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


def cmd_create(arguments: argparse.Namespace) -> int:
    """make a directory for a server, with a configuration"""
    comments = []
    if arguments.pythonhandler == "mod_python.wsgi":
        comments = [
            "PythonOption mod_python.wsgi.application package.module::application",
            "PythonOption mod_python.wsgi.base_uri /prefix",
        ]
    listen = arguments.listen if ":" in arguments.listen else f"127.0.0.1:{arguments.listen}"
    try:
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
    command = commands.add_parser("create", help=cmd_create.__doc__)
    command.add_argument("directory")
    command.add_argument("--listen", default="8888", help="port, or address:port (8888, of 127.0.0.1)")
    command.add_argument("--pythonpath", default="", help="directories for modules, with colons between")
    command.add_argument("--user", help="whom handlers run as, where root starts the server (httpd's usual user)")
    command.add_argument("--pythonhandler", required=True, help="such as mod_python.publisher")
    command.add_argument("--pythonoption", action="append", default=[], metavar="'key value'", help="may be repeated")
    return main


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command; its exit status."""
    parsed = parser().parse_args(arguments)
    result: int = globals()[f"cmd_{parsed.command}"](parsed)
    return result


if __name__ == "__main__":
    sys.exit(main())
