"""An application that is called in other ways than httpd's, or beside the handler's own answer."""

import os

from mod_python import apache, wsgi


def filed(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](open(os.path.join(environ["DOCUMENT_ROOT"], "file.txt"), "rb"))


def _called(req, other):
    try:
        wsgi.handler(other)
    except RuntimeError as error:
        req.log_error(f"refused: {error}", apache.APLOG_NOTICE)
    return apache.OK


def of_the_page(req):
    req.write("part;")
    return _called(req, req.main)


def redirects(req):
    req.internal_redirect("/ways_out/of_the_first")
    return apache.OK


def of_the_first(req):
    _called(req, req.prev)
    req.write("second")
    return apache.OK


def late(req):
    return _called(req, req)


def hello(req):
    req.write("hello")
    return apache.OK


def registers(req):
    req.register_cleanup(late, req)
    return hello(req)


def mixed(environ, start_response):
    """The answer is another request's; whatever the application gives then comes behind its end."""
    how, req = environ["QUERY_STRING"], environ["mod_python.request"]
    if how == "first":
        write = start_response("200 OK", [])
        req.internal_redirect("/ways_out/hello")
        write(b"behind")
        return []
    req.internal_redirect("/ways_out/hello")
    headers = [("Content-Length", "6")] if how == "length" else []
    start_response("200 OK", headers)
    if how == "file":
        return environ["wsgi.file_wrapper"](open(os.path.join(environ["DOCUMENT_ROOT"], "file.txt"), "rb"))
    if how == "raises":
        raise LookupError("behind")
    return [b"behind"] if how == "list" else iter([b"beh", b"ind"])
