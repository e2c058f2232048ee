"""How text of a form is decoded, and what is tolerated of clients that write multipart forms in their own way."""

from __future__ import annotations

import codecs
import encodings
import json
from typing import Any, Optional

import pytest
from conftest import Serve, Server, places
from hypothesis import given
from hypothesis import strategies as st
from mod_python import _charsets, _multipart, apache, util
from mod_python.testing import FakeRequest

URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
END = b"--b--\r\n"


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    latin = (
        "<Location /latin>\nSetHandler mod_python\nPythonHandler forms::everything\n"
        "PythonOption mod_python.form.charset iso-8859-1\n</Location>\n"
    )
    return serve_module(places("forms") + latin, mpm=mpm)


def part(content: bytes, options: bytes = b"name=a", kind: bytes = b"", name: bytes = b"form-data") -> bytes:
    return b"--b\r\nContent-Disposition: " + name + b"; " + options + kind + b"\r\n\r\n" + content + b"\r\n"


def form(
    body: bytes, headers: dict[str, str], options: Optional[dict[str, str]] = None, uri: str = "/"
) -> util.FieldStorage:
    req: Any = FakeRequest(uri, "POST", body, headers, options=options)
    return util.FieldStorage(req, keep_blank_values=1)


def named(charset: bytes) -> bytes:
    return part(charset, b"name=_charset_")


def typed(charset: bytes) -> bytes:
    return b"\r\nContent-Type: text/plain; charset=" + charset


LATIN = {"mod_python.form.charset": "iso-8859-1"}
# The part's own, the form's, the option's, UTF-8.
CHARSETS = [
    (part(b"\xe9", kind=typed(b"iso-8859-1")), {}, "é"),
    (part(b"\xe9", kind=typed(b'"windows-1252"')) + named(b"koi8-r"), {"mod_python.form.charset": "cp437"}, "é"),
    (part(b"\xe9", kind=typed(b"utf-16le") + b"; x=y") + named(b"koi8-r"), {}, "\ufffd"),
    (part("é日".encode("utf-16"), kind=typed(b"UTF-16")), {}, "é日"),
    (part(b"\xc9") + named(b"KOI8-R"), {"mod_python.form.charset": "iso-8859-1"}, "и"),
    (named(b"shift_jis") + part("表".encode("shift_jis")), {}, "表"),
    (part(b"\xe9"), LATIN, "é"),
    (part("é".encode()), {}, "é"),
    (part(b"\xe9"), {}, "\ufffd"),
    # What is unknown, no charset, or says nothing, is passed over.
    (part(b"\xe9", kind=typed(b"nonsense")) + named(b"zip"), LATIN, "é"),
    (part(b"\xe9", kind=typed(b"us-ascii")), LATIN, "é"),
    (part("é".encode(), kind=typed(b"ascii")), {}, "é"),
    (part(b"+AGE-", kind=typed(b"utf-7")) + named(b"unicode_escape"), {}, "+AGE-"),
    (part(b"\\x41") + named(b"unicode_escape"), {}, "\\x41"),
    (part(b"uryyb", kind=typed(b"rot13")), {}, "uryyb"),
    (part(b"xn--9ca", kind=typed(b"idna")) + named(b"punycode"), {}, "xn--9ca"),
    (part(b"a") + named(b"utf-16"), {}, "a"),
    (part("é".encode()), {"mod_python.form.charset": "rot13"}, "é"),
]


@pytest.mark.parametrize(("body", "options", "text"), CHARSETS)
def test_charsets_of_multipart_forms(body: bytes, options: dict[str, str], text: str) -> None:
    field = form(body + END, MULTIPART, options)["a"]
    assert field == text
    # Whatever the charset is: no byte is lost.
    content = body[: body.index(b"\r\n--b", 5) if b"\r\n--b" in body[5:] else -2]
    if b"name=a" in content:
        assert field.file.read() == content.partition(b"\r\n\r\n")[2] == field.file.read()


@pytest.mark.parametrize(
    ("query", "options", "text"),
    [
        ("a=%E9&_charset_=iso-8859-1", {}, "é"),
        ("_charset_=windows-1251&a=%E9", LATIN, "й"),
        ("a=%E9", LATIN, "é"),
        ("a=%C3%A9", {}, "é"),
        ("a=%E9", {}, "\ufffd"),
        ("a=%E9&_charset_=utf_16", LATIN, "é"),
        ("a=%E9&_charset_=", LATIN, "é"),
        ("a=%E9&_charset_=" + "x" * 10000, LATIN, "é"),
    ],
)
def test_charsets_of_other_forms(query: str, options: dict[str, str], text: str) -> None:
    posted = form(query.encode(), URLENCODED, options)
    asked = form(b"", URLENCODED, options, "/?" + query)
    for found in (posted, asked):
        assert found["a"] == text
        assert found["a"].file.read() == (b"\xe9" if "%E9" in query else "é".encode())


DECLARED = [
    ("a=%E9", "ISO-8859-1", {}, "é"),
    ("a=%E9", '"windows-1251"', {}, "й"),
    ("a=%C3%A9", "UTF-8", LATIN, "é"),
    ("a=%E9&_charset_=koi8-r", "iso-8859-1", {"mod_python.form.charset": "cp437"}, "И"),
    ("a=%E9", "iso-8859-1", {"mod_python.form.charset": "cp437"}, "é"),
    # What is unknown, no charset of a form, or says nothing, is passed over.
    ("a=%E9&_charset_=nonsense", "iso-8859-1", {}, "é"),
    ("a=%E9", "nonsense", LATIN, "é"),
    ("a=%E9", "utf-16", LATIN, "é"),
    ("a=%E9", "us-ascii", LATIN, "é"),
    ("a=%E9", "", LATIN, "é"),
    ("a=%E9", "x" * 5000, {}, "\ufffd"),
    ("a=%E9", "rot13; charset=iso-8859-1", {}, "\ufffd"),
]


@pytest.mark.parametrize(("query", "charset", "options", "text"), DECLARED)
@pytest.mark.parametrize("multipart", [False, True])
def test_the_charset_of_a_body(query: str, charset: str, options: dict[str, str], text: str, multipart: bool) -> None:
    """What Content-Type says of the whole body comes behind what the form says of itself."""
    headers, body = URLENCODED, query.encode()
    if multipart:
        pairs = [pair.partition(b"=") for pair in body.split(b"&")]
        values = {name: b"\xe9" if value == b"%E9" else value for name, _, value in pairs}
        values = {name: "é".encode() if value == b"%C3%A9" else value for name, value in values.items()}
        body = b"".join(part(value, b"name=" + name) for name, value in values.items()) + END
        headers = MULTIPART
    found = form(body, {"Content-Type": f"{headers['Content-Type']}; charset={charset}"}, options, "/?q=%C3%A9")
    assert found["a"] == text
    assert found["a"].file.read() == (b"\xe9" if "%E9" in query else "é".encode())
    # The query is none of the body's.
    assert found["q"] == form(b"", URLENCODED, options, "/?q=%C3%A9")["q"]


def test_the_charset_of_a_body_in_httpd(httpd: Server) -> None:
    for charset, text in (("ISO-8859-1", "é"), ("nonsense", "\ufffd")):
        headers = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
        answer = httpd.ok("/forms/everything", "POST", body=b"%E9=%E9", headers=headers)
        assert json.loads(answer.text)["items"] == [[text, text]]


def test_a_callback_is_told_names_in_the_charset_of_the_body() -> None:
    import io

    names = []

    def made(name: str) -> io.BytesIO:
        names.append(name)
        return io.BytesIO()

    headers = {"Content-Type": MULTIPART["Content-Type"] + "; charset=iso-8859-1"}
    req: Any = FakeRequest("/", "POST", part(b"x", b'name=f; filename="\xe9"') + END, headers)
    assert util.FieldStorage(req, file_callback=made)["f"].filename == "é" and names == ["é"]


def test_names_are_in_the_charset_of_the_form(httpd: Server) -> None:
    body = part(b"\xe9", b'name="\xe9"') + part(b"\xe9", b'name="f"; filename="\xe9.txt"') + END
    names = json.loads(httpd.ok("/latin", "POST", body=body, headers=MULTIPART).text)["items"]
    assert names == [["é", "é"], ["f", ["file", "é.txt", "text/plain", 1]]]
    assert json.loads(httpd.ok("/latin?%E9=%E9").text)["items"] == [["é", "é"]]
    # The second byte of this letter is that of a backslash.
    japanese = part(b"x", 'name="表"'.encode("shift_jis")) + named(b"Shift_JIS") + END
    assert form(japanese, MULTIPART).keys() == ["表", "_charset_"]


def test_a_client_names_nothing_that_python_would_import_or_remember() -> None:
    before = set(encodings._cache)  # type: ignore[attr-defined]
    for place in range(50):
        form(part(b"\xe9", kind=typed(b"no-%d" % place)) + named(b"os.%d" % place) + END, MULTIPART)
    assert set(encodings._cache) == before  # type: ignore[attr-defined]


def test_every_charset_decodes_text_to_text() -> None:
    found = {_charsets.charset(name) for name in _charsets._NAMES} - {None}
    assert {"utf-8", "iso8859-1", "cp1252", "shift_jis", "gb18030", "koi8-u"} <= found
    for name in found:
        assert name is not None and isinstance(b"\xe9\xff".decode(name, "replace"), str)
        assert codecs.lookup(name).name not in ("utf-7", "idna", "punycode", "unicode-escape", "rot13")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (b'filename="a\\"b.txt"', 'a"b.txt'),
        (b'filename="a%22b.txt"', "a%22b.txt"),
        (b'filename="a\\\\\\"b.txt"', '"b.txt'),
        (b'filename="C:\\Documents\\file.txt"', "file.txt"),
        (b'filename="C:\\new\\temp\\x"', "x"),
        (b'filename="\\\\server\\share\\f"', "f"),
        (b'filename="a;b=c.txt"', "a;b=c.txt"),
        (b'filename="a\\";b.txt"; x=y', 'a";b.txt'),
        (b'filename="back\\', "unnamed"),
        (b'filename="open', '"open'),
        (b"filename=plain.txt ; x=y", "plain.txt"),
        (b"filename=\"x\"; filename*=utf-8''%C3%A9%22", 'é"'),
    ],
)
def test_names_of_files(option: bytes, name: str) -> None:
    field = form(part(b"content", b"name=a; " + option) + END, MULTIPART)["a"]
    assert (field.filename, field.value) == (name, b"content")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (b'name="a\\"b"', 'a"b'),
        (b'name="a\\\\b"', "a\\b"),
        (b'name="a\\b"', "a\\b"),
        (b'name="a%22b"', "a%22b"),
        (b"NAME=plain", "plain"),
        (b'filename=""; name="a;b"', "a;b"),
        (b'name = "spaced"', "spaced"),
    ],
)
def test_names_of_fields(option: bytes, name: str) -> None:
    assert form(part(b"v", option) + END, MULTIPART).items() == [(name, "v")]


HEADERS = b"--b\r\nContent-Disposition: form-data; name=z\r\n"
TOLERATED = [
    ("no end", part(b"1")[:-2], {"a": ["1"]}),
    ("no end after a line", part(b"1"), {"a": ["1"]}),
    ("no end after lines", part(b"1\r\n\r\n"), {"a": ["1\r\n\r\n"]}),
    ("nothing of the content", part(b"")[:-2], {"a": [""]}),
    ("half an end", part(b"1") + b"--b-", {"a": ["1"]}),
    ("an end without dashes", part(b"1") + b"--b", {"a": ["1"]}),
    ("an end without its line's end", part(b"1") + b"--b--", {"a": ["1"]}),
    ("a boundary and nothing", part(b"1") + b"--b\r\n", {"a": ["1"]}),
    ("half a header", part(b"1") + b"--b\r\nContent-Dis", {"a": ["1"]}),
    ("half of the headers", part(b"1") + HEADERS, {"a": ["1"]}),
    ("a boundary in the headers", HEADERS + part(b"1") + END, {"a": ["1"]}),
    ("the end in the headers", part(b"1") + HEADERS + END, {"a": ["1"]}),
    ("no name", part(b"1", b"x=y") + part(b"2") + END, {None: ["1"], "a": ["2"]}),
    ("nothing but the disposition", part(b"1").replace(b"; name=a", b"") + END, {None: ["1"]}),
    ("no disposition", b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n" + part(b"2") + END, {None: ["1"], "a": ["2"]}),
    ("another header", b"--b\r\nX: y\r\n\r\n1\r\n" + part(b"2") + END, {None: ["1"], "a": ["2"]}),
    ("no header", b"--b\r\n\r\n1\r\n" + part(b"2") + END, {None: ["1"], "a": ["2"]}),
    ("no header, bare line ends", b"--b\n\n1\n--b--\n", {None: ["1\n"]}),
    ("no header, several times", b"--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b\r\n\r\n\r\n" + END, {None: ["1", "2", ""]}),
    ("no header and no end", b"--b\r\n\r\n1", {None: ["1"]}),
    ("an empty disposition", b"--b\r\nContent-Disposition:\r\n\r\n1\r\n" + END, {None: ["1"]}),
    ("an empty name", part(b"1", b'name=""') + END, {"": ["1"]}),
    ("a disposition of its own", part(b"1", name=b"attachment") + END, {"a": ["1"]}),
    ("no parts", END, {}),
    ("no parts and a boundary", b"--b\r\n" + END, {}),
    ("a boundary that goes on", part(b"1\r\n--bb\r\n--b-x") + END, {"a": ["1\r\n--bb\r\n--b-x"]}),
]


@pytest.mark.parametrize(("name", "body", "fields"), TOLERATED, ids=[row[0] for row in TOLERATED])
def test_what_is_tolerated(name: str, body: bytes, fields: dict[Any, list[str]]) -> None:
    found = form(body, MULTIPART)
    assert found.list.table() == fields and found.keys() == list(fields)
    req: Any = FakeRequest("/", "POST", body, MULTIPART)
    assert util.apply_fs_data(lambda **given: len(given), util.FieldStorage(req)) == len(set(fields) - {None})


def test_what_is_tolerated_in_httpd(httpd: Server) -> None:
    body = part(b"1") + part(b"2", b"x=y") + part(b"content", b'name=f; filename="a\\"b.txt"')
    answer = httpd.ok("/forms/everything", "POST", body=body, headers=MULTIPART)
    assert json.loads(answer.text)["items"] == [["a", "1"], [None, "2"], ["f", ["file", 'a"b.txt', "text/plain", 7]]]


def test_a_field_without_a_name_is_a_field() -> None:
    """Whatever is done with a form; its name can be given later."""
    body = b"--b\r\nContent-Type: image/png\r\nX-A: y\r\n\r\n\xff\r\n" + b"--b\r\n\r\n2\r\n" + part(b"3") + END
    found = form(body, MULTIPART)
    assert found.keys() == list(found) == [None, "a"] and len(found) == 2 and None in found
    assert [str(field) for field in found[None]] == ["\ufffd", "2"]  # type: ignore[index]
    first, second = found.getlist(None)  # type: ignore[arg-type]
    assert (first.name, first.filename, first.type, first.disposition) == (None, None, "image/png", None)
    assert first.disposition_options == {} and first.headers["x-a"] == "y" and first.file.read() == b"\xff"
    assert (second.type, second.type_options, second.disposition, len(second.headers)) == ("text/plain", {}, None, 0)
    assert repr(found) == "{None: [Field(None, '\ufffd'), Field(None, '2')], 'a': [Field('a', '3')]}"
    found.list.sort()
    assert found.items() == [(None, "2"), ("a", "3"), (None, "\ufffd")]
    second.name = "b"
    assert found["b"] == "2" and found.getlist(None) == ["\ufffd"]  # type: ignore[arg-type]
    del found[None]  # type: ignore[arg-type]
    found.add_field("c", "4")
    assert found.keys() == ["b", "a", "c"]


def test_a_field_without_a_name_is_no_argument(httpd: Server) -> None:
    body = b"--b\r\n\r\n1\r\n" + part(b"spam", b"name=name") + b"--b\r\nX: y\r\n\r\n2\r\n" + END
    answer = httpd.ok("/forms/applied", "POST", body=body, headers=MULTIPART)
    assert json.loads(answer.text) == ["/forms/applied spam", "spam default", ["name", "own"], "keyword spam"]

    def takes_all(*places: Any, **names: Any) -> Any:
        return places, names

    assert util.apply_fs_data(takes_all, form(body, MULTIPART), req=5) == ((), {"name": "spam", "req": 5})


def test_a_file_without_a_name_and_an_end() -> None:
    field = form(part(b"\x00\xff\r\n", b'filename="f"'), MULTIPART).list[0]
    assert (field.name, field.filename, field.value) == (None, "f", b"\x00\xff\r\n")


@pytest.mark.parametrize("body", [b"", b"junk", b"--b", b"--b\r\nX", HEADERS, HEADERS + b"\r"])
def test_a_body_that_holds_no_form_is_refused(body: bytes) -> None:
    if body == b"--b":
        assert not form(body, MULTIPART)
        return
    with pytest.raises(apache.SERVER_RETURN) as refusal:
        form(body, MULTIPART)
    assert refusal.value.args[0] == 400


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"--b", b"-", b"b", b"x", b"X: y", b" "])), st.integers(1, 7))
def test_a_body_reads_the_same_however_it_is_cut(pieces: list[bytes], size: int) -> None:
    body = b"--b\r\nX: y\r\n\r\n" + b"".join(pieces)
    assert events(body, size) == events(body, len(body))


def events(body: bytes, size: int) -> Any:
    parser, found = _multipart.MultipartParser(b"b"), []
    try:
        for place in range(0, len(body), size):
            found += list(parser.feed(body[place : place + size]))
        found += list(parser.finish())
    except _multipart.MultipartError:
        return None
    joined: list[Any] = []
    for event in found:
        if isinstance(event, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += event
        else:
            joined.append(event if isinstance(event, (bytes, list)) else "end")
    return joined


def test_a_callback_for_fields_keeps_its_file() -> None:
    import io

    made = io.BytesIO()
    req: Any = FakeRequest("/", "POST", part(b"\xe9") + END, MULTIPART)
    field = util.FieldStorage(req, field_callback=lambda: made)["a"]
    assert field == "\ufffd" and field.file is made and made.read() == b"\xe9"
