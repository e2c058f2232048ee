"""Python in pages: <!--#python eval="…" --> and exec."""

from __future__ import annotations

import pytest
from conftest import Serve, Server, places

PAGES = {
    "order": (
        "one <!--#python exec=\"filter.write('two')\" --> three <!--#python eval=\"'four'\" --> five",
        "one two three four five",
    ),
    "print": ("<!--#python exec=\"print('printed', file=filter, end='')\" -->;", "printed;"),
    "state": (
        '<!--#python exec="\nn = 1\ndef double(x):\n    return x * 2\n" --><!--#python eval="double(n)" -->'
        '<!--#python exec="n += 1" --><!--#python eval="double(n)" -->',
        "24",
    ),
    "lines": (
        '<!--#python exec="\r\nfor i in range(3):\r\n    filter.write(str(i))\r\n" -->',
        "012",
    ),
    "none": ('[<!--#python eval="None" -->]', "[]"),
    "prepared": ('<!--#python eval="prepared" -->', "by a fixup"),
    "file": ("<!--#python eval=\"__file__.rpartition('/')[2]\" -->", "file.shtml"),
    "req": ('<!--#python exec="filter.write(filter.req.uri + str(filter.handler))" -->', "/pages/req.shtmlNone"),
    "kept": (
        '<!--#python exec="keep = filter" --><!--#python eval="filter is not keep" -->'
        "<!--#python exec=\"try: keep.write('x')\nexcept RuntimeError as e: filter.write(str(e))\" -->",
        "Truefilter object has expired",
    ),
    "included": ('<!--#include virtual="file.shtml" -->!', "file.shtml!"),
    "conditions": (
        "<!--#python exec=\"filter.req.subprocess_env['MOOD'] = 'good'\" -->"
        "<!--#if expr=\"v('MOOD') == 'good'\" -->yes<!--#else --><!--#python eval=\"1/0\" -->no<!--#endif -->",
        "yes",
    ),
    "large": (
        "<!--#python exec=\"for i in range(1000): filter.write('0123456789' * 100)\" -->",
        "0123456789" * 100_000,
    ),
}
WRONG = {
    "unknown": ('a<!--#python run="1" -->b', "a #python tag with an unknown attribute"),
    "nothing": ("a<!--#python -->b", "a #python tag has one attribute"),
    "twice": ('a<!--#python eval="1" eval="2" -->b', "a #python tag has one attribute"),
    "both": ('a<!--#python eval="1" exec="2" -->b', "a #python tag has one attribute"),
    "empty": ('a<!--#python eval="" -->b', "a #python tag without a value"),
    "raises": ('a<!--#python eval="1/0" -->b', "#python: Traceback.*ZeroDivisionError"),
    "exits": ('a<!--#python exec="raise SystemExit(3)" -->b', "#python: Traceback.*SystemExit"),
    "syntax": ('a<!--#python exec="def" -->b', "#python: .*SyntaxError"),
}


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    section = "Options +Includes\nSSIErrorMsg [error]\nAddOutputFilter INCLUDES .shtml\nPythonFixupHandler pages\n"
    config = places("pages") + f"<Directory @ROOT@/htdocs>\n{section}</Directory>\n"
    config += "<Location /pages/dynamic>\nOptions +Includes\n</Location>\n"
    config += "<Directory @ROOT@/htdocs/noexec>\nOptions IncludesNOEXEC\n</Directory>\n"
    config += "<Directory @ROOT@/htdocs/named>\nPythonInterpreter named\n</Directory>\n"
    config += "<Directory @ROOT@/htdocs/debug>\nPythonDebug On\n</Directory>\n"
    server = serve_module(config, mpm=mpm, modules=("include", "env"), start=False)
    server.write(
        "htdocs/named/page.shtml", "<!--#python eval=\"__import__('mod_python.apache').apache.interpreter\" -->"
    )
    for name, (page, _) in (PAGES | WRONG).items():
        server.write(f"htdocs/pages/{name}.shtml", page)
    server.write("htdocs/noexec/page.shtml", 'a<!--#python eval="1" -->b')
    server.write("htdocs/debug/page.shtml", "a<!--#python exec=\"raise LookupError('<b>')\" -->b")
    for folder in ("pages", "noexec", "debug", "named"):
        (server.root / "htdocs" / folder).chmod(0o755)
    return server.start()


@pytest.mark.parametrize("name", PAGES)
def test_page(httpd: Server, name: str) -> None:
    assert httpd.ok(f"/pages/{name}.shtml").text == PAGES[name][1]


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_in_a_tag(httpd: Server, name: str) -> None:
    """The page goes on, and so does the child (docs/differences.md#mistakes-in-a-pages-tag)."""
    for _ in range(3):
        assert httpd.ok(f"/pages/{name}.shtml").text == "a[error]b"
        httpd.claim(WRONG[name][1])
    assert httpd.ok("/pages/again").text == "the child lives"


def test_not_allowed(httpd: Server) -> None:
    assert httpd.ok("/noexec/page.shtml").text == "a[error]b"
    httpd.claim("#python used but not allowed in .*/noexec/page.shtml")


def test_debug_shows_the_traceback(httpd: Server) -> None:
    text = httpd.ok("/debug/page.shtml").text
    assert text.startswith("a\n<pre>\nTraceback") and text.endswith("</pre>\n[error]b")
    assert "LookupError" in text and "&lt;b&gt;" in text and "<b>" not in text
    httpd.claim("#python: Traceback")


def test_the_interpreter_of_a_page(httpd: Server) -> None:
    assert httpd.ok("/named/page.shtml").text == "named"


def test_a_handler_can_add_the_filter(httpd: Server) -> None:
    assert httpd.ok("/pages/dynamic").text == "a 42 b"
