"""What is native inside httpd beside what stands for it outside: any input must give the same with both."""

import itertools
import json
import math
import os
import random
import tempfile
from types import ModuleType

import _apache
from mod_python import Cookie, _outside, _serializer, apache

_pure = ModuleType("pure")
exec(compile(open(_serializer.__file__).read(), _serializer.__file__, "exec"), vars(_pure))
_pure._apache = _outside


def _checked(data):
    for keep, most, decode in itertools.product((0, 1), (-1, 0, 1, 5, 1000), (0, 1)):
        for form in (data, data.decode("utf-8", "surrogateescape")):
            native = _apache._form_fields(form, keep, most, decode)
            assert native == _outside._form_fields(form, keep, most, decode), (form, keep, most, decode, native)
    text = data.decode("latin-1")
    native = _apache._cookie_pairs(text)
    assert native is not None or not text.isascii(), text
    assert native is None or native == list(Cookie._matched(text)), (text, native)


def _same(one, other):
    """Equal, and of the same types, with the same order and the same sign of zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return repr(one) == repr(other)


def _same_record(one, other):
    """The same text, but for the last digit of a number that two are as near to."""
    if isinstance(one, str) or isinstance(other, str) or one == other:
        return one == other
    return len(one) == len(other) and _same(_pure.loads(one), _pure.loads(other))


def _outcome(call, *args, **kw):
    try:
        return call(*args, **kw)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _record_checked(data):
    for one in (data, b"J" + data, b"J" + data[:1].join([b'{"a":', b"}"])):
        native, pure = _outcome(_serializer.loads, one), _outcome(_pure.loads, one)
        assert _same(native, pure), (one, native, pure)
        if isinstance(pure, dict):
            assert _same_record(_serializer.dumps(pure), _pure.dumps(pure)), pure
        text = one.decode("utf-8", "surrogateescape")
        record = {"_data": {text: one, "text": [text, {text: 1}]}}
        assert _same_record(_outcome(_serializer.dumps, record), _outcome(_pure.dumps, record)), record


def _cookie_checked(req, text):
    try:
        req.headers_in["Cookie"] = text
    except ValueError:
        return
    given = {name: (type(one), vars(one)) for name, one in Cookie.get_cookies(req).items()}
    pure = {name: (type(one), vars(one)) for name, one in Cookie.Cookie.parse(text).items()}
    assert _same(given, pure), (text, given, pure)
    for name in [*pure, "none"]:
        value = _apache._cookie_value(req, name)
        assert value is False or value == (pure[name][1]["value"] if name in pure else None), (text, name, value)


def _sent(req, *args, **kw):
    req.err_headers_out.clear()
    outcome = _outcome(Cookie.add_cookie, req, *args, **kw)
    return outcome, req.err_headers_out.items()


def cookies(req):
    """What is sent without an object, and with one."""
    names = ("theme", "a b", "", "é", "x=", b"name", 7)
    values = ("dark", "", "a b", '"q"', "a;b", "ä", "\n", "a,b", "x" * 5000, 7, None, True, b"b")
    attributes = {
        "path": ("/", None, "/ä", "/;", "\n", 7, "/a b"),
        "domain": ("example.org",),
        "max_age": (0, -1, 60, True, 1.5, "60", 1 << 70),
        "secure": (True, False, None, 1),
        "httponly": (True, False),
        "HttpOnly": (True,),
        "samesite": ("lax", "STRICT", "None", "other", None, 7),
        "expires": (0, None),
        "comment": ("some",),
        "other": (1,),
    }
    given = [{}, *({name: value} for name, values in attributes.items() for value in values)]
    given += [{"httponly": True, "samesite": "lax", "path": "/p", "secure": True, "max_age": 5, "domain": "d"}]
    native, tried = 0, 0
    for name, value, more in itertools.product(names, values, given):
        if (name, value) != ("theme", "dark") and len(more) == 1 and "path" not in more:
            continue
        made = _outcome(Cookie.Cookie, name, value, **more)
        pure = _sent(req, made) if isinstance(made, Cookie.Cookie) else (made, [])
        assert _sent(req, name, value, **more) == pure, (name, value, more)
        native += _apache._cookie_set(req, name, value, more)
        tried += 1
    assert 20 < native < tried, (native, tried)
    req.err_headers_out.clear()
    req.headers_out["Set-Cookie"] = "a=1"
    assert _sent(req, "b", "2") == (None, [("Set-Cookie", "b=2")])
    Cookie.Cookie.httponly = True
    try:
        assert _sent(req, "b", "2")[1] == [("Set-Cookie", "b=2; HttpOnly")]
    finally:
        del Cookie.Cookie.httponly
    del req.headers_out["Set-Cookie"]
    req.err_headers_out.clear()
    req.write("alike")
    return apache.OK


def records(req):
    """Numbers and texts, as JSON of both languages has them."""
    lots = random.Random(req.args)
    numbers = [lots.random() * 10 ** lots.randint(-8, 20) * lots.choice((1, -1)) for _ in range(3000)]
    numbers += [float(lots.randint(0, 1 << 62)) for _ in range(300)]
    numbers += [math.nextafter(edge, to) for edge in (1e-3, 1e15, 1.0) for to in (0.0, 1e300)]
    numbers += [0.0, -0.0, 1e-3, 1e15, 5e-324, 1.7976931348623157e308, math.inf, -math.inf]
    numbers += [0, -1, (1 << 63) - 1, -(1 << 63), 1 << 63, 1 << 200, True, False, None]
    texts = ["".join(map(chr, range(start, start + 64))) for start in (0, 64, 0x7D0, 0xFFC0, 0x1F600, 0x10FFC0)]
    texts += ["\ud800", "\udc00\ud800", "!", '"!"', "\\u0021"]
    nested = []
    for _ in range(30):
        nested = [nested, {"deeper": nested}][: lots.randint(1, 2)]
        nested = nested if len(nested) == 1 else [nested[0]]
    for value in [*numbers, *texts, nested, {}, [], [[], {}], {"!": 1}, {"a": {"!": 1}}, {1: 2}, (1,), {1}, b"b"]:
        record = {"_data": {"value": value}, "_accessed": 1.5}
        packed = _serializer.dumps(record)
        assert _same_record(packed, _pure.dumps(record)), record
        assert _same(_serializer.loads(packed), _pure.loads(packed)), record
    assert _apache._record_pack({"a": [1, 2.5, "x", None, {"b": True}]}) is not None
    cycle = {}
    cycle["self"] = cycle
    assert _outcome(_serializer.dumps, cycle)[:14] == _outcome(_pure.dumps, cycle)[:14]
    for text in (
        "1.",
        "01",
        "-",
        "1e",
        "1e5",
        "-0",
        "-0.0",
        "1E+2",
        "1e999",
        "NaN",
        "[1,]",
        '{"a":1,}',
        '"\\ud83d\\ude00"',
    ):
        for one in (text, f' {{ "a" :\t{text} }}\r\n', f'{{"a":{text}}} x', f'{{"a":1,"a":{text}}}'):
            data = b"J" + one.encode()
            native, pure = _outcome(_serializer.loads, data), _outcome(_pure.loads, data)
            assert _same(native, pure), (data, native, pure)
    assert json.loads(_apache._record_pack({"a": "ä"})[1:]) == {"a": "ä"}
    req.write("alike")
    return apache.OK


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
                _record_checked(one)
                _cookie_checked(req, one.decode("latin-1"))
                tried += 1
    _checked(data)
    _record_checked(data)
    _cookie_checked(req, data.decode("latin-1"))
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


def opened(req):
    """A file that has been read is written again without being looked for; what has happened to it meanwhile counts."""
    place, sid = os.path.join(tempfile.gettempdir(), req.args), "cd" + "0" * 30
    file = f"{place}/cd/{sid}"

    def read():
        return _apache._session_read(place, sid, True, _refusal)

    def write(data):
        _apache._session_write(place, sid, data, _refusal)
        assert read() == data

    write(b"J1")
    write(b"J2")
    read()
    os.unlink(file)
    write(b"J3")
    read()
    with open(f"{file}.new", "wb") as other:
        other.write(b"Jother")
    os.chmod(f"{file}.new", 0o600)
    os.replace(f"{file}.new", file)
    write(b"J4")
    read()
    os.chmod(file, 0o666)
    write(b"J" + b"5" * 5000)
    assert oct(os.stat(file).st_mode) == "0o100600"
    long_ago = os.stat(file).st_mtime - 1000
    os.utime(file, (long_ago, long_ago))
    read()
    assert os.stat(file).st_mtime > long_ago + 900
    req.write(" ".join(os.listdir(f"{place}/cd")))
    return apache.OK


def left(req):
    """What writing has left beside the session's file."""
    place = f"{tempfile.gettempdir()}/{req.args}"
    req.write(str(len(os.listdir(f"{place}/ab"))))
    return apache.OK
