"""docs/mod_python.1 is what the command line says; docs/start.md cites what is said. MOD_PYTHON_WRITE=1 writes the manual anew."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator

from mod_python import version
from mod_python.__main__ import COMMANDS
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
            ".SH EXIT STATUS\n0; 1 where something is wrong, which is told; 2 for a wrong command line; \\fBstatus\\fR: 3 where the server does not run.\n",
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
