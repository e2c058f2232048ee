"""mod_python.psp: the template language, and pages on a real httpd."""

from __future__ import annotations

import contextlib
import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve, Server, places
from hypothesis import given
from hypothesis import strategies as st
from mod_python import _psp, apache, psp
from mod_python.testing import FakeRequest


def run(source: str, **names: Any) -> str:
    written: list[str] = []

    class Request:
        def write(self, text: str, flush: int = 1) -> None:
            written.append(text)

    exec(_psp.parse(source, "__psp__").compile("__psp__"), {"req": Request(), **names})
    return "".join(written)


LANGUAGE = [
    ("", ""),
    ("plain", "plain"),
    ("a<%= 1 + 1 %>b", "a2b"),
    ("<%= 'a' %><%= 'b' %>", "ab"),
    ("<% x = 1 %><%= x %>", "1"),
    ("<% x = 1; y = 2; %><%= x + y %>", "3"),
    ("<%\nx = 1\ny = 2\n%><%= x + y %>", "3"),
    # Blocks: what follows stands where the block ended, deeper after a colon.
    ("<%\nfor x in range(3):\n%>[<%= x %>]<%\n# end\n%>.", "[0][1][2]."),
    ("<%\nfor x in range(2):\n    y = x * 2\n%>[<%= y %>]<%\n%>.", "[0][2]."),
    ("<%\nif 0:\n%>yes<%\nelse:\n%>no<%\n# end\n%>!", "no!"),
    ("<%\nif 1:\n    if 0:\n        a = 1\n    # deep\n%>in<%\n\n%>out", "inout"),
    ("<%\nfor x in 'ab':\n    for y in 'cd':\n%><%= x + y %> <%\n%>", "ac ad bc bd "),
    # An indented %>, and one behind code.
    ("<%\nfor x in range(2):\n    y = x\n    %>[<%= y %>]<%\n%>.", "[0][1]."),
    ("<%\nfor x in range(2):\n    %>[<%= x %>]<%\n    y = x\n%>;<%\n%>.", "[0];[1];."),
    ("<%\nfor x in range(2):\n    y = x %>[<%= y %>]<%\n%>.", "[0][1]."),
    # Blocks of one line.
    ("<% for x in range(3): %>[<%= x %>]<% # end %>.", "[0][1][2]."),
    ("<% if 0: %>a<% elif 1: %>b<% else: %>c<% # end %>d", "bd"),
    ("<% try: %><%= 1 / 0 %><% except ZeroDivisionError: %>caught<% # end %>", "caught"),
    ("<% for x in 'ab': %><% if x == 'a': %>A<% else: %>B<% # end %>,<% # end %>!", "A,B,!"),
    # Text is text.
    ('"quoted" \'\'\' """', '"quoted" \'\'\' """'),
    ("\\n \\t \\r stay", "\\n \\t \\r stay"),
    ("\\\\ is one, \\x41 is A, \\d stays, \\", "\\ is one, A is A, \\d stays, \\"),
    ('back\\"slash', 'back\\"slash'),
    ("a\r\nb", "a\nb"),
    ("a %> b", "a %> b"),
    ("100 % < 200 %", "100 % < 200 %"),
    ("{braces} %(x)s", "{braces} %(x)s"),
    # Comments, directives.
    ("a<%-- <%= 1/0 %>\n --%>b", "ab"),
    ("a<%@ page language='x' %>b", "ab"),
    ("<%= 1 # a comment %>", "1"),
    ("<%= (1,\n 2) %>", "(1, 2)"),
    ("<%\ndef f(x):\n    return x + 1\n\n%><%= f(1) %>", "2"),
    ("<%\nclass A:\n\tb = 1\n# end\n%><%= A.b %>", "1"),
    ("é<%= 'ü' %>", "éü"),
]


@pytest.mark.parametrize(("source", "expected"), LANGUAGE)
def test_the_language(source: str, expected: str) -> None:
    assert run(source) == expected


BROKEN = [
    ("a\nb <% x = 1", 2, "<% is never closed"),
    ("<%= 1", 1, "<%= is never closed"),
    ("\n\n<%-- x %>", 3, "<%-- is never closed"),
    ("a\n<% for x in %>", 2, ""),
    ("\n<%\n\nx = (\n%>", 4, ""),
    ("<%= %>", 1, "has no expression"),
    ("\n<% else: %>x", 2, ""),
    ('\n<%@ include file="nowhere.psp" %>', 2, "cannot include 'nowhere.psp': there is no"),
]


@pytest.mark.parametrize(("source", "line", "message"), BROKEN)
def test_a_mistake_names_its_line(source: str, line: int, message: str) -> None:
    with pytest.raises(SyntaxError) as caught:
        _psp.parse(source, "page.psp").compile("page.psp")
    assert (caught.value.filename, caught.value.lineno) == ("page.psp", line)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("\n\n<%= 1/0 %>", 3),
        ("a\n<%\n\nx = 1\n1/0\n%>", 5),
        ("<% for x in 'a': %>\n<%= x %>\n\n<% 1/0 %><% # end %>", 4),
        ("<%--\n\n--%>\n<%= 1/0 %>", 4),
        ("<% x = 1 %><% y = 2 %>\n<%= 1/0 %>", 2),
    ],
)
def test_an_error_points_at_the_template(source: str, line: int) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(source)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].lineno == line


@given(st.text(max_size=200).filter(lambda text: "<%" not in text and "\\" not in text and "\r" not in text))
def test_any_text_stays_as_it_is(text: str) -> None:
    assert run(text) == text


@given(st.text('<%=@->"\\\n\r\t ab:#é\0', max_size=60))
def test_any_source_gives_code_or_a_syntax_error(source: str) -> None:
    with contextlib.suppress(SyntaxError):
        _psp.parse(source, "x").compile("x")


def test_lines_of_python_keep_in_step_with_the_template() -> None:
    """Then the code need not be numbered anew, which is most of the cost of a large template."""
    source = 'text <b>bold</b> "q" <%= x %>\n<%\nfor i in range(2):\n%>\n  item <%= i %>\n<%\n# end\n%>\n' * 1200
    page = _psp.parse(source, "x")
    assert len(source) > 99_000 and [line.number for line in page.lines] == list(range(1, len(page.lines) + 1))
    assert len(page.lines) in (source.count("\n"), source.count("\n") + 1) and page.compile("x").co_filename == "x"


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "page").write_text('a\n<%@ include file="sub/one" %>\n<%= 1 %>')
    (tmp_path / "sub/one").write_text('[<%@ include file="two" %><%@ include file="page2" %>]')
    (tmp_path / "sub/two").write_text("two")
    (tmp_path / "page2").write_text("beside the page")
    page = _psp.parse((tmp_path / "page").read_bytes(), str(tmp_path / "page"), str(tmp_path))
    req: Any = FakeRequest()
    exec(page.compile("x"), {"req": req})
    assert req.text == "a\n[twobeside the page]\n1"
    assert [os.path.basename(file) for file in page.files] == ["page", "one", "two", "page2"]
    (tmp_path / "loop").write_text('<%@ include file="loop" %>')
    with pytest.raises(SyntaxError, match="would include itself"):
        _psp.parse((tmp_path / "loop").read_text(), str(tmp_path / "loop"))
    (tmp_path / "latin").write_bytes(b"a\n\xe9")
    with pytest.raises(SyntaxError, match=r"not UTF-8.*line 2"):
        _psp.parse((tmp_path / "latin").read_bytes(), "latin")


def test_a_page_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "page.psp").write_text("<%= form.getfirst('a') %> <%= who %>")
    req: Any = FakeRequest("/page.psp?a=1", filename=str(tmp_path / "page.psp"))
    psp.PSP(req, vars={"who": "you"}).run()
    assert req.text == "1 you"
    with pytest.raises(apache.SERVER_RETURN):
        psp.PSP(req, filename="none.psp")


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = places("templates") + (
        "<Directory @ROOT@/htdocs>\nAddHandler mod_python .psp .psp_\nPythonHandler mod_python.psp\n"
        "PythonOption mod_python.session.session_type FileSession\n"
        "PythonOption mod_python.session.database_directory @ROOT@/sessions\n</Directory>\n"
        "<Directory @ROOT@/htdocs/debug>\nPythonDebug On\n</Directory>\n"
        "<Directory @ROOT@/htdocs/stored>\nPythonOption mod_python.psp.cache_database_filename @ROOT@/sessions/psp.dbm\n</Directory>\n"
        "<Files runs.*>\nSetHandler mod_python\nPythonHandler templates\n</Files>\n"
    )
    server = serve_module(config, mpm=mpm, start=False)
    pages = {
        "hello.psp": "<%\nimport sys\n%><b>Hello <%= form.getfirst('name', 'you') %></b>",
        "count.psp": "<% session['n'] = session.get('n', 0) + 1 %><%= session['n'] %>",
        "error.psp": "before\n\n<%= 1/0 %>",
        "redirect.psp": "<% psp.redirect('/hello.psp') %>",
        "ends.psp": "<% raise apache.SERVER_RETURN(apache.HTTP_GONE) %>",
        "guarded.psp": "<% psp.set_error_page('sorry.psp') %>text <%= [][1] %>",
        "sorry.psp": "sorry: <%= exception[0].__name__ %>",
        "bad.psp": "\n\n<% if %>",
        "open.psp": "\n<% x",
        "applied.psp": "<%= psp.apply_data(lambda req, name='none': name) %>",
        "escaped.psp": "<%= escape('<&>') %>",
        "outer.psp": "<%@ include file='inner.txt' %>",
        "inner.txt": "first",
        "debug/shown.psp": "a <b>\n<%= 1 %>",
        "stored/page.psp": "stored <%= 1 %>",
    }
    for name, text in pages.items():
        server.write(f"htdocs/{name}", text)
    server.write("htdocs/runs.file", "")
    server.write("htdocs/runs.code", "")
    server.write("htdocs/page.tmpl", "<h1><%= escape(title) %></h1><%\nfor item in items:\n%>(<%= item %>)<%\n%>")
    (server.root / "sessions").mkdir()
    (server.root / "sessions").chmod(0o777)
    for folder in ("debug", "stored"):
        (server.root / "htdocs" / folder).chmod(0o755)
    return server.start()


def test_pages(httpd: Server) -> None:
    answer = httpd.ok("/hello.psp?name=spam")
    assert (answer.text, answer.header("Content-Type")) == ("<b>Hello spam</b>", "text/html; charset=utf-8")
    assert httpd.ok("/applied.psp?name=n").text == "n"
    assert httpd.ok("/escaped.psp").text == "&lt;&amp;&gt;"
    assert httpd.get("/none.psp").status == 404
    answer = httpd.ok("/count.psp")
    cookie = {"Cookie": (answer.header("Set-Cookie") or "").partition(";")[0]}
    assert [httpd.ok("/count.psp", headers=cookie).text for _ in range(2)] == ["2", "3"]


def test_errors_of_pages(httpd: Server) -> None:
    assert httpd.get("/error.psp").status == 500
    httpd.claim(r'File "[^"]*/error.psp", line 3.*ZeroDivisionError')
    assert httpd.ok("/guarded.psp").text == "text sorry: IndexError"
    assert httpd.get("/bad.psp").status == 500
    httpd.claim(r'File "[^"]*/bad.psp", line 3.*SyntaxError')
    assert httpd.get("/open.psp").status == 500
    httpd.claim(r'open.psp", line 2.*<% is never closed by %>')


def test_results_of_pages(httpd: Server) -> None:
    """docs/differences.md#redirects-and-errors-of-psp-pages"""
    answer = httpd.get("/redirect.psp")
    assert (answer.status, answer.header("Location")) == (302, "/hello.psp")
    assert httpd.get("/ends.psp").status == 410


def test_a_changed_include_counts(httpd: Server) -> None:
    assert httpd.ok("/outer.psp").text == "first"
    httpd.write("htdocs/inner.txt", "second text")
    assert httpd.ok("/outer.psp").text == "second text"


def test_code_is_shown_only_for_debugging(httpd: Server) -> None:
    httpd.write("htdocs/hello.psp_", "")
    assert "import" not in httpd.get("/hello.psp_").text
    httpd.write("htdocs/debug/shown.psp_", "")
    text = httpd.ok("/debug/shown.psp_").text
    assert "a&nbsp;&lt;b&gt;" in text and "<b>" not in text


def test_stored_code(httpd: Server) -> None:
    """docs/differences.md#compiled-psp-pages"""
    assert [httpd.ok("/stored/page.psp").text for _ in range(2)] == ["stored 1"] * 2
    assert list((httpd.root / "sessions").glob("psp.dbm*"))
    httpd.graceful()
    assert httpd.ok("/stored/page.psp").text == "stored 1"
    httpd.write("htdocs/stored/page.psp", "changed <%= 2 %>!")
    assert httpd.ok("/stored/page.psp").text == "changed 2!"


def test_templates_of_handlers(httpd: Server) -> None:
    assert httpd.ok("/templates/both").text == "Must specify either filename or string"
    assert httpd.ok("/templates/from_string").text == "5 é mod_python.psp"
    assert httpd.ok("/runs.file").text == "<h1>a &lt;title&gt;</h1>(1)(2)"
    text = httpd.ok("/runs.code").text
    assert text.startswith('req.write("""a """,0); req.write(str(1),0)\nreq.write("""<h1>""",0)')
