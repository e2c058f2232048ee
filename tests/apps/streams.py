"""What an application can do to the standard streams, and another one that only prints."""

import codecs
import contextlib
import gc
import io
import logging
import os
import sys
import threading

from mod_python import apache


class Raising:
    def write(self, text):
        raise OSError("no space left")

    def flush(self):
        raise OSError("no space left")


def closed_file():
    file = open(os.devnull, "w")
    sys.stdout = sys.stderr = file
    file.close()


def closed_buffer():
    with io.StringIO() as text:
        sys.stdout = sys.stderr = text


def wrapped():
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", line_buffering=True)
    sys.stdout = sys.__stdout__
    gc.collect()


def wrapped_and_closed():
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    sys.stdout.close()


def wrapped_raw():
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(sys.stderr.buffer.raw))
    sys.stderr = None
    gc.collect()


def detached():
    sys.stdout = codecs.getwriter("utf-8")(sys.stdout.detach())
    sys.stdout.close()
    sys.stderr.detach().detach().close()


def detached_wrapper():
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer)
    sys.stdout.detach()


def left_open():
    contextlib.redirect_stdout(io.StringIO()).__enter__()
    contextlib.redirect_stderr(io.StringIO()).__enter__()


def crossed():
    """Two threads' redirections that overlap."""
    one, two = contextlib.ExitStack(), contextlib.ExitStack()
    for stack in (one, two):
        text = io.StringIO()
        entering = [lambda: stack.enter_context(contextlib.redirect_stdout(text)), text.close]  # noqa: B023
        for step in entering:
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()
    one.close()
    two.close()


def deleted():
    del sys.stdout, sys.stderr, sys.stdin


def itself():
    """What stands in their place is told that it stands for itself."""
    sys.stdout = sys.stderr = Raising()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.stream = stream


def all_close():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, sys.stdin, sys.__stdin__):
        with stream:
            pass
        for part in (stream, stream.buffer, getattr(stream.buffer, "raw", stream)):
            part.close()


WAYS = {
    "close": lambda: (sys.stdout.close(), sys.stderr.close()),
    "buffers": lambda: (sys.stdout.buffer.close(), sys.stderr.buffer.close(), sys.stdout.buffer.raw.close()),
    "raw_detached": lambda: sys.stdout.buffer.detach().close(),
    "with": lambda: sys.stdout.__enter__().__exit__(None, None, None),
    "none": lambda: [setattr(sys, name, None) for name in ("stdin", "stdout", "stderr")],
    "no_stream": lambda: [setattr(sys, name, object()) for name in ("stdin", "stdout", "stderr")],
    "raising": lambda: [setattr(sys, name, Raising()) for name in ("stdout", "stderr")],
    "reconfigure": lambda: sys.stdout.reconfigure(encoding="ascii", errors="strict"),
    "descriptors": lambda: (os.close(os.dup(1)), os.open(os.devnull, os.O_WRONLY)),
    "logging": logging.shutdown,
    "unbound": lambda: (io.TextIOWrapper.close(sys.stdout), io.IOBase.close(sys.stderr)),
    **{
        function.__name__: function
        for function in (
            closed_file,
            closed_buffer,
            wrapped,
            wrapped_and_closed,
            wrapped_raw,
            detached,
            detached_wrapper,
            left_open,
            crossed,
            deleted,
            itself,
            all_close,
        )
    },
}


def breaks(req):
    if req.args == "request":
        # As programs for mod_python have done it; kept beyond the request.
        sys.stdout = sys.stderr = req
    else:
        WAYS[req.args]()
    return apache.OK


def prints(req):
    """In every way, one after the other."""
    print("printed", req.args)
    print("errors", req.args, file=sys.stderr, flush=True)
    sys.stdout.write(f"written {req.args} \u20ac\n")
    sys.stdout.buffer.write(b"bytes " + req.args.encode() + b"\n")
    sys.stdout.flush()
    print("process", file=sys.__stderr__, flush=True)
    logging.getLogger("streams").warning("logged %s", req.args)
    assert sys.stdin.read(0) == ""
    assert not sys.stdout.closed and not sys.stderr.closed
    req.write("printed")
    return apache.OK


def redirects(req):
    """A redirection catches what its own thread prints, and nothing else."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        inner = io.StringIO()
        print("outer")
        with contextlib.redirect_stdout(inner):
            print("inner")
            thread = threading.Thread(target=print, args=("elsewhere",))
            thread.start()
            thread.join()
        print(sys.stdout is text)
    with contextlib.redirect_stdout(None):
        print("silence")
    before = sys.stdout
    sys.stdout = mine = io.StringIO()
    print("mine")
    seen = sys.stdout is mine
    sys.stdout = before
    req.write(repr((text.getvalue(), inner.getvalue(), mine.getvalue(), seen, sys.stdout is before)))
    return apache.OK


def modules(req):
    """``type(sys)`` is still what it is for."""
    import importlib.util
    import types

    class Lazy(type(sys)):
        def __getattr__(self, name):
            return name.upper()

    made = type(sys)("made")
    loaded = importlib.util.module_from_spec(importlib.util.spec_from_file_location("loaded", __file__))
    lazy = Lazy("lazy", "text")
    found = [type(made), type(loaded), Lazy.__bases__[0]]
    assert all(kind is types.ModuleType for kind in found), found
    assert isinstance(os, type(sys)) and isinstance(sys, types.ModuleType) and issubclass(Lazy, type(sys))
    assert (lazy.word, lazy.stdout, lazy.__doc__, lazy.__class__.__name__) == ("WORD", "STDOUT", "text", "Lazy")
    req.write("modules")
    return apache.OK


def application(environ, start_response):
    errors = environ["wsgi.errors"]
    ways = {"close": errors.close, "detach": errors.detach, "buffer": errors.buffer.close, "with": errors.__enter__}
    if environ["QUERY_STRING"] == "wrap":
        io.TextIOWrapper(errors.buffer)
        gc.collect()
    else:
        ways.get(environ["QUERY_STRING"], errors.flush)()
    if environ["QUERY_STRING"] == "bend":
        with contextlib.suppress(AttributeError):
            errors.write = None
    errors.write("the application's errors\n")
    print("the application prints", flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"still there"]
