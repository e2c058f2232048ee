"""Filters that fail, and what they are put around."""

from mod_python import apache

calls = 0


def content(req):
    req.content_type = "text/plain"
    for _ in range(3):
        req.write("secret " * 100)
    return apache.OK


def long_content(req):
    req.content_type = "text/plain"
    for _ in range(40):
        req.write("secret " * 10000)
    return apache.OK


def echo(req):
    body = req.read()
    req.write(f"got {len(body)}")
    return apache.OK


def catches(req):
    try:
        req.read()
    except apache.SERVER_RETURN as error:
        req.log_error(f"refused: {error}", apache.APLOG_INFO)
        raise
    return apache.OK


def raises(filter):
    raise LookupError("in a filter")


def writes_then_raises(filter):
    filter.write("written " * 100)
    raise LookupError("after writing")


def later(filter):
    """Lets the first pieces pass."""
    data = filter.read()
    count = int(filter.req.notes.get("pieces", "0")) + 1
    filter.req.notes["pieces"] = str(count)
    if count > 5:
        raise LookupError("in the middle")
    if data is None:
        filter.close()
    else:
        filter.write(data)


def upper(filter):
    data = filter.read()
    while data:
        filter.write(data.upper())
        data = filter.read()
    if data is None:
        filter.close()


def passes(filter):
    filter.pass_on()
