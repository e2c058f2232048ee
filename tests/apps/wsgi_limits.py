"""WSGI applications that show what reaches them, and that do what the server has to forgive or to refuse."""

import codecs
import gzip
import io
import json
import os
import resource
import tempfile

calls = []


def answer(start_response, body, status="200 OK", headers=()):
    data = body if isinstance(body, bytes) else body.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(data))), *headers])
    return [data]


def environment(environ, start_response):
    shown = {key: value for key, value in environ.items() if isinstance(value, (str, int, bool))}
    return answer(start_response, json.dumps(shown))


def redirects(req):
    req.internal_redirect("/environment/new?e=f")
    return 0


def growth(environ, start_response):
    """How much memory the child has taken at most, in KiB, and whether a key of the environ would outlive it."""
    pid = os.getpid()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * resource.getpagesize() // 1024
    return answer(start_response, f"{pid} {resident}")


def interned(environ, start_response):
    """Which of the headers' keys are interned: the same object as a constant of that text."""
    import sys

    found = {key: sys.intern(key[:5] + key[5:]) is key for key in environ if key.startswith("HTTP_")}
    return answer(start_response, json.dumps(found))


# Bodies.


def framework(environ, start_response):
    """What Django does: as many bytes as CONTENT_LENGTH says, and an exception of the file is not a reason to fail."""
    calls.append("framework")
    length = environ.get("CONTENT_LENGTH") or "0"
    try:
        data = environ["wsgi.input"].read(int(length))
    except OSError as error:
        print(f"framework: {type(error).__name__}: {error}")
        data = b"(an error)"
    shown = [length, data.decode("latin-1"), environ.get("HTTP_TRANSFER_ENCODING"), environ["wsgi.input_terminated"]]
    return answer(start_response, json.dumps(shown))


def to_the_end(environ, start_response):
    """What a framework does that knows wsgi.input_terminated."""
    data = environ["wsgi.input"].read()
    return answer(start_response, json.dumps([environ.get("CONTENT_LENGTH"), len(data)]))


def handler(req):
    """A handler of mod_python's that reads the body."""
    from mod_python import apache

    try:
        req.read()
    except OSError as error:
        kind = type(error)
        refused = issubclass(kind, apache.SERVER_RETURN)
        req.log_error(f"handler: {kind.__name__} {refused} {issubclass(kind, OSError)}: {error}", apache.APLOG_ERR)
        raise
    return apache.OK


def count(environ, start_response):
    return answer(start_response, str(len(calls)))


def begins_early(environ, start_response):
    """Has begun its answer when the body turns out to be refused."""
    start_response("200 OK", [("Content-Type", "text/plain")])(b"begun ")
    try:
        environ["wsgi.input"].read()
    except OSError:
        return [b"and ended"]
    return [b"and read"]


# Heads.


def hops(environ, start_response):
    names = environ["QUERY_STRING"].split(",")
    return answer(start_response, "hops", headers=[*((name, "keep-alive") for name in names), ("X-End", "1")])


class Headers(list):
    pass


def lenient(environ, start_response):
    start_response(environ["QUERY_STRING"], Headers([("Content-Type", "text/plain")]))
    return [b"lenient"]


def ranges(environ, start_response):
    value = environ["QUERY_STRING"].replace("%20", " ")
    headers = [("Accept-Ranges", value)] if value else []
    environ["wsgi.input"].read()
    calls.append("ranges")
    return answer(start_response, "0123456789", headers=headers)


# Files.


class Decrypting:
    """A file whose descriptor is that of the secret."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.left = True

    def fileno(self):
        return self.file.fileno()

    def tell(self):
        return self.file.tell()

    def read(self, size=-1):
        return codecs.encode(self.file.read(size).decode(), "rot13").encode()

    def close(self):
        self.file.close()


class Proxy:
    """What Django's File is: `read` is the wrapped file's own."""

    def __init__(self, file):
        self.file = file

    read = property(lambda self: self.file.read)
    close = property(lambda self: self.file.close)


class Impostor(io.FileIO):
    def read(self, size=-1):
        return codecs.encode(super().read(size).decode(), "rot13").encode()


class BufferedReader(io.BufferedReader):
    """Says that it is `_io`'s."""

    def read(self, size=-1):
        return codecs.encode(super().read(size).decode(), "rot13").encode()


BufferedReader.__module__ = "_io"


class Raw(io.FileIO):
    def readinto(self, buffer):
        data = codecs.encode(super().read(len(buffer)).decode(), "rot13").encode()
        buffer[: len(data)] = data
        return len(data)


def patched(path):
    file = open(path, "rb")
    read = file.read
    file.read = lambda size=-1: codecs.encode(read(size).decode(), "rot13").encode()
    return file


def patched_temporary(path):
    file = tempfile.NamedTemporaryFile()
    with open(path, "rb") as other:
        file.write(other.read())
    file.seek(0)
    read = file.read
    file.read = lambda size=-1: codecs.encode(read(size).decode(), "rot13").encode()
    return file


def peeked(path):
    file = open(path, "rb")
    file.peek(100)
    file.read(3)
    return file


def unflushed(path):
    file = open(path, "r+b")
    file.write(b"NEW")
    return file


def appended(path):
    file = open(path, "a+b")
    file.write(b"!")
    file.seek(2)
    return file


def pipe(path):
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    return open(reading, "rb")


def temporary(path):
    file = tempfile.NamedTemporaryFile()
    file.write(b"temporary")
    file.seek(4)
    return file


def beyond(path):
    file = open(path, "rb")
    file.seek(1000)
    return file


def closed(path):
    file = open(path, "rb")
    file.close()
    return file


def closed_below(path):
    number = os.open(path, os.O_RDONLY)
    file = open(number, "rb", closefd=False)
    os.close(number)
    return file


def compressed(path):
    return gzip.open(io.BytesIO(gzip.compress(b"unpacked")))


FILES = {
    "plain": lambda path: open(path, "rb"),
    "raw": lambda path: io.FileIO(path),
    "proxy": lambda path: Proxy(open(path, "rb")),
    "decrypting": Decrypting,
    "impostor": Impostor,
    "named": lambda path: BufferedReader(io.FileIO(path)),
    "wrapped": lambda path: io.BufferedReader(Raw(path)),
    "text": lambda path: open(path),
    "write_only": lambda path: open(os.devnull, "wb"),
    "proc": lambda path: open("/proc/self/cmdline", "rb"),
    "sys": lambda path: open("/sys/kernel/mm/transparent_hugepage/enabled", "rb"),
    "memory": lambda path: io.BytesIO(b"in memory"),
    "patched": patched,
    "patched_temporary": patched_temporary,
    "peeked": peeked,
    "unflushed": unflushed,
    "appended": appended,
    "pipe": pipe,
    "temporary": temporary,
    "beyond": beyond,
    "closed": closed,
    "closed_below": closed_below,
    "compressed": compressed,
}


def files(environ, start_response):
    kind, _, path = environ["QUERY_STRING"].partition("&")
    file = FILES[kind](path)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](file)


def own_wrapper(environ, start_response):
    """A subclass of the wrapper that gives something else."""

    class Wrapper(environ["wsgi.file_wrapper"]):
        def __iter__(self):
            return iter([b"something ", b"else"])

    start_response("200 OK", [("Content-Type", "text/plain")])
    return Wrapper(open(environ["QUERY_STRING"], "rb"))


def shrinks(environ, start_response):
    """A file that becomes shorter when its length has been announced: the rest is missing."""
    file = tempfile.TemporaryFile()
    file.write(b"x" * 1_000_000)
    file.seek(0)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1000000")])
    environ["mod_python.request"].add_output_filter("SHRINK")
    shrinking.append(file)
    return environ["wsgi.file_wrapper"](file)


shrinking = []


def shrink(filter):
    """An output filter that shortens the file before it is read."""
    if shrinking:
        shrinking.pop().truncate(500_000)
    filter.pass_on()
