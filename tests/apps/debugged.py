"""Errors for the page of PythonDebug, and values that do not want to be shown."""

import builtins
import time
from collections import defaultdict

import steps
from mod_python import apache


class Raises:
    def __repr__(self):
        raise SystemExit(3)


class Spins:
    def __repr__(self):
        while True:
            pass


class Enormous:
    def __repr__(self):
        return "e" * 50_000_000


class Recursive:
    def __repr__(self):
        return repr(self)


class Markup:
    def __repr__(self):
        return "<script>alert('repr')</script>\0\x1b[31m\udc80\u202e"


class Settings:
    def __repr__(self):
        return "Settings(db='x', password='hunter2-repr', api_key=hunter2-bare)"


class Loud(dict):
    def items(self):
        raise apache.SERVER_RETURN(apache.OK)

    __iter__ = __len__ = __repr__ = items


class Strange(Exception):
    def __str__(self):
        raise KeyboardInterrupt


def secret(name):
    return "hunt" + "er2-" + name


def total(prices, discount):
    """Add prices up."""
    rate = discount / 100
    return sum(prices) / (1 - rate)


def divides(req):
    order = {"book": 12.5, "pen": 1.2, "owner": {"name": "Ada", "password": secret("dict")}}
    password = "hunter2-local"
    session_cookie = [secret("list")]
    pairs = [("Authorization", secret("pair"))]
    settings = Settings()
    prices = [value for value in order.values() if isinstance(value, float)]
    return total(prices, discount=100)


def hostile(req):
    raises, spins, enormous, recursive, markup, loud = Raises(), Spins(), Enormous(), Recursive(), Markup(), Loud(a=1)
    number, text, blob, grown = 1 << 100_000, "t" * 10_000_000, bytes(10_000_000), defaultdict(list, {1: [2]})
    nested = []
    for _ in range(100_000):
        nested = [nested]
    itself = []
    itself.append(itself)
    many = dict.fromkeys(range(1_000_000))
    raise ValueError("<script>alert('text')</script>\0\x1b[31m\udc80\r\nmod_python: forged")


def strange(req):
    raise Strange


def chained(req):
    try:
        try:
            {}["missing"]
        except KeyError:
            int("not a number")
    except ValueError as error:
        raise LookupError("nothing was found") from error


def grouped(req):
    errors = []
    for value in ("a", "b"):
        try:
            int(value)
        except ValueError as error:
            errors.append(error)
    group = builtins.ExceptionGroup
    raise group("two at once", [*errors, group("inner", [TypeError("deep")])])


def looped(req):
    error = LookupError("looped")
    error.__cause__ = other = ValueError("other")
    other.__cause__ = error
    raise error


def deep(req):
    return steps.deep(20_000)


def repeated(req):
    return steps.endless(req)


def forgotten(req):
    req.content_type = "text/plain"
    req.headers_out["Content-Disposition"] = "attachment"
    req.write("lost", 0)


def text(req):
    return "<b>text</b>"


def suspended(req):
    yield 1


def begun(req):
    req.content_type = "text/plain"
    req.write("begun;")
    raise LookupError("late")


def library(req):
    import json

    return json.loads("{")


def application(environ, start_response):
    secret_token = "hunter2-wsgi"
    time_of_day = time.time()
    raise LookupError("wsgi fails")


async def asgi(scope, receive, send):
    here = "in ASGI"
    raise LookupError("asgi fails")
