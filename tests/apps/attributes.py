import contextlib
import json
import time

from checks import raises
from mod_python import apache


def passed(req):
    req.write("ok")
    return apache.OK


def request_line(req):
    values = {
        name: getattr(req, name)
        for name in (
            "the_request",
            "method",
            "method_number",
            "protocol",
            "proto_num",
            "uri",
            "unparsed_uri",
            "args",
            "hostname",
            "header_only",
            "assbackwards",
            "handler",
            "phase",
            "interpreter",
            "filename",
            "path_info",
            "parsed_uri",
            "status",
            "user",
            "ap_auth_type",
            "status_line",
            "main",
            "prev",
            "next",
            "extension",
            "range",
        )
    }
    req.content_type = "application/json"
    req.write(json.dumps(values))
    return apache.OK


def written(req):
    req.uri = "/other"
    req.args = "a=b"
    req.filename = "/tmp/\N{SNOWMAN}"
    req.path_info = "/more"
    req.user = "J\xf6rg"
    req.ap_auth_type = "Basic"
    req.canonical_filename = "/tmp/x"
    req.handler = "mod_python"
    assert (req.uri, req.args, req.filename, req.path_info) == ("/other", "a=b", "/tmp/\N{SNOWMAN}", "/more")
    assert (req.user, req.ap_auth_type, req.canonical_filename) == ("J\xf6rg", "Basic", "/tmp/x")
    req.args = None
    req.filename = None
    req.handler = None
    assert req.args is None and req.filename is None and req.handler is None
    assert req._content_type_set == 0
    req.content_type = "text/html; charset=latin-1"
    assert req.content_type == "text/html; charset=latin-1" and req._content_type_set == 1
    raises(TypeError, setattr, req, "content_type", None)
    raises(TypeError, setattr, req, "user", 1)
    raises(TypeError, setattr, req, "status", "404")
    raises(ValueError, setattr, req, "user", "\N{SNOWMAN}")
    raises(TypeError, delattr, req, "user")
    raises(TypeError, delattr, req, "status")
    for name in ("method", "the_request", "headers_in", "connection", "phase"):
        raises(AttributeError, setattr, req, name, "x")
    return passed(req)


def status(req):
    req.status = apache.HTTP_CREATED
    req.status = req.status + True
    assert req.status == 202
    return passed(req)


def status_line(req):
    req.status = 404
    req.status_line = "404 Gone fishing"
    return passed(req)


def arbitrary(req):
    assert not hasattr(req, "session")
    raises(AttributeError, getattr, req, "session")
    req.session = {"a": 1}
    req.session["b"] = 2
    assert req.session == {"a": 1, "b": 2} == req.__dict__["session"]
    del req.session
    assert not hasattr(req, "session")
    return passed(req)


def names(req):
    assert str(type(req)) == "<class 'mp_request'>" and req.__class__.__name__ == "mp_request"
    assert str(type(req.connection)) == "<class 'mp_conn'>" and type(req.server).__module__ == "builtins"
    raises(TypeError, type(req))
    return passed(req)


def connection(req):
    c = req.connection
    assert c is req.connection
    assert c.client_addr[0] == c.client_ip == c.local_ip == "127.0.0.1" == req.useragent_ip
    assert c.local_addr[1] == int(req.headers_in["Host"].split(":")[1]) and c.client_addr[1] > 0
    assert req.useragent_addr == c.client_addr == c.remote_addr and c.remote_ip == c.client_ip
    assert c.aborted == 0 and c.double_reverse == 0 and c.keepalives == 0 and isinstance(c.id, int)
    assert c.remote_host is None and c.remote_logname is None and c.hlist is None
    assert c.base_server.server_hostname == "localhost"
    assert c.notes is c.notes and c.notes.get("x") is None
    raises(AttributeError, setattr, c, "nothing", 1)
    raises(AttributeError, getattr, c, "nothing")
    raises(AttributeError, setattr, c, "client_ip", "1.2.3.4")
    c.keepalive = apache.AP_CONN_CLOSE
    assert c.keepalive == apache.AP_CONN_CLOSE
    c.log_error("from the connection", apache.APLOG_NOTICE)
    return passed(req)


def server(req):
    s = req.server
    assert s is req.server and s.server_hostname == "localhost" and s.is_virtual == 0
    assert s.timeout == 60.0 and s.keep_alive == 1 and s.keep_alive_max == 0 and s.keep_alive_timeout == 5.0
    assert s.error_fname.endswith("error_log") and s.path is None and s.port == 0
    assert s.limit_req_line == 8190 and s.limit_req_fieldsize == 8190 and s.limit_req_fields == 100
    assert s.get_config()["PythonPath"].startswith("sys.path") and s.get_options()["server"] == "level"
    s.log_error("from the server", apache.APLOG_NOTICE)
    s.mine = 1
    assert req.server.mine == 1 and apache.main_server.server_hostname == "localhost"
    raises(AttributeError, setattr, s, "timeout", 1)
    return passed(req)


def times(req):
    assert abs(req.request_time - time.time()) < 60 and isinstance(req.request_time, float)
    assert req.mtime == 0.0
    return passed(req)


def options(req):
    assert dict(req.get_options()) == {"server": "level", "here": "yes"}, req.get_options()
    assert req.get_options() is req.get_options()
    config = req.get_config()
    assert config["PythonDebug"] == "1" and "PythonOption" not in config
    assert "PythonAutoReload" not in config
    return passed(req)


def logging(req):
    req.log_error("plain error")
    req.log_error("a warning", apache.APLOG_WARNING)
    req.log_error(None)
    req.log_error("100% %s %n not a format", apache.APLOG_NOTICE)
    req.log_error("two\nlines\x00 and \x1b[31m", apache.APLOG_NOTICE)
    apache.log_error("without a request", apache.APLOG_NOTICE)
    apache.log_error("for a server", apache.APLOG_NOTICE, req.server)
    raises(TypeError, apache.log_error, "x", 1, "no server")
    raises(TypeError, req.log_error, 5)
    req.log_error("long " + "x" * 20000 + " end", apache.APLOG_NOTICE)
    return passed(req)


def cleanup(req):
    for number in range(3):
        req.register_cleanup(lambda data: apache.log_error(f"cleanup {data}", apache.APLOG_NOTICE), number)
    req.register_cleanup(lambda data: req.log_error(f"data is {data!r}, uri {req.uri}", apache.APLOG_NOTICE), (1, 2))
    raises(ValueError, req.register_cleanup, "no callable")
    return passed(req)


def bad_cleanup(req):
    def explode(data):
        raise LookupError("in a cleanup")

    req.register_cleanup(explode)
    return passed(req)


kept = []


def keep(req):
    kept[:] = [req, req.headers_in, req.connection]
    return passed(req)


def expired(req):
    old, table, connection = kept
    assert raises(RuntimeError, lambda: old.uri) == "request object has expired"
    for use in (
        lambda: old.write("x"),
        lambda: old.read(),
        lambda: setattr(old, "status", 200),
        lambda: table["host"],
        lambda: len(table),
        lambda: connection.client_ip,
        lambda: old.main,
        lambda: old.log_error("x"),
        lambda: old.register_cleanup(print),
        lambda: old.headers_in["host"],
    ):
        assert raises(RuntimeError, use) == "request object has expired"
    kept.clear()
    return passed(req)


def other_threads(req):
    import threading

    seen = []

    def work():
        seen.append(req.uri)
        req.write("from a thread")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    assert seen == [req.uri] * 3
    return apache.OK


def documents(req):
    assert req.document_root().endswith("/htdocs")
    assert req.construct_url("/x?y").startswith("http://") and req.construct_url("/x?y").endswith("/x?y")
    assert req.auth_type() is None and req.auth_name() is None and req.get_basic_auth_pw() is None
    assert req.send_http_header() is None
    req.add_common_vars()
    assert req.subprocess_env["SERVER_SOFTWARE"].startswith("Apache/")
    return passed(req)


def altered(req):
    """Makes the object unlike a new one in every way that Python allows."""
    kind = type(req)
    assert not hasattr(req, "mark") and kind.__name__ == "mp_request"
    assert req.args == req.unparsed_uri.partition("?")[2]
    if req.args == "attribute":
        req.mark = 1
    elif req.args == "class":
        # As for any class of C's; before 3.10 it could be done.
        with contextlib.suppress(TypeError):
            req.__class__ = type("Other", (kind,), {"__slots__": ()})
    elif req.args == "cycle":
        req.mark = [req]
    elif req.args == "thread":
        import threading

        ready = threading.Event()
        threading.Thread(target=lambda req: ready.wait(), args=(req,)).start()
        req.register_cleanup(lambda data: ready.set())
    return passed(req)
