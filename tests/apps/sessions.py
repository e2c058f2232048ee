"""Sessions of every kind."""

import datetime
import json
import os
import sys
import time

import _apache
import steps
from mod_python import Cookie, Session, apache


def count(req):
    """Adds one to a number in the session."""
    session = Session.Session(req)
    session["n"] = session.get("n", 0) + 1
    session.save()
    req.write(f"{session['n']} {session.is_new()} {session.id()} {os.getpid()} {type(session).__name__}")
    return apache.OK


def forks(req):
    """A process that is forked while the session's file is open, and lives on until its test lets it go."""
    session = Session.Session(req)
    child = os.fork()
    if child == 0:
        while not os.path.exists(os.path.join(os.path.dirname(__file__), "go_on")):
            time.sleep(0.02)
        os._exit(0)
    session["n"] = session.get("n", 0) + 1
    session.save()
    req.write(f"{session['n']}")
    return apache.OK


def twice(req):
    """The same session, however often it is made; other sessions of one request do not block it."""
    first = Session.Session(req)
    assert Session.Session(req) is first and Session.Session(req, sid=first.id()) is first
    others = [Session.Session(req, sid=f"{number:032x}", lock=1) for number in range(1)]
    first["other"] = [other.id() for other in others]
    first.save()
    req.write("ok")
    return apache.OK


def data(req):
    session = Session.Session(req)
    value = {
        "t": (1, 2),
        "s": {1},
        "b": b"\xff",
        "d": datetime.datetime(2026, 1, 2, 3, 4),
        5: None,
        "!": "x",
        "é": [1.5],
    }
    if session.is_new():
        session.update(value)
        session.save()
    else:
        assert dict(session) == value, dict(session)
        assert abs(session.last_accessed() - session.created()) < 60 and session.timeout() == 1800
    session.unlock()
    req.write(session.id())
    return apache.OK


def cannot(req):
    session = Session.Session(req)
    session["object"] = object()
    session.save()
    return apache.OK


def ends(req):
    session = Session.Session(req)
    session.invalidate()
    session["after"] = 1
    session.save()
    req.write("ended")
    return apache.OK


def expires(req):
    session = Session.Session(req, timeout=1)
    if session.is_new():
        session.set_timeout(-10)
        session.save()
    req.write(f"{session.is_new()}")
    return apache.OK


def signed(req):
    session = Session.Session(req, secret="secret")
    session["n"] = session.get("n", 0) + 1
    session.save()
    req.write(f"{session['n']}")
    return apache.OK


def given(req):
    try:
        Session.Session(req, sid=req.args)
    except ValueError as error:
        req.write(str(error))
    return apache.OK


def cleans(req):
    session = Session.Session(req)
    session.save()
    session.cleanup()
    req.write("cleaned")
    return apache.OK


def saves_while_it_cleans(req):
    session = Session.Session(req)

    class Timeout:
        def __lt__(self, other):
            session.save()
            return False

    session.set_timeout(Timeout())
    session.save()
    session.cleanup()
    req.write("cleaned")
    return apache.OK


def stopped_anywhere(req):
    """A debugger that raises at each step of the store, one after the other, leaves nobody waiting for ever."""
    raised = steps.stopped_anywhere("mod_python._stores", lambda step: Session.Session(req, lock=0).save())
    free = _apache._global_trylock(req.server, None, 0)
    if free:
        _apache._global_unlock(req.server, None, 0)
    req.write(f"{free} {raised > 20}")
    return apache.OK


class Own(Session.MemorySession):
    def make_cookie(self):
        cookie = super().make_cookie()
        cookie.path = "/own"
        return cookie


def own(req):
    Own(req).save()
    req.write("ok")
    return apache.OK


def redirected(req):
    session = Session.Session(req)
    session["n"] = session.get("n", 0) + 1
    session.save()
    if req.prev is None and req.args != "inner":
        req.internal_redirect("/sessions/redirected?inner")
    else:
        req.write(json.dumps([session["n"], len(Cookie.get_cookies(req))]))
    return apache.OK
