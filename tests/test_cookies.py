"""mod_python.Cookie."""

from __future__ import annotations

import hashlib
import hmac
import json
import marshal
from base64 import b64encode
from http.cookies import SimpleCookie
from typing import Any

import pytest
from conftest import Serve, Server, places
from hypothesis import given
from hypothesis import strategies as st
from mod_python import Cookie
from mod_python.testing import FakeRequest

C = Cookie.Cookie


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    return serve_module(places("cookies"), mpm=mpm)


def test_cookies_come_and_go(httpd: Server) -> None:
    answer = httpd.ok("/cookies/sets")
    plain, data = answer.all("Set-Cookie")
    assert plain == "plain=value; Path=/; HttpOnly"
    assert data.endswith("; SameSite=Strict") and answer.header("Cache-Control") == 'no-cache="set-cookie"'
    sent = "; ".join((plain.partition(";")[0], data.partition(";")[0]))
    got = json.loads(httpd.ok("/cookies/gets", headers={"Cookie": sent}).text)
    assert got[0]["plain"] == "value" and got[1] == {"n": 1}
    forged = sent[:-1] + ("A" if sent[-1] != "A" else "B")
    assert json.loads(httpd.ok("/cookies/gets", headers={"Cookie": forged}).text)[1] is None


def test_an_error_carries_cookies(httpd: Server) -> None:
    answer = httpd.get("/cookies/sets_and_fails")
    assert (answer.status, answer.header("Set-Cookie")) == (404, "kept=yes")


def test_attributes() -> None:
    cookie = C("a", "b", expires=0, path="/", max_age=5, secure=True, httponly=False, samesite="none", domain="x.org")
    expected = "a=b; Path=/; Domain=x.org; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=5; SameSite=None"
    assert str(cookie) == expected
    for date in ("Sun, 06-Nov-1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"):
        assert C("a", "b", expires=date).expires == "Sun, 06 Nov 1994 08:49:37 GMT"
    cookie.commentURL = "http://x"
    assert "CommentURL=http://x" in str(cookie)
    for bad in ({"expires": "tomorrow"}, {"samesite": "sometimes"}, {"expires": 1e30}):
        with pytest.raises(ValueError):
            C("a", "b", **bad)
    with pytest.raises(AttributeError):
        C("a", "b", colour="red")
    with pytest.raises(AttributeError):
        cookie.other = 1


@pytest.mark.parametrize(
    ("name", "value", "attributes"),
    [
        ("a b", "c", {}),
        ("", "c", {}),
        ("a", "b\r\nSet-Cookie: c=d", {}),
        ("a", "b;c", {}),
        ("a", "b\x7f", {}),
        ("a", "é\0", {}),
        ("a", '"b;c"', {}),
        ("a", "\ud800", {}),
        ("a", "b", {"path": "/\r\nX: y"}),
        ("a", "b", {"domain": "x; Secure"}),
    ],
)
def test_what_a_cookie_cannot_hold(name: str, value: str, attributes: dict[str, Any]) -> None:
    cookie = C(name, value, **attributes)
    with pytest.raises(Cookie.CookieError):
        str(cookie)
    assert "Cookie: " in repr(cookie)
    req: Any = FakeRequest()
    with pytest.raises(Cookie.CookieError):
        Cookie.add_cookie(req, cookie)
    assert not req.err_headers_out


def test_parsing() -> None:
    found = C.parse('a=1; b = 2 ; c; $Path=/; d="x;\\"y"; a=3; e=f=g; Path=/x')
    assert {name: cookie.value for name, cookie in found.items()} == {
        "a": "3",
        "b": "2 ",
        "c": "",
        "d": '"x;\\"y"',
        "e": "f=g",
        "Path": "/x",
    }
    assert list(C.parse("a=1; b=2", names=["b"])) == ["b"]
    # In one pass, whatever stands between: the square of these would take minutes.
    assert list(C.parse(", =;a;" + " " * 100_000 + ";" + "," * 100_000 + "b=2")) == ["a", "b"]
    req: Any = FakeRequest(headers=[("Cookie", "a=1")])
    req.headers_in.add("Cookie", "b=2")
    assert sorted(Cookie.get_cookies(req)) == ["a", "b"]
    assert Cookie.get_cookie(req, "none") is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Cookie.SignedCookie, "text"),
        (Cookie.JsonCookie, {"a": [1, None, "é"]}),
        (Cookie.MarshalCookie, (1, b"x", {2: 3})),
    ],
)
def test_signed_cookies(kind: type[Cookie.SignedCookie], value: Any) -> None:
    text = str(kind("c", value, "secret")).partition(";")[0]
    assert kind.parse(text, "secret")["c"].value == value
    assert kind.parse(text, b"secret")["c"].value == value
    downgraded = kind.parse(text, "other")["c"]
    assert type(downgraded) is C and downgraded.value == text.partition("=")[2]
    assert kind.parse(text, "other", C.IGNORE) == {}
    with pytest.raises(Cookie.CookieError):
        kind.parse(text, "other", C.EXCEPTION)
    # Under another name, or as another kind of cookie, it is worth nothing.
    assert kind.parse("d" + text[1:], "secret", C.IGNORE) == {}
    for other in (Cookie.SignedCookie, Cookie.JsonCookie, Cookie.MarshalCookie):
        assert other is kind or other.parse(text, "secret", C.IGNORE) == {}
    for secret in (None, "", b""):
        with pytest.raises(Cookie.CookieError):
            str(kind("c", value, secret))


def test_the_old_signature_is_read_when_asked_for() -> None:
    """docs/differences.md#signed-cookies"""
    digest = hmac.new(b"secret", b"cvalue", hashlib.md5).hexdigest()
    text = f"c={digest}value"
    assert Cookie.SignedCookie.parse(text, "secret", C.IGNORE) == {}
    assert Cookie.SignedCookie.parse(text, "secret", C.IGNORE, legacy=True)["c"].value == "value"
    payload = b64encode(marshal.dumps([1])).decode()
    digest = hmac.new(b"secret", b"c" + payload.encode(), hashlib.md5).hexdigest()
    assert Cookie.MarshalCookie.parse(f"c={digest}{payload}", "secret", legacy=True)["c"].value == [1]


def test_nothing_is_unmarshalled_before_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(data: bytes) -> None:
        raise AssertionError("unmarshalled")

    monkeypatch.setattr(Cookie.marshal, "loads", loads)
    payload = b64encode(marshal.dumps([1])).decode()
    for text in (f"c=v1.{'0' * 64}.{payload}", f"c={'0' * 32}{payload}", f"c={payload}", "c="):
        for legacy in (False, True):
            assert type(Cookie.MarshalCookie.parse(text, "secret", legacy=legacy)["c"]) is C


@given(st.text(max_size=200))
def test_any_header_can_be_parsed(text: str) -> None:
    for kind, more in ((C, {}), (Cookie.JsonCookie, {"secret": "s"}), (Cookie.MarshalCookie, {"secret": "s"})):
        for name, cookie in kind.parse(text, **more).items():
            assert isinstance(name, str) and isinstance(cookie.value, str)


NAMES = st.text("abcdefgXYZ0189_-", min_size=1, max_size=8)


@given(st.dictionaries(NAMES, st.text("abcXYZ0189_-./:%", min_size=1, max_size=10), max_size=5))
def test_cookies_as_the_standard_library_reads_them(pairs: dict[str, str]) -> None:
    text = "; ".join(str(C(name, value)) for name, value in pairs.items())
    ours = {name: cookie.value for name, cookie in C.parse(text).items()}
    assert ours == pairs
    theirs = {name: morsel.value for name, morsel in SimpleCookie(text).items()}
    reserved = {"path", "expires", "domain", "secure", "version", "comment", "max-age", "httponly", "samesite"}
    assert dict(theirs.items()) == {n: v for n, v in pairs.items() if n.lower() not in reserved}
