"""What a hostile form may cost: memory in bytes, and work in operations, not in seconds."""

from __future__ import annotations

import contextlib
import socket
import sys
import tracemalloc
from typing import Any, Callable, Optional

import pytest
from client import raw
from conftest import Serve, Server, places
from mod_python import _encoded, _fields, _mime, _multipart, apache, util
from mod_python.testing import FakeRequest

SIZE = 10_000_000
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
HEAD = b"--b\r\nContent-Disposition: form-data; name=a"
FILE = HEAD + b"; filename=f\r\n\r\n"


def filled(unit: bytes, before: bytes = b"", size: int = SIZE) -> bytes:
    return before + unit * ((size - len(before)) // len(unit))


def read(body: bytes, headers: dict[str, str], options: Optional[dict[str, str]] = None) -> int:
    """The number of fields, or the status of a refusal."""
    req: Any = FakeRequest("/", "POST", body, headers, options=options)
    try:
        return len(util.FieldStorage(req).list)
    except apache.SERVER_RETURN as refusal:
        lines = [line for _, line in req.log]
        assert len(lines) == 1 and lines[0].startswith("a form is refused: "), lines
        return int(refusal.args[0])


def peak(call: Callable[[], int]) -> tuple[int, int]:
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# What is read; then a limit of fields, "0" for none, and what becomes of it.
HOSTILE = [
    ("names", filled(b"ab&"), URLENCODED, "1000", 413),
    ("names and semicolons", filled(b"a;"), URLENCODED, "1000", 413),
    ("nothing but separators", filled(b"&"), URLENCODED, "1000", 0),
    ("nothing but mixed separators", filled(b"&;"), URLENCODED, "0", 0),
    ("one value", filled(b"x", b"a="), URLENCODED, "1000", 1),
    ("one name", filled(b"x"), URLENCODED, "1000", 0),
    ("equals signs", filled(b"="), URLENCODED, "1000", 1),
    ("escapes", filled(b"%41", b"a=", SIZE // 4), URLENCODED, "1000", 1),
    ("half escapes", filled(b"%", b"a=", SIZE // 4), URLENCODED, "1000", 1),
    ("long headers", filled(HEAD + b"\r\nX: " + b"y" * 16000 + b"\r\n\r\n\r\n", size=2 * SIZE), MULTIPART, "0", 413),
    ("many headers", filled(HEAD + b"\r\n" + b"x:\n" * 30 + b"\r\n\r\n"), MULTIPART, "1000", 413),
    ("too many headers", filled(HEAD + b"\r\n" + b"x:\n" * 99 + b"\r\n\r\n"), MULTIPART, "0", 400),
    ("folded headers", filled(b" y\r\n", HEAD + b"\r\n"), MULTIPART, "0", 400),
    ("folded headers of many parts", filled(HEAD + b"\r\n" + b" y\r\n" * 30 + b"\r\n\r\n"), MULTIPART, "1000", 413),
    ("options", filled(HEAD + b";b=c" * 3000 + b"\r\n\r\n\r\n"), MULTIPART, "0", 400),
    ("tiny parts", filled(HEAD + b"\r\n\r\n\r\n"), MULTIPART, "1000", 413),
    ("tiny files", filled(FILE + b"\r\n"), MULTIPART, "1000", 413),
    ("small files", filled(FILE + b"x" * 100_000 + b"\r\n"), MULTIPART, "1000", 99),
    ("preamble", filled(b"x\r\n", size=2 * SIZE), MULTIPART, "1000", 413),
    ("epilogue", filled(b"x\r\n", HEAD + b"\r\n\r\n\r\n--b--\r\n", size=2 * SIZE), MULTIPART, "1000", 413),
    ("boundaries that are none", filled(b"\r\n--bx", HEAD + b"\r\n\r\n"), MULTIPART, "1000", 1),
    ("line ends", filled(b"\r", HEAD + b"\r\n\r\n"), MULTIPART, "1000", 1),
    ("text that is none", filled(b"\xff", b"a="), URLENCODED, "1000", 413),
]


@pytest.mark.parametrize(("name", "body", "headers", "fields", "result"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_memory(name: str, body: bytes, headers: dict[str, str], fields: str, result: int) -> None:
    found, most = peak(lambda: read(body, headers, {"mod_python.form.max_fields": fields}))
    assert found == result
    assert most < 32_000_000, f"{most / 1e6:.0f} MB"


def test_fields_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_encoded, "parse_qsl", lambda *arguments: pytest.fail("a field was made"))
    assert read(b"ab&" * 2000, URLENCODED) == 413
    query: Any = FakeRequest("/?" + "ab&" * 2000)
    with pytest.raises(apache.SERVER_RETURN):
        util.FieldStorage(query)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a&b", 2),
        ("&&a&;&b&&", 2),
        ("a", 1),
        ("", 0),
        (";;", 0),
        ("a=&=b&=", 3),
        ("a&" * 7, 7),
        ("%", 1),
        ("%4&1=%%41%", 2),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("long", [1, 65536])
def test_what_counts_as_a_field(text: str, fields: int, size: int, long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands between separators; the same however the blocks are cut, and whether fields are long or not."""
    monkeypatch.setattr(_encoded, "_LONG", long)
    counted = 0

    def count(number: int) -> None:
        nonlocal counted
        counted += number

    parser = _encoded.EncodedParser(count, 1)
    for place in range(0, len(text), size):
        parser.feed(text[place : place + size].encode())
    parser.finish()
    assert counted == fields == len(parser.pairs)
    assert [(name, bytes(value)) for name, value in parser.pairs] == util.parse_qsl(text.encode(), 1)


def operations(call: Callable[[], Any]) -> int:
    """Lines of Python that run, as far as they are the parser's."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(previous)
    return count


def many_parts(number: int) -> Callable[[], Any]:
    body = (HEAD + b"\r\n\r\nv\r\n") * number
    return lambda: read(body, MULTIPART, {"mod_python.form.max_fields": "0"})


def all_fields(number: int) -> Callable[[], Any]:
    req: Any = FakeRequest("/?" + "&".join(f"f{place}=x" for place in range(number)))
    form = util.FieldStorage(req)
    return lambda: [(form[name], form.getfirst(name), form.getlist(name), name in form, len(form)) for name in form]


def small_blocks(number: int) -> Callable[[], Any]:
    def run() -> None:
        parser = _multipart.MultipartParser(b"b", 1 << 20)
        for byte in HEAD + b"\r\n" + b"X: y\r\n" * 20 + b"\r\n" + b"\r\n--bx" * number:
            assert list(parser.feed(bytes((byte,)))) is not None

    return run


def options(number: int) -> Callable[[], Any]:
    return lambda: _mime.parse_header("a" + ';b="\\"x' * number + '; "' * number)


@pytest.mark.parametrize("work", [many_parts, all_fields, small_blocks, options])
def test_work_grows_as_the_form_does(work: Callable[[int], Callable[[], Any]]) -> None:
    few, many = operations(work(100)), operations(work(800))
    assert many < 10 * few, (few, many)


def test_headers_are_joined_once() -> None:
    """14 MB of folded lines took 5 s, each of them joined to all before it."""
    parser = _multipart.MultipartParser(b"b", 1 << 20)
    lines = _multipart.MAX_LINES - 2
    fold = b" " + b"y" * 30_000 + b"\r\n"
    events = list(parser.feed(HEAD + b"\r\n" + fold * lines + b"\r\n"))
    _, most = peak(lambda: len(list(_multipart.MultipartParser(b"b", 1 << 20).feed(HEAD + b"\r\n" + fold * lines))))
    assert isinstance(events[0], _multipart.PartHeaders)
    name, value = events[0][0]
    assert name == b"Content-Disposition" and len(value) == len(b"form-data; name=a") + lines * 30_001
    assert most < 4 * lines * 30_000


def test_a_table_is_made_once_and_follows_the_list() -> None:
    req: Any = FakeRequest("/?a=1&b=2&a=3")
    form = util.FieldStorage(req)
    assert form.list._by_name() is form.list._by_name()
    form["a"].append("not the form's own list")
    form.getlist("a").clear()
    form.list.table()["a"].clear()
    assert form["a"] == ["1", "3"]

    def field(name: str, value: str) -> util.StringField:
        made = util.StringField(value)
        made.name = name
        return made

    fields = form.list
    changes: list[tuple[Callable[[], Any], dict[Any, list[str]]]] = [
        (lambda: fields.append(field("c", "4")), {"a": ["1", "3"], "b": ["2"], "c": ["4"]}),
        (lambda: fields.pop(0), {"a": ["3"], "b": ["2"], "c": ["4"]}),
        (lambda: fields.__setitem__(0, field("d", "5")), {"a": ["3"], "c": ["4"], "d": ["5"]}),
        (lambda: fields.insert(0, field("a", "6")), {"a": ["6", "3"], "c": ["4"], "d": ["5"]}),
        (fields.reverse, {"a": ["3", "6"], "c": ["4"], "d": ["5"]}),
        (lambda: fields.sort(key=str), {"a": ["3", "6"], "c": ["4"], "d": ["5"]}),
        (lambda: fields.remove("4"), {"a": ["3", "6"], "d": ["5"]}),
        (lambda: fields.__delitem__(slice(0, 1)), {"a": ["6"], "d": ["5"]}),
        (lambda: setattr(form["d"], "name", "e"), {"a": ["6"], "e": ["5"]}),
        (lambda: fields.extend([field("a", "7")]), {"a": ["6", "7"], "e": ["5"]}),
        (lambda: fields.__iadd__([field("e", "8")]), {"a": ["6", "7"], "e": ["5", "8"]}),
        (lambda: fields.__imul__(2), {"a": ["6", "7", "6", "7"], "e": ["5", "8", "5", "8"]}),
        (fields.clear, {}),
        (lambda: list.append(fields, field("z", "9")), {"z": ["9"]}),
    ]
    for change, expected in changes:
        assert form.list.table() is not None
        change()
        assert form.list.table() == expected and set(form) == set(expected)
    assert isinstance(form.list, _fields.FieldList)


def test_files_share_what_may_lie_in_memory() -> None:
    body = (FILE + b"x" * 200_000 + b"\r\n") * 50 + b"--b--"
    req: Any = FakeRequest("/", "POST", body, MULTIPART)
    form, most = None, 0
    tracemalloc.start()
    try:
        form = util.FieldStorage(req)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 7_000_000, f"{most / 1e6:.0f} MB for files of 10 MB"
    assert [len(field.value) for field in form["a"]] == [200_000] * 50


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    return serve_module(places("forms"), mpm=mpm)


REFUSED = [
    ("fields", b"ab&" * 1_000_000, URLENCODED, 413),
    ("memory", b"a=" + b"x" * (15 << 20), URLENCODED, 413),
    ("headers", (HEAD + b"\r\nX: " + b"y" * 16000 + b"\r\n\r\n\r\n") * 950, MULTIPART, 413),
    ("folded", HEAD + b"\r\n" + b" y\r\n" * 3_500_000, MULTIPART, 400),
    ("type", b"{}", {"Content-Type": "application/json"}, 501),
]


@pytest.mark.parametrize(("name", "body", "headers", "status"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_refusal_ends_the_connection_and_is_one_line(
    httpd: Server, name: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    """What is left of the body is never taken for the next request."""
    before = httpd.log_text().count("a form is refused")
    head = "".join(f"{field}: {value}\r\n" for field, value in headers.items())
    smuggled = b"GET /forms/everything?smuggled=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    request = f"POST /forms/everything HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body) + len(smuggled)}\r\n\r\n".encode()
    answer = b""
    with socket.create_connection(("127.0.0.1", httpd.port), timeout=60) as connection:
        # httpd does not wait for all of it.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request + body + smuggled)
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(65536):
                answer += block
    assert answer.count(b"HTTP/1.1 ") == 1 and b"smuggled" not in answer
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b"\r\nConnection: close\r\n" in answer
    lines = httpd.log_text().count("a form is refused")
    assert lines == before + 1
    assert b" 200 " in raw(httpd.port, b"GET /forms/everything?a=1 HTTP/1.0\r\n\r\n")
