"""Handlers that do what a careless one does with what a client sends: the argument of each is the query, decoded."""

import json
import os
import urllib.parse

from mod_python import Cookie, Session, apache, util


def given(req):
    return urllib.parse.unquote(req.args or "", errors="surrogateescape")


def header(req):
    req.headers_out["X-Given"] = given(req)
    return finish(req)


def header_name(req):
    req.headers_out[given(req)] = "x"
    return finish(req)


def error_header(req):
    req.err_headers_out.add("X-Given", given(req))
    return finish(req)


def content_type(req):
    req.content_type = given(req)
    return finish(req)


def status_line(req):
    req.status_line = "200 " + given(req)
    return finish(req)


def cookie(req):
    Cookie.add_cookie(req, "name", given(req))
    return finish(req)


def cookie_path(req):
    Cookie.add_cookie(req, "name", "x", path=given(req))
    return finish(req)


def redirect(req):
    util.redirect(req, given(req))


def location(req):
    req.headers_out["Location"] = given(req)
    return apache.HTTP_MOVED_TEMPORARILY


def authenticate(req):
    req.err_headers_out["WWW-Authenticate"] = f'Basic realm="{given(req)}"'
    return apache.HTTP_UNAUTHORIZED


def finish(req):
    req.write("finished")
    return apache.OK


def raises(req):
    raise ValueError(given(req))


def logs(req):
    req.log_error(given(req))
    apache.log_error(given(req))
    print(given(req))
    return finish(req)


def sends(req):
    """What is no file cannot be sent."""
    try:
        req.sendfile(given(req))
    except OSError as error:
        req.write(f"refused: {error}")
    return apache.OK


def session(req):
    kept = Session.FileSession(req)
    kept["a"] = "b"
    kept.save()
    req.write(kept.id())
    return apache.OK


def marshalled(req):
    found = Cookie.get_cookie(req, "data", Cookie.MarshalCookie, secret="secret")
    req.write(type(found).__name__)
    return apache.OK


def process(req):
    subprocess_env = {key: req.subprocess_env[key] for key in req.subprocess_env if "PROXY" in key.upper()}
    req.write(json.dumps([os.getpid(), os.getuid(), subprocess_env]))
    return apache.OK


def application(environ, start_response):
    """The environ; with a query, a header and a status of the client's choice."""
    text = urllib.parse.unquote(environ["QUERY_STRING"], "latin-1")
    where = environ["PATH_INFO"]
    headers = [("Content-Type", "application/json")]
    if where == "/header":
        headers.append(("X-Given", text))
    elif where == "/name":
        headers.append((text, "x"))
    start_response("200 " + text if where == "/status" else "200 OK", headers)
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    return [json.dumps(shown).encode()]


def at_start():
    """For PythonImport: which process runs Python."""
    apache.log_error(f"imported by {os.getpid()} as {os.getuid()}", apache.APLOG_NOTICE)
