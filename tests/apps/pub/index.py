"""The page at the root of the published directory."""

import logging
import os
import os.path as path
from functools import wraps
from os import system
from shutil import rmtree
from string import Template

import helpers
from helpers import helper
from mod_python import apache, util

text = "some text"
number = 42
nothing = None
data = b"\x00bytes"
page = "<html><body>é</body></html>\n"
table = {"key": "value"}
_hidden = "hidden"
logger = logging.getLogger("page")


def index(req):
    return "the index"


def hello(req, name, other="default"):
    return f"hello {name} {other}"


def form(req):
    return ",".join(f"{key}={req.form.getfirst(key)}" for key in req.form.keys())


def anything(req, **kw):
    return repr(sorted(kw.items()))


def keyword_only(*, name):
    return name


def without_req(name=""):
    return f"no req {name}"


def upload(req, file):
    return f"{file.filename} {len(file.value)}"


def generated(req):
    yield "one "
    yield 2


def lambda_result(req):
    return lambda: "called again"


def typed(req):
    req.content_type = "application/x-own"
    return "typed"


def raising(req):
    raise apache.SERVER_RETURN(apache.HTTP_CONFLICT)


def nothing_at_all(req):
    return None


class Thing:
    """A class is not published; an instance is."""

    value = "a value of a class"

    def __init__(self):
        self.attribute = "an attribute"
        self._private = "private"

    def method(self, req, name="x"):
        return f"method {name}"

    def __call__(self, req):
        return "the thing called"


thing = Thing()


def decorated_by(function):
    @wraps(function)
    def wrapper(req):
        return "decorated " + function(req)

    return wrapper


@decorated_by
def decorated(req):
    __auth__ = {"spam": "eggs"}
    return "secret"
