"""Values of cookies that RFC 6265 does not allow as they are: they come back as they went."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any

import pytest
from conftest import Serve, Server, places
from hypothesis import example, given
from hypothesis import strategies as st
from mod_python import Cookie
from mod_python.testing import FakeRequest

C = Cookie.Cookie
VALUES = [
    "a b",
    " a ",
    "a,b",
    "é",
    "日本 \U0001f600",
    "Ã©",
    'a"b',
    '"a b"',
    '"',
    '""',
    '"a"',
    "a\\b",
    "\\",
    '\\"',
    "\\101",
    '"\\303\\251"',
    '{"a": [1, "x"]}',
    "[1,2]",
    "100 %",
    "%41",
    "\x85\xa0",
]


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    percent = (
        "<Location /percent>\nSetHandler mod_python\nPythonHandler cookies::returns\n"
        "PythonOption mod_python.cookie.encoding percent\n</Location>\n"
    )
    return serve_module(places("cookies") + percent, mpm=mpm)


def sent(text: str) -> str:
    """What a browser makes of a Set-Cookie header's beginning."""
    return text.partition(";")[0].strip()


@pytest.mark.parametrize("encoding", ["quoted", "percent"])
@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back(value: str, encoding: str) -> None:
    text = str(C("a", value, path="/", encoding=encoding))
    assert text.isascii() and text.endswith("; Path=/")
    found = C.parse(f"{sent(text)}; b=1", encoding=encoding)
    assert {name: cookie.value for name, cookie in found.items()} == {"a": value, "b": "1"}
    # And again, from what has been read.
    assert sent(str(found["a"])) == sent(text)


@pytest.mark.parametrize("encoding", ["quoted", "percent"])
@pytest.mark.parametrize("value", VALUES)
def test_a_signed_value_comes_back(value: str, encoding: str) -> None:
    text = sent(str(Cookie.SignedCookie("a", value, "secret", encoding=encoding)))
    found = Cookie.SignedCookie.parse(text, "secret", encoding=encoding)["a"]
    assert type(found) is Cookie.SignedCookie and found.value == value
    for kind, data in ((Cookie.JsonCookie, {value: [value]}), (Cookie.MarshalCookie, (value, b"\xff"))):
        text = sent(str(kind("a", data, "secret", encoding=encoding)))
        assert kind.parse(text, "secret", C.EXCEPTION, encoding=encoding)["a"].value == data


@pytest.mark.parametrize("value", ["a b", "x=y z", "é", 'a"b', "a,b", '{"a":1, "b":"c"}', "\\d+", '"a b"', "v1.x.y z"])
def test_what_a_browser_sent_can_be_sent_back(httpd: Server, value: str) -> None:
    """As it is, since JavaScript can set anything; é arrives as the two letters of its bytes, and stays them."""
    raw = value.encode("utf-8").decode("latin-1")
    answer = httpd.ok("/cookies/returns", headers={"Cookie": f"a={raw}"})
    again = httpd.ok("/cookies/returns", headers={"Cookie": sent(answer.header("Set-Cookie") or "")})
    assert json.loads(again.text) == json.loads(answer.text)
    assert again.header("Set-Cookie") == answer.header("Set-Cookie")


def test_percent_by_an_option(httpd: Server) -> None:
    answer = httpd.ok("/percent", headers={"Cookie": "a=caf%C3%A9%3B%20x"})
    assert json.loads(answer.text) == "café; x" and answer.header("Set-Cookie") == "a=caf%C3%A9%3B%20x"
    bad: Any = FakeRequest(headers={"Cookie": "a=b"}, options={"mod_python.cookie.encoding": "rot13"})
    for call in (lambda: Cookie.get_cookies(bad), lambda: Cookie.add_cookie(bad, "a", "b")):
        with pytest.raises(ValueError, match=r"mod_python\.cookie\.encoding: 'rot13'"):
            call()
    with pytest.raises(ValueError):
        C("a", "b", encoding="rot13")
    with pytest.raises(ValueError):
        C.parse("a=b", encoding="rot13")


def test_what_others_have_quoted() -> None:
    """`http.cookies` writes latin-1; quotes that nothing needs are the application's own, as they were in 3.5."""
    others: SimpleCookie = SimpleCookie()
    others["a"], others["b"] = 'x, "y" \\', "é"
    header = "; ".join(morsel.OutputString() for morsel in others.values())
    assert {name: cookie.value for name, cookie in C.parse(header).items()} == {"a": 'x, "y" \\', "b": "é"}
    assert C.parse('a="plain"')["a"].value == '"plain"'
    mine = SimpleCookie(str(C("a", 'x, "y" \\')))
    assert mine["a"].value == 'x, "y" \\'


@pytest.mark.parametrize("text", ['"a\\012b"', '"a\\073b c"', '"x;\\"y"', '"a\\000"'])
def test_an_escape_brings_no_control_character(text: str) -> None:
    assert C.parse(f"a={text}")["a"].value == text
    escaped = "%0d%0aSet-Cookie:%20b=c"
    assert C.parse(f"a={escaped}", encoding="percent")["a"].value == escaped


SENDABLE = st.text(st.characters(codec="utf-8", exclude_characters=[*map(chr, range(32)), "\x7f", ";"]))


@given(SENDABLE, st.sampled_from(["quoted", "percent"]))
@example('"\\', "quoted")
def test_any_text_comes_back(value: str, encoding: str) -> None:
    text = str(C("a", value, encoding=encoding))
    assert [cookie.value for cookie in C.parse(text, encoding=encoding).values()] == [value]


def test_long_headers_are_read_in_one_pass() -> None:
    """None of these may take the square of its length: each took minutes if it did."""
    for unit in ('a="', '"\\', 'a="\\";', "a= ", '=";', "\\\\", 'a="b', "%", "\\303"):
        C.parse(unit * (300_000 // len(unit)))
        C.parse(f'a="{unit * 100_000}"')
