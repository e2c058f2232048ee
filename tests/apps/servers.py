"""Handlers that look at servers, their tables, and at who runs them."""

import os
import time

from mod_python import apache


def on_import():
    apache.main_server.get_options()["imported"] = "1"
    apache.main_server.get_config()["PythonNote"] = "kept"


def tables(req):
    main = apache.main_server
    assert main.get_options() is main.get_options()
    assert dict(req.server.get_options()) == dict(req.connection.base_server.get_options())
    req.write(f"{main.get_options().get('imported')} {main.get_config().get('PythonNote')} {main.get_options()['set']}")
    assert req.get_options().get("imported") is None and req.get_config().get("PythonNote") is None
    req.get_options()["set"] = "of the request"
    return apache.OK


def count(req):
    options = req.server.get_options()
    options["count"] = str(int(options.get("count", "0")) + 1)
    req.write(options["count"])
    return apache.OK


def mark(req):
    assert not hasattr(req.server, "mark")
    req.server.mark = req.phase
    return apache.OK


def marked(req):
    req.write(f"{req.server.mark} {req.server is req.server}")
    return apache.OK


def config(req):
    req.write(str(req.get_config().get("PythonInterpPerDirectory")))
    return apache.OK


def adding(req):
    """Adds handlers that run where their directories say."""
    for directory in req.args.split(","):
        req.add_handler("PythonHandler", "servers::where", directory or None)
        req.add_handler("PythonLogHandler", "servers::logged", directory or None)
    req.write(f"{apache.interpreter}:{req.interpreter};")
    return apache.OK


def adding_earlier(req):
    req.add_handler("PythonHandler", "servers::where", req.args)
    return apache.OK


def adding_without(req):
    req.add_handler("PythonHandler", "servers::where")
    return apache.OK


def where(req):
    assert req.interpreter == apache.interpreter and req.phase == "PythonHandler"
    req.write(f"{apache.interpreter} {req.hlist.directory};")
    return apache.OK


def logged(req):
    req.log_error(f"logged in {apache.interpreter}", apache.APLOG_INFO)
    return apache.OK


def adding_much(req):
    for number in range(int(req.args)):
        req.add_handler("PythonFixupHandler", f"servers::nothing.f{number}_{time.time_ns()}")
    return apache.OK


class Nothing:
    def __getattr__(self, name):
        return lambda req: apache.OK


nothing = Nothing()


def environment(req):
    req.add_cgi_vars()
    env = req.subprocess_env
    for name in ("PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME", "REQUEST_URI", "QUERY_STRING"):
        req.write(f"{name}={env.get(name)!a}\n")
    env["OWN\xe9"] = "caf\xe9\udcff"
    assert env["own\xe9"] == "caf\xe9\udcff" and ("OWN\xe9", "caf\xe9\udcff") in env.items()
    env["BYTES"] = "\N{SNOWMAN}".encode()
    assert env["BYTES"] == "\N{SNOWMAN}"
    # Headers and notes stay latin-1.
    req.notes["N"] = "\xe9"
    assert req.notes["N"] == "\xe9"
    return apache.OK


def drained(req):
    """How long it takes to drain, compare and copy tables of two sizes."""
    for size in (2_000, 8_000):
        pairs = [(f"name{number % (size // 2)}", str(number)) for number in range(size)]
        table, other = apache.table(), apache.table()
        for name, value in pairs:
            table.add(name, value)
            other.add(name.upper(), value)
        begun = time.process_time()
        assert table == table.copy() and len(dict(table.items())) == size // 2 and repr(table)
        assert table != other
        compared = time.process_time()
        for _ in range(200):
            table.popitem()
        req.write(f"{compared - begun} {time.process_time() - compared}\n")
    before = _resident()
    table = apache.table([(f"name{number}", "x" * 1000) for number in range(1000)])
    while table:
        table.popitem()
    assert _resident() - before < 20_000, _resident() - before
    return apache.OK


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def swapped(req):
    """Sends a file while its name leads to one thing after the other."""
    path = req.args
    sent = 0
    for _ in range(300):
        try:
            sent += req.sendfile(path)
        except OSError as error:
            assert str(error) in ("Only a regular file can be sent", "Could not stat file for reading"), error
    req.write("." * 0)
    req.notes["sent"] = str(sent)
    return apache.OK


def refused_file(req):
    for path in (req.document_root(), "/dev/null", req.document_root() + "/pipe", req.document_root() + "/socket"):
        try:
            req.sendfile(path)
        except OSError as error:
            assert str(error) == "Only a regular file can be sent", (path, error)
        else:
            raise AssertionError(path)
    for path in ("/nowhere", req.document_root() + "/file/below", "/" + "x" * 300):
        try:
            req.sendfile(path)
        except OSError as error:
            assert str(error) == "Could not stat file for reading", (path, error)
        else:
            raise AssertionError(path)
    req.write(str(len(os.listdir("/proc/self/fd"))))
    return apache.OK


class Awkward(str):
    """A key that does not let itself be compared."""

    def __eq__(self, other):
        raise LookupError("compared")

    def __hash__(self):
        return hash("awkwardly_named")


globals()[Awkward("awkwardly_named")] = None


kept = []


def own_server(req):
    """The server is the request's; what it is asked for after that is refused."""
    name = req.headers_in["X-Own"]
    server = req.server
    assert server is req.server and server.server_hostname == name, server.server_hostname
    assert server.get_options()["set"] == "by the configuration" and server.port == apache.main_server.port
    server.get_options()["set"] = "here"
    assert server.get_options()["set"] == "by the configuration"
    server.log_error("of its own", apache.APLOG_INFO)
    assert req.connection.base_server.server_hostname == apache.main_server.server_hostname
    for old in kept:
        for use in (lambda old=old: old.server_hostname, old.get_config, lambda old=old: apache.log_error("x", 0, old)):
            try:
                use()
            except RuntimeError as error:
                # httpd may still be ending that request.
                assert "expired" in str(error) or "between its phases" in str(error)
            else:
                raise AssertionError("a server of another request")
    kept[:] = [server]
    req.write(apache.interpreter)
    return apache.OK
