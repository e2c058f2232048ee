"""Handlers that do what nobody should, to a module that must put up with it."""

import threading
import time

from mod_python import apache

kept = {}
lock = threading.Lock()


def note(text):
    apache.log_error(f"soundness: {text}", apache.APLOG_WARNING)


def hello(req):
    req.content_type = "text/plain"
    req.write("hello")
    return apache.OK


# Clean-ups that register clean-ups.


def chained(req):
    def again(data):
        depth, other = data
        note(f"clean-up {depth}")
        if depth:
            other.register_cleanup(again, (depth - 1, other))

    req.register_cleanup(again, (3, req))
    req.write("chained")
    return apache.OK


def endless(req):
    def again(other):
        other.register_cleanup(again, other)

    req.register_cleanup(again, req)
    req.write("endless")
    return apache.OK


def cleanuphandler(req):
    req.register_cleanup(lambda text: note(text), f"registered by a PythonCleanupHandler {req.uri}")
    return apache.OK


class Registers:
    """Its end registers a clean-up."""

    def __init__(self, req):
        self.req = req

    def __del__(self):
        try:
            self.req.register_cleanup(note, "by __del__")
        except RuntimeError as error:
            note(f"refused: {error}")


def by_del(req):
    req.attribute = Registers(req)
    req.write("by __del__")
    return apache.OK


# Related requests.


def two_redirects(req):
    def look(other):
        seen = []
        for name in ("next", "prev", "main"):
            try:
                related = getattr(other, name)
                seen.append(f"{name}={related.uri if related else None}")
                if related is not None:
                    related.notes["looked"] = "yes"
            except RuntimeError as error:
                seen.append(f"{name}: {error}")
        note("looked " + " ".join(seen))

    req.register_cleanup(look, req)
    req.internal_redirect("/soundness/redirected")
    req.internal_redirect("/soundness/redirected")
    return apache.OK


def redirected(req):
    def look(other):
        note(f"redirected from {other.prev.uri}")

    req.register_cleanup(look, req)
    req.write(f"[{req.prev.uri}]")
    return apache.OK


def threads_on_prev(req):
    req.internal_redirect("/soundness/starts_threads")
    return apache.OK


def starts_threads(req):
    """Threads that use the outer request until they are refused."""
    prev = req.prev

    def use():
        try:
            for number in range(1000000):
                try:
                    prev.notes["thread"] = str(number)
                    req.notes["thread"] = prev.notes["thread"]
                except RuntimeError as error:
                    if "in use" not in str(error):
                        return
        except BaseException as error:
            note(f"failed: {error!r}")

    for _ in range(3):
        threading.Thread(target=use, daemon=True).start()
    req.write("threads")
    return apache.OK


def busy_thread(req):
    """A thread that loops on the request, which must end all the same, with its clean-up."""

    def use():
        while True:
            try:
                req.headers_in.get("Host")
                str(req.notes)
            except RuntimeError as error:
                if "in use" not in str(error):
                    return

    def done(_):
        with lock:
            kept["busy"] = kept.get("busy", 0) + 1

    req.register_cleanup(done)
    threading.Thread(target=use, daemon=True).start()
    req.write("busy")
    return apache.OK


def busy_count(req):
    req.write(str(kept.get("busy", 0)))
    return apache.OK


# After the answer.


def reads_late(req):
    def late(other):
        found = [other.read(), other.read(10), other.readline(), other.readlines(), other.discard_request_body()]
        for operation in (
            lambda: other.internal_redirect("/soundness/hello"),
            lambda: other.connection.read(1),
            lambda: other.connection.write("x"),
        ):
            try:
                operation()
            except RuntimeError as error:
                found.append(str(error))
        other.write("late")
        other.flush()
        other.sendfile(__file__)
        note(f"late {found}")

    req.register_cleanup(late, req)
    req.write("early")
    return apache.OK


def loghandler(req):
    note(f"log phase {req.read()!r} {req.readline()!r}")
    return apache.OK


# After the answer's end has gone through the filters.


def refused_then(req):
    """httpd has answered when it refuses the body; whatever comes then must not pass the filters again."""
    try:
        while req.read(1000):
            pass
    except (OSError, apache.SERVER_RETURN):
        pass
    what = req.args
    if what == "writes":
        req.write("more " * 10000)
    elif what == "redirects":
        req.internal_redirect("/page.shtml")
    elif what == "raises":
        raise LookupError("after the end")
    return {"declines": apache.DECLINED, "404": 404, "done": apache.DONE}.get(what, apache.OK)


def fixuphandler(req):
    """Reads in an early phase."""
    refused_then(req)
    return apache.OK


def writes_to_main(req):
    """A part of a page that writes to the page's request, which is in the middle of its filters."""
    for operation in (
        lambda: req.main.write("to the page"),
        lambda: req.main.flush(),
        lambda: req.main.internal_redirect("/soundness/hello"),
        lambda: req.main.sendfile(__file__),
    ):
        try:
            operation()
        except RuntimeError as error:
            req.write(f"[{str(error)[:15]}]")
    return apache.OK


# Results.


def gives(req):
    return int(req.args or req.headers_in.get("X-Result", "0"))


postreadrequesthandler = gives


def authenticates(req):
    req.user = "somebody"
    return apache.OK


def gives_there(req):
    return gives(req) if req.uri.startswith("/results/Trans/") else apache.DECLINED


def old(req):
    if req.protocol == "HTTP/0.9":
        assert req.assbackwards == 1
    return int(req.args)


def leads_astray(req):
    """The page that it leads to fails, and httpd goes back to the first request with a status of its own."""
    req.status = int(req.args)
    req.assbackwards = 1
    req.internal_redirect("/soundness/raises?404")
    return apache.DONE


def led_astray(req):
    """The same, but of the request that has led here."""
    if req.prev is None:
        req.internal_redirect(req.unparsed_uri)
        return apache.DONE
    req.prev.status, req.prev.assbackwards, req.status = int(req.args), 1, 500
    return 404


def raises(req):
    raise apache.SERVER_RETURN(int(req.args))


# What httpd knows of files.


def finfo(req):
    req.write(repr(req.finfo) + str(req.finfo.name) + str(req.finfo.fname))
    return apache.OK


def finfo_fixup(req):
    str(req.finfo.name)
    return apache.DECLINED


# Filters.


def outlives(filter):
    """A thread is inside read() when this returns, and goes on with the object."""
    kept["filter"] = filter
    started = threading.Event()

    def use():
        started.set()
        for _ in range(100000):
            gap()
            try:
                filter.read(10)
                filter.write("x")
            except RuntimeError as error:
                if "in use" not in str(error):
                    return
            except ValueError:
                return

    threading.Thread(target=use, daemon=True).start()
    started.wait()
    patiently(filter.write, "out")
    patiently(filter.pass_on)


def patiently(operation, *arguments):
    """Again and again, while another thread is in the middle of an operation."""
    while True:
        try:
            return operation(*arguments)
        except RuntimeError as error:
            if "in use" not in str(error):
                raise
        gap()


def gap():
    """Gives the lock away between two operations: who only gives it away in the middle of them finds the object in use for ever."""
    time.sleep(0.0001)


def uses_old_filter(req):
    found = []
    for operation in ("read", "readline", "flush", "pass_on", "close"):
        try:
            found.append(repr(getattr(kept["filter"], operation)()) if "filter" in kept else "")
        except (RuntimeError, ValueError) as error:
            found.append(str(error))
    req.write(" ".join(found))
    return apache.OK


def upper(filter):
    data = filter.read()
    while data:
        filter.write(data.upper())
        data = filter.read()
    if data is None:
        filter.close()


def thread_writes(req):
    """A thread of Python's own writes, reads and redirects through Python filters."""
    done = []

    def use():
        try:
            req.write("from a thread ")
            done.append(req.read(4))
            req.internal_redirect("/soundness/filtered")
            req.write("again")
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(20)
    kept["done"] = kept.get("done", "") + repr(done)
    return apache.OK


def threads_done(req):
    req.write(kept["done"])
    return apache.OK


def filtered(req):
    req.write("filtered ")
    return apache.OK


# The end of threads.


class Local(threading.local):
    pass


local = Local()


class Prints:
    def __del__(self):
        import sys

        print("a local goes")
        print("without a line end", end="")
        sys.stderr.write("to stderr")
        apache.log_error("a local goes, too", apache.APLOG_INFO)
        table = apache.make_table()
        table["a"] = "b"
        apache.main_server.log_error("and the server's log", apache.APLOG_INFO)
        apache.stat("/", apache.APR_FINFO_SIZE)


def has_locals(req):
    local.value = Prints()
    req.write("local")
    return apache.OK


def nests(environ, start_response):
    """wsgi.file_wrapper in itself, very deep."""
    import io

    wrapper = environ["wsgi.file_wrapper"]
    deep = io.BytesIO(b"deep")
    for _ in range(300_000):
        deep = wrapper(deep)
    del deep
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"nested"]


def interpreter_of(req):
    req.filename = "/somewhere/else/index.py"
    req.write(req.interpreter)
    return apache.OK


def tables(req):
    """The errors that the module itself makes, in whatever interpreter."""
    for _ in range(200):
        for operation in (
            lambda: req.headers_in["X-Not-There"],
            lambda: req.headers_out.__setitem__("bad name", "x"),
            lambda: req.headers_in.update([1]),
            lambda: req.headers_in.update([("a",)]),
            lambda: req.no_such_attribute,
            lambda: req.write(1),
            lambda: req.allow_methods(1),
            lambda: req.add_handler("nonsense", "x"),
            lambda: apache.stat("/nonexistent/\x00", 1),
            lambda: apache.make_table([("a", "b", "c")]),
            lambda: req.headers_out.get("é\udce9"),
            lambda: req.log_error(object()),
        ):
            try:
                operation()
            except (KeyError, ValueError, TypeError, AttributeError, IndexError, OSError):
                continue
            raise AssertionError(operation)
        req.headers_in.update([("X-A", "b")])
        req.headers_in.update({"X-B": "c"})
        req.headers_in.update([["X-C", "d"]])
    req.write("tables")
    return apache.OK


# Classes of the module's own.


def classes(req):
    """None of them can be changed, and what is made past them holds nothing."""
    import _apache

    kinds = {type(thing) for thing in (req, req.connection, req.server, req.finfo, req.hlist, req.headers_in)}
    kinds |= {type(iter(req.headers_in)), type(iter(req)), _apache.table, apache.table}
    changed = []
    for kind in kinds:
        for name in ("__new__", "__init__", "__len__", "write", "anything"):
            try:
                setattr(kind, name, staticmethod(lambda kind, *arguments: object.__new__(kind)))
            except TypeError:
                continue
            changed.append(f"{kind.__name__}.{name}")
        for make in (object.__new__, kind.__new__, lambda kind: kind()):
            try:
                made = make(kind)
            except TypeError:
                continue
            repr(made)
            del made
    req.write(f"changed: {changed}")
    return apache.OK


def foreign(req):
    """An interpreter that a handler makes by itself, in a thread of its own."""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    found = []

    def run():
        for text in ("import _apache", "from mod_python import apache", "import sys; sys.stdout.write('x')"):
            made = interpreters.create()
            try:
                found.append(repr(interpreters.run_string(made, text)))
            except Exception as error:
                found.append(repr(error))
            interpreters.destroy(made)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    req.write("hangs" if thread.is_alive() else f"{len(found)} ended")
    return apache.OK


# What waits for the error log.


def logs(req):
    import sys

    if req.args == "stream":
        sys.stdout.write("y" * 300_000)
    elif req.args == "cleanup":
        for _ in range(100):
            req.register_cleanup("x".index, "y" * 3000)
    elif req.args == "log_error":
        for _ in range(100):
            req.log_error("x" * 3000)
    elif req.args == "raises":
        raise ValueError("x" * 100_000)
    return apache.OK


def lengths(environ, start_response):
    start_response("200 OK", [("Content-Length", "5"), ("Connection", "x")])
    return [b"x" * int(environ["QUERY_STRING"])]


# Filters of whole answers.


def outlives_the_page(req):
    for name in ("CONTENT_LENGTH", "BYTERANGE", "HTTP_HEADER", "chunk"):
        try:
            req.add_output_filter(name)
        except RuntimeError:
            req.write("refused;")
    req.add_output_filter("DEFLATE")
    return apache.OK


# Files and stores.


def shortens(filter):
    import os

    os.truncate(filter.req.filename, 0)
    while data := filter.read(10_000):
        filter.write(data)
    if data is None:
        filter.close()


def waits_for_itself(req):
    """What the collector runs in the middle of a store's work wants the store."""
    import _apache

    class Finalizer:
        def __del__(self):
            for key, index in ((None, 0), ("key", -1)):
                try:
                    _apache._global_lock(req.server, key, index)
                except ValueError as error:
                    req.write(f"{error};")

    _apache._global_lock(req.server, None, 0)
    _apache._global_lock(req.server, "key")
    try:
        Finalizer()
    finally:
        _apache._global_unlock(req.server, "key")
        _apache._global_unlock(req.server, None, 0)
    return apache.OK
