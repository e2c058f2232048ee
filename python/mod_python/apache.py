"""What handlers use: constants, SERVER_RETURN, logging, module loading.

::

    from mod_python import apache

    def handler(req):
        req.content_type = "text/plain"
        req.write("Hello World!")
        return apache.OK

The names and values are those of mod_python 3.5; httpd's own meaning of each is in httpd.h.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Optional

import _apache
from _apache import (
    AP_CONN_CLOSE as AP_CONN_CLOSE,
)
from _apache import (
    AP_CONN_KEEPALIVE as AP_CONN_KEEPALIVE,
)
from _apache import (
    AP_CONN_UNKNOWN as AP_CONN_UNKNOWN,
)
from _apache import (
    APR_BLK as APR_BLK,
)
from _apache import (
    APR_CHR as APR_CHR,
)
from _apache import (
    APR_DIR as APR_DIR,
)
from _apache import (
    APR_LNK as APR_LNK,
)
from _apache import (
    APR_NOFILE as APR_NOFILE,
)
from _apache import (
    APR_PIPE as APR_PIPE,
)
from _apache import (
    APR_REG as APR_REG,
)
from _apache import (
    APR_SOCK as APR_SOCK,
)
from _apache import (
    APR_UNKFILE as APR_UNKFILE,
)
from _apache import (
    MODULE_MAGIC_NUMBER_MAJOR as MODULE_MAGIC_NUMBER_MAJOR,
)
from _apache import (
    MODULE_MAGIC_NUMBER_MINOR as MODULE_MAGIC_NUMBER_MINOR,
)
from _apache import (
    SERVER_RETURN as SERVER_RETURN,
)
from _apache import (
    config_tree as config_tree,
)
from _apache import (
    exists_config_define as exists_config_define,
)
from _apache import (
    mpm_query as mpm_query,
)
from _apache import (
    server_root as server_root,
)
from _apache import (
    stat as stat,
)
from _apache import (
    table as table,
)

from mod_python import _modules, _processes, _streams, _tracebacks
from mod_python._cgi import CGIStdin as CGIStdin
from mod_python._cgi import CGIStdout as CGIStdout
from mod_python._cgi import NullIO as NullIO
from mod_python._cgi import build_cgi_env as build_cgi_env
from mod_python._cgi import restore_nocgi as restore_nocgi
from mod_python._cgi import setup_cgi as setup_cgi
from mod_python.version import version as _package_version

if TYPE_CHECKING:
    from _apache import mp_filter, mp_request, mp_server

    from mod_python._logs import LogHandler as LogHandler

make_table = table


class RequestTimeout(BaseException):
    """A request has been in Python for longer than ``PythonTimeout`` says.

    Raised by the server in the thread that runs the request's code, wherever that stands (PyThreadState_SetAsyncExc); in code of C and in
    what waits, such as ``time.sleep()`` or a lock, when that returns. No ``Exception``, so that ``except Exception`` does not stop
    it; raised again each second (each quarter of ``PythonTimeout``, if that is less) in what catches it and goes on.
    """

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "the request has been in Python for longer than PythonTimeout says"


class _RefusedBody(SERVER_RETURN, OSError):
    """httpd has refused the request's body (its argument is the status): a handler that lets it pass answers so, and what reads
    the body as a file, such as a WSGI framework, knows it as a file's error."""

    def __str__(self) -> str:
        return f"the request's body is refused with status {self.args[0]}"


# Results of handlers (httpd.h).
OK = REQ_PROCEED = 0
DECLINED = REQ_NOACTION = -1
DONE = -2
REQ_ABORTED = 500
REQ_EXIT = "REQ_EXIT"

# HTTP statuses (RFC 9110 and its extensions).
HTTP_CONTINUE = 100
HTTP_SWITCHING_PROTOCOLS = 101
HTTP_PROCESSING = 102
HTTP_OK = 200
HTTP_CREATED = 201
HTTP_ACCEPTED = 202
HTTP_NON_AUTHORITATIVE = 203
HTTP_NO_CONTENT = 204
HTTP_RESET_CONTENT = 205
HTTP_PARTIAL_CONTENT = 206
HTTP_MULTI_STATUS = 207
HTTP_ALREADY_REPORTED = 208
HTTP_IM_USED = 226
HTTP_MULTIPLE_CHOICES = 300
HTTP_MOVED_PERMANENTLY = 301
HTTP_MOVED_TEMPORARILY = 302
HTTP_SEE_OTHER = 303
HTTP_NOT_MODIFIED = 304
HTTP_USE_PROXY = 305
HTTP_TEMPORARY_REDIRECT = 307
HTTP_PERMANENT_REDIRECT = 308
HTTP_BAD_REQUEST = 400
HTTP_UNAUTHORIZED = 401
HTTP_PAYMENT_REQUIRED = 402
HTTP_FORBIDDEN = 403
HTTP_NOT_FOUND = 404
HTTP_METHOD_NOT_ALLOWED = 405
HTTP_NOT_ACCEPTABLE = 406
HTTP_PROXY_AUTHENTICATION_REQUIRED = 407
HTTP_REQUEST_TIME_OUT = 408
HTTP_CONFLICT = 409
HTTP_GONE = 410
HTTP_LENGTH_REQUIRED = 411
HTTP_PRECONDITION_FAILED = 412
HTTP_REQUEST_ENTITY_TOO_LARGE = 413
HTTP_REQUEST_URI_TOO_LARGE = 414
HTTP_UNSUPPORTED_MEDIA_TYPE = 415
HTTP_RANGE_NOT_SATISFIABLE = 416
HTTP_EXPECTATION_FAILED = 417
HTTP_IM_A_TEAPOT = 418
HTTP_MISDIRECTED_REQUEST = 421
HTTP_UNPROCESSABLE_ENTITY = 422
HTTP_LOCKED = 423
HTTP_FAILED_DEPENDENCY = 424
HTTP_TOO_EARLY = 425
HTTP_UPGRADE_REQUIRED = 426
HTTP_PRECONDITION_REQUIRED = 428
HTTP_TOO_MANY_REQUESTS = 429
HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE = 431
HTTP_UNAVAILABLE_FOR_LEGAL_REASONS = 451
HTTP_INTERNAL_SERVER_ERROR = 500
HTTP_NOT_IMPLEMENTED = 501
HTTP_BAD_GATEWAY = 502
HTTP_SERVICE_UNAVAILABLE = 503
HTTP_GATEWAY_TIME_OUT = 504
HTTP_VERSION_NOT_SUPPORTED = 505
HTTP_VARIANT_ALSO_VARIES = 506
HTTP_INSUFFICIENT_STORAGE = 507
HTTP_LOOP_DETECTED = 508
HTTP_NOT_EXTENDED = 510
HTTP_NETWORK_AUTHENTICATION_REQUIRED = 511

# Levels of log_error (syslog's).
APLOG_EMERG = 0
APLOG_ALERT = 1
APLOG_CRIT = 2
APLOG_ERR = 3
APLOG_WARNING = 4
APLOG_NOTICE = 5
APLOG_INFO = 6
APLOG_DEBUG = 7
APLOG_NOERRNO = 0

# Kinds of req.get_remote_host().
REMOTE_HOST, REMOTE_NAME, REMOTE_NOLOOKUP, REMOTE_DOUBLE_REV = range(4)

# Places in req.finfo.
FINFO_MODE, FINFO_INO, FINFO_DEV, FINFO_NLINK, FINFO_UID, FINFO_GID, FINFO_SIZE = range(7)
FINFO_ATIME, FINFO_MTIME, FINFO_CTIME, FINFO_FNAME, FINFO_NAME, FINFO_FILETYPE = range(7, 13)

# Bits of req.finfo.valid, and of what apache.stat() is to look at.
APR_FINFO_LINK, APR_FINFO_MTIME, APR_FINFO_CTIME, APR_FINFO_ATIME = 0x1, 0x10, 0x20, 0x40
APR_FINFO_SIZE, APR_FINFO_CSIZE, APR_FINFO_DEV, APR_FINFO_INODE = 0x100, 0x200, 0x1000, 0x2000
APR_FINFO_NLINK, APR_FINFO_TYPE, APR_FINFO_USER, APR_FINFO_GROUP = 0x4000, 0x8000, 0x10000, 0x20000
APR_FINFO_UPROT, APR_FINFO_GPROT, APR_FINFO_WPROT = 0x100000, 0x200000, 0x400000
APR_FINFO_ICASE, APR_FINFO_NAME, APR_FINFO_MIN, APR_FINFO_IDENT = 0x1000000, 0x2000000, 0x8170, 0x3000
APR_FINFO_OWNER, APR_FINFO_PROT, APR_FINFO_NORM = 0x30000, 0x700000, 0x73B170
APR_FINFO_DIRENT = 0x2000000

# Places in req.parsed_uri.
URI_SCHEME, URI_HOSTINFO, URI_USER, URI_PASSWORD, URI_HOSTNAME = range(5)
URI_PORT, URI_PATH, URI_QUERY, URI_FRAGMENT = range(5, 9)

# Values of req.proxyreq.
PROXYREQ_NONE, PROXYREQ_PROXY, PROXYREQ_REVERSE, PROXYREQ_RESPONSE = range(4)

# Values of req.method_number.
M_GET, M_PUT, M_POST, M_DELETE, M_CONNECT, M_OPTIONS, M_TRACE, M_PATCH = range(8)
M_PROPFIND, M_PROPPATCH, M_MKCOL, M_COPY, M_MOVE, M_LOCK, M_UNLOCK = range(8, 15)
M_VERSION_CONTROL, M_CHECKOUT, M_UNCHECKOUT, M_CHECKIN, M_UPDATE, M_LABEL = range(15, 21)
M_REPORT, M_MKWORKSPACE, M_MKACTIVITY, M_BASELINE_CONTROL, M_MERGE, M_INVALID = range(21, 27)

# Values of req.used_path_info.
AP_REQ_ACCEPT_PATH_INFO, AP_REQ_REJECT_PATH_INFO, AP_REQ_DEFAULT_PATH_INFO = range(3)

# Values of req.read_body.
REQUEST_NO_BODY, REQUEST_CHUNKED_ERROR, REQUEST_CHUNKED_DECHUNK = range(3)

# Questions and answers of mpm_query.
AP_MPMQ_NOT_SUPPORTED, AP_MPMQ_STATIC, AP_MPMQ_DYNAMIC = range(3)
AP_MPMQ_MAX_DAEMON_USED, AP_MPMQ_IS_THREADED, AP_MPMQ_IS_FORKED = 1, 2, 3
AP_MPMQ_HARD_LIMIT_DAEMONS, AP_MPMQ_HARD_LIMIT_THREADS, AP_MPMQ_MAX_THREADS = 4, 5, 6
AP_MPMQ_MIN_SPARE_DAEMONS, AP_MPMQ_MIN_SPARE_THREADS = 7, 8
AP_MPMQ_MAX_SPARE_DAEMONS, AP_MPMQ_MAX_SPARE_THREADS = 9, 10
AP_MPMQ_MAX_REQUESTS_DAEMON, AP_MPMQ_MAX_DAEMONS = 11, 12

CGI_MAGIC_TYPE = "application/x-httpd-cgi"
INCLUDES_MAGIC_TYPE = "text/x-server-parsed-html"
INCLUDES_MAGIC_TYPE3 = "text/x-server-parsed-html3"
DIR_MAGIC_TYPE = "httpd/unix-directory"

interpreter: str = ""
"""The name of the interpreter that this module lives in."""

main_server: mp_server
"""The main server."""


def log_error(message: str, level: int = APLOG_ERR, server: Optional[mp_server] = None) -> None:
    """Write to the error log of a server, or of the main one.

    Raises TypeError for a message that is no text or a server that is none.
    """
    _apache.log_error(message, level, server)


def __getattr__(name: str) -> Any:
    """``LogHandler``, for which ``logging`` is imported at its first use (PEP 562)."""
    if name == "LogHandler":
        from mod_python._logs import LogHandler

        return LogHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_cleanups: list[tuple[Callable[[Any], object], Any]] = []


def register_cleanup(callback: Callable[[Any], object], data: Any = None) -> None:
    """Have ``callback(data)`` called when the child ends; the last one registered comes first.

    Raises ValueError for what cannot be called.
    """
    if not callable(callback):
        raise ValueError("first argument must be a callable object")
    _cleanups.append((callback, data))


def allow_methods(req: mp_request, *methods: str) -> None:
    """Have the Allow header list methods (req.allow_methods)."""
    req.allow_methods(methods)


def import_module(
    module_name: str,
    autoreload: int = 1,
    log: int = 0,
    path: Optional[list[str]] = None,
) -> ModuleType:
    """Import a module by its dotted name; load it again when its file has changed.

    The file is looked at no more than once a second. With ``log`` a load is noted in the error
    log. With ``path`` only a module found in these directories will do. A changed module whose
    new source does not run stays as it was, and the error is logged.

    Raises what importing raises: ImportError, SyntaxError, or what the module itself does.
    """
    module: ModuleType = _modules.import_module(module_name, bool(autoreload), bool(log), path)
    return module


def module_mtime(module: ModuleType) -> float:
    """When the module's file last changed, in seconds since the epoch; 0 if it has none."""
    file = getattr(module, "__file__", None)
    try:
        return os.stat(file).st_mtime if file else 0
    except OSError:
        return 0


def resolve_object(
    module: ModuleType,
    obj_str: str,
    arg: Any = None,
    silent: int = 0,
) -> Any:
    """Follow a dotted name in a module; a class on the way is called with ``arg``.

    Raises AttributeError where a part is missing, unless ``silent``: then the result is None.
    """
    found: Any = module
    for place, name in enumerate(obj_str.split(".")):
        if place and isinstance(found, type):
            found = found(arg)
        try:
            found = getattr(found, name)
        except AttributeError:
            if silent:
                return None
            file = getattr(module, "__file__", module.__name__)
            raise AttributeError(f"module '{file}' contains no '{obj_str}'") from None
    return found


# What the native module calls. Not for handlers.


def _start(name: str, expected: str) -> None:
    """Prepare the interpreter; called once, when it is made."""
    global interpreter, main_server
    interpreter = name
    main_server = _apache.main_server()
    sys.argv = ["mod_python"]
    if sys.version_info < (3, 12) and name != "main_interpreter":
        # asyncio's native half has one place in the process for the loop that runs, and takes threads of two interpreters for
        # the same. asyncio does without where it is not there.
        sys.modules.setdefault("_asyncio", None)  # type: ignore[arg-type]
    _streams.install()
    _processes.install(name == "main_interpreter", partial(log_error, level=APLOG_WARNING))
    if _package_version != expected:
        place = os.path.dirname(__file__)
        log_error(
            f"mod_python version mismatch, expected '{expected}', found '{_package_version}'; "
            f"the Python package is in {place}",
            APLOG_WARNING,
        )


def _end() -> None:
    """Run what is to run when the interpreter ends: clean-ups, then threads are waited for, then atexit."""
    import atexit
    import threading

    steps: list[Callable[[], object]] = [
        *(partial(callback, data) for callback, data in reversed(_cleanups)),
        getattr(threading, "_shutdown", lambda: None),
        getattr(atexit, "_run_exitfuncs", lambda: None),
    ]
    for step in steps:
        try:
            step()
        except BaseException as error:
            _tracebacks.log(f"the end of the interpreter {interpreter!r}: {_describe(error)}")


def _load(
    name: str,
    autoreload: bool,
    log: bool,
    expression: Optional[str],
    directory: Optional[str],
) -> ModuleType:
    """A handler's module, with sys.path as its place in the configuration asks for."""
    if expression is not None:
        _modules.use_expression(expression, globals())
    elif directory is not None:
        _modules.use_directory(directory)
    module: ModuleType = _modules.import_module(name, autoreload, log, None)
    return module


def _import(target: str, expression: Optional[str]) -> None:
    """PythonImport: import a module, and call the function that stands behind ``::``."""
    name, _, function = target.partition("::")
    module = _load(name, False, False, expression, None)
    if function:
        resolve_object(module, function)()


def _include(req: mp_request, filter: mp_filter, kind: str, text: str, expression: Optional[str]) -> None:
    """A tag of a page: ``<!--#python eval="…" -->`` or ``exec="…"``. All tags of a page share one namespace."""
    if expression is not None:
        _modules.use_expression(expression, globals())
    names: Optional[dict[str, Any]] = getattr(req, "ssi_globals", None)
    if names is None:
        names = req.ssi_globals = {}
    names["filter"] = filter
    names["__file__"] = req.filename
    place = f"<{req.filename} #python {kind}>"
    text = text.replace("\r\n", "\n").rstrip()
    try:
        if kind == "eval":
            result = eval(compile(text.strip(), place, "eval", dont_inherit=True), names)
            if result is not None:
                filter.write(str(result))
        else:
            exec(compile(text, place, "exec", dont_inherit=True), names)
    finally:
        names["filter"] = None


def _debug(handler: Callable[[Any], Any], argument: Any) -> Any:
    """Call a handler in the debugger; quitting it is an exception."""
    import pdb

    debugger = pdb.Pdb(nosigint=True, stdin=sys.__stdin__, stdout=sys.__stdout__)
    debugger.reset()
    # Not runcall(): it would turn quitting into a result of None.
    sys.settrace(debugger.trace_dispatch)
    try:
        return handler(argument)
    finally:
        sys.settrace(None)


def _describe(error: BaseException) -> str:
    """The traceback as text: lines, without frames of importlib and of this package; hints stand at its end."""
    return _tracebacks.describe(error)


def _object(error: BaseException) -> tuple[str, str]:
    """The exception in one line, and as an object of JSON."""
    from mod_python import _log_objects

    return _log_objects.exception(error)


def _page(error: Optional[BaseException], place: str, text: str, request: tuple[Any, ...]) -> tuple[str, str, str]:
    """What PythonDebug shows: content type, Content-Security-Policy and text. There is no error where a result is wrong."""
    from mod_python import _debug_page

    method, uri, protocol, remote, headers = request
    asked = _debug_page.Request(method, uri, protocol, remote, interpreter, headers)
    return _debug_page.page(error, place, text, asked)
