"""Handlers whose operations are made to fail."""

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


def session(req):
    kept = Session.FileSession(req)
    kept["a"] = "b"
    kept.save()
    req.write("saved")
    return apache.OK


def cleans(req):
    req.register_cleanup(id)
    req.write("registered")
    return apache.OK


def outputfilter(filter):
    data = filter.read()
    while data:
        filter.write(data.upper())
        data = filter.read()
    if data is None:
        filter.close()


def connectionhandler(conn):
    conn.write("connected\n")
    return apache.OK


def accesshandler(req):
    return apache.OK
