"""Methods by which a handler has httpd act."""

import os
import stat
import time

from checks import raises
from mod_python import apache


def passed(req):
    req.write("ok")
    return apache.OK


def redirect(req):
    req.mark = "outer"
    req.write("before;", 0)
    req.internal_redirect("/actions/redirected?x=1")
    assert req.next is not None
    return apache.OK


def redirected(req):
    assert req.prev.mark == "outer" and req.prev.uri == "/actions/redirect" and req.main is None
    assert req.prev.next is req and req.args == "x=1"
    req.write("inner")
    raises(TypeError, req.internal_redirect, None)
    return apache.OK


def whole_file(req):
    size = req.sendfile(req.document_root() + "/file")
    assert size == 10000, size
    return apache.OK


def part_of_file(req):
    path = req.document_root() + "/file"
    req.write("<", 0)
    assert req.sendfile(path, 10, 5) == 5
    req.write("|", 0)
    assert req.sendfile(path, 9995) == 5 and req.sendfile(path, 10000) == 0
    req.write(">")
    assert raises(OSError, req.sendfile, "/nowhere") == "Could not stat file for reading"
    raises(ValueError, req.sendfile, path, -1)
    raises(ValueError, req.sendfile, path, 10001)
    raises(ValueError, req.sendfile, "/etc/passwd\0")
    return apache.OK


def conditions(req):
    req.update_mtime(1000000000)
    assert req.mtime == 1000000000.0
    req.update_mtime(5)
    assert req.mtime == 1000000000.0
    req.set_last_modified()
    req.set_etag()
    raises(ValueError, req.update_mtime, float("nan"))
    result = req.meets_conditions()
    if result != apache.OK:
        return result
    req.write("fresh")
    return apache.OK


def discard(req):
    assert req.discard_request_body() == apache.OK
    assert req.read() == b""
    return passed(req)


def methods(req):
    req.allow_methods(["GET", "FOO"], 1)
    req.allow_methods(["POST"])
    assert req.allowed_methods == ("FOO",) and req.allowed_xmethods == () and req.content_languages == ()
    raises(TypeError, req.allow_methods, 5)
    raises(ValueError, req.allow_methods, ["A B"])
    return apache.HTTP_METHOD_NOT_ALLOWED


def remote_host(req):
    assert req.get_remote_host(apache.REMOTE_NOLOOKUP) == "127.0.0.1"
    assert req.get_remote_host(apache.REMOTE_NOLOOKUP, 1) == ("127.0.0.1", 1)
    assert req.get_remote_host(apache.REMOTE_HOST) in (None, "localhost")
    raises(ValueError, req.get_remote_host, 9)
    assert req.is_https() == 0 and req.ssl_var_lookup("SSL_PROTOCOL") is None
    return passed(req)


def cgi_vars(req):
    req.add_cgi_vars()
    env = req.subprocess_env
    assert env["GATEWAY_INTERFACE"] == "CGI/1.1" and env["QUERY_STRING"] == "a=b"
    assert env["REQUEST_URI"] == env["SCRIPT_NAME"] + "?a=b" == "/actions/cgi_vars?a=b" and "PATH_INFO" not in env
    assert env["REQUEST_METHOD"] == "GET" and env["SERVER_PROTOCOL"] == "HTTP/1.1"
    return passed(req)


def file_info(req):
    path = req.document_root() + "/file"
    info = apache.stat(path, apache.APR_FINFO_NORM | apache.APR_FINFO_SIZE)
    found = os.stat(path)
    assert info.filetype == apache.APR_REG and info.fname == path
    assert (info.size, info.inode, info.mtime) == (10000, found.st_ino, int(found.st_mtime))
    assert (info.user, info.group, info.nlink) == (found.st_uid, found.st_gid, 1)
    assert info.protection == 0x644 and stat.S_IMODE(found.st_mode) == 0o644
    assert len(info) == 13 and info[apache.FINFO_SIZE] == 10000 and info[apache.FINFO_FILETYPE] == apache.APR_REG
    assert tuple(info)[apache.FINFO_FNAME] == path
    raises(IndexError, lambda: info[13])
    assert repr(info).startswith("{'fname': '/")
    none = apache.stat("/nowhere", apache.APR_FINFO_SIZE)
    assert none.filetype == apache.APR_NOFILE and none.size is None and none.fname == "/nowhere"
    message = raises(OSError, apache.stat, path + "/below", apache.APR_FINFO_SIZE)
    assert "apr_stat() failed" in message
    assert req.finfo.filetype == apache.APR_NOFILE
    req.finfo = info
    assert req.finfo.size == 10000 and req.finfo.fname == path
    assert raises(TypeError, setattr, req, "finfo", 1) == "finfo must be a finfoobject"
    raises(AttributeError, lambda: info.nothing)
    raises(AttributeError, setattr, info, "size", 1)
    return passed(req)


def numbers(req):
    for name in ("chunked", "no_cache", "no_local_copy", "proxyreq", "used_path_info"):
        before = getattr(req, name)
        setattr(req, name, 1)
        assert getattr(req, name) == 1
        setattr(req, name, before)
        raises(TypeError, setattr, req, name, "x")
    assert raises(TypeError, setattr, req, "chunked", "x") == "chunked must be a integer"
    return passed(req)


def server(req):
    s = req.server
    assert s.names == () and s.wild_names == () and s.pathlen == 0
    assert s.my_generation == 0 and abs(s.restart_time - time.time()) < 600
    raises(ValueError, s.register_cleanup, 1, print)
    raises(ValueError, s.register_cleanup, req, 1)
    raises(ValueError, apache.register_cleanup, 1)
    s.register_cleanup(req, lambda data: apache.log_error(f"child ends: {data}", apache.APLOG_NOTICE), "server's")
    apache.register_cleanup(lambda data: apache.log_error(f"child ends: {data}", apache.APLOG_NOTICE), "apache's")
    return passed(req)


def tree(req):
    tree = apache.config_tree()
    names = [item[0] for item in tree if isinstance(item, tuple)]
    assert "Listen" in names and "DocumentRoot" in names
    place = next(i for i, item in enumerate(tree) if isinstance(item, tuple) and item[0] == "<Location")
    assert isinstance(tree[place + 1], list) and ("SetHandler", "mod_python") in tree[place + 1]
    return passed(req)
