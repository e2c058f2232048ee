"""Handlers of every phase for `make apifuzz`: each plays random operations, chosen by the seed in the request's line.

A phase plays, then mostly lets the request go on, and sometimes returns or raises what no handler should. What calls itself (redirects,
added handlers, filters) is counted for each seed and ends; nothing here ends the process, waits for ever or keeps a lock.
"""

import contextlib
import os

from mod_python import apache

from . import journal, values
from .player import Player
from .state import SEED, keep, seed_of
from .web import application as application

journal.open_in(os.environ.get("APIFUZZ_JOURNAL", "/tmp"), apache.interpreter)

RESULTS = (0, -1, -2, 200, 302, 304, 401, 403, 404, 500, 503)
STRANGE = (1, 7, -3, -4, 99, 100, 101, 102, 103, 600, 999, 10**30, -(10**30), True, None, "0", 1.0, (0,), [])
"""Statuses that are none."""


def _phase(phase, goes_on, chance):
    """A handler of a phase, which acts in so many of the requests."""

    def handler(req):
        seed = seed_of(req)
        if seed is None:
            return goes_on
        player = Player(seed, phase, req=req)
        random = player.random
        if random.random() > chance:
            return goes_on
        keep(req) if random.random() < 0.1 else None
        player.play()
        lot = random.random()
        if lot < 0.90:
            return goes_on
        player.note("ends otherwise")
        if lot < 0.94:
            return random.choice(RESULTS)
        if lot < 0.96:
            return random.choice((*STRANGE, values.value(player)))
        raise values.exception(player)

    return handler


postreadrequesthandler = _phase("PostReadRequestHandler", apache.DECLINED, 0.15)
inithandler = _phase("InitHandler", apache.OK, 0.1)
transhandler = _phase("TransHandler", apache.DECLINED, 0.15)
headerparserhandler = _phase("HeaderParserHandler", apache.OK, 0.2)
accesshandler = _phase("AccessHandler", apache.OK, 0.2)
authzhandler = _phase("AuthzHandler", apache.DECLINED, 0.2)
typehandler = _phase("TypeHandler", apache.DECLINED, 0.2)
fixuphandler = _phase("FixupHandler", apache.OK, 0.3)
loghandler = _phase("LogHandler", apache.OK, 0.3)
cleanuphandler = _phase("CleanupHandler", apache.OK, 0.4)
strange = _phase("StrangeHandler", -3, 0.5)
_authen = _phase("AuthenHandler", apache.OK, 0.2)
_content = _phase("Handler", apache.OK, 0.9)


def authenhandler(req):
    """Lets everybody in, mostly."""
    req.get_basic_auth_pw()
    with contextlib.suppress(Exception):
        req.user = req.user or "somebody"
    return _authen(req)


def handler(req):
    """The content."""
    with contextlib.suppress(Exception):
        req.content_type = "text/plain"
    result = _content(req)
    if type(result) is int and result == apache.OK:
        with contextlib.suppress(OSError, RuntimeError):
            req.write("the end")
    return result


class Instance:
    """A handler that is a class."""

    def __init__(self, argument):
        keep(self)
        self.argument = argument

    def __call__(self, req):
        return handler(req)

    def method(self, req):
        return handler(req)


def _filter(filter, phase):
    player = Player(seed_of(filter.req) or 0, phase, filter=filter, req=filter.req)
    random = player.random
    keep(filter) if random.random() < 0.3 else None
    lot = random.random()
    if lot < 0.3:
        filter.pass_on()
        return
    if lot < 0.45:
        player.play(random.choice((1, 4, 20)))
    data = filter.read(random.choice((-1, 10, 8000)))
    while data:
        player.again()
        filter.write(data)
        if random.random() < 0.1:
            filter.flush()
        data = filter.read()
    if data is None and random.random() < 0.9:
        filter.close()
    if random.random() < 0.04:
        raise values.exception(player)


def outputfilter(filter):
    _filter(filter, "outputfilter")


def inputfilter(filter):
    _filter(filter, "inputfilter")


def connectionhandler(connection):
    """A line with the seed, then whatever comes to mind."""
    first = connection.readline(200) or b""
    number = first.strip().rpartition(b"seed=")[2]
    player = Player(int(number) if number.isdigit() else 0, "ConnectionHandler", connection=connection)
    player.world += [connection.notes, connection.base_server, connection.hlist]
    player.play()
    if player.random.random() < 0.5:
        while data := connection.read(player.random.choice((0, 1, 1000))):
            connection.write(data)
            if not player.operate():
                break
    if player.random.random() < 0.3:
        keep(connection)
    lot = player.random.random()
    if lot < 0.85:
        return apache.OK
    if lot < 0.9:
        raise values.exception(player)
    return player.random.choice((*RESULTS, *STRANGE))


def tag(filter, name="#python"):
    """From a page's tag."""
    player = Player(seed_of(filter.req) or 0, name, filter=filter, req=filter.req)
    keep(filter) if player.random.random() < 0.3 else None
    filter.write("from a tag")
    player.play(player.random.choice((0, 2, 10)))
    if player.random.random() < 0.05:
        raise values.exception(player)


def script(query):
    """From a CGI script: no request at hand, but others', and streams of its own."""
    seed = SEED.search(query)
    player = Player(int(seed[1]) if seed else 0, "cgi")
    player.play(player.random.choice((2, 10)))
    if player.random.random() < 0.2:
        raise values.exception(player)


def published(req, lot, fields):
    """What a published function returns: anything."""
    player = Player(seed_of(req) or 0, "published", req=req)
    player.world.append(fields)
    player.play(3)
    kinds = (values.value, values.generator, values.Hostile, values.file, values.Mapping)
    return player.random.choice(kinds)(player) if lot else values.simple(player)


def at_import():
    """PythonImport: no request yet."""
    Player(os.getpid(), "PythonImport", server=apache.main_server).play(20)


def probe(req):
    """Does the child still answer?"""
    req.content_type = "text/plain"
    req.write("alive")
    return apache.OK
