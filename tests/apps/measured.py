"""Handlers and applications whose requests are counted."""

import json
import os
import pathlib
import sys
import time
import types

import _apache
import steps
from mod_python import apache


def fine(req):
    req.content_type = "text/plain"
    req.write("Hello World!", 0)
    return apache.OK


def fails(req):
    raise ValueError("measured")


class Lazy(types.ModuleType):
    """As an importer's module that is loaded when it is used, and cannot be."""

    def __getattribute__(self, name):
        raise ImportError(name)


class Placed(types.ModuleType):
    __file__ = 5

    def __init__(self, name):
        super().__init__(name)
        self.__file__ = pathlib.Path("<i>")


class Mock:
    def __getattr__(self, name):
        return self


def odd_modules(req):
    sys.modules["odd_lazy"], sys.modules["odd_placed"] = Lazy("odd_lazy"), Placed("odd_placed")
    sys.modules["odd_<i>"], sys.modules["odd_none"], sys.modules[5] = Mock(), None, Mock()
    return fine(req)


def forbids(req):
    return apache.HTTP_FORBIDDEN


def sleeps(req):
    time.sleep(0.15)
    return fine(req)


def spins(req):
    """Holds the interpreter's lock while another request waits for it."""
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        pass
    return fine(req)


def access(req):
    return apache.OK


def series(req):
    """What the series of each archive add up to, and the counters."""
    names = list(_apache._counters())
    sums = []
    for archive in range(3):
        step, age, opened, points = _apache._rates(archive)
        assert 0 <= opened <= step and age < 60_000
        sums.append([sum(each) for each in points])
    counts = [sum(column) for column in zip(*(row[2] for row in _apache._totals()))]
    req.content_type = "application/json"
    req.write(json.dumps({"names": names, "sums": sums, "counts": counts, "bounds": _apache._bounds()}))
    return apache.OK


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"Hello"]


def waits(req):
    """Until the test says so."""
    steps.wait_for(os.path.join(os.path.dirname(__file__), "go_on"))
    req.write("waited")
    return apache.OK
