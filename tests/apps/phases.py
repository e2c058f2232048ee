"""Handlers that note the phases of their request."""

from mod_python import apache


def note(req, result=apache.OK):
    if not hasattr(req, "trace"):
        req.trace = []
    req.trace.append(req.phase)
    return result


def postreadrequesthandler(req):
    return note(req)


def transhandler(req):
    return note(req, apache.DECLINED)


def headerparserhandler(req):
    return note(req)


def inithandler(req):
    return note(req)


def accesshandler(req):
    return note(req)


def authenhandler(req):
    password = req.get_basic_auth_pw()
    if (req.user, password) != ("spam", "eggs"):
        return apache.HTTP_UNAUTHORIZED
    return note(req)


def authzhandler(req):
    return note(req)


def typehandler(req):
    return note(req)


def fixuphandler(req):
    return note(req)


def handler(req):
    note(req)
    req.content_type = "text/plain"
    req.write(" ".join(name.removeprefix("Python").removesuffix("Handler") for name in req.trace))
    return apache.OK


def loghandler(req):
    note(req)
    req.log_error("trace: " + " ".join(req.trace), apache.APLOG_NOTICE)
    return apache.OK


def cleanuphandler(req):
    apache.log_error(f"cleanup of {req.uri} in {req.phase}", apache.APLOG_NOTICE)
    return apache.OK


def raising_cleanup(req):
    raise LookupError("in a cleanup handler")


def raising(req):
    raise LookupError(f"in {req.phase}")


def rubbish(req):
    return "rubbish"


def set_user(req):
    req.user = "somebody"
    return apache.OK


def no_user(req):
    return apache.OK


def forbid(req):
    return apache.HTTP_FORBIDDEN


def make_ours(req):
    req.handler = "mod_python"
    return apache.OK


def add_phases(req):
    """Adds handlers to later phases, and one to its own."""
    req.trace = []
    req.add_handler("PythonFixupHandler", "phases")
    req.add_handler("PythonHandler", "phases::before")
    req.add_handler("PythonHandler", "phases::handler")
    req.add_handler("PythonLogHandler", "phases::loghandler")
    req.add_handler(req.phase, "phases::same_phase")
    for bad in ("PythonCleanupHandler", "PythonConnectionHandler", "Nonsense"):
        try:
            req.add_handler(bad, "phases")
        except IndexError as error:
            assert str(error) == f"Invalid phase: {bad}"
        else:
            raise AssertionError(bad)
    for bad in (None, lambda req: 0):
        try:
            req.add_handler("PythonHandler", bad)
        except TypeError:
            continue
        raise AssertionError(bad)
    return apache.OK


def same_phase(req):
    """Is an added handler itself, and adds one to a phase that has none: in the directory that it has inherited."""
    req.trace.append("same")
    req.add_handler("PythonTypeHandler", "phases::of_an_added_one")
    return apache.OK


def of_an_added_one(req):
    req.trace.append("added")
    return apache.DECLINED


def before(req):
    req.trace.append("before")
    return apache.OK


def lists(req):
    shown = [(req.hlist.handler, req.hlist.silent, req.hlist.is_location, req.hlist.directory)]
    text = repr(req.hlist)
    req.hlist.next()
    shown.append((req.hlist.handler, req.hlist.directory))
    req.hlist.next()
    shown.append((req.hlist.handler, repr(req.hlist)))
    req.content_type = "text/plain"
    req.write(f"{shown} {text}")
    return apache.OK
