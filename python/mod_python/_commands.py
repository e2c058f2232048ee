"""``mod_python create``, ``genconfig``, ``version`` and ``module-config``."""

from __future__ import annotations

import argparse
import os
import platform
import runpy
import shlex
import sys
from collections.abc import Sequence

from mod_python import _users, version


def genconfig(arguments: Sequence[str]) -> int:
    """Print the configuration that a Python file describes."""
    parser = argparse.ArgumentParser(prog="mod_python genconfig", description=genconfig.__doc__)
    parser.add_argument("source", help="the Python file, such as httpd_conf.py")
    source = parser.parse_args(arguments).source
    if not os.path.exists(source):
        parser.error(f"there is no file {source}")
    runpy.run_path(source, run_name="__main__")
    return 0


def show_version(arguments: Sequence[str]) -> int:
    """Print versions and places."""
    argparse.ArgumentParser(prog="mod_python version", description=show_version.__doc__).parse_args(arguments)
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


def module_config(arguments: Sequence[str]) -> int:
    """Print what loads this module, with this Python's environment, into an httpd that is there already."""
    parser = argparse.ArgumentParser(
        prog="mod_python module-config",
        description=f"{module_config.__doc__} On Debian: mod_python module-config > /etc/apache2/mods-available/python.load",
    )
    parser.parse_args(arguments)
    from mod_python._own import configuration, programs
    from mod_python._own.problems import Problem

    try:
        module, from_wheel = programs.python_module()
        lines = configuration.module_lines(module, from_wheel)
    except Problem as problem:
        print(f"mod_python module-config: {problem}", file=sys.stderr)
        return 1
    print("".join(map(str, lines)), end="")
    return 0


def _listen(text: str) -> str:
    """The argument of httpd's Listen for a port, of 127.0.0.1, or for an address and a port. Raises ValueError.

    httpd would say so itself, but of a file that nobody has written.
    """
    from mod_python._own import options

    host, colon, port = text.rpartition(":")
    try:
        number = options.port(port)
    except ValueError:
        number = 0
    if not number:
        raise ValueError(f"--listen {text!r}: {port!r} is no port, which is a number from 1 to 65535")
    try:
        if ":" in host and not host.startswith("["):
            raise ValueError
        host = options.host(host) if colon else "127.0.0.1"
    except ValueError:
        raise ValueError(
            f"--listen {text!r}: {host!r} is no address in front of a port, such as 127.0.0.1, [::1], localhost, or * for all"
        ) from None
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def parser_of_create() -> argparse.ArgumentParser:
    """The command line of ``create``."""
    parser = argparse.ArgumentParser(prog="mod_python create", description=create.__doc__)
    add = parser.add_argument
    add("directory", help="made, and filled")
    add("--listen", default="8888", help="port, or address:port, such as [::1]:8888 (8888, of 127.0.0.1)")
    add("--pythonpath", default="", help="directories for modules, with colons between")
    add("--user", help="whom handlers run as, where root starts the server (httpd's usual user)")
    add("--pythonhandler", required=True, help="such as mod_python.publisher")
    add("--pythonoption", action="append", default=[], metavar="'key value'", help="may be repeated")
    return parser


def create(arguments: Sequence[str]) -> int:
    """Make a directory for a server, with a Python file that describes its configuration."""
    from mod_python import httpdconf

    parsed = parser_of_create().parse_args(arguments)
    comments = []
    if parsed.pythonhandler == "mod_python.wsgi":
        comments = [
            "PythonOption mod_python.wsgi.application package.module::application",
            "PythonOption mod_python.wsgi.base_uri /prefix",
        ]
    try:
        listen = _listen(parsed.listen)
        user = _users.children_user(parsed.user)
    except ValueError as error:
        raise SystemExit(f"mod_python create: {error}") from None
    target = httpdconf.write_basic_config(
        parsed.directory,
        listen=listen,
        user=user and user[0],
        pythonhandler=parsed.pythonhandler,
        pythonpath=[path for path in parsed.pythonpath.split(":") if path],
        pythonoptions=parsed.pythonoption,
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
                f"But {user[0]} cannot pass {closed}: let it, with `chmod o+x {shlex.quote(closed)}`, or choose another directory."
            )
    print(f"""
The server's configuration is described in {target}. Make httpd's file of it, then start the server:

  mod_python genconfig {target} > {config}
  mod_python start {config}
""")
    return 0
