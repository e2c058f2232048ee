"""Sessions that are taken up in sub-requests, redirects, error pages, phases, interpreters, threads and clean-ups."""

import os
import threading
import time

import _apache
import steps
from checks import raises
from mod_python import Session, apache


def count(req):
    """Adds one to a number in the session; keeps the lock to the end."""
    session = Session.Session(req)
    session["n"] = session.get("n", 0) + 1
    session.save()
    req.write(f"{session['n']}")
    return apache.OK


def again(req):
    """Gives the lock away in between."""
    session = Session.Session(req)
    session.unlock()
    session.lock()
    session.load()
    session["n"] = session.get("n", 0) + 1
    session.save()
    req.write(f"{session['n']}")
    return apache.OK


def apart(req):
    """In an interpreter of its own."""
    again(req)
    req.write(f" {req.interpreter}\n")
    return apache.OK


def ends(req):
    Session.Session(req).invalidate()
    req.write("ended")
    return apache.OK


def fixuphandler(req):
    req.session = Session.Session(req)
    return apache.OK


def after_fixup(req):
    """The session is the fixup's, whichever request that was for."""
    return {"again": again, "ends": ends}.get(req.args, count)(req)


def error(req):
    """An ErrorDocument."""
    req.content_type = "text/plain"
    session = Session.Session(req)
    session["n"] = session.get("n", 0) + 1
    session.save()
    session.unlock()
    session.lock()
    req.write(f"{session['n']}")
    return apache.OK


def fails(req):
    Session.Session(req)
    return apache.HTTP_NOT_FOUND


def unlocked(req):
    """In an early phase: for a look only."""
    Session.Session(req, lock=0).get("n")
    return apache.OK


def ended(req):
    """A session that another request ends between a look and the lock is not taken over."""
    session = Session.Session(req, lock=0)
    first = session.id()
    if not session.is_new():
        session.do_delete()
    later = Session.Session(req)
    later["n"] = later.get("n", 0) + 1
    later.save()
    req.write(f"{later['n']} {later.id() == first} {later.is_new()}")
    return apache.OK


def two(req):
    """Two sessions, each with a cookie of its own."""
    names = ["a", "b"]
    for name in names:
        req.get_options()["mod_python.session.cookie_name"] = name
        session = Session.Session(req)
        session["n"] = session.get("n", 0) + 1
        time.sleep(0.002)
        session.save()
    req.write(f"{session['n']}")
    return apache.OK


def holds(req):
    """Keeps the session until a file is there."""
    session = Session.Session(req)
    path = req.get_options()["go"]
    with open(path + ".held", "a") as file:
        file.write("x")
    steps.wait_for(path)
    session.save()
    req.write("held")
    return apache.OK


def waits(req):
    """Says so before it waits."""
    with open(req.get_options()["go"] + ".waits", "a") as file:
        file.write("x")
    return count(req)


def threads(req):
    """Threads of the handler use the session's lock, too."""
    key, counts = "0123456789abcdef" * 2, []

    def take():
        # One thread at a time may use the request.
        while True:
            try:
                counts.append(_apache._session_lock(req, key, 10))
                return
            except RuntimeError:
                time.sleep(0.001)

    all_of_them = [threading.Thread(target=take) for _ in range(8)]
    for one in all_of_them:
        one.start()
    for one in all_of_them:
        one.join()
    assert sorted(counts) == list(range(1, 9)), counts
    assert [_apache._session_unlock(req, key) for _ in range(9)] == [7, 6, 5, 4, 3, 2, 1, 0, 0]
    req.write("ok")
    return apache.OK


def mistakes(req):
    raises(TypeError, _apache._session_lock, req.server, "x", 1)
    raises(TypeError, _apache._session_lock, req, "x", "soon")
    raises(ValueError, _apache._session_lock, req, "x", float("nan"))
    assert _apache._session_unlock(req, "never taken") == 0
    assert _apache._session_lock(req, b"x", float("inf")) == _apache._session_lock(req, "y", 0) == 1
    req.write("ok")
    return apache.OK


def sweeps(req):
    """Removes what is over, as one session in a thousand does."""
    Session.Session(req).cleanup()
    req.write("swept")
    return apache.OK


def cleans(req):
    """A clean-up takes the session up again, and nobody gives it back."""

    def late(req):
        session = Session.Session(req)
        session.unlock()
        session.lock()
        session.load()
        session["n"] = session.get("n", 0) + 1
        session.save()

    Session.Session(req).save()
    req.register_cleanup(late, req)
    req.write("x" * 100_000)
    return apache.OK


def shows(req):
    req.write(str(Session.Session(req, lock=0).get("n", 0)))
    return apache.OK


def dies(req):
    Session.Session(req)
    os.kill(os.getpid(), 9)
