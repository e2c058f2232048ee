"""A handler of each kind, for the search for leaks."""

import gc
import sys

from mod_python import Session, apache


def blocks(req):
    """How many blocks of memory Python's objects take."""
    gc.collect()
    req.write(str(sys.getallocatedblocks()))
    return apache.OK


def session(req):
    kept = Session.DbmSession(req)
    kept["hits"] = kept.get("hits", 0) + 1
    kept.save()
    req.write(str(kept["hits"]))
    return apache.OK


def upload(req):
    from mod_python import util

    form = util.FieldStorage(req)
    req.write(str(len(form["file"].value)))
    return apache.OK


def fails(req):
    raise ValueError("on purpose")


def redirects(req):
    req.internal_redirect("/leaking/blocks_not")
    return apache.OK


def blocks_not(req):
    req.headers_out["X"] = "y"
    req.write(req.prev.uri)
    return apache.OK


def large(req):
    """More than the kernel takes from a client that does not read."""
    req.write("x" * 400_000)
    return apache.OK


def cleans(req):
    req.register_cleanup(str, req)
    req.add_handler("PythonLogHandler", "leaking::blocks_not_logged")
    req.write("later")
    return apache.OK


def blocks_not_logged(req):
    return apache.OK


def refused(req):
    """What this module raises itself, in each of the ways in which it comes about."""
    calls = [
        lambda: req.write(1),
        lambda: req.read("x"),
        lambda: req.headers_out.__setitem__("a", "b\r\nc"),
        lambda: req.headers_out["none"],
        lambda: setattr(req, "status", 10**30),
        lambda: setattr(req, "uri", 1),
        lambda: req.sendfile("/none"),
        lambda: req.add_handler("none", "none"),
        lambda: apache.table(1),
        lambda: req.no_such_attribute,
    ]
    raised = 0
    for call in calls:
        try:
            call()
        except Exception:
            raised += 1
    req.write(str(raised == len(calls)))
    return apache.OK
