"""Plays random operations on every object within reach; the same seed plays the same ones."""

import copy
import gc
import io
import operator
import os
import pickle
import random
import re
import sys
import weakref

import _apache

from . import acts, arguments, journal, values
from .state import keep, kept, state_of

NEVER = {
    "_own_directory",
    "_global_held",
    "_global_lock",
    "_global_unlock",
    "_global_trylock",
    "__class__",
    "__subclasshook__",
    "__init_subclass__",
    "__mul__",
    "__rmul__",
    "__imul__",
}
"""Locks go in pairs (acts); a thread's directory would stay changed; a list times 2**31 takes all of the machine's memory."""
FUNCTIONS = [name for name in dir(_apache) if callable(getattr(_apache, name)) and name not in NEVER]
TABLES = ("headers_in", "headers_out", "err_headers_out", "notes", "subprocess_env")
OPERATORS = (operator.eq, operator.ne, operator.lt, operator.contains, operator.add, operator.getitem, operator.or_)
OPERATORS += (operator.delitem, operator.is_, operator.mod, operator.iadd)
LOOKS = (repr, str, hash, len, iter, bool, dir, vars, list, tuple, dict, int, bytes, format, reversed, sorted, type)
LOOKS += (
    copy.copy,
    copy.deepcopy,
    pickle.dumps,
    sys.getsizeof,
    weakref.ref,
    gc.get_referents,
    callable,
    next,
    memoryview,
)
LOOKS += (operator.index, id, sum, max, set, enumerate)
DEPTH = 4
"""So deep may operations nest."""
PLAIN = (
    str,
    bytes,
    int,
    float,
    bool,
    list,
    tuple,
    dict,
    type(None),
    type,
    type(len),
    type(lambda: None),
    type(Ellipsis),
)
"""Python's own: these are arguments, rarely what is tried."""
AVOID = re.compile(os.environ["APIFUZZ_AVOID"]) if os.environ.get("APIFUZZ_AVOID") else None
_names = {}


class Avoided(Exception):
    """An operation that is left out, since what it finds is known."""


def names_of(thing):
    """The attributes that a type has."""
    kind = type(thing)
    found = _names.get(kind)
    if found is None:
        found = _names[kind] = [name for name in dir(kind) if name not in NEVER] or ["__class__"]
    return found


def kind_of(thing):
    """What it is counted as."""
    return type(thing).__name__


def brief(thing):
    """An argument for the journal; nothing foreign is called."""
    kind = type(thing)
    if kind in (int, float, bool, type(None)):
        return f"{thing!r:.24}"
    if kind in (str, bytes):
        return f"{thing[:24]!r}{'...' if len(thing) > 24 else ''}"
    return kind.__name__


class Player:
    """Operates on some objects, by a seed."""

    def __init__(self, seed, phase, **roots):
        self.state = state_of(seed)
        self.phase = phase
        visit = self.state.visit(phase)
        self.random = random.Random(f"{seed}:{phase}:{visit}")
        self.world = [thing for thing in roots.values() if thing is not None]
        self.roots = roots
        self.depth = 0

    def play(self, count=None):
        """So many operations."""
        if count is None:
            count = self.random.choice((1, 3, 8, 20, 60))
        for _ in range(count):
            if not self.operate():
                return

    def again(self):
        """From inside an operation: perhaps another one."""
        if self.random.random() < 0.6:
            self.operate()

    def operate(self):
        """One operation. Few exceptions go on to whoever called; False when the seed has done enough."""
        if self.depth >= DEPTH or not self.state.may("ops"):
            return False
        self.depth += 1
        what = "?"
        try:
            lot = self.random.random()
            if lot < 0.12:
                what = self.act()
            else:
                thing = self.reach()
                what = kind_of(thing)
                self.touch(thing)
            journal.count(f"call {what}")
        except Avoided:
            return True
        except BaseException as error:
            journal.count(f"call {what}")
            journal.failed(error, what)
            if self.random.random() < 0.02:
                raise
        finally:
            self.depth -= 1
        return True

    def learn(self, thing):
        """It is at hand from now on."""
        if len(self.world) < 40 and (type(thing) not in PLAIN or callable(thing)):
            self.world.append(thing)

    def act(self):
        act = self.random.choice(acts.ACTS)
        self.note(act.__name__)
        act(self)
        return act.__name__

    def note(self, *words):
        """Write down what comes now, or leave it out."""
        if AVOID and AVOID.search(" ".join(words)):
            raise Avoided
        journal.note(f"seed={self.state.seed} {self.phase}{self.depth}", *words)

    def reach(self):
        """An object, mostly none of Python's own."""
        for _ in range(4):
            thing = self._reach()
            if type(thing) not in PLAIN or isinstance(getattr(thing, "__self__", None), type(_apache)):
                break
        return thing

    def _reach(self):
        """One at hand, something that belongs to it, one of a former request, a new one."""
        random = self.random
        lot = random.random()
        if lot < 0.12:
            return self.some()
        if lot < 0.17:
            return getattr(_apache, random.choice(FUNCTIONS))
        if lot < 0.20:
            return _apache.table()
        if lot < 0.22:
            return _apache.main_server()
        thing = random.choice(self.world) if self.world else _apache.main_server()
        if lot < 0.55:
            return thing
        kind = kind_of(thing)
        if kind == "mp_request":
            return self.follow(thing)
        if kind == "mp_filter":
            return self.follow(thing.req)
        return thing

    def follow(self, req):
        """Something of a request."""
        random = self.random
        for _ in range(random.choice((0, 0, 0, 1, 2))):
            name = random.choice(("prev", "next", "main"))
            self.note("get", "mp_request", name)
            req = getattr(req, name) or req
        lot = random.randrange(12)
        if lot < 5:
            return getattr(req, random.choice(TABLES))
        if lot == 5:
            return req.connection
        if lot == 6:
            return random.choice((lambda: req.connection.notes, lambda: req.connection.base_server))()
        if lot == 7:
            return random.choice((lambda: req.server, lambda: req.server.next or req.server))()
        if lot == 8:
            return random.choice((req.get_config, req.get_options, req.server.get_config, req.server.get_options))()
        if lot == 9:
            self.note("get", "mp_request", "finfo")
            return req.finfo
        if lot == 10:
            return req.hlist
        table = getattr(req, random.choice(TABLES))
        return random.choice((iter, type(table).iterkeys, type(table).itervalues, type(table).iteritems))(table)

    def some(self):
        """Something known: a root, or something that was kept."""
        random = self.random
        if self.world and random.random() < 0.5:
            return random.choice(self.world)
        return random.choice(kept)

    def callback(self):
        """A callable that plays on."""

        def called(*args, **named):
            self.note("callback")
            self.play(self.random.choice((1, 2, 5)))
            return self.random.choice((None, 0, -1, 200, "x", b"x", called))

        return called

    def touch(self, thing):
        """Do something with it."""
        random = self.random
        lot = random.random()
        if lot < 0.62:
            name = random.choice(names_of(thing))
            if name.startswith("__") and random.random() < 0.7:
                name = random.choice(names_of(thing))
            self.attribute(thing, name)
        elif lot < 0.74:
            look = random.choice(LOOKS)
            self.note(look.__name__, kind_of(thing))
            found = look(thing)
            if random.random() < 0.3:
                self.learn(found)
        elif lot < 0.84:
            other = values.value(self)
            operation = random.choice(OPERATORS)
            self.note(operation.__name__, kind_of(thing), brief(other))
            operation(thing, other) if random.random() < 0.8 else operation(other, thing)
        elif lot < 0.89:
            key, other = values.value(self), values.value(self)
            self.note("setitem", kind_of(thing), brief(key), brief(other))
            thing[key] = other
        elif lot < 0.92:
            self.note("keep", kind_of(thing))
            keep(thing)
        elif lot < 0.94:
            self.of_class(thing)
        elif lot < 0.97 and not isinstance(thing, type):
            self.note("walk", kind_of(thing))
            for number, _ in enumerate(thing):
                self.again()
                if number > 8:
                    break
        else:
            self.call(thing, getattr(thing, "__name__", ""))

    def attribute(self, thing, name):
        """Look at an attribute, call it, set it, delete it."""
        random = self.random
        lot = random.random()
        if lot < 0.12 and not isinstance(thing, type):
            given = arguments.for_attribute(self, name)
            self.note("set", kind_of(thing), name, brief(given))
            setattr(thing, name, given)
            return
        if lot < 0.14 and not isinstance(thing, type):
            self.note("del", kind_of(thing), name)
            delattr(thing, name)
            return
        self.note("get", kind_of(thing), name)
        found = getattr(thing, name)
        if callable(found):
            self.call(found, name)
        elif found is not None and not isinstance(found, (int, float)):
            if random.random() < 0.05:
                keep(found)
            if random.random() < 0.2:
                self.learn(found)

    def of_class(self, thing):
        """What its class makes of other objects: `mp_request.write(table)`, new objects, subclasses."""
        random = self.random
        kind = type(thing)
        if issubclass(kind, io.FileIO):
            return  # a number is a descriptor, which would be closed with the new file: another's
        lot = random.randrange(4)
        if lot == 0:
            self.note("class call", kind.__name__)
            keep(kind(*arguments.some(self)))
        elif lot == 1:
            self.note("class new", kind.__name__)
            made = kind.__new__(kind, *arguments.some(self))
            self.world.append(made)
        elif lot == 2:
            self.note("subclass", kind.__name__)
            made = type("Sub", (kind,), {"x": 1})
            self.world.append(made(*arguments.some(self)))
        else:
            name = random.choice(names_of(thing))
            self.note("unbound", kind.__name__, name)
            descriptor = kind.__dict__.get(name)
            other = values.value(self)
            if hasattr(descriptor, "__get__") and random.random() < 0.5:
                descriptor.__get__(other, random.choice((kind, type(other), None)))
            elif callable(descriptor) and self.may(name):
                descriptor(other, *arguments.for_call(self, name))

    def may(self, name):
        """Some calls end only because they are counted."""
        if name in ("read", "readline", "readlines"):
            return True
        return name not in NEVER and self.state.may(name)

    def call(self, function, name):
        """Call it, with what it may like or with anything."""
        random = self.random
        owner = getattr(function, "__self__", None)
        name = getattr(function, "__name__", name)
        if not isinstance(name, str) or not self.may(name):
            return
        if kind_of(owner) == "mp_conn" and name in ("read", "readline") and not self.state.may("read of a connection"):
            return
        given = arguments.for_call(self, name)
        named = {"flush": 1, "x": values.simple(self)} if random.random() < 0.02 else {}
        self.note("call", kind_of(owner), name, *map(brief, given))
        found = function(*given, **named)
        if random.random() < 0.1:
            self.learn(found)
        if random.random() < 0.03:
            keep(random.choice((function, found)))
