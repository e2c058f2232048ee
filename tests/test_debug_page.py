"""What PythonDebug shows in place of an answer: the page, its bounds, its secrets, and that nothing leaks without it."""

from __future__ import annotations

import base64
import builtins
import hashlib
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest
from browser import Browser
from client import Answer
from conftest import APPS, Serve, Server, places
from mod_python import _debug_page, _log_objects, _tracebacks
from mod_python._debug_values import Values, is_secret, without_secrets

CONFIG = (
    places("debugged")
    + """
PythonDebug ${DEBUG}
PythonWSGI /wsgi debugged:application
PythonASGI /asgi debugged:asgi
<Location /broken>
    SetHandler mod_python
    PythonHandler broken
</Location>
<Directory @ROOT@/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
    AddHandler mod_python .psp
    PythonHandler mod_python.psp
</Directory>
"""
)
BY_ZERO = "division by zero" if sys.version_info >= (3, 14) else "float division by zero"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Page(HTMLParser):
    """A page's elements, checked: each is closed, and none fetches or runs anything."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.names: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert not self.open
        assert not {"script", "link", "img", "iframe", "form", "a", "object", "base"} & set(self.names), self.names

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.names.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("style", "src", "href")], attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(CONFIG.replace("${DEBUG}", "On"), mpm=mpm, modules=("include",), start=False)
    server.write("htdocs/parts.shtml", 'before;<!--#include virtual="/debugged/divides" -->')
    server.write("apps/broken.py", "def handler(req):\n    return (1 +\n")
    server.write("htdocs/page.psp", "<p>first\n<%\nvalue = 41\nnothing = None\n%>\n<%= nothing.missing %>\n")
    return server.start()  # type: ignore[return-value]


def shown(server: Server, path: str, claim: str, **arguments: Any) -> Answer:
    arguments.setdefault("headers", HTML)
    answer = server.get(path, **arguments)
    server.claim(claim)
    assert answer.status == 500 and answer.header("Content-Type") == "text/html; charset=utf-8"
    assert answer.header("Cache-Control") == "no-store" and answer.header("X-Content-Type-Options") == "nosniff"
    page = Page(answer.text)
    policy = answer.header("Content-Security-Policy") or ""
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy and "hunter2" not in answer.text
    return answer


def test_frames_source_values_and_the_request(httpd: Server) -> None:
    headers = {**HTML, "Cookie": "sid=hunter2-cookie", "X-Api-Key": "hunter2-key", "X-Seen": "<i>seen</i>"}
    headers["Referer"] = "http://localhost/?token=hunter2-referer&page=2"
    answer = shown(httpd, "/debugged/divides?a=1&password=hunter2-query", "divides: Traceback", headers=headers)
    text = answer.text
    assert "<h1>ZeroDivisionError</h1>" in text and BY_ZERO in text
    assert "apps/debugged.py" in text and 'class="now"' in text and "return sum(prices)" in text
    # The innermost frame comes first.
    assert text.index(">total</span>") < text.index(">divides</span>")
    assert "<td>rate<small>float</small></td><td>1.0</td>" in text
    assert "<td>password<small>str</small></td><td>(hidden)</td>" in text
    assert "&lt;i&gt;seen&lt;/i&gt;" in text and "<i>seen" not in text
    assert "GET /debugged/divides?a=1&amp;password=(hidden) HTTP/1.1" in text and "&amp;page=2" in text
    assert "token=(hidden)" in text and "<td>Cookie</td><td><em>(hidden)</em></td>" in text
    if sys.version_info >= (3, 11):
        assert "<mark>sum(prices) / (1 - rate)</mark>" in text


def test_plain_text_for_who_does_not_ask_for_html(httpd: Server) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json, text/html;q=0"}):
        answer = httpd.get("/debugged/divides", headers=headers)
        httpd.claim("ZeroDivisionError")
        assert answer.header("Content-Type") == "text/plain; charset=utf-8" and answer.header("Vary") == "Accept"
        assert answer.text.startswith('Mod_python error: "PythonHandler debugged::divides"\n\nTraceback (most')
        assert answer.text.endswith(f"ZeroDivisionError: {BY_ZERO}\n") and "hunter2" not in answer.text


def test_values_that_do_not_want_to_be_shown(httpd: Server) -> None:
    answer = shown(httpd, "/debugged/hostile", "hostile: Traceback")
    text = answer.text
    for row in (
        "raises<small>Raises</small></td><td>&lt;Raises: its repr() raises SystemExit&gt;",
        "spins<small>Spins</small></td><td>&lt;Spins: its repr() raises _TooLong&gt;",
        "recursive<small>Recursive</small></td><td>&lt;Recursive: its repr() raises RecursionError&gt;",
        "loud<small>Loud</small></td><td>Loud({&#x27;a&#x27;: 1})",
        "number<small>int</small></td><td>&lt;int of 100001 bits&gt;",
        "grown<small>defaultdict</small></td><td>defaultdict({1: [2]})",
    ):
        assert row in text, row
    assert (
        "<script" not in text
        and r"&lt;script&gt;alert(&#x27;repr&#x27;)&lt;/script&gt;\x00\x1b[31m\udc80\u202e" in text
    )
    assert "\0" not in text and "\x1b" not in text and len(text) < 60_000
    assert "999988 more" in text and "characters …" in text
    # What an exception says is no hint of ours.
    assert '<p class="hint">' not in text
    assert httpd.get("/debugged/strange", headers=HTML).status == 500
    httpd.claim("debugged::strange: Traceback")


def test_chains_groups_and_loops(httpd: Server) -> None:
    text = shown(httpd, "/debugged/chained", "chained: Traceback").text
    assert "<h2>caused by <b>ValueError</b>" in text and "<h2>raised while handling <b>KeyError</b>" in text
    assert shown(httpd, "/debugged/looped", "LookupError: looped").text.count("<h2>caused by") == 1
    if sys.version_info >= (3, 11):
        text = shown(httpd, "/debugged/grouped", "grouped: Traceback|ExceptionGroup").text
        httpd.claims += ["ExceptionGroup", "Traceback", r"\| ", r"\+-"]
        assert text.count("<h2>in the group: <b>ValueError</b>") == 2
        assert "<h2>in the group: <b>TypeError</b>: deep</h2>" in text


def test_deep_tracebacks_are_folded(httpd: Server) -> None:
    text = shown(httpd, "/debugged/deep", "deep: ").text
    httpd.claims += ["Traceback", "  ", "ValueError"]
    assert re.search(r"… \d{5} frames are left out …", text) and len(text) < 300_000
    text = shown(httpd, "/debugged/repeated", "repeated: ").text
    assert re.search(r"and \d+ times more", text)


def test_where_our_own_frames_are_folded(httpd: Server) -> None:
    text = shown(httpd, "/debugged/library", "JSONDecodeError").text
    assert 'class="frame library"><summary>' in text and 'class="frame user" open' in text
    text = shown(httpd, "/broken", "SyntaxError").text
    assert "cannot be compiled" in text and "apps/broken.py:2" in text and "return (1 +" in text
    assert "frames of mod_python or importlib" in text
    text = shown(httpd, "/page.psp", "AttributeError").text
    assert (
        "htdocs/page.psp:6" in text
        and "nothing.missing" in text
        and "<td>value<small>int</small></td><td>41</td>" in text
    )
    for name in ("wsgi", "asgi"):
        text = shown(httpd, f"/{name}/x", f"{name} fails").text
        assert "<h1>LookupError</h1>" in text and f"{name} fails" in text and "apps/debugged.py" in text
    assert "<td>here<small>str</small></td><td>&#x27;in ASGI&#x27;</td>" in text


def test_wrong_results_say_what_to_do(httpd: Server) -> None:
    answer = shown(httpd, "/debugged/forgotten", "a value of type NoneType")
    assert (
        "return apache.OK" in answer.text
        and "def <b>" not in answer.text
        and "lost" not in answer.text.split("As text")[1]
    )
    assert answer.header("Content-Disposition") is None and ">forgotten</span>" in answer.text
    assert "req.write()" in shown(httpd, "/debugged/text", "a value of type str").text
    assert "PythonWSGI" in shown(httpd, "/debugged/suspended", "a value of type generator").text
    plain = httpd.get("/debugged/forgotten")
    httpd.claim("a value of type NoneType")
    assert plain.text.startswith("Mod_python error:") and "return apache.OK" in plain.text


def test_a_part_of_a_page_gets_no_page(httpd: Server) -> None:
    answer = httpd.ok("/parts.shtml", headers=HTML)
    httpd.claim("ZeroDivisionError")
    httpd.claims.append("unable to include")
    assert answer.text.startswith("before;") and "<html" not in answer.text


def test_a_head_and_an_answer_that_has_begun(httpd: Server) -> None:
    answer = httpd.get("/debugged/divides", "HEAD", headers=HTML)
    httpd.claim("ZeroDivisionError")
    assert (answer.status, answer.text) == (500, "")
    with pytest.raises(Exception):  # noqa: B017
        httpd.get("/debugged/begun", headers=HTML)
    httpd.claim("LookupError: late")


def test_nothing_leaks_without_it(serve: Serve, mpm: str) -> None:
    server = serve(CONFIG.replace("${DEBUG}", "Off"), mpm=mpm, modules=("include",))
    for path in ("debugged/divides", "debugged/forgotten", "debugged/hostile", "wsgi/x", "asgi/x"):
        for headers in (HTML, {}):
            answer = server.get("/" + path, headers=headers)
            server.claim("Traceback|NoneType")
            assert answer.status == 500 and answer.header("Content-Security-Policy") is None
            assert "debugged" not in answer.text and "</html>" in answer.text
            assert "Traceback" not in answer.text and "hunter2" not in answer.text and "NoneType" not in answer.text


@pytest.mark.skipif(not shutil.which("chromedriver"), reason="no Chromium")
def test_in_a_browser(serve: Serve, tmp_path: Path) -> None:
    """The browser takes the style by its digest; a picture is kept for who wants to look."""
    server = serve(CONFIG.replace("${DEBUG}", "On"), mpm="event", modules=("include",))
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(server.url("/debugged/divides?a=1"))
        server.claim("ZeroDivisionError")
        assert browser.text("h1") == "ZeroDivisionError" and browser.text(".message") == BY_ZERO
        assert "1.0" in browser.text("details.user")
        assert browser.script("return getComputedStyle(document.querySelector('h1')).color") != "rgb(0, 0, 0)"
        browser.screenshot(APPS.parent.parent / "target/screenshots/debug.png")
    finally:
        browser.close()


class Login(NamedTuple):
    user: str
    password: str


@pytest.mark.parametrize(
    "value",
    [
        Login("Ada", "LEAK"),
        [Login("Ada", "LEAK")],
        ["mysql", "--password", "LEAK"],
        [b"curl", b"--token", b"LEAK"],
        [["Cookie", "LEAK"], ["authorization", "LEAK"]],
        {"password": "LEAK"}.items(),
        "password='a\\'LEAK'",
        "password='a''LEAK'",
        'password="""LEAK"""',
        '{"token": "a\\"LEAK"}',
        '{"password": ["LEAK"]}',
        "('password', 'LEAK')",
        "Authorization: Basic LEAK\r\nCookie: a=LEAK; b=LEAK\r\n",
        b"Authorization: Bearer LEAK",
        "Bearer 1.LEAK",
        "amqp://user:a@LEAK@host",
        "postgres://user:1LEAK/LEAK@host/x",
        "//user:LEAK@host/",
        "https://host/?page=1&key=LEAK",
        "x" * 350 + " password=LEAK" + "x" * 2000,
    ],
)
def test_secrets_in_values(value: object) -> None:
    assert "LEAK" not in Values().text(value)


def test_what_is_no_secret_is_shown() -> None:
    shown = Values().text(
        ["http://localhost:8080/x", "mail@host", ("a", "b"), Login("Ada", "x"), "basic authentication"]
    )
    assert shown == (
        "['http://localhost:8080/x', 'mail@host', ('a', 'b'), Login(user='Ada', password=(hidden)), 'basic authentication']"
    )


REQUEST = _debug_page.Request("GET", "/", "HTTP/1.1", "127.0.0.1", "main_interpreter", [("Accept", "text/html")])


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def pages(error: BaseException) -> tuple[str, str]:
    """The log's text, and the page; in plain text it is as bounded."""
    text = _tracebacks.describe(error)
    _, _, page = _debug_page.page(error, "PythonHandler x", text, REQUEST)
    _, _, plain = _debug_page.page(error, "PythonHandler x", text, REQUEST._replace(headers=[]))
    assert len(plain) < 300_000 and len(page) < 1 << 20
    json.loads(_log_objects.exception(error)[1])
    return text, page


def test_an_exception_may_say_a_lot() -> None:
    """Looking for secrets in it takes no time to speak of."""
    text, page = pages(raised(ValueError("x = 'y' " * 1_000_000)))
    assert len(text) > 8_000_000 and "<h1>ValueError</h1>" in page


@pytest.mark.parametrize("far", [300_000_000, -300_000_000])
def test_a_syntax_error_may_be_far_off(far: int) -> None:
    for details in (
        ("f.py", 1, far, "x"),
        ("f.py", 1, 1, "x", 1, far),
        ("f.py", 1, far, None),
        ("f.py", 1, far, "x" * 9, 1, 0),
    ):
        if len(details) > 4 and sys.version_info < (3, 10):
            continue
        error = SyntaxError("m", details)
        text, _ = pages(raised(error))
        assert (
            len(text) < 2000 and "SyntaxError: m" in text and far in (error.offset, getattr(error, "end_offset", None))
        )
    # Where it can be seen it is shown.
    assert "\n    x y z\n      ^" in pages(raised(SyntaxError("m", ("f.py", 1, 3, "x y z"))))[0]


def test_a_message_has_no_secrets_either() -> None:
    _, page = pages(raised(ValueError("no login with password=LEAK at db://user:LEAK@host")))
    assert "LEAK" not in page and "no login with password=(hidden)" in page


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no groups")
def test_a_group_may_have_a_member_more_than_once() -> None:
    """Formatting it would take each as often as it occurs: 2 ** 40 times."""
    error: BaseException = ValueError("innermost")
    for _ in range(40):
        error = builtins.ExceptionGroup("group", [error, error])  # type: ignore[attr-defined]
    text, _ = pages(raised(error))
    assert "ExceptionGroup: group (2 sub-exceptions)" in text


def test_an_exceptions_class_may_hide_what_it_is() -> None:
    class Hides(Exception):
        def __getattribute__(self, name: str) -> object:
            raise SystemExit(name)

    class Lies(Exception):
        @property
        def __class__(self) -> Any:  # type: ignore[override]
            raise SystemExit

        @property
        def __notes__(self) -> Any:
            raise SystemExit

    for kind in (Hides, Lies):
        text, page = pages(raised(kind("what it says")))
        assert text.startswith("Traceback (most recent call last):\n") and "in raised" in text
        assert (
            f"{kind.__name__}: what it says" in text
            and f"<h1>{kind.__name__}</h1>" in page
            and "test_debug_page.py" in page
        )


def test_code_may_have_a_name_that_no_file_has() -> None:
    try:
        exec(compile("1 / 0", "no\nfile <\ud800>", "exec"))
    except ZeroDivisionError as error:
        _, page = pages(error)
    assert "<h1>ZeroDivisionError</h1>" in page and r"file &lt;\ud800&gt;:1" in page


def test_names_of_secrets() -> None:
    """Of variables, and in lines of source."""
    assert all(map(is_secret, ("pw", "db_pw", "privateKey", "PRIVATE_KEY", "access_key_id")))
    assert not any(map(is_secret, ("pwm", "keyboard", "author", "accessed")))
    line = 'private_key="LEAK"; access_key = \'LEAK\'; keyboard="shown"'
    found = without_secrets(line, only_quoted=True)
    assert "LEAK" not in found and "shown" in found
