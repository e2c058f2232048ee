"""Handlers whose entries the log must not lose, and not be filled with."""

from mod_python import apache

LONE = "a \ud800 lone one, caf\xe9 \udc80"


def lone_surrogate(req):
    raise ValueError(f"no such user: {LONE}")


def lone_in_log(req):
    req.log_error(f"request: {LONE}", apache.APLOG_WARNING)
    req.server.log_error(f"server: {LONE}", apache.APLOG_WARNING)
    req.connection.log_error(f"connection: {LONE}", apache.APLOG_WARNING)
    apache.log_error(f"module: {LONE}", apache.APLOG_WARNING)
    apache.log_error(f"for a server: {LONE}", apache.APLOG_WARNING, req.server)
    print(f"printed: {LONE}", flush=True)
    req.write("logged")
    return apache.OK


def lone_in_clean_up(req):
    def fails(data):
        raise ValueError(f"cleaned: {LONE}")

    req.register_cleanup(fails)
    req.write("registered")
    return apache.OK


def large_exception(req):
    middle = "x\n y\n" * int(req.args)
    raise ValueError(f"it begins {middle} it ends")


def wide_exception(req):
    error = None
    for number in range(600):
        new = ValueError(f"{number} {'w' * 3000}")
        new.__context__ = error
        error = new
    raise error
