"""Handlers that tell where they are, and ones that stand in for others."""

import ctypes
import json

import _apache
from checks import raises
from mod_python import apache


def handler(req):
    answer = {
        "directory": req.hlist.directory,
        "interpreter": req.interpreter,
        "filename": req.filename,
        "extensions": req.get_addhandler_exts(),
        "uri": req.uri,
        "status": req.status,
        "prev": req.prev and [req.prev.uri, req.prev.status],
        "main": req.main and req.main.uri,
    }
    req.content_type = "application/json"
    req.write(json.dumps(answer))
    return apache.OK


def inner(req):
    req.content_type = "text/html"
    req.write(f"[{req.main.uri} {req.main.mark}]")
    return apache.OK


def mark(req):
    if req.main is None:
        req.mark = "seen"
    return apache.OK


def outputfilter(filter):
    data = filter.read()
    while data:
        filter.write(data)
        data = filter.read()
    if data is None:
        filter.write(f"({filter.dir})")
        filter.close()


def digest_user(req):
    """Runs after mod_auth_digest has found the user."""
    req.write(f"{req.user} {req.ap_auth_type} {req.get_basic_auth_pw()}")
    return apache.OK


def authz(req):
    return apache.OK if req.user == "good" else apache.HTTP_FORBIDDEN


def capsules(req):
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    for capsule in (req._request_rec, req.connection._conn_rec, req.server._server_rec):
        assert pointer(capsule, None)
    # request_rec begins with its pool, its connection and its server.
    words = ctypes.cast(pointer(req._request_rec, None), ctypes.POINTER(ctypes.c_void_p))
    assert words[1] == pointer(req.connection._conn_rec, None)
    assert words[2] == pointer(req.server._server_rec, None)
    raises(AttributeError, setattr, req, "_request_rec", 1)
    req.write("ok")
    return apache.OK


def queries(req):
    """docs/differences.md#query-strings"""
    parse_qs, parse_qsl = _apache.parse_qs, _apache.parse_qsl
    assert parse_qsl("a=1&b=2") == [("a", "1"), ("b", "2")]
    assert parse_qs("a=1&a=2;b=x+y&c=&d", 0) == {"a": ["1", "2"], "b": ["x y"]}
    assert parse_qsl("c=&d&=v", 1) == [("c", ""), ("d", ""), ("", "v")]
    assert parse_qsl(b"a=%ff%2F%zz") == [(b"a", b"\xff/%zz")]
    assert parse_qsl("a=%E9&b=%C3%A9") == [("a", "\ufffd"), ("b", "\xe9")]
    assert parse_qs("a=%E9") == {"a": ["\ufffd"]}
    assert parse_qsl("x=%00y") == [("x", "\0y")]
    for bad in (None, 5, ["a=b"]):
        assert raises(TypeError, parse_qs, bad) == "not an ISO-8859-1 string"
    req.write("ok")
    return apache.OK


def cleanups(req):
    register = _apache.register_cleanup
    assert raises(ValueError, register, "x", None, print) == "second argument must be a server object"
    assert raises(ValueError, register, "x", req.server, 1) == "third argument must be a callable object"
    register(req.interpreter, req.server, lambda data: apache.log_error(f"ends: {data}", apache.APLOG_NOTICE), 7)
    req.write("ok")
    return apache.OK
