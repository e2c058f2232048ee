"""Filters, in the forms that mod_python's users write them."""

import hashlib
import os

from mod_python import apache


def upper(filter):
    """The canonical loop."""
    data = filter.read()
    while data:
        filter.write(data.decode("latin-1").upper())
        data = filter.read()
    if data is None:
        filter.close()


def outputfilter(filter):
    upper(filter)


def inputfilter(filter):
    upper(filter)


def lines(filter):
    number = 0
    line = filter.readline()
    while line:
        number += 1
        filter.write(b"%d:" % number + line)
        line = filter.readline()
    if line is None:
        filter.close()


def passes(filter):
    filter.pass_on()


def never_reads(filter):
    pass


def raises(filter):
    raise LookupError("in a filter")


def writes_then_raises(filter):
    filter.write(b"written;")
    raise LookupError("after writing")


def disables(filter):
    filter.req.notes["calls"] = str(int(filter.req.notes.get("calls", "0")) + 1)
    filter.write(f"[{filter.req.notes['calls']}]")
    filter.disable()
    filter.pass_on()


def properties(filter):
    assert str(type(filter)) == "<class 'mp_filter'>" and filter.softspace == 0
    filter.softspace = 3
    assert filter.softspace == 3 and filter.closed == 0 and not hasattr(filter, "nothing")
    if filter.read() is not None:
        while filter.read():
            pass
    filter.write(f"{filter.name} {filter.is_input} {filter.handler} {filter.dir} {filter.req.uri} {filter.req.main}")
    filter.flush()
    filter.close()
    filter.close()
    assert filter.closed == 1
    for operation in (filter.read, filter.readline, filter.flush, filter.pass_on):
        try:
            operation()
        except ValueError as error:
            assert str(error) == "I/O operation on closed filter"
        else:
            raise AssertionError(operation)


kept = []


def keeps(filter):
    for old in kept:
        try:
            old.read()
        except RuntimeError as error:
            filter.req.notes["expired"] = str(error)
        else:
            raise AssertionError("a filter outlived its invocation")
    kept[:] = [filter]
    filter.pass_on()


def tell_expired(req):
    req.write("one")
    req.write("two")
    req.write(req.notes.get("expired", "not yet"))
    return apache.OK


def status(filter):
    raise apache.SERVER_RETURN(apache.OK, 201)


def large(req):
    block = b"abcdefgh" * 8192
    for _ in range(1600):
        req.write(block, 0)
    return apache.OK


def memory(req):
    with open(f"/proc/{os.getpid()}/status") as file:
        peak = next(line for line in file if line.startswith("VmHWM"))
    req.write(peak.split()[1])
    return apache.OK


def echo(req):
    data = req.read()
    req.content_type = "text/plain"
    req.write(data)
    return apache.OK


def digest(req):
    req.write(hashlib.sha256(req.read()).hexdigest())
    return apache.OK


def hello(req):
    req.content_type = "text/plain"
    req.write("hello\nworld\n", 0)
    return apache.OK


def dynamic(req):
    req.content_type = "text/plain"
    req.register_output_filter("Shout", "filters::upper")
    req.add_output_filter("shout")
    req.register_input_filter("in", "filters::upper")
    req.add_input_filter("IN")
    req.add_output_filter("no_such_filter")
    req.write(b"body: " + req.read())
    return apache.OK
