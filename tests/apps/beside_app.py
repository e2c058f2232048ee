"""Handlers that change nothing, and an application and a handler that say who they are."""

from mod_python import apache


def noop(req):
    return apache.DECLINED


def late(data=None):
    """A clean-up."""


def look(req):
    """Reads whatever a handler may want to know, in whatever phase it is."""
    for name in (
        "filename",
        "canonical_filename",
        "path_info",
        "uri",
        "args",
        "user",
        "handler",
        "content_type",
        "method",
        "hostname",
    ):
        getattr(req, name)
    # When clean-ups run, the requests that this one came from may be gone.
    others = () if req.phase == "PythonCleanupHandler" else (req.prev, req.main, req.next)
    for other in (req, *others):
        if other is not None:
            # A line that is no request has none.
            assert other.uri is None or isinstance(other.uri, str)
            _ = (other.filename, other.status, other.headers_in.get("Host"))
    for table in (req.headers_in, req.headers_out, req.err_headers_out, req.subprocess_env, req.notes):
        for key, value in list(table.items()):
            # mod_rewrite's SCRIPT_URL has no value where a fallback has taken over from its request.
            assert isinstance(value, str) or key == "SCRIPT_URL", key
            table.get(key)
    _ = (req.finfo, req.allowed_methods, req.connection.remote_ip, req.server.server_hostname, req.used_path_info)
    req.get_options()
    req.get_config()
    req.register_cleanup(late)
    return apache.DECLINED


def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    said = f"application {environ['REQUEST_METHOD']} {environ['SCRIPT_NAME'] + environ['PATH_INFO']} "
    said += (
        f"[{environ.get('MARK', '')}] [{environ.get('REMOTE_USER', '')}] {environ['wsgi.input'].read(length).decode()}"
    )
    headers = [("Content-Type", "text/plain"), *HEADERS.get(environ["PATH_INFO"], [])]
    start_response("200 OK", headers)
    return [said.encode()]


def handler(req):
    said = f"handler {req.method} {req.uri} [{req.subprocess_env.get('MARK', '')}] [{req.user or ''}] {req.read().decode()}"
    req.content_type = "text/plain"
    for name, value in HEADERS.get(req.uri, []):
        if name == "Content-Type":
            req.content_type = value
        else:
            req.headers_out[name] = value
    # Not flushed: that a filter refuses the answer is no exception here.
    req.write(said, 0)
    return apache.OK


HEADERS = {
    "/sent": [("X-Sendfile", "some/page.html")],
    "/sent-missing": [("X-Sendfile", "no/such/file")],
    "/kept": [("Cache-Control", "max-age=600"), ("ETag", '"kept"')],
}
"""What the answer at a path has beside its text."""
