import sys

from mod_python import apache


def declined(req):
    return apache.DECLINED


def done(req):
    req.write("done", 0)
    return apache.DONE


def not_found(req):
    return apache.HTTP_NOT_FOUND


def written_then_forbidden(req):
    req.content_type = "text/plain"
    req.write("before;", 0)
    return apache.HTTP_FORBIDDEN


def gone(req):
    raise apache.SERVER_RETURN(apache.HTTP_GONE)


def return_ok_with_status(req):
    req.write("made", 0)
    raise apache.SERVER_RETURN(apache.OK, apache.HTTP_CREATED)


def return_pair(req):
    raise apache.SERVER_RETURN((apache.OK, 404))


def return_nothing(req):
    raise apache.SERVER_RETURN


def none(req):
    return None


def text(req):
    return "abc"


def true(req):
    return True


def huge(req):
    return 1 << 70


def system_exit(req):
    sys.exit(3)


def keyboard_interrupt(req):
    raise KeyboardInterrupt


def exception(req):
    raise ValueError("a <b> & the rest")


def unprintable(req):
    class Strange(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    raise Strange


def deep(req):
    return deep(req)


def memory(req):
    raise MemoryError


def status_200(req):
    req.write("x")
    return apache.HTTP_OK


def redirect(req):
    req.headers_out["Location"] = "/hello"
    return apache.HTTP_MOVED_TEMPORARILY
