"""What PythonDebug's page must not show: secrets, wherever they stand in what was raised, and in values."""

from __future__ import annotations

import builtins
import sys

import pytest
from mod_python import _debug_page, _tracebacks

REQUEST = _debug_page.Request("GET", "/", "HTTP/1.1", "127.0.0.1", "main_interpreter", [("Accept", "text/html")])


def pages(error: BaseException) -> str:
    """What both kinds of clients get; the lines of this file that raise would tell what is searched for."""
    try:
        raise error
    except BaseException as caught:
        text = _tracebacks.describe(caught)
        both = [
            _debug_page.page(caught, "PythonHandler x", text, REQUEST._replace(headers=headers))[2]
            for headers in (REQUEST.headers, [])
        ]
    return "\n".join(both)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no groups, and no notes")
def test_lines_of_groups_and_notes_are_no_source() -> None:
    group = builtins.ExceptionGroup  # type: ignore[attr-defined]
    members = [ValueError("password=LEAK"), ValueError("Authorization: Bearer LEAK")]
    shown = pages(group("eg", [*members, group("inner", members)]))
    assert "LEAK" not in shown and "password=(hidden)" in shown
    error = ValueError("said")
    error.add_note("  password=LEAK")  # type: ignore[attr-defined]
    assert "LEAK" not in pages(error)


def test_a_line_of_source_is_shown_as_it_is() -> None:
    for line in ('  File "x.py", line 3, in f', '    |   File "x.py", line 3, in f', '  File "x.py", line 3'):
        text = f"{line}\n    password=password\n  password=LEAK"
        _, _, shown = _debug_page.page(None, "x", text, REQUEST._replace(headers=[]))
        assert "password=password" in shown and "LEAK" not in shown


def test_the_end_of_a_long_text_begins_with_a_line() -> None:
    for end in ("LEAK", "LEAK\nlast"):
        _, _, shown = _debug_page.page(None, "x", "password=" + "a" * 200_000 + end, REQUEST._replace(headers=[]))
        assert "LEAK" not in shown and "characters" in shown and (end == "LEAK" or "last" in shown)
