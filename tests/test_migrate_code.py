"""`mod_python migrate`: what is said of code, line by line, and that nothing is said of code that is right."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
from mod_python._migrate import code, older
from test_doctor_parts import growth
from test_migrate import of, said

from httpd import PROJECT

HEAD = "from mod_python import apache\n"


def told(text: str, path: str = "/nowhere/m.py") -> list[tuple[int, str, str]]:
    """Lines, codes and texts."""
    found = code.page(path, text) if path.endswith(".psp") else code.module(path, text.encode(), text)
    return sorted({(one.line, one.code, one.text) for one in found})


def lines_of(text: str, path: str = "/nowhere/m.py") -> list[tuple[int, str]]:
    return [(line, code) for line, code, _ in told(text, path)]


GRAMMAR = [
    "if x: print 'x'",
    "print 'x',",
    "print ('%s') % 5",
    "print ('a'), 'b'",
    "print -1",
    "print [1]",
    "print not x",
    "print",
    "for a in b: print a; print",
    "print >>req, 'x'",
    "print 'a %s' \\\n  % b",
    "x = `y`",
    "exec 'x' in names",
    "exec code",
    "raise E, 'x'",
    "raise E(1), None, trace",
    "raise 'a text'",
    "raise 'a %s' % text",
    "x = 0777",
    "x = 0xFFL",
    "x = ur'a'",
    "if a <> b: pass",
    "def f(a, (b, c)): pass",
    "f = lambda (a, b): a",
    "try: f()\nexcept (A, B), e: pass",
    "try: f()\nexcept A, (number, text): pass",
    "try: f()\nexcept A, self.error: pass",
    "try: f()\nexcept A,e: pass",
    "True, False = 1, 0",
    "f(async=True)",
]


@pytest.mark.parametrize("older_line", GRAMMAR)
@pytest.mark.parametrize("beside", ["", "print 'more of it'\n"])
def test_what_is_python_twos_is_told_on_its_line(older_line: str, beside: str) -> None:
    """Whether the rest of the file parses or not."""
    found = {line for line, code in lines_of(f"{beside}x = 1\n{older_line}\ny = 2\n") if code == "MP2001"}
    first = beside.count("\n") + 2
    assert sorted(found) == [1] * bool(beside) + [first + older_line.startswith("try:")], older_line


@pytest.mark.parametrize("older_line", GRAMMAR)
def test_what_is_mended_parses(older_line: str) -> None:
    text = f"def f():\n  {older_line.replace(chr(10), chr(10) + '  ')}\n"
    made, _ = older.mended(text)
    assert made.count("\n") == text.count("\n")
    ast.parse(made)


def test_this_projects_own_code_is_no_older() -> None:
    for path in (PROJECT / "python/mod_python").rglob("*.py"):
        text = path.read_text()
        assert older.mended(text) == (text, []), path


def test_what_is_left_is_told_beside_what_is_older() -> None:
    """A mistake that is none of Python 2's does not hide behind one that is, and names are found all the same."""
    found = told("print 'x'\nx = unicode(1)\nif x\n    pass\n")
    assert [(line, code) for line, code, _ in found] == [(1, "MP2001"), (2, "MP2002"), (3, "MP2001")]
    # Tabs as Python 2 took them.
    found = told("def f():\n\tif x:\n\t    a\n        print 'b'\n")
    assert [line for line, _, _ in found] == [4, 4] and "tabs" in found[1][2] + found[0][2]
    # Carriage returns alone end lines, too.
    assert lines_of("x = 1\rprint 'x'\r") == [(2, "MP2001")]


RIGHT = {
    "an older Python's module, or the newer one's": (
        "try:\n    import urllib2\nexcept ImportError:\n    import urllib.request as urllib2\n"
        "try:\n    from urllib.parse import quote\nexcept ImportError:\n    from urllib import quote\n"
        "try:\n    import cPickle\nexcept:\n    import pickle as cPickle\n"
    ),
    "a name that is tried": "try:\n    unicode\nexcept NameError:\n    text = str\nelse:\n    text = 'x'\n",
    "by version": (
        "import sys\nif sys.version_info[0] < 3:\n    import ConfigParser\n    a = basestring\nelse:\n    b = str\n"
        "if sys.version_info >= (3, 0):\n    pass\nelse:\n    a = xrange\nif sys.version_info[:2] == (2, 7): xrange\n"
        "PY2 = sys.version_info.major == 2\nx = unicode if PY2 else str\nif not six.PY3:\n    raw_input()\nif sys.hexversion < 0x3000000: long\n"
    ),
    "both methods": "class A:\n    def __bool__(self): return True\n    __nonzero__ = __bool__\n    def __iter__(self): return self\n    def next(self): pass\n    __next__ = next\n    __metaclass__ = type\n",
    "methods of one's own": "class D(dict):\n    def has_key(self, k): return k in self\nD().has_key(3)\n",
    "tables and forms have them": (
        "from mod_python import util\ndef f(req):\n    fs = util.FieldStorage(req)\n    return fs.has_key('x') or req.form.has_key('x') or"
        " req.headers_in.has_key('x') or [k for k, v in req.headers_out.iteritems()] or req.get_options().has_key('x')\n"
    ),
    "bytes where bytes are meant": (
        "def f(req):\n    a = req.read().decode()\n    data = req.read()\n    text = data.decode()\n    req.write(req.read()); len(req.read()); json.loads(req.read())\n"
    ),
    "handlers that redirect, and stubs": HEAD + "from mod_python import util\ndef handler(req):\n    util.redirect(req, '/')\nclass A:\n    def handler(self, req):\n        pass\n",
    "what the modules have": HEAD + "from mod_python import Session, Cookie, psp\napache.main_server; apache.HTTP_OK; apache.import_module; Session.Session; Cookie.add_cookie; psp.PSP\n",
    "lists": "k = list(d.keys())\nk.sort()\nk[0]\nd[0].keys()\nx = d.keys()\nx = []\nx.append(1)\nrows.next\nmap(f, a)\n[].sort(key=lambda a: a)\nd.get('a').pop(0)\n",
    "python 3": "def f(a, b=(1, 2), *, c=3): pass\nprint('x', file=y)\nprint(x) if y else z\nx = 0\nx = 00\nx = 0.1\nx = 0o17\nraise X from y\nasync def g(): await h()\nlambda: (1, 2)\nx: int = 1\n",
    "an application": "def application(environ, start_response):\n    def inner(): return 'x'\n    body = inner().encode()\n    x = 'text'\n    x = x.encode()\n    start_response('200 OK', [])\n    yield x\n    return [body]\n",
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_said_of_what_is_right(name: str) -> None:
    assert told(RIGHT[name]) == []


def test_code_for_both_is_told_of_where_nothing_stands_for_it() -> None:
    assert lines_of("try:\n    import urllib2\nexcept ImportError:\n    raise\n") == [(2, "MP2003")]
    assert lines_of("try:\n    import urllib2\n    urllib2.x\nexcept ValueError:\n    pass\n") == [(2, "MP2003")]
    assert lines_of("try:\n    f(unicode(x))\nexcept Exception:\n    pass\n") == [(2, "MP2002")]
    # However deep an expression is.
    assert lines_of("x = " + "a + " * 800 + "unicode(b)\n") == [(1, "MP2002")]
    assert lines_of("if sys.version_info[0] >= 3:\n    xrange\nif unknown < 3:\n    xrange\n") == [
        (2, "MP2002"),
        (4, "MP2002"),
    ]


def test_a_module_of_the_sites_own_is_no_older_one(tmp_path: Path) -> None:
    (tmp_path / "site/inner").mkdir(parents=True)
    (tmp_path / "site/commands.py").write_text("")
    text = "import commands, user\n"
    assert told(text, str(tmp_path / "site/inner/m.py")) == [(1, "MP2003", "the module user is gone")]


@pytest.mark.parametrize(
    "line",
    [
        "d.keys()[0]", "filter(None, d)[0]", "map(f, d).sort()", "d.items().sort()", "zip(a, b)[1:]", "x.sort(lambda a, b: a - b)",
        "iter(x).next()", "rows = csv.reader(f); rows.next()", "k = d.keys(); k.sort()",
    ],
)  # fmt: skip
def test_lists_that_are_none(line: str) -> None:
    assert lines_of(line + "\n") == [(1, "MP2004")]


def test_what_is_of_mod_python_and_not_there() -> None:
    text = HEAD + (
        "from mod_python import importer, Cookie\nfrom mod_python.util import nothing\napache.redirect\napache.init\n"
        "c = Cookie.get_cookies(req, Cookie.SignedCookie, secret='x')\nd = fields['x'].file.read()\n"
    )
    found = [(2, "MP2008"), (3, "MP2008"), (4, "MP2008"), (5, "MP2008"), (6, "MP2007"), (7, "MP2005")]
    assert lines_of(text) == found


def test_applications_that_give_text() -> None:
    text = "def application(environ, start_response):\n    output = 'a %s' % b\n"
    for end in (
        "return ['x']",
        "return [output]",
        "return output",
        "yield f'{x}'",
        "return ['a' + x, b'']",
        "return [''.join(a)]",
    ):
        assert lines_of(f"{text}    {end}\n") == [(3, "MP2014")], end
    for end in ("return [output.encode()]", "return [b'x']", "return app(environ, start_response)", "yield b'%s'"):
        assert lines_of(f"{text}    {end}\n") == [], end
    scripts = "def check_password(environ, user, password): return True\ndef allow_access(environ, host): return True\n"
    assert lines_of(scripts) == [(1, "MP2013"), (2, "MP2013")]
    assert lines_of("def check_password(self, password): pass\n") == []


def test_pages_are_read_as_they_are_compiled() -> None:
    """By the same rules as modules, on the template's lines; what is right is not told of, and text is text."""
    right = (
        "<html>\n<%\nprint('x', file=req)\ns = \"print 'x' <> `y`\"\ndef f(a, b=(1, 2)):\n    return a\nunicode = str\nx = unicode(3)\n"
        "file = open('/x')\nfile.close()\nif form.has_key('x'):\n    pass\n%>\n<p>print 'x' <%= x %> `code`</p>\n"
        '<% if x: %>\n<b>raise E, x</b>\n<% # end %>\n<%@ include file="nothing.psp" %>\n'
    )
    assert told(right, "/nowhere/a.psp") == []
    wrong = "<p>\n<% for k in d.iterkeys():\n    # begin\n%>\n<%= `k` %>\n<%\n# end\nimport urllib2\n%>\n<%= unicode(k) %> <%= d.keys()[0] %>\n"
    assert lines_of(wrong, "/nowhere/a.psp") == [
        (2, "MP2004"),
        (5, "MP2001"),
        (8, "MP2003"),
        (10, "MP2002"),
        (10, "MP2004"),
    ]
    assert lines_of("<p>\n<% x\n", "/nowhere/a.psp") == [(2, "MP2001")]


@pytest.mark.parametrize("opening", ["<%@", "<%", "<%--"])
def test_tags_that_are_not_closed(opening: str) -> None:
    assert growth(lambda count: told(f"{opening}{'x' * 40}" * count, "x.psp"), 3000) < 9


def test_a_file_of_no_coding(tmp_path: Path) -> None:
    """What Python 2 took, and neither Python 3 nor a PSP page here takes; the rest of it is looked at."""
    for name, start, end in (("a.py", "", ""), ("a.psp", "<%\n", "%>\n")):
        path = tmp_path / name
        path.write_bytes(f"{start}x = 1\ny = 'gr\xfc\xdfe'\nprint 'x'\n{end}".encode("latin-1"))
        found = [(one.line - start.count("\n"), one.text) for one in code.check(str(path))]
        assert sorted(line for line, _ in found) == [2, 3] and re.search("UTF-8", found[0][1]), found
    (tmp_path / "a.py").write_bytes("# coding: latin-1\ny = 'gr\xfc\xdfe'\n".encode("latin-1"))
    assert list(code.check(str(tmp_path / "a.py"))) == []


@pytest.mark.parametrize("coding", ["idna", "undefined", "punycode", "uu", "mbcs", "nothing"])
def test_codings_that_no_source_has(tmp_path: Path, capsys: pytest.CaptureFixture[str], coding: str) -> None:
    """The file is told of, and the others are read."""
    (tmp_path / "a.py").write_bytes(f"#!/x\n# -*- coding: {coding} -*-\nprint 1\n".encode() + b"\xff..\n")
    (tmp_path / "a.psp").write_bytes(f"# coding: {coding}\n<% print 1 %>\n".encode())
    (tmp_path / "b.py").write_text("# coding: cp1252\nprint 1\n")
    found = said(capsys, str(tmp_path))[1]
    assert of(found, "a.py") == of(found, "a.psp") == [(None, "MP1014")] and of(found, "b.py") == [(2, "MP2001")]


def test_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name, by its first line, or, where it is named, by what it says; a directory that cannot be read is told of."""
    site = tmp_path / "site"
    for name, text in {
        "UPPER.PY": "print 1\n",
        "tool": "#!/usr/bin/env python\nprint 1\n",
        "old.cgi": "#!/usr/bin/python2\nprint 1\n",
        "page.html": "<p>\n<% print 1 %>\n",
        "sub/x.py": "print 1\n",
        "README": "print 1\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    places = [(1, "UPPER.PY"), (2, "old.cgi"), (1, "sub/x.py"), (2, "tool")]
    assert found_in(capsys, str(site)) == places
    assert found_in(capsys, str(site / "page.html"), str(site / "README")) == [(2, "page.html")]
    if os.geteuid() != 0:
        (site / "sub").chmod(0)
        assert (0, "sub") in found_in(capsys, str(site))
        (site / "sub").chmod(0o755)


def found_in(capsys: pytest.CaptureFixture[str], *paths: str) -> list[tuple[int, str]]:
    found = said(capsys, *paths)[1]
    return [(one["line"] or 0, str(one["file"]).split("/site/")[1]) for one in found]
