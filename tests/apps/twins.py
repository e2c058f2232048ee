"""What is native inside httpd beside what stands for it outside: any input must give the same with both."""

import itertools
import os
import tempfile

import _apache
from mod_python import Cookie, _outside, _serializer, apache


def _checked(data):
    for keep, most, decode in itertools.product((0, 1), (-1, 0, 1, 5, 1000), (0, 1)):
        for form in (data, data.decode("utf-8", "surrogateescape")):
            native = _apache._form_fields(form, keep, most, decode)
            assert native == _outside._form_fields(form, keep, most, decode), (form, keep, most, decode, native)
    text = data.decode("latin-1")
    native = _apache._cookie_pairs(text)
    assert native is not None or not text.isascii(), text
    assert native is None or native == list(Cookie._matched(text)), (text, native)


def handler(req):
    """The body is one input. It is tried, and so is what it becomes with other marks in its place."""
    data = req.read()
    marks = [
        b"&",
        b";",
        b"=",
        b"%",
        b"+",
        b'"',
        b"\\",
        b" ",
        b"\x1c",
        b"\x1f",
        b"\x0b",
        b",",
        b"$",
        b"\xff",
        b"\0",
        b"_charset_",
    ]
    tried = 0
    for place in range(min(len(data), 40) + 1):
        for mark in marks:
            for one in (data[:place] + mark + data[place:], data[:place] + mark + data[place + 1 :]):
                _checked(one)
                tried += 1
    _checked(data)
    req.write(f"{tried} tried")
    return apache.OK


def options(req):
    names = ("a.one", "A.TWO", "none", "a.empty")
    before = _apache._options(req, names)
    assert before == _outside._options(req, names), before
    req.get_options()["none"] = "some"
    after = _apache._options(req, names)
    assert after == _outside._options(req, names) == (*before[:2], "some", None), after
    assert _apache._switches(req) == _outside._switches(req)
    assert _apache._place(req) == _apache._place(req)
    assert _apache._signature(__file__) == _outside._signature(__file__) is not None
    assert _apache._signature(os.path.dirname(__file__)) is _outside._signature(os.path.dirname(__file__)) is None
    assert _apache._signature("/none") is _outside._signature("/none") is None
    req.write(f"{before} {_apache._switches(req)}")
    return apache.OK


def switches(req):
    native = _apache._switches(req)
    req.write(f"{native} {native == _outside._switches(req)}")
    return apache.OK


def _refusal(name, is_directory):
    return PermissionError(f"{name} {is_directory}")


def sessions(req):
    """Reads and writes a session's file in turn with others; what is read is always whole."""
    place, sid = os.path.join(tempfile.gettempdir(), req.args), "ab" + "0" * 30
    for number in range(200):
        size = (number * 7919) % 3000
        record = {"size": size, "text": chr(97 + number % 26) * size}
        _apache._session_write(place, sid, _serializer.dumps(record), _refusal)
        found = _serializer.loads(_apache._session_read(place, sid, number % 2, _refusal))
        assert len(found["text"]) == found["size"] and len(set(found["text"])) <= 1, found
    req.write(f"{oct(os.stat(place).st_mode)} {oct(os.stat(f'{place}/ab/{sid}').st_mode)}")
    return apache.OK


def left(req):
    """What writing has left beside the session's file."""
    place = f"{tempfile.gettempdir()}/{req.args}"
    req.write(str(len(os.listdir(f"{place}/ab"))))
    return apache.OK
