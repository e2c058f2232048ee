"""What PythonDebug's page must not show: secrets, wherever they stand in what was raised, and in values; nor what takes for ever."""

from __future__ import annotations

import builtins
import sys
import time
from collections import OrderedDict
from types import MappingProxyType

import pytest
from mod_python import _debug_page, _tracebacks
from mod_python._debug_values import Values, without_secrets

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


def everywhere(text: str) -> str:
    """A text as a message, as a value, and as what the log has."""
    return pages(ValueError(text)) + Values().text(text) + Values().text([text.encode()])


def test_quotes_do_not_end_a_header() -> None:
    for text in (
        'Authorization: Digest username="u", response="LEAK"',
        'Cookie: a=b; sid="LEAK"',
        "it's Set-Cookie: a='b'; sid='LEAK'\r\nHost: x",
        '{\'authorization\': Digest username="u", response="LEAK"}',
    ):
        assert "LEAK" not in everywhere(text), text
    # But those in which it stands do.
    found = without_secrets("['Cookie: a=\"LEAK\"', 'Host: x', 'Authorization: LEAK'], {'cookie': None, 'page': 2}")
    assert found == "['Cookie: (hidden)', 'Host: x', 'Authorization: (hidden)'], {'cookie': (hidden), 'page': 2}"


@pytest.mark.parametrize(
    "text",
    [
        "X-Api-Key: LEAK",
        "X-Auth-Token: LEAK",
        "access-token: LEAK",
        "password: LEAK",
        "password:LEAK",
        "pin: LEAK",
        '{"password" : 1234567}',
        '{"key": "LEAK"}',
        "Card(cvv='LEAK', pin=1234567, key='LEAK')",
        "[{'name': 'password', 'value': 'LEAK'}]",
        '{"name": "token", "value": 1234567}',
    ],
)
def test_names_in_texts(text: str) -> None:
    shown = everywhere(text)
    assert "LEAK" not in shown and "1234567" not in shown and "(hidden)" in shown


def test_records_in_values() -> None:
    for value in ({"name": "password", "value": 1234567}, {b"value": ["1234567"], b"key": b"token"}):
        assert "1234567" not in Values().text(value)


def test_what_is_no_value_of_a_secret_in_a_text() -> None:
    for text in (
        "CookieError: Illegal key 'x'",
        "unknown key: 'x'",
        "missing argument: 'password'",
        "token.py:12",
        "keyboard='x'",
    ):
        assert without_secrets(text) == text
    assert without_secrets("f(password: token)", only_quoted=True) == "f(password: token)"


@pytest.mark.parametrize(
    "part", ["password", "'token','x':", "auth.", "token='\\'", "'cookie", "x='password' ", "//u:"]
)
def test_the_search_is_linear(part: str) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        began = time.process_time()
        without_secrets(text)
        return time.process_time() - began

    assert min(seconds(80_000) for _ in range(2)) < 10 * max(seconds(20_000) for _ in range(2)) + 0.1


@pytest.mark.parametrize("length", [0, 1_000, 5_000, 60_000, 2_000_000])
@pytest.mark.parametrize("quote", ["", "'"])
def test_a_long_secret_has_no_end_that_is_shown(length: int, quote: str) -> None:
    text = f"password={quote}{'a' * length}{' b c ' if quote else ''}LEAK{quote}"
    for one in (text, f"Login({text}, 1)", f"page=1 {text} page=2"):
        shown = pages(ValueError(one)) + Values().text(one) + Values().text([[one], {"x": one}])
        error = ValueError("said")
        if sys.version_info >= (3, 11):
            error.add_note(one)
        assert "LEAK" not in shown + pages(error), one[:80]


class Spins:
    def __repr__(self) -> str:
        # fmt: off
        while True: pass  # noqa: E701
        # fmt: on


def test_a_repr_of_one_line_is_ended() -> None:
    assert Values().text(Spins()) == "<Spins: its repr() raises _TooLong>"


def test_views_are_not_shown_whole() -> None:
    many = dict.fromkeys(range(3_000_000), "x")
    for value in (many.keys(), many.values(), many.items(), OrderedDict(many).values(), MappingProxyType(many)):
        assert "2999988 more" in Values().text([value])
    few = {"a": 1, "password": "LEAK"}
    assert Values().text(few.keys()) == "dict_keys(['a', 'password'])"
    assert Values().text(few.items()) == "dict_items([('a', 1), ('password', (hidden))])"
    assert Values().text({}.values()) == "dict_values([])"
    assert Values().text(MappingProxyType(few)) == "mappingproxy({'a': 1, 'password': (hidden)})"
