"""Handlers and applications that do not end: what PythonTimeout is for (test_deadlines.py)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import threading
import time

import _apache
from mod_python import apache
from mod_python.asgi import handler as asgi_handler
from mod_python.wsgi import handler as wsgi_handler

LONG = 1.2
"""Longer than the limits and their second time, shorter than a test has patience."""

_held = threading.Lock()
_held.acquire()


def stand(how):
    """Be stuck."""
    if how == "spin":
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass
    elif how == "spin on":
        # For longer than a test has patience.
        end = time.monotonic() + 90
        while time.monotonic() < end:
            pass
    elif how == "sleep":
        time.sleep(LONG)
    elif how == "lock":
        _held.acquire(timeout=LONG)
    elif how == "c":
        ctypes.CDLL(None).usleep(int(LONG * 1e6))
    elif how == "gil":
        ctypes.PyDLL(None).usleep(int(LONG * 1e6))
    elif how == "catch":
        caught = 0
        while caught < 3:
            try:
                stand("spin")
            except BaseException:
                caught += 1
        raise ValueError("caught")
    elif how == "swallow":
        with contextlib.suppress(Exception):
            stand("spin")
    elif how == "gil for ever":
        ctypes.PyDLL(None).sleep(60)
    elif how == "for ever":
        ctypes.CDLL(None).sleep(60)


def handler(req):
    req.content_type = "text/plain"
    how = (req.args or "").replace("%20", " ")
    if how.startswith("part "):
        req.write("a part", 1)
        how = how[5:]
    stand(how)
    req.write("done")
    return apache.OK


def waits(req):
    """An innocent one: until its test lets it go on."""
    req.content_type = "text/plain"
    while not os.path.exists(os.path.join(os.path.dirname(__file__), "go_on")):
        time.sleep(0.02)
    req.write("waited")
    return apache.OK


def accesshandler(req):
    stand(req.args or "")
    return apache.OK


def fixuphandler(req):
    stand(req.args or "")
    return apache.OK


def quick(req):
    req.content_type = "text/plain"
    x = 0
    for n in range(3000):
        x += n
    req.write(f"quick {x}")
    return apache.OK


def outputfilter(filter):
    data = filter.read()
    while data:
        stand(filter.req.args or "")
        filter.write(data)
        data = filter.read()
    if data is None:
        filter.close()


def plain(req):
    req.content_type = "text/plain"
    req.write("plain")
    return apache.OK


def flushed(req):
    """As `plain`, with the filter running while this one writes."""
    req.content_type = "text/plain"
    req.write("plain", 1)
    return apache.OK


def connectionhandler(connection):
    line = connection.readline()
    if not line:
        return apache.OK
    connection.write(b"a part")
    stand(line.decode().strip())
    connection.write(b"done")
    return apache.OK


def cleaned(req):
    def clean(how):
        stand(how)

    req.register_cleanup(clean, req.args or "")
    req.content_type = "text/plain"
    req.set_content_length(5)
    req.write("clean")
    return apache.OK


def outer(req):
    """Another handler with a limit of its own, inside of this one's."""
    status = apache.OK
    sub = req.internal_redirect("/handler?spin")
    return status if sub is None else sub


def flight(req):
    import json

    rows = _apache._in_flight()
    req.content_type = "application/json"
    found = [(row, _apache._stack(row[0], row[1])) for row in rows]
    req.write(json.dumps(found))
    return apache.OK


def tasks(req):
    req.write(str(sum(row[7] for row in _apache._interpreters())))
    return apache.OK


def race(req):
    def body():
        time.sleep(0)
        for _ in range(3):
            pass

    def after():
        for _ in range(3):
            pass

    req.content_type = "text/plain"
    race_them = getattr(_apache, "_race_deadlines", None)
    req.write(str(race_them(int(req.args), body, after)) if race_them else "none")
    return apache.OK


def wsgi(environ, start_response):
    how = environ["QUERY_STRING"].replace("%20", " ")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if how.startswith("iterate "):
        return iterate(how[8:])
    if how == "goes":
        return Goes([b"done"])
    stand(how)
    return [b"done"]


class Goes(list):
    def __iter__(self):
        return iter([b"done"])

    def __del__(self):
        stand("spin")


def iterate(how):
    yield b"a part"
    stand(how)
    yield b"done"


async def asgi(scope, receive, send):
    how = scope["query_string"].decode().replace("%20", " ")
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
    if how.startswith("part "):
        await send(start)
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        await asyncio.sleep(0)
        how = how[5:]
    if how == "body":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await send(start)
        await send({"type": "http.response.body", "body": body})
        return
    if how == "await":
        await asyncio.sleep(30)
    elif how == "await for ever":
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(30)
    elif how == "turn for ever":
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(0)
    elif how == "clean up":
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.3)
            apache.log_error("it has cleaned up", apache.APLOG_INFO)
    elif how == "pool":
        await asyncio.get_running_loop().run_in_executor(None, stand, "sleep")
    else:
        stand(how)
    if not how.startswith("part "):
        await send(start)
    await send({"type": "http.response.body", "body": b"done"})


class Called:
    """An application that is no coroutine, and does something before it gives one."""

    def __call__(self, scope, receive, send):
        stand(scope["query_string"].decode().replace("%20", " "))
        return asgi({**scope, "query_string": b""}, receive, send)


called = Called()


class Says(Exception):
    """Takes its time to say what it is, or to go."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how

    def __str__(self):
        if self.how == "says":
            stand("spin")
        return f"{self.how} slowly"

    def __del__(self):
        if self.how == "goes":
            stand("spin")


def says(req):
    raise Says(req.args)


def saying(filter):
    raise Says(filter.req.args)


async def suspended(filter):
    try:
        await asyncio.sleep(0)
    finally:
        stand("spin")


def suspends(filter):
    """Its coroutine has begun already."""
    coroutine = suspended(filter)
    coroutine.send(None)
    return coroutine


def inputfilter(filter):
    """Passes everything on."""
    while data := filter.read():
        filter.write(data)
    if data is None:
        filter.close()


def received(req):
    req.write(req.read())
    return apache.OK


def wrapped(req):
    """An application's server inside of a handler."""
    return asgi_handler(req)


def wrapped_wsgi(req):
    return wsgi_handler(req)


def again(what):
    """What `what` gives, however often RequestTimeout comes."""
    while True:
        try:
            return what()
        except apache.RequestTimeout:
            pass


def forks(req):
    """Forks when it is told that its time is up, which the log is just then told."""
    child = None
    with contextlib.suppress(apache.RequestTimeout):
        stand("spin")
    child = again(os.fork)
    if child == 0:
        # It waits for ever where the request is held by a thread that is not here.
        signal.alarm(20)
        again(lambda: req.headers_out.__setitem__("X-Forked", "yes"))
        again(lambda: apache.log_error("the child of a fork has used the request"))
        os._exit(0)
    again(lambda: os.waitpid(child, 0))
    return apache.OK
