import hashlib
import json

from mod_python import apache


def echo(req):
    req.content_type = "application/octet-stream"
    req.write(req.read())
    return apache.OK


def digest(req):
    """Reads in blocks; tells what came."""
    total, sha = 0, hashlib.sha256()
    while block := req.read(10000):
        assert len(block) <= 10000
        total += len(block)
        sha.update(block)
    assert req.read() == b"" and req.read(5) == b"" and req.readline() == b""
    req.write(json.dumps([total, sha.hexdigest()]))
    return apache.OK


def lines(req):
    first = req.readline()
    part = req.readline(3)
    rest_of_second = req.readline()
    two = req.read(2)
    remaining = req.readlines()
    req.write(json.dumps([item.decode("latin-1") for item in (first, part, rest_of_second, two)]), 0)
    req.write(json.dumps([item.decode("latin-1") for item in remaining]))
    return apache.OK


def hint(req):
    some = req.readlines(10)
    rest = req.readlines(-1)
    req.write(json.dumps([len(some), len(rest)]))
    return apache.OK


def sizes(req):
    assert req.read(0) == b""
    assert req.read(None) == b"0123456789"
    assert req.read(-1) == b"" and req.readline(-1) == b""
    assert req.read_length == 10 and req.remaining == 0, (req.read_length, req.remaining)
    req.write("ok")
    return apache.OK


def lost(req):
    """The client goes away in the middle of its body."""
    try:
        req.read()
    except OSError as error:
        req.log_error(f"noticed: {error}", apache.APLOG_NOTICE)
        raise
    raise AssertionError("the whole body came")


def nothing_read(req):
    req.write("ignored")
    return apache.OK
