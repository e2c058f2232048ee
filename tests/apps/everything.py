"""Handlers for every phase of one request under load."""

from mod_python import apache


def authenhandler(req):
    req.get_basic_auth_pw()
    return apache.OK if req.user == "spam" else apache.HTTP_UNAUTHORIZED


def authzhandler(req):
    return apache.OK


def handler(req):
    req.content_type = "text/plain"
    req.mark = "kept"
    req.headers_out["X-User"] = req.user
    req.write("hello", 0)
    return apache.OK


def outputfilter(filter):
    data = filter.read()
    while data:
        filter.write(data.upper())
        data = filter.read()
    if data is None:
        filter.close()


def loghandler(req):
    assert req.mark == "kept"
    return apache.OK
