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


async def is_async(filter):
    filter.pass_on()


def yields(filter):
    filter.write("written")
    yield filter.read()


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


def forbids(filter):
    """Looks at what comes before it says what it makes of it."""
    if b"secret" in (filter.read() or b""):
        raise apache.SERVER_RETURN(apache.HTTP_FORBIDDEN)
    filter.pass_on()


def forbids_unread(filter):
    raise apache.SERVER_RETURN(apache.HTTP_FORBIDDEN)


def redirects(filter):
    filter.req.err_headers_out["Location"] = "/elsewhere"
    raise apache.SERVER_RETURN(apache.HTTP_MOVED_TEMPORARILY)


def ends_late(filter):
    filter.pass_on()
    filter.flush()
    raise apache.SERVER_RETURN(apache.HTTP_GONE)


def is_no_status(filter):
    raise apache.SERVER_RETURN("403")


def ends(filter):
    filter.write(filter.read() or b"")
    raise apache.SERVER_RETURN(apache.OK)


def is_done(filter):
    filter.write(filter.read() or b"")
    raise apache.SERVER_RETURN(apache.DONE)


def flushes(filter):
    data = filter.read()
    if data:
        filter.write(data)
        filter.flush()
    if data is None:
        filter.close()


def many(req):
    """Adds a filter until there are too many."""
    kind, name = req.args.split(",")
    add = req.add_input_filter if kind == "in" else req.add_output_filter
    if kind == "own":
        req.register_output_filter(name, "closed::passes")
    added = 0
    try:
        for _ in range(100_000):
            add(name)
            added += 1
    except RuntimeError as error:
        text = f"{added} {error}"
    if kind == "in":
        text += f" {req.read().decode()}"
    req.write(text)
    return apache.OK


def adds_while_read(filter):
    if filter.req.notes.get("added") is None:
        filter.req.notes["added"] = "1"
        filter.req.add_output_filter("UPPY")
    filter.pass_on()


def reads(req):
    req.content_type = "text/plain"
    req.write(f"secret {req.read().decode()}")
    return apache.OK


def redirected(req):
    """Goes on to the next of a chain of redirects, whose last one reads."""
    number = int(req.args or 0)
    if number:
        req.internal_redirect(f"/redirected?{number - 1}")
        return apache.OK
    return reads(req)
