"""Who answers, and what a request that has no file says of it."""

import json

from mod_python import apache


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    name = environ.get("placed.name", "application")
    return [f"{name} {environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()]


def other(environ, start_response):
    return application({**environ, "placed.name": "other"}, start_response)


def create_app(name="factory"):
    create_app.calls += 1

    def made(environ, start_response):
        return application({**environ, "placed.name": f"{name}{create_app.calls}"}, start_response)

    return made


create_app.calls = 0


class Namespace:
    """A class on the way to an application is made with the request."""

    application = staticmethod(other)

    def __init__(self, req):
        self.req = req


def environment(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    request = environ["mod_python.request"]
    said = {name: value for name, value in environ.items() if isinstance(value, str)}
    said["interpreter"] = request.interpreter
    said["options"] = dict(request.get_options())
    said["filename"] = request.filename
    return [json.dumps(said).encode()]


def handler(req):
    """Says what it knows of its file."""
    req.add_common_vars()
    req.content_type = "text/plain"
    script = req.subprocess_env.get("SCRIPT_FILENAME")
    kind = req.finfo.filetype == apache.APR_NOFILE
    req.write(f"handler {req.uri} {req.filename} {script} {kind}", 0)
    return apache.OK


def filtered(req):
    """Has its page go through mod_include, which looks for files beside the page."""
    req.content_type = "text/html"
    if req.args:
        req.register_output_filter("OWN", "placed::adds")
    req.add_output_filter("OWN" if req.args else "INCLUDES")
    req.write('[<!--#config sizefmt="bytes" --><!--#fsize file="page.html" -->]', 0)
    return apache.OK


def adds(filter):
    """A filter that has another one look at the page, too."""
    if not hasattr(filter.req, "has_added"):
        filter.req.has_added = True
        filter.req.add_output_filter("INCLUDES")
    while text := filter.read():
        filter.write(text)
    if text is None:
        filter.close()


def forgets(req):
    """Takes the name away, in whatever phase."""
    req.filename = None
    return apache.OK if req.phase != "PythonHandler" else handler(req)


def declines(req):
    """Before there is a name it can be taken away as well."""
    req.filename = None
    return apache.DECLINED


def chooses(req):
    if req.uri.endswith("/other"):
        req.handler = "other-handler"
    return apache.DECLINED


def claims(req):
    """A translation that gives no name, as mod_python's users write it."""
    if req.uri.startswith("/named"):
        req.filename = "/named"
        return apache.OK
    return apache.OK if req.uri.startswith("/claimed") else apache.DECLINED


def redirects(req):
    req.internal_redirect("/handler/inner")
    return apache.OK


def sees(req):
    """Says to the log what it knows, and how many interpreters there are."""
    import _apache

    count = len(_apache._interpreters())
    before = req.prev and (req.prev.filename, req.prev.path_info)
    req.log_error(f"sees {req.phase} {req.uri} {req.filename} {req.path_info} {before} {req.interpreter} {count}", 5)
    return apache.OK


class Builder:
    """Makes applications."""

    @classmethod
    def made(cls):
        return create_app("built")

    def make(self):
        return create_app("built")

    def __getattr__(self, name):
        return lambda: create_app(name)


builder = Builder()


def translates(req):
    if req.uri != "/translated":
        return apache.DECLINED
    req.filename = req.document_root() + "/page.html"
    return apache.OK
