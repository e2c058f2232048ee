"""docs/mod_python.1 is what the command line says; docs/start.md cites what is said. MOD_PYTHON_WRITE=1 writes the manual anew."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator

from mod_python import version
from mod_python.__main__ import COMMANDS
from mod_python._commands import parser_of_create
from mod_python._doctor.command import parser as check
from mod_python._migrate.command import parser as migrate
from mod_python._own import command

from httpd import PROJECT

PAGE = PROJECT / "docs/mod_python.1"


def escaped(text: str) -> str:
    """A text for roff."""
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"), flags=re.M)


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
                continue
            name = ", ".join(action.option_strings) or action.dest
            value = (
                f" \\fI{escaped(str(action.metavar or action.dest.upper()))}\\fR"
                if action.nargs != 0 and action.option_strings
                else ""
            )
            yield f".TP\n\\fB{escaped(name)}\\fR{value}\n{escaped(action.help or '')}.\n"


def manual() -> str:
    start, setup = command.parser("start"), command.parser("setup")
    examples = "".join(f"{escaped(line[2:])}\n" for line in (start.epilog or "").splitlines()[1:])
    extra = set(options_of(setup)) - set(options_of(start))
    return "".join(
        [
            f'.\\" Written by tests/test_manual.py from the command line.\n.TH MOD_PYTHON 1 "" "mod_python {version.version}"\n',
            ".SH NAME\nmod_python \\- servers of one's own: Apache httpd with Python inside\n",
            ".SH SYNOPSIS\n.B mod_python\n\\fIcommand\\fR [\\fIoption\\fR ...] [\\fItarget\\fR]\n",
            ".SH COMMANDS\n",
            *(f".TP\n\\fB{escaped(name)}\\fR\n{escaped(text)}.\n" for name, (_, text) in COMMANDS.items()),
            ".SH OPTIONS OF START AND SETUP\n",
            *options_of(start),
            ".SH OPTIONS OF SETUP ALONE\n",
            *sorted(extra),
            ".SH OPTIONS OF STOP, RESTART, RELOAD AND STATUS\n",
            *options_of(command.parser_of_running("reload")),
            *(
                piece
                for verb, parser in (("check", check), ("migrate", migrate), ("create", parser_of_create))
                for piece in (f".SH OPTIONS OF {verb.upper()}\n", *options_of(parser()))
            ),
            ".SH EXIT STATUS\n0; 1 where something is wrong, which is told; 2 for a wrong command line; \\fBcheck\\fR and \\fBmigrate\\fR: 1 for warnings, 2 for errors; \\fBstatus\\fR: 3 where the server does not run.\n",
            f".SH EXAMPLES\n.nf\n{examples}.fi\n",
            ".SH SEE ALSO\n.BR httpd (8),\n.BR apachectl (8)\n",
        ]
    )


def test_the_manual_is_the_command_line() -> None:
    if os.environ.get("MOD_PYTHON_WRITE"):
        PAGE.write_text(manual())
    assert PAGE.read_text() == manual(), "MOD_PYTHON_WRITE=1 make test ARGS=tests/test_manual.py"


def test_what_the_page_cites_is_said() -> None:
    page = (PROJECT / "docs/start.md").read_text().partition("## What it says")[2]
    # Pieces of a message stand beside each other in the source.
    source = "".join(path.read_text() for path in (PROJECT / "python/mod_python/_own").glob("*.py"))
    source = re.sub(r"\{[^{}]*\}", "…", re.sub(r'"\s*f?"', "", source))
    rows = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert len(rows) > 15
    for row in rows:
        for piece in re.split(r"\s*…\s*", row):
            assert piece.strip("() ") in source, row


def test_the_page_names_options_that_there_are() -> None:
    page = (PROJECT / "docs/start.md").read_text()
    known = {
        name
        for verb in ("start", "setup")
        for action in command.parser(verb)._actions
        for name in action.option_strings
    }
    known |= {"--enable-shared", "--now", "--no-install-recommends", "--no-cache-dir", "--port"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page)) <= known


def test_every_command_and_its_options_are_in_the_manual() -> None:
    """Whatever a command's own help names, but for those that have no options: man(1) is read where there is no help at hand."""
    page = re.sub(r"\\f[A-Z]", "", PAGE.read_text()).replace("\\-", "-")
    for verb in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "mod_python", verb, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT / "python")},
        )
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", done.stdout)) - {"--help"}:
            assert re.search(rf"^(?:-\w, )?{option}\b", page, re.M), (verb, option)
