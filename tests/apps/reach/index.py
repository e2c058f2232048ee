"""A page that has come by all kinds of objects."""

import abc
import contextlib
import datetime
import decimal
import enum
import functools
import importlib.util
import itertools
import logging
import operator
import os
import shutil
import sys
import threading
import types
from decimal import Decimal as decimal_class
from os import environ, environb
from string import Template as template_class
from time import sleep
from typing import NamedTuple, TypedDict

from mod_python import apache, publisher

_hidden = "hidden"


class Abstract(abc.ABC):  # noqa: B024
    name = "abstract"


class Colour(enum.Enum):
    RED = 1


class Meta(type):
    pass


class Lazy(types.ModuleType):
    def __getattr__(self, name):
        return getattr(os, name)


lazy = Lazy("lazy")
bound_partial = functools.partial(os.system, "true")
nested_partial = functools.partial(functools.partial(functools.partial(shutil.rmtree)), "/tmp/none")


class Partial(functools.partial):
    pass


own_partial = Partial(os.system, "true")
logger = logging.getLogger("page")
partial_of_method = functools.partial(logger.critical)
cached = functools.cached_property(os.system)
remembered = functools.lru_cache(os.listdir)
static = staticmethod(os.system)


@functools.wraps(os.system)
def wrapped(command):
    return "ran"


method_of_logger = logger.critical
method_of_builtin = types.MethodType(os.system, "true")
opened = open(__file__)
lock = threading.Lock()
getter = operator.attrgetter("name")
caller = operator.methodcaller("upper")


class Job(threading.Thread):
    pass


job = Job()


class Finder(logging.Filterer):
    __call__ = logging.Filterer.filter


finder = Finder()


class WithBuiltin:
    __call__ = os.system


class WithStatic:
    __call__ = staticmethod(os.system)


class WithMethod:
    @property
    def __call__(self):
        return os.system


with_builtin, with_static, with_method = WithBuiltin(), WithStatic(), WithMethod()
descriptor = property(os.system)
class_method = classmethod(os.system)
upper = str.upper
code = os.path.join.__code__


def _numbers():
    yield 1
    yield 2


def __getattr__(name):
    if name == "generating":
        return _numbers()
    raise AttributeError(name)


namespace = types.SimpleNamespace(cr_frame=sys._getframe())
unit = ValueError("x")
server = apache.main_server
table = {"key": "value"}
text_list = ["a"]
mapping = {"a": 1}


class Record(NamedTuple):
    x: int


class Typed(TypedDict):
    x: int


point = Record(1)


class Proxy:
    def __getattr__(self, name):
        return {"hello": lambda req: "from a proxy"}.get(name) or getattr(os, name)


proxy = Proxy()


class Words(str):
    pass


words = Words("words of one's own")


class Thing:
    @property
    def seen(self):
        return "a property"

    @functools.cached_property
    def computed(self):
        return "computed"

    def method(self, req):
        return "method"

    def __str__(self):
        return "a thing"

    def __call__(self, req):
        return "called"

    def hello(self, req):
        return "hello of thing"


thing = Thing()
x = thing


def cycle(req):
    return "never"


cycle.__wrapped__ = cycle
spec = importlib.util.spec_from_file_location("x", __file__)
flags = sys.flags
counter = itertools.count()
day = datetime.date(2026, 1, 31)
price = decimal.Decimal("1.50")
favourite = Colour.RED


def _partly(how, name):
    return f"{how} {name}"


def own_partial_call(req, name):
    return functools.partial(_partly, "partly")(name)


@functools.lru_cache
def _remember():
    return "remembered"


own_remembered = _remember


class _Static:
    @staticmethod
    def call():
        return "static"


own_static = _Static.call
folder = "a folder"


class _Caller:
    def run(self):
        return "by a method"


called_by_method = _Caller().run


class Opened:
    pass


class _Special:
    attribute = "attribute"

    def __str__(self):
        return "special"


special = _Special()


def overrule(req, back=None):
    if back:
        publisher.tp_rules.pop(_Special)
    else:
        publisher.tp_rules[_Special] = (False, True)
    return "done"


@contextlib.contextmanager
def managed():
    yield
