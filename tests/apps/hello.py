from mod_python import apache


def handler(req):
    req.content_type = "text/plain"
    req.write("Hello World!")
    return apache.OK


def unflushed(req):
    req.content_type = "text/plain"
    req.write("Hello World!", 0)
    return apache.OK


def nothing(req):
    return apache.OK


class Page:
    """A class on the way to a handler is called with the request."""

    def __init__(self, req):
        self.greeting = f"page {req.uri}"

    def show(self, req):
        req.content_type = "text/plain"
        req.write(self.greeting)
        return apache.OK


class Keeper:
    def show(self, req):
        req.content_type = "text/plain"
        req.write("kept")
        return apache.OK


keeper = Keeper()
