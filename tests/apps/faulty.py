"""Handlers whose operations are made to fail."""

import os

from mod_python import Session, apache


def table(req):
    req.write(str(len(apache.table({"a": "b"}))))
    return apache.OK


def body(req):
    req.write(str(len(req.read())))
    return apache.OK


def flushes(req):
    for _ in range(3):
        req.write("line\n")
    return apache.OK


def forks(req):
    child = os.fork()
    if child == 0:
        os._exit(7)
    req.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    return apache.OK


def session(req):
    kept = Session.FileSession(req)
    kept["a"] = "b"
    kept.save()
    req.write("saved")
    return apache.OK


def saves(req):
    """A session's file is written. How that ends, and how many files there are of it."""
    import glob
    import os

    kept = Session.FileSession(req)
    kept["a"] = req.args
    try:
        kept.save()
        req.write("saved ")
    except OSError as error:
        req.write(f"{error.errno} ")
    folder = req.get_options()["mod_python.file_session.database_directory"]
    files = [name for name in glob.glob(f"{folder}/**", recursive=True) if kept.id() in name and os.path.isfile(name)]
    req.write(f"{len(files)}")
    return apache.OK


def reads(req):
    req.write(Session.FileSession(req)["a"])
    return apache.OK


def leads(req):
    """What answers in the end fails when a part has left."""
    req.write("part")
    req.flush()
    req.internal_redirect("/missing")
    return apache.OK


def cleans(req):
    req.register_cleanup(id)
    req.write("registered")
    return apache.OK


def connectionhandler(conn):
    conn.write("connected\n")
    return apache.OK


def accesshandler(req):
    return apache.OK
