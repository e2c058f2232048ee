"""WSGI applications, most of them behind wsgiref's validator."""

import gzip
import hashlib
import io
import json
import os
import sys
import tempfile
from wsgiref.validate import validator

closed = []


def text(start_response, body, status="200 OK", headers=()):
    data = body if isinstance(body, bytes) else body.encode()
    start_response(
        status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(data))), *headers]
    )
    return [data]


class Closing:
    """An iterable that counts how often it is closed."""

    def __init__(self, blocks, name=""):
        self.blocks, self.name = blocks, name

    def __iter__(self):
        return iter(self.blocks)

    def close(self):
        print(f"closed {self.name}")


@validator
def hello(environ, start_response):
    return text(start_response, "Hello World!")


@validator
def environment(environ, start_response):
    shown = {
        key: value if isinstance(value, (str, int, bool, tuple)) else type(value).__name__
        for key, value in environ.items()
    }
    return text(start_response, json.dumps(shown))


def types(environ, start_response):
    assert type(environ) is dict and environ["wsgi.input"] is environ["mod_python.request"]
    assert environ["wsgi.errors"] is sys.stderr and isinstance(sys.stderr, io.TextIOWrapper)
    assert all(type(key) is str for key in environ)
    assert all(type(value) is str for key, value in environ.items() if "." not in key)
    return text(start_response, "ok")


@validator
def reading(environ, start_response):
    stream = environ["wsgi.input"]
    answer = [stream.read(3), stream.readline(), stream.readline(2), stream.readlines(5), list(stream), stream.read(5)]
    return text(start_response, repr(answer))


def unvalidated_reading(environ, start_response):
    stream = environ["wsgi.input"]
    answer = [stream.read(0), stream.readline(0), stream.read(2), stream.read(None)[:3], stream.read(-1), stream.read()]
    return text(start_response, repr(answer))


@validator
def digest(environ, start_response):
    found, size = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(65536):
        found.update(block)
        size += len(block)
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return text(start_response, f"{found.hexdigest()} {size} {peak}")


def never_reads(environ, start_response):
    return text(start_response, "not read")


def lost_client(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        print(f"lost: {error}")
        raise
    return text(start_response, "read")


def swallows(environ, start_response):
    """What a framework does: every exception becomes its own 500."""
    try:
        environ["wsgi.input"].read()
    except Exception:
        return text(start_response, "the framework's page", "500 Internal Server Error")
    return text(start_response, "read")


kept = []


def keeps(environ, start_response):
    message = "kept"
    if kept:
        try:
            kept[0].read()
        except (RuntimeError, ValueError) as error:
            message = str(error)
    kept.append(environ["wsgi.input"])
    return text(start_response, message)


def errors(environ, start_response):
    stream = environ["wsgi.errors"]
    stream.write("one ")
    stream.write("line\nand ")
    stream.writelines(["another\n", "é\n"])
    print("printed", file=stream)
    stream.buffer.write(b"bytes \xff\n")
    print("to stdout")
    stream.write("flushed")
    stream.flush()
    stream.write("left at the end")
    return text(start_response, "ok")


def much_logging(environ, start_response):
    for number in range(20):
        print(f"<{environ['QUERY_STRING']}-{number}>", "x" * 50, "end", file=environ["wsgi.errors"])
    return text(start_response, "ok")


# The answer.


@validator
def headers(environ, start_response):
    start_response(
        "299 Très bien".encode("latin-1").decode("latin-1"),
        [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "é")],
    )
    return [b"x"]


@validator
def chunks(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (block for block in (b"one", b"", b"two", b"three"))


def slow(environ, start_response):
    """Each block is sent before the next one is asked for: the client opens the gate."""
    gate = environ["QUERY_STRING"]

    def blocks():
        yield b"first"
        while not os.path.exists(gate):
            pass
        yield b"second"

    start_response("200 OK", [("Content-Type", "text/plain")])
    return blocks()


def writes(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    write(b"twice ")
    return [b"and ", b"returned"]


def writes_only(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])(b"only written")
    return []


def empty(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Empty", "1")])
    return []


def empty_blocks(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"", b""])


def single(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"a single block",)


def late_start(environ, start_response):
    def blocks():
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"late"

    return blocks()


def no_body_204(environ, start_response):
    start_response("204 No Content", [])
    return [b"ignored"]


def no_body_304(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return [b"ignored"]


def latin_text(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["caf\xe9"]


def replaces(environ, start_response):
    start_response("200 OK", [("X-First", "1"), ("Content-Length", "100"), ("Content-Type", "text/x-first")])
    try:
        raise LookupError
    except LookupError:
        start_response("500 Sorry", [("X-Second", "2"), ("Content-Type", "text/plain")], sys.exc_info())
    return [b"replaced"]


def replaces_by_keyword(environ, start_response):
    start_response("200 OK", [])
    try:
        raise LookupError
    except LookupError:
        start_response(status="503 Sorry", headers=[("Content-Type", "text/plain")], exc_info=sys.exc_info())
    return [b"replaced"]


def closes(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Closing([b"a", b"b"], "once")


def status(environ, start_response):
    return text(start_response, "a body of its own", environ["QUERY_STRING"].replace("%20", " "))


# Mistakes: what is given to start_response comes from a list, by number.

TRACE = "no traceback"
BAD_STARTS = [
    (TypeError, (b"200 OK", [])),
    (TypeError, (200, [])),
    (ValueError, ("20", [])),
    (ValueError, ("200OK", [])),
    (ValueError, ("OK 200", [])),
    (ValueError, ("099 X", [])),
    (ValueError, ("200 a\r\nSet-Cookie: x", [])),
    (ValueError, ("200 \u20ac", [])),
    (ValueError, ("100 Continue", [])),
    (TypeError, ("200 OK", ())),
    (TypeError, ("200 OK", {})),
    (TypeError, ("200 OK", None)),
    (TypeError, ("200 OK", [["a", "b"]])),
    (TypeError, ("200 OK", [("a",)])),
    (TypeError, ("200 OK", [("a", 1)])),
    (TypeError, ("200 OK", [(b"a", b"b")])),
    (ValueError, ("200 OK", [("", "b")])),
    (ValueError, ("200 OK", [("a b", "c")])),
    (ValueError, ("200 OK", [("a:", "c")])),
    (ValueError, ("200 OK", [("a", "b\r\nc: d")])),
    (ValueError, ("200 OK", [("a", "b\0")])),
    (ValueError, ("200 OK", [("a", "\u20ac")])),
    (ValueError, ("200 OK", [("Content-Length", "1x")])),
    (ValueError, ("200 OK", [("Content-Length", "-1")])),
    *((ValueError, ("200 OK", [(name, "x")])) for name in ("transfer-encoding", "Upgrade")),
    (TypeError, ("200 OK",)),
    (TypeError, ()),
    (TypeError, ("200 OK", [], None, 1)),
    (TypeError, ("200 OK", [], "x")),
    (TypeError, ("200 OK", [], (1, 2))),
]


def bad_start(environ, start_response):
    kind, arguments = BAD_STARTS[int(environ["QUERY_STRING"])]
    try:
        start_response(*arguments)
    except Exception as error:
        assert type(error) is kind, (arguments, error)
        message = str(error)
    else:
        message = "accepted"
    return text(start_response, message)


def twice(environ, start_response):
    start_response("200 OK", [("X-First", "1"), ("Content-Length", "100")])
    start_response("201 OK", [("Content-Type", "text/plain")])
    return [b"x"]


def twice_too_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])(b"some")
    start_response("201 OK", [])
    return [b"x"]


def twice_after_output(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"some")
    try:
        raise LookupError("the real reason")
    except LookupError:
        start_response("500 Sorry", [], sys.exc_info())
    return []


def not_started(environ, start_response):
    return [b"x"]


def not_bytes(environ, start_response):
    start_response("200 OK", [])
    return [5]


def not_bytes_later(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Closing(iter([b"some", None]), "after a mistake")


def not_iterable(environ, start_response):
    start_response("200 OK", [])
    return 5


def none(environ, start_response):
    start_response("200 OK", [])


def raises(environ, start_response):
    raise LookupError("before anything")


def raises_after_start(environ, start_response):
    start_response("200 OK", [("X-Never", "1"), ("Content-Length", "5")])
    raise LookupError("after start_response")


def raises_later(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])

    def blocks():
        yield b"some"
        raise LookupError("after output")

    return Closing(blocks(), "after an exception")


def raises_later_with_length(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])

    def blocks():
        yield b"some"
        raise LookupError("after output")

    return blocks()


def exits(environ, start_response):
    raise SystemExit(3)


def interrupts(environ, start_response):
    raise KeyboardInterrupt


def close_raises(environ, start_response):
    class Bad(Closing):
        def close(self):
            raise LookupError("in close")

    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return Bad([b"body"])


def too_long(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return iter([b"123", b"456", b"789"])


def too_long_single(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"123456"]


def too_short(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return Closing([b"123"], "too short")


def too_short_at_once(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [b"123"]


def too_short_empty(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return []


def endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])

    def blocks():
        while True:
            yield b"x" * 65536

    return Closing(blocks(), "endless")


# Files.


def file(environ, start_response):
    path, _, rest = environ["QUERY_STRING"].partition("&")
    opened = open(path, "rb")
    if rest:
        opened.seek(int(rest))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](opened, 4096)


def file_part(environ, start_response):
    opened = open(environ["QUERY_STRING"], "rb")
    opened.seek(3)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return environ["wsgi.file_wrapper"](opened)


class Readable:
    def __init__(self):
        self.left = 3

    def read(self, size):
        self.left -= 1
        return b"x" * size if self.left >= 0 else b""

    def close(self):
        print("closed the readable")


def readable(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](Readable(), 10)


def in_memory(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"))


def compressed(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    packed = tempfile.TemporaryFile()
    packed.write(gzip.compress(b"unpacked"))
    packed.seek(0)
    return environ["wsgi.file_wrapper"](gzip.GzipFile(fileobj=packed, mode="rb"))


def file_through_middleware(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    file = tempfile.TemporaryFile()
    file.write(b"lower case")
    file.seek(0)
    wrapped = environ["wsgi.file_wrapper"](file, block_size=3)
    return (block.upper() for block in wrapped)


def write_then_file(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])(b"before ")
    return environ["wsgi.file_wrapper"](open(environ["QUERY_STRING"], "rb"))


def bridge(environ, start_response):
    """The way back to Apache."""
    req = environ["mod_python.request"]
    req.notes["seen"] = "yes"
    return text(start_response, f"{req.uri} {req.notes['seen']} {req.server.server_hostname}")


class Class:
    """An application that is a class."""

    def __init__(self, environ, start_response):
        self.start = start_response

    def __iter__(self):
        self.start("200 OK", [("Content-Type", "text/plain")])
        yield b"a class"
