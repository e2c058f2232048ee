"""Arguments: what a method expects, so that it goes on to where it does something, with hostile ones in between."""

import os

from . import values

PHASES = ("PythonPostReadRequestHandler", "PythonTransHandler", "PythonHeaderParserHandler", "PythonInitHandler")
PHASES += (
    "PythonAccessHandler",
    "PythonAuthenHandler",
    "PythonAuthzHandler",
    "PythonTypeHandler",
    "PythonFixupHandler",
)
PHASES += ("PythonHandler", "PythonLogHandler", "PythonCleanupHandler", "PythonConnectionHandler", "PythonNothing")
HANDLERS = ("apifuzzing", "apifuzzing::handler", "apifuzzing::fixuphandler", "apifuzzing::missing", "nowhere::x")
HANDLERS += ("apifuzzing::Instance", "apifuzzing::Instance.method", "apifuzzing::loghandler", "apifuzzing::strange")
FILTERS = ("FUZZOUT", "FUZZIN", "INCLUDES", "DEFLATE", "CONTENT_LENGTH", "MOD_PYTHON", "dynamic", "nothing")
FILTER_HANDLERS = ("apifuzzing::outputfilter", "apifuzzing::inputfilter", "apifuzzing::missing", "apifuzzing")
URIS = (
    "/all/x",
    "/files/",
    "/files/document",
    "/files/page.shtml",
    "/files/static.html",
    "/wsgi/x",
    "/missing",
    "/all/../all/y",
)
URIS += (
    "/files/sub/",
    "/pub/fuzzpub.py/plain",
    "/psp/page.psp",
    "/filtered/x",
    "/plain/",
    "/other/x",
    "",
    "x",
    "//",
    "/%00",
    "http://h/",
)
NAMES = (
    "X-Name",
    "x-name",
    "Content-Type",
    "Content-Length",
    "Cookie",
    "Set-Cookie",
    "Location",
    "nokeepalive",
    "Host",
    "seed",
)
METHODS = ("GET", "POST", "PUT", "BREW", "", "get")
FOLDER = os.path.dirname(__file__)
PATHS = (
    __file__,
    FOLDER,
    "/etc/passwd",
    "/etc/shadow",
    "/nowhere",
    "",
    "/etc/passwd/x",
    "relative",
    "/proc/self/status",
)


def uri(player):
    """A place of this server, with the seed or without."""
    found = player.random.choice(URIS)
    return f"{found}?seed={player.state.seed}" if player.random.random() < 0.5 else found


def size(player):
    return player.random.choice((-1, 0, 1, 3, 100, 8192, 10**6, -1, None, -2, 2**31, 2**63))


def status(player):
    """What start_response and req.status are given."""
    return player.random.choice(
        ("200 OK", "404 Not Found", "204 No Content", "304 x", "200", "", "999 x", "1 x", "500")
    )


def headers(player):
    return player.random.choice(
        (
            [],
            [("Content-Type", "text/plain")],
            [("Content-Length", "3")],
            [("Content-Length", "5"), ("Content-Length", "6")],
            [("X", values.value(player))],
            [("Content-Type", "text/plain"), values.value(player)],
            values.value(player),
        )
    )


def _name(player):
    return player.random.choice(NAMES)


def _pick(*choices):
    return lambda player: player.random.choice(choices)


def _callback(player):
    return player.callback()


def _req(player):
    return player.roots.get("req")


def _error(player):
    try:
        raise values.exception(player)
    except BaseException as error:
        return (type(error), error, error.__traceback__)


def _folder(player):
    return player.random.choice(PATHS)


WANTED = {
    "add": (_name, values.text),
    "add_handler": (_pick(*PHASES), _pick(*HANDLERS), _folder),
    "add_input_filter": (_pick(*FILTERS),),
    "add_output_filter": (_pick(*FILTERS),),
    "register_input_filter": (_pick(*FILTERS), _pick(*FILTER_HANDLERS), _folder),
    "register_output_filter": (_pick(*FILTERS), _pick(*FILTER_HANDLERS), _folder),
    "allow_methods": (lambda player: [player.random.choice(METHODS) for _ in range(3)], _pick(0, 1)),
    "construct_url": (uri,),
    "get": (_name, values.simple),
    "get_remote_host": (_pick(0, 1, 2, 3, 4, -1), _pick(None, 1)),
    "has_key": (_name,),
    "internal_redirect": (uri,),
    "log_error": (values.text, _pick(0, 3, 7, 8, -1)),
    "mpm_query": (_pick(*range(-1, 17)),),
    "parse_qs": (values.text, _pick(0, 1), _pick(0, 1)),
    "parse_qsl": (values.text, _pick(0, 1), _pick(0, 1)),
    "read": (size,),
    "readline": (size,),
    "readlines": (size,),
    "register_cleanup": (_callback, values.value),
    "sendfile": (_folder, _pick(0, 0, 10, -1, 10**9, 2**63), _pick(-1, 0, 10, 10**9)),
    "set_content_length": (_pick(0, 3, 10**9, -1, 2**63),),
    "setdefault": (_name, values.text),
    "ssl_var_lookup": (_pick("HTTPS", "SSL_PROTOCOL", ""),),
    "start_response": (status, headers, _error),
    "stat": (_folder, _pick(0, 0x8170, 0x73B170, -1, 2**31)),
    "update": (values.container,),
    "update_mtime": (_pick(0, 1.5, 1e9, -1.0, 1e300, float("nan"), float("inf")),),
    "wsgi": (_req,),
    "wsgi_start_response": (status, headers, _error),
    "write": (
        lambda player: player.random.choice((b"bytes", "text", values.text(player), values.buffer(player))),
        _pick(0, 1),
    ),
    "_global_place": (values.simple,),
    "_stream_write": (_pick(0, 1, 2), _pick(b"line\n", b"part", b"")),
    "_stream_flush": (_pick(0, 1, 2),),
    "exists_config_define": (values.text,),
    "__getitem__": (_name,),
    "__setitem__": (_name, values.text),
    "__delitem__": (_name,),
    "__contains__": (_name,),
    "FileWrapper": (values.file, size),
    "mp_file_wrapper": (values.file, size),
    "close": (),
    "flush": (),
}
WANTED["mp_start_response"] = WANTED["__call__"] = WANTED["start_response"]
ATTRIBUTES = {
    "filename": lambda player: player.random.choice(PATHS),
    "canonical_filename": lambda player: player.random.choice(PATHS),
    "uri": uri,
    "handler": _pick("mod_python", "default-handler", None, "python-program", "x", ""),
    "status": lambda player: player.random.choice(values.NUMBERS),
    "status_line": status,
    "content_type": _pick("text/html", "text/plain; charset=x", "application/x-httpd-cgi", "text/x-server-parsed-html"),
    "keepalive": _pick(0, 1, 2, -1, 100),
    "finfo": lambda player: player.some(),
    "proxyreq": _pick(0, 1, 2, 3, 9),
}


def some(player):
    """Any arguments, none to four."""
    return [values.value(player) for _ in range(player.random.choice((0, 1, 1, 2, 2, 3, 4)))]


def for_call(player, name):
    """Arguments for a method of this name."""
    random = player.random
    wanted = WANTED.get(name)
    if wanted is None:
        return [] if random.random() < 0.5 else some(player)
    if random.random() < 0.15:
        return some(player)
    count = random.randint(min(1, len(wanted)), len(wanted))
    return [values.value(player) if random.random() < 0.12 else make(player) for make in wanted[:count]]


def for_attribute(player, name):
    """A value for an attribute of this name."""
    if name in ATTRIBUTES and player.random.random() < 0.7:
        return ATTRIBUTES[name](player)
    return values.value(player)
