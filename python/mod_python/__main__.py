"""The command ``mod_python`` (``python -m mod_python``): one table of its subcommands, each in a module that is imported for it."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Callable, Optional

_PLACE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_IS_SAFE = sys.flags.isolated or getattr(sys.flags, "safe_path", False)

if __name__ == "__main__" and not _IS_SAFE and sys.path[0] != _PLACE:
    # `python -m` has the current directory in front, and its files could hide what is imported here of the library.
    del sys.path[0]

from mod_python._own.problems import Problem  # noqa: E402

COMMANDS = {
    "start": ("mod_python._own.command:start", "start a server for an application, handlers or pages"),
    "stop": ("mod_python._own.command:stop", "stop it when its requests are done"),
    "restart": ("mod_python._own.command:restart", "restart it without losing a request"),
    "reload": (
        "mod_python._own.command:reload",
        "restart it, or a PythonDaemon (reload NAME), if its application can be imported",
    ),
    "status": ("mod_python._own.command:status", "say whether it runs, and where"),
    "setup": ("mod_python._own.command:setup", "write a server's files without starting it; --systemd"),
    "module-config": ("mod_python._commands:module_config", "print the directives that load this module into an httpd"),
    "check": ("mod_python._doctor:main", "say what keeps a configuration or a site from working"),
    "migrate": ("mod_python._migrate:main", "say what changes for a site of mod_python 3 or mod_wsgi; --write"),
    "create": ("mod_python._commands:create", "make a directory for a server, with a configuration"),
    "genconfig": ("mod_python._commands:genconfig", "print the configuration that a Python file describes"),
    "version": ("mod_python._commands:show_version", "print versions and places"),
}
"""A subcommand: ``module:function``, called with the arguments behind the subcommand, that gives the exit status; what it is for."""


def usage() -> str:
    """What ``mod_python --help`` prints."""
    rows = "".join(f"  {name:15}{text}\n" for name, (_, text) in COMMANDS.items())
    return f"usage: mod_python command …\n\nServers of one's own with mod_python.\n\n{rows}\nmod_python command --help says more.\n"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command; its exit status."""
    if arguments is None:
        _open_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] == "--version":
        words[0] = "version"
    if words[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        meant = f"did you mean {near[0]}?" if near else "mod_python --help lists the commands."
        print(f"mod_python: there is no command {words[0]!r}; {meant}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files may be no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    module, _, name = COMMANDS[words[0]][0].partition(":")
    function: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), name)
    try:
        status = function(words[1:])
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever reads has seen enough, as `| head` has. Nobody is there for the rest, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Problem as problem:
        print(f"mod_python {words[0]}: {problem}", file=sys.stderr)
        return 1
    except OSError as error:
        # The disk, permissions, what has vanished meanwhile. genconfig runs code of somebody else's.
        if words[0] == "genconfig":
            raise
        print(f"mod_python {words[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _open_streams() -> None:
    """See that there are three standard streams: what is opened in the place of one that is closed would be written into."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
