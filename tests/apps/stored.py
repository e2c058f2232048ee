"""Sessions in a database, whose misfortunes do not last as long here as they may elsewhere."""

import os
import sys
import time

import _apache
import steps
from mod_python import Session, _postgres, apache
from mod_python.Session import RedisSession


def impatient(req):
    _postgres.TIME_LIMIT = RedisSession._TIME_LIMIT = 3
    return apache.OK


def count(req):
    session = Session.Session(req)
    session["n"] = session.get("n", 0) + 1
    session.save()
    req.write(f"{session['n']} {req.interpreter}")
    if req.args and "psycopg" in sys.modules:
        req.write(f" {sys.modules['psycopg'].pq.__impl__}")
    return apache.OK


def forks(req):
    """A process that is forked off has connections of its own, and ends no others."""
    session = Session.Session(req)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            pool = _postgres.pool(req.get_options()["mod_python.postgres_session.url"], 4)
            status = 0 if pool is not session._pool and pool.ask("SELECT 1::bool") == b"\x01" else 2
        finally:
            del session
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    session["n"] = status
    session.save()
    req.write(str(status))
    return apache.OK


def crosses(req):
    """Takes two sessions, the second one when everybody has his first."""
    place, first, second = req.args.split(",")
    Session.Session(req, sid=first)
    with open(f"{place}/{first}", "w"):
        pass
    steps.wait_for(f"{place}/{second}")
    Session.Session(req, sid=second)
    req.write("both")
    return apache.OK


def big(req):
    session = Session.Session(req)
    same = session.get("text") == "é" * 3_000_000
    session["text"] = "é" * 3_000_000
    session.save()
    req.write(str(same))
    return apache.OK


def stopped_anywhere(req):
    """An exception at each step of the store, one after the other, as from a debugger."""

    def uses(step):
        session = Session.PostgresSession(req, sid=f"{step:032x}")
        session.save()
        session.unlock()

    raised = steps.stopped_anywhere("mod_python._postgres_session", uses)
    req.write(str(raised > 20))
    return apache.OK
