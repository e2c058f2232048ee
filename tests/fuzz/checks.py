"""What must hold for every input of the parsers in Python. Each check takes bytes, and raises where something is wrong."""

from __future__ import annotations

import hashlib
import marshal
import urllib.parse
from typing import Any, Callable
from unittest import mock

from mod_python import Cookie, _encoded, _multipart, _psp, _serializer, _session, apache, util
from mod_python.testing import FakeRequest

SECRET = b"a secret that no input knows"


def psp(data: bytes) -> None:
    """A template becomes Python or a SyntaxError; text without tags is written as it is."""
    try:
        page = _psp.parse(data, "page.psp")
        code = page.compile("page.psp")
    except SyntaxError as error:
        assert error.filename is None or isinstance(error.filename, str)
        return
    except (RecursionError, MemoryError):
        return  # CPython's own compiler, on expressions nested too deeply
    text = data.decode("utf-8")
    if "<%" not in text and "\\" not in text and "\0" not in text:
        req = FakeRequest()
        exec(code, {"req": req})
        assert req.text == text.replace("\r\n", "\n") or req.text == text, (req.text, text)


def multipart(data: bytes) -> None:
    """The same in one piece and in small ones; a form gives fields or refuses the request."""
    size, data = (data[0] % 17 + 1, data[1:]) if data else (1, data)
    assert _events(data, len(data) + 1) == _events(data, size)
    req = FakeRequest("/", "POST", data, {"Content-Type": "multipart/form-data; boundary=x"})
    try:
        form = util.FieldStorage(req, keep_blank_values=1)
    except apache.SERVER_RETURN as refusal:
        assert refusal.args[0] in (apache.HTTP_BAD_REQUEST, apache.HTTP_REQUEST_ENTITY_TOO_LARGE), refusal.args
        return
    total = 0
    for field in form.list:
        assert field.name is None or isinstance(field.name, str)
        total += len(field.file.read()) if field.file else 0
    assert total <= 3 * len(data)  # what is not UTF-8 becomes U+FFFD


def _events(data: bytes, size: int) -> Any:
    """What the parser makes of a body that comes in such pieces: headers and contents, then how it ended."""
    parser = _multipart.MultipartParser(b"x")
    found: list[Any] = []

    def take(events: Any) -> None:
        for event in events:
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event if isinstance(event, (bytes, list)) else "end")

    try:
        for start in range(0, len(data), size):
            take(parser.feed(data[start : start + size]))
        take(parser.finish())
    except _multipart.MultipartError:
        # Where it is broken is told sooner or later; what came before it may have been given or not.
        return "broken"
    return found


def cookie(data: bytes) -> None:
    """Nothing is taken for signed, and nothing unmarshalled, that was not signed with the secret."""
    header = data.decode("latin-1")
    # What is imported at its first use is unmarshalled, too.
    Cookie.SignedCookie("name", "value", SECRET).hexdigest("")
    with mock.patch.object(marshal, "loads", side_effect=AssertionError("unmarshalled")):
        for kind in (Cookie.SignedCookie, Cookie.JsonCookie, Cookie.MarshalCookie):
            for legacy in (False, True):
                found = kind.parse(header, SECRET, legacy=legacy)
                assert not any(isinstance(one, Cookie.SignedCookie) for one in found.values())
    for name, one in Cookie.Cookie.parse(header).items():
        try:
            text = str(one)
        except Cookie.CookieError:
            continue
        assert not set(text) & set(map(chr, (*range(32), 127))), text
        assert text.startswith(f"{name}=")
        again = Cookie.Cookie.parse(text)
        assert {found: cookie.value for found, cookie in again.items()} == {name: one.value}, (text, one.value)


def query(data: bytes) -> None:
    """As urllib reads it, where the two agree on the rules; and the same in pieces, long fields or not."""
    for long in (1, 65536):
        counted: list[int] = []
        with mock.patch.object(_encoded, "_LONG", long):
            parser = _encoded.EncodedParser(counted.append, 1)
            for start in range(0, len(data), 3):
                parser.feed(data[start : start + 3])
            parser.finish()
        assert [(name, bytes(value)) for name, value in parser.pairs] == util.parse_qsl(data, 1)
        assert sum(counted) == len(parser.pairs)
    text = data.decode("latin-1")
    mine = util.parse_qsl(text, 1)
    if ";" not in text and text.isascii() and "%" not in text:
        theirs = urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=None)
        assert mine == theirs, (mine, theirs)
    assert sum(map(len, util.parse_qs(text, 1).values())) == len(mine)


def session(data: bytes) -> None:
    """Data of a session are a record or a ValueError, never a pickle; a session's number is the server's own kind."""
    try:
        record = _serializer.loads(data)
    except (ValueError, RecursionError):
        pass
    else:
        assert isinstance(record, dict)
        assert _serializer.loads(_serializer.dumps(record)).keys() == record.keys()
    sid = data.decode("latin-1")
    if _session.SID.fullmatch(sid):
        assert len(sid) == len(hashlib.md5().hexdigest()) and sid.isalnum()


CHECKS: dict[str, Callable[[bytes], None]] = {
    check.__name__: check for check in (psp, multipart, cookie, query, session)
}
