"""Handlers that log, and that fail."""

import logging
import sys
import threading

import steps
from mod_python import apache

shop = logging.getLogger("shop")
shop.propagate = False
shop.setLevel(1)
shop.addHandler(apache.LogHandler())
logging.addLevelName(5, "LOW")


class Exits:
    def __str__(self):
        raise SystemExit(3)


class Fails:
    def __repr__(self):
        raise ValueError


def long(req):
    raise ValueError("".join(f"<{number}>" for number in range(3000)) + "\U0001f40d" * 1000 + " the end of it")


def recursive(req):
    return steps.endless(req)


def deep(req):
    return steps.deep(10_000)


def fails(req):
    raise LookupError("failed")


def chained(req):
    try:
        {}["missing"]
    except KeyError as error:
        raise LookupError('a "quoted" back\\slash\r\nline\t\0\x1b é \U0001f40d \udc80') from error


def levels(req):
    for level in (50, 40, 30, 20, 10, 5):
        shop.log(level, "at %s", logging.getLevelName(level))
    return apache.OK


def forges(req):
    shop.error("forged\n[Thu Jan 01 00:00:00 1970] [core:crit] \x1b[31m\0\udc80")
    try:
        1 / 0
    except ZeroDivisionError:
        shop.exception("not at all", stack_info=True)
    return apache.OK


def unshowable(req):
    shop.warning("%s", Exits())
    req.write("went on")
    return apache.OK


def wrong_arguments(req):
    shop.warning("%d", "text")
    req.write("went on")
    return apache.OK


class Braced(logging.LogRecord):
    """A record that has a way of its own to be shown."""

    def getMessage(self):
        return self.msg.format(*self.args)


def braced(req):
    apache.LogHandler().handle(Braced("shop", 30, __file__, 1, "in {}s", ("brace",), None))
    return apache.OK


def sent(req):
    """One that another process has sent, with its traceback as a text."""
    try:
        raise ValueError("of another\n[core:crit] process")
    except ValueError:
        record = shop.makeRecord("shop", 30, __file__, 1, "sent %d", (1,), sys.exc_info())
    logging.Formatter().format(record)
    apache.LogHandler().handle(logging.makeLogRecord({**vars(record), "exc_info": None}))
    return apache.OK


def ended(req):
    def later():
        shop.warning("from a thread, later")

    thread = threading.Thread(target=later)
    thread.start()
    thread.join()
    req.register_cleanup(shop.warning, "after its request")
    req.write("went on")
    return apache.OK


def prints(req):
    print("printed é")
    req.log_error("by req.log_error", apache.APLOG_WARNING)
    return apache.OK


def forgotten(req):
    pass


def extra(req):
    fields = {"order": {"id": 7, "items": ["a", "b"]}, "ratio": float("nan"), "half": "\udc80", "fails": Fails()}
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("shop.orders").warning(
            "ordered %d\nbooks", 3, exc_info=True, extra={**fields, "huge": 1 << 10_000}
        )
    return apache.OK


def application(environ, start_response):
    raise LookupError("wsgi fails")


async def asgi(scope, receive, send):
    if scope["path"].endswith("fails"):
        raise LookupError("asgi fails")
    shop.warning("asgi logs")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
