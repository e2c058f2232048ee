"""mod_python.util: forms, redirects, limits."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import urllib.parse
from typing import Any, Optional

import pytest
from client import raw
from conftest import Serve, Server, places
from hypothesis import given
from hypothesis import strategies as st
from mod_python import apache, util
from mod_python._multipart import MultipartError, MultipartParser, PartEnd, PartHeaders
from mod_python.testing import FakeRequest
from werkzeug.formparser import FormDataParser


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    limited = (
        "<Location /limited>\nSetHandler mod_python\nPythonHandler forms::everything\n"
        "PythonOption mod_python.form.max_fields 5\nPythonOption mod_python.form.max_memory_bytes 1000\n"
        "PythonOption mod_python.form.max_total_bytes 5000\n</Location>\n"
    )
    return serve_module(places("forms") + limited, mpm=mpm)


URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
BOUNDARY = "boundary123"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, filename: Optional[str] = None, kind: Optional[str] = None) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename is not None else ""
    head += f"\r\nContent-Type: {kind}" if kind else ""
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def test_a_query_and_a_posted_form(httpd: Server) -> None:
    answer = httpd.ok("/forms/everything?a=1&b=%C3%A9+x;c=", "POST", body=b"a=2&d=%E9&e=", headers=URLENCODED)
    answer = json.loads(answer.text)
    expected = [["a", "1"], ["b", "é x"], ["c", ""], ["a", "2"], ["d", "\ufffd"], ["e", ""]]
    assert answer == {"items": expected, "keys": ["a", "b", "c", "d", "e"], "len": 5}


def test_a_multipart_form(httpd: Server) -> None:
    body = (
        b"a preamble\r\n"
        + part("text", "é\r\nlines\n".encode())
        + part("empty", b"")
        + part("file", b"\x00\xff\r\n--" + BOUNDARY[:-1].encode(), "C:\\dir\\..\\é.bin", "application/x-test")
        + part("none", b"", "")
        + part("dots", b"x", "../..")
        + END
        + b"an epilogue"
    )
    items = json.loads(httpd.ok("/forms/everything?q=1", "POST", body=body, headers=MULTIPART).text)["items"]
    size = 2 + 4 + len(BOUNDARY) - 1
    assert items == [
        ["q", "1"],
        ["text", "é\r\nlines\n"],
        ["empty", ""],
        ["file", ["file", "é.bin", "application/x-test", size]],
        ["none", ""],
        ["dots", ["file", "unnamed", "text/plain", 1]],
    ]


def test_a_chunked_form(httpd: Server) -> None:
    """Without a Content-Length, which upstream needs."""
    blocks = [b"a=1&", b"b=2"]
    answer = httpd.ok("/forms/everything", "POST", body=iter(blocks), headers=URLENCODED, encode_chunked=True)
    assert json.loads(answer.text)["items"] == [["a", "1"], ["b", "2"]]


def test_a_large_upload_lies_on_disk(serve: Serve, mpm: str) -> None:
    server = serve(places("forms"), mpm=mpm)
    block, count = bytes(range(256)) * 256, 1600
    head, tail = part("file", b"", "large.bin")[:-2], b"\r\n" + END
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/forms/upload")
    connection.putheader("Content-Type", MULTIPART["Content-Type"])
    connection.putheader("Content-Length", str(len(head) + len(block) * count + len(tail)))
    connection.endheaders(head)
    digest = hashlib.sha256()
    for _ in range(count):
        connection.send(block)
        digest.update(block)
    connection.send(tail)
    name, found, peak = connection.getresponse().read().decode().split()
    assert (name, found) == ("large.bin", digest.hexdigest())
    assert int(peak) < 80 << 10, f"{peak} KiB for 100 MB"


def test_callbacks_and_calls(httpd: Server) -> None:
    body = part("file", b"content", "f") + part("text", b"t") + END
    assert httpd.ok("/forms/callbacks", "POST", body=body, headers=MULTIPART).text == "f b'content' t"
    found = json.loads(httpd.ok("/forms/applied?name=spam&req=x&unknown=y").text)
    assert found == ["/forms/applied spam", "spam default", ["name", "own", "req", "unknown"], "keyword spam"]


BAD_BODIES = [
    ("looks like a boundary at first", b"--" + BOUNDARY.encode() + b"junk\r\n\r\n", MULTIPART, 400),
    ("no boundary", b"x", {"Content-Type": "multipart/form-data"}, 400),
    ("long boundary", b"x", {"Content-Type": "multipart/form-data; boundary=" + "b" * 7000}, 400),
    ("another type", b"{}", {"Content-Type": "application/json"}, 501),
    ("nothing", b"", MULTIPART, 400),
    ("garbage", b"garbage\r\n" * 100, MULTIPART, 400),
    ("no colon", f"--{BOUNDARY}\r\nnonsense\r\n\r\nv\r\n".encode() + END, MULTIPART, 400),
    ("NUL", f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=a\0b\r\n\r\nv\r\n".encode() + END, MULTIPART, 400),
    ("long headers", f"--{BOUNDARY}\r\nX: {'y' * 20000}\r\n\r\nv\r\n".encode() + END, MULTIPART, 400),
    ("ends in headers", f"--{BOUNDARY}\r\nContent-Dispo".encode(), MULTIPART, 400),
    ("10,000 fields", b"&".join(b"a=1" for _ in range(10000)), URLENCODED, 413),
    ("10,000 parts", b"".join(part("a", b"") for _ in range(10000)) + END, MULTIPART, 413),
    ("10,000 parts without headers", f"--{BOUNDARY}\r\n\r\nv\r\n".encode() * 10000 + END, MULTIPART, 413),
    ("20 MB of text", b"a=" + b"x" * (20 << 20), URLENCODED, 413),
    ("20 MB in a part", part("a", b"x" * (20 << 20)) + END, MULTIPART, 413),
    ("20 MB without headers", f"--{BOUNDARY}\r\n\r\n".encode() + b"x" * (20 << 20) + END, MULTIPART, 413),
]


@pytest.mark.parametrize(("name", "body", "headers", "status"), BAD_BODIES, ids=[row[0] for row in BAD_BODIES])
def test_bad_bodies(httpd: Server, name: str, body: bytes, headers: dict[str, str], status: int) -> None:
    answer = httpd.get("/forms/everything", "POST", body=body, headers=headers)
    assert answer.status == status, answer
    httpd.wait_log("a form is refused: ")
    assert httpd.ok("/forms/everything?a=1").status == 200


def test_limits_by_options(httpd: Server) -> None:
    assert httpd.get("/limited?a&b&c&d&e").status == 200
    assert httpd.get("/limited?a&b&c&d&e&f").status == 413
    httpd.wait_log("a form is refused: the form has more than 5 fields")
    assert httpd.get("/limited", "POST", body=b"a=" + b"x" * 2000, headers=URLENCODED).status == 413
    httpd.wait_log("more than 1000 bytes of text")
    assert httpd.get("/limited", "POST", body=part("a", b"x" * 6000, "f") + END, headers=MULTIPART).status == 413
    httpd.wait_log("more than 5000 bytes")
    assert httpd.get("/limited", "POST", body=part("a", b"x" * 4000, "f") + END, headers=MULTIPART).status == 200


def test_redirects(httpd: Server) -> None:
    answer = httpd.get("/forms/redirects?/to?a=%22b%22&c=<d>")
    assert (answer.status, answer.header("Location")) == (302, "/to?a=%22b%22&c=<d>")
    assert "&lt;d&gt;" in answer.text and "<d>" not in answer.text
    assert httpd.get("/forms/redirects/permanent?/x").status == 301
    assert httpd.ok("/forms/late_redirect").text == "sent cannot redirect: a part of the answer has been sent"
    answer = httpd.ok("/forms/bad_redirect")
    assert "holds a control character" in answer.text and answer.header("Set-Cookie") is None
    assert raw(httpd.port, b"GET /forms/redirects?/a%0d%0ab HTTP/1.0\r\n\r\n").count(b"\r\nLocation: ") == 1


# What follows needs no server.

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20)


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_queries_as_the_standard_library_reads_them(pairs: list[tuple[str, str]]) -> None:
    """`;` is percent-encoded by urlencode, so both agree."""
    query = urllib.parse.urlencode(pairs)
    assert util.parse_qsl(query, 1) == urllib.parse.parse_qsl(query, keep_blank_values=True)
    assert util.parse_qs(query) == urllib.parse.parse_qs(query)


@given(st.binary(max_size=200))
def test_any_query_can_be_read(query: bytes) -> None:
    for name, value in util.parse_qsl(query, 1):
        assert isinstance(name, bytes) and isinstance(value, bytes)


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters='"\\;'), min_size=1, max_size=10
)
PARTS = st.lists(st.tuples(NAMES, st.binary(max_size=300), st.none() | NAMES), max_size=5)


def first(pair: tuple[str, Any]) -> str:
    return pair[0]


def built(parts: list[tuple[str, bytes, Optional[str]]]) -> bytes:
    return b"".join(part(name, content, filename) for name, content, filename in parts) + END


def pieces(body: bytes, size: int) -> list[Any]:
    """What the parser makes of a body that comes in pieces: headers and content of each part."""
    parser = MultipartParser(BOUNDARY.encode())
    found: list[Any] = []
    for place in range(0, len(body), size):
        for event in parser.feed(body[place : place + size]):
            if isinstance(event, PartHeaders):
                found.append([list(event), b"", False])
            elif isinstance(event, PartEnd):
                found[-1][2] = True
            else:
                found[-1][1] += event
    for event in parser.finish():
        if isinstance(event, PartEnd):
            found[-1][2] = True
        elif isinstance(event, bytes):
            found[-1][1] += event
    return found


@given(PARTS, st.integers(1, 50))
def test_multipart_as_werkzeug_reads_it(parts: list[tuple[str, bytes, Optional[str]]], size: int) -> None:
    parts = [(name, content.replace(b"\n--" + BOUNDARY.encode(), b""), filename) for name, content, filename in parts]
    body = built(parts)
    _, form, files = FormDataParser().parse(io.BytesIO(body), "multipart/form-data", len(body), {"boundary": BOUNDARY})
    req: Any = FakeRequest("/", "POST", body, MULTIPART)
    ours = util.FieldStorage(req)
    texts = [(name, str(field)) for name, field in ours.items() if not field.filename]
    # Werkzeug groups by name.
    assert sorted(texts, key=first) == sorted(form.items(multi=True), key=first)
    contents = [(name, field.value) for name, field in ours.items() if field.filename]
    theirs = [(name, file.stream.read()) for name, file in files.items(multi=True)]
    assert sorted(contents, key=first) == sorted(theirs, key=first)
    whole = pieces(body, len(body))
    assert pieces(body, size) == whole
    assert [content for _, content, ended in whole if ended] == [content for _, content, _ in parts]


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_multipart_body_ends_in_fields_or_an_error(body: bytes, size: int) -> None:
    with contextlib.suppress(MultipartError):
        pieces(f"--{BOUNDARY}\r\n".encode() + body, size)


def test_a_form_behaves_like_a_mapping() -> None:
    req: Any = FakeRequest("/?a=1&a=2&b=x")
    form = util.FieldStorage(req)
    assert form["b"] == "x" and form["b"].value == "x" and form["b"].filename is None
    assert [str(field) for field in form["a"]] == ["1", "2"] and form.getfirst("a") == "1"
    assert form.get("none") is None and form.get("none", 5) == 5 and form.getlist("none") == []
    assert "a" in form and "none" not in form and form.has_key("b") and list(form) == ["a", "b"] and len(form) == 2
    form["a"] = "3"
    assert form["a"] == "3" and form.items()[-1][0] == "a"
    del form["a"]
    assert form.keys() == ["b"]
    with pytest.raises(KeyError):
        form["a"]
    with pytest.raises(KeyError):
        del form["a"]
    with pytest.raises(TypeError):
        form["c"] = 5  # type: ignore[assignment]
    form.add_field("c", "d")
    assert repr(form["c"]) == "Field('c', 'd')" and form["c"].file.read() == b"d"
    form.clear()
    assert not form and form.list.table() == {}


def test_parse_header() -> None:
    assert util.parse_header(b'Form-Data; name="a;b"; X = y') == (b"form-data", {b"name": "a;b", b"x": "y"})
    assert util.parse_header("a; filename=x; filename*=UTF-8''%c3%a9") == ("a", {"filename": "é"})
    assert util.parse_header("text/plain;; charset") == ("text/plain", {})
    assert util.parse_header('a; b; c=d; e="f" junk ;g=h') == ("a", {"c": "d", "e": "f", "g": "h"})
    with pytest.raises(TypeError):
        util.parse_header(None)


def test_old_fields() -> None:
    field = util.Field("n", io.BytesIO(b"v"), "text/plain", {}, "form-data", {"filename": "f"})
    assert (field.value, field.filename, repr(field)) == (b"v", "f", "Field('n', b'v')")
    assert util.Field("n").value is None


def test_a_bad_option_names_itself() -> None:
    req: Any = FakeRequest("/", options={"mod_python.form.max_fields": "many"})
    with pytest.raises(ValueError, match=r"mod_python\.form\.max_fields: 'many'"):
        util.FieldStorage(req)
    with pytest.raises(apache.SERVER_RETURN):
        util.FieldStorage(FakeRequest("/?a&b", options={"mod_python.form.max_fields": "1"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 200),
        ("application/x-www-form-urlencoded", 200),
        ("application/x-www-form-urlencoded; charset=UTF-8", 200),
        ("application/x-www-form-urlencoded; charset=latin-1", 200),
        ("application/x-www-form-urlencoded;charset=utf-8; x=y", 200),
        ("; charset=utf-8", 501),
        ("application/x-www-form-urlencoded-not", 501),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 65367, 65368, 65369, 140_000])
def test_a_body_around_what_is_read_at_once(httpd: Server, kind: Optional[str], status: int, size: int) -> None:
    """A query's field comes first, whatever the body's size and how its type is written."""
    body = b"a=%C3%BC&b=" + b"x" * max(size - 11, 0)
    body = body[:size]
    answer = httpd.get("/forms/everything?q=1", "POST", body=body, headers={"Content-Type": kind} if kind else {})
    assert answer.status == status, answer.text
    if status == 200:
        text = "\u00fc" if kind is None or "latin" not in kind else "\u00c3\u00bc"
        expected = [["q", "1"], ["a", text], ["b", "x" * (size - 11)]]
        expected = expected if size > 1 else [["q", "1"], ["a", ""]][: 1 + size]
        assert json.loads(answer.text)["items"] == expected
