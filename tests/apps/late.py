"""Handlers that fail before, while and after their answer leaves."""

from mod_python import apache


def _fail(req):
    raise LookupError("late")


def unsent(req):
    req.content_type = "text/plain"
    req.set_content_length(3)
    req.headers_out["ETag"] = '"of the answer"'
    req.write("abc", 0)
    _fail(req)


def sent(req):
    req.content_type = "text/plain"
    req.write("first;")
    req.flush()
    req.write("second;", 0)
    _fail(req)


def sent_whole_length(req):
    """Even an answer that has its length by then."""
    req.set_content_length(100)
    sent(req)


def head_sent(req):
    req.flush()
    _fail(req)


def filled(req):
    """More than is kept back."""
    req.write("x" * 100_000, 0)
    _fail(req)


def forgotten(req):
    sent_first = req.args == "sent"
    req.write("abc", 0)
    if sent_first:
        req.flush()


def no_status(req):
    return 1


def wrong_return(req):
    raise apache.SERVER_RETURN(None)


def not_found(req):
    req.write("first;")
    req.flush()
    raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND)


def told(req):
    """The client knows already."""
    req.status = apache.HTTP_NOT_FOUND
    req.write("told;")
    req.flush()
    return apache.HTTP_NOT_FOUND


def done(req):
    req.write("whole")
    req.flush()
    raise apache.SERVER_RETURN(apache.DONE)


def redirected(req):
    req.internal_redirect("/late/done")
    _fail(req)


def reading(req):
    req.read()
    return apache.OK


def reading_later(req):
    req.write("first;")
    req.flush()
    req.read()
    return apache.OK


def included(req):
    req.write("part;", 0)
    _fail(req)


def long_message(req):
    req.headers_out["X"] = "y"
    raise ValueError("first\nsecond [python:error] forged\r\nthird " + (req.args or ""))


def chained(req):
    try:
        _fail(req)
    except LookupError as error:
        raise KeyError("outer") from error


def fails(req):
    _fail(req)


def no_content(req):
    req.status = apache.HTTP_NO_CONTENT
    req.flush()
    return apache.HTTP_NOT_FOUND


def not_modified(req):
    req.status = apache.HTTP_NOT_MODIFIED
    req.flush()
    return apache.HTTP_FORBIDDEN


def _part(req):
    req.write("first;")
    req.flush()


def to_missing(req):
    _part(req)
    req.internal_redirect("/late/not_there")
    return apache.OK


def not_there(req):
    return apache.HTTP_NOT_FOUND


def to_failing(req):
    _part(req)
    req.internal_redirect("/late/fails")
    return apache.OK


def to_file(req):
    _part(req)
    req.internal_redirect("/no-such-file")
    return apache.OK


def declined(req):
    _part(req)
    return apache.DECLINED


def moved(req):
    _part(req)
    req.headers_out["Location"] = "/elsewhere"
    return apache.HTTP_MOVED_TEMPORARILY
