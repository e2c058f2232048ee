"""What becomes of a directive: the tables. Prose is in docs/moving.md and docs/differences.md; tests compare both ways."""

from __future__ import annotations

from typing import NamedTuple, Optional

from mod_python._doctor.targets import MAIN


class Change(NamedTuple):
    """What is to be said of a directive."""

    code: str
    what: str
    remedy: str


def _same(what: str, remedy: str = "") -> Change:
    return Change("MP1001", what, remedy)


def _gone(what: str) -> Change:
    return Change("MP1005", what, "Leave it out.")


WSGI: dict[str, Change] = {
    "WSGIScriptAlias": _same("becomes PythonWSGI: the longest path wins, not the first line"),
    "WSGIScriptAliasMatch": _same(
        "becomes PythonWSGIMatch: SCRIPT_NAME is what has matched, so the expression begins with ^/"
    ),
    "WSGIPythonPath": _same("becomes PythonPath, an expression; .pth files there are not read"),
    "WSGIPythonHome": _same("becomes PythonHome: an environment of the Python that mod_python.so was built with"),
    "WSGIApplicationGroup": _same("becomes PythonInterpreter"),
    "WSGICallableObject": _same("becomes the name behind the file: PythonWSGI /x /srv/app.wsgi:NAME"),
    "WSGIScriptReloading": _same("becomes PythonAutoReload, which is On as well: it runs the changed module again"),
    "WSGIPassAuthorization": _same("becomes httpd's own CGIPassAuth, in a section"),
    "WSGIImportScript": _same("becomes PythonImport, with the name of the interpreter"),
    "WSGIPythonOptimize": _same("becomes PythonOptimize On, for 2"),
    "WSGIEnableSendfile": _same("becomes httpd's own EnableSendfile"),
    "WSGITrustedProxies": _same("becomes PythonOption mod_python.wsgi.trusted_proxies"),
    "WSGITrustedProxyHeaders": _same(
        "becomes PythonOption mod_python.wsgi.trusted_headers; it takes X-Forwarded-… names alone"
    ),
    "WSGIDaemonProcess": Change(
        "MP1002",
        "becomes PythonDaemon: a private httpd as the same user, option by option (docs/moving.md#wsgidaemonprocess)",
        "Load mod_proxy and mod_proxy_http (`a2enmod proxy_http`). Where there is no user=, it runs as httpd's user, as before.",
    ),
    "WSGIProcessGroup": _same("becomes daemon= behind the application: PythonWSGI /x /srv/app.wsgi daemon=NAME"),
    "WSGIAccessScript": Change(
        "MP1003",
        "its place stays closed: allow_access(environ, host) has another form here",
        "Write a PythonAccessHandler: accesshandler(req) returns apache.OK or apache.HTTP_FORBIDDEN.",
    ),
    "WSGIAuthUserScript": Change(
        "MP1003",
        "its place stays closed: check_password(environ, user, password) has another form here",
        "Write a PythonAuthenHandler: authenhandler(req) calls req.get_basic_auth_pw(), looks at req.user, and returns apache.OK or apache.HTTP_UNAUTHORIZED.",
    ),
    "WSGIAuthGroupScript": Change(
        "MP1003",
        "its place stays closed: groups_for_user(environ, user) has another form here",
        "Write a PythonAuthzHandler: authzhandler(req) looks at req.user, and returns apache.OK or apache.HTTP_FORBIDDEN.",
    ),
    "WSGIHandlerScript": Change(
        "MP1004",
        "is not translated",
        "Write `AddHandler mod_python .ext` and `PythonHandler module | .ext`: a handler gets the request.",
    ),
    "WSGIErrorOverride": Change(
        "MP1004",
        "is not translated: error pages of a WSGI application are sent as they are",
        "A handler that raises or returns the status has httpd's ErrorDocument answer.",
    ),
    "WSGIMapHEADToGET": _gone("HEAD reaches the application as HEAD"),
    "WSGIChunkedRequest": _gone("chunked bodies are always taken"),
    "WSGILazyInitialization": _gone("Python always starts in the children"),
    "WSGIRestrictEmbedded": _gone("what names no daemon= runs in httpd's children"),
    "WSGIRestrictStdin": _gone("standard input is empty"),
    "WSGIRestrictStdout": _gone("standard output goes to the error log"),
    "WSGIRestrictSignal": _gone("signals are httpd's"),
    "WSGIRestrictProcess": _gone("every application may name every daemon; who may write the configuration says which"),
    "WSGISocketPrefix": _gone(
        "sockets are in httpd's runtime directory (DefaultRuntimeDir), in one that is httpd's user's alone"
    ),
    "WSGISocketRotation": _gone("a daemon's socket stays through restarts"),
    "WSGIAcceptMutex": _gone("a daemon is an httpd, which looks after that itself"),
    "WSGICaseSensitivity": _gone("paths are as the file system has them"),
    "WSGIPythonEggs": _gone("eggs are not unpacked"),
    "WSGIPythonWarnings": _gone(
        "Python's warnings are as they are; use warnings.filterwarnings in a module of PythonImport"
    ),
    "WSGIPythonHashSeed": _gone("Python chooses its hash seed"),
    "WSGIPythonIsolatedEnvironment": _gone("Python's environment variables are not read"),
    "WSGIDontWriteBytecode": _gone("Python writes bytecode where it may"),
    "WSGIDestroyInterpreter": _gone("interpreters go with their child"),
    "WSGIServerMetrics": _gone("mod_python.status has the numbers"),
    "WSGIVerboseDebugging": _gone("LogLevel python:debug says more"),
    "WSGICompilerOptimize": _gone("see PythonOptimize"),
    "WSGIPy3kWarningFlag": _gone("Python 2 had it"),
    "WSGIReloadMechanism": _gone("a changed module is run again, a daemon starts anew"),
    "WSGIOutputBuffering": _gone("httpd gathers what is written, and sends it when it may"),
    "WSGIIgnoreActivity": _gone("every request counts for idle-timeout="),
    "WSGIDispatchScript": Change("MP1004", "is not translated", "Write a PythonFixupHandler, or say it in sections."),
}
"""Every directive of mod_wsgi."""

MOD_PYTHON: dict[str, Change] = {
    "PythonImport": Change(
        "MP1010",
        "runs in file order, and in virtual hosts, too (docs/differences.md#imports-at-start)",
        "See whether one relied on the last line being first.",
    ),
    "PythonAuthenHandler": Change(
        "MP1010",
        "comes before httpd's own authentication (docs/differences.md#authentication-before-httpds-own)",
        "Return apache.DECLINED where httpd's own is to decide.",
    ),
    "PythonInputFilter": Change(
        "MP1010",
        "lets nothing pass when it fails (docs/differences.md#filters-fail-closed)",
        "See that the filter does not rely on being passed over.",
    ),
    "PythonOutputFilter": Change(
        "MP1010",
        "lets nothing pass when it fails (docs/differences.md#filters-fail-closed)",
        "See that the filter does not rely on being passed over.",
    ),
    "PythonHandlerModule": Change(
        "MP1010",
        "a phase that the module has no function for is passed over, no 500 (docs/differences.md#handler-modules)",
        "Nothing, if the module has all that it should.",
    ),
    "PythonCleanupHandler": Change(
        "MP1010",
        "needs no other Python handler to run (docs/differences.md#a-lone-clean-up-handler)",
        "Nothing, unless it was never meant to run.",
    ),
    "PythonAutoReload": Change(
        "MP1010",
        "really loads a changed module again (docs/differences.md#changed-modules)",
        "See that modules bear running again, or say Off.",
    ),
    "PythonPath": Change(
        "MP1010",
        "of several in one interpreter none replaces the others (docs/differences.md#several-paths)",
        "Nothing, unless two areas have modules of one name.",
    ),
}
"""Directives of mod_python 3.5 that do something else."""

SECTIONS_INIT = Change(
    "MP1010",
    "runs here, in a section, which it never did (docs/differences.md#init-handlers-of-sections)",
    "See whether it was meant to.",
)
SECTIONS_FILTER = Change(
    "MP1010",
    "gets the directory that has matched, not the pattern (docs/differences.md#places-with-wild-cards)",
    "See whether the filter looks at req.hlist.directory.",
)

OPTIONS: dict[str, str] = {
    "session": "mod_python.session.session_type",
    "ApplicationPath": "mod_python.session.application_path",
    "session_cookie_name": "mod_python.session.cookie_name",
    "session_directory": "mod_python.session.database_directory",
    "session_dbm": "mod_python.dbm_session.database_filename",
    "session_verify_cleanup": "mod_python.file_session.verify_session_timeout",
    "session_fast_cleanup": "mod_python.file_session.enable_fast_cleanup",
    "session_grace_period": "mod_python.file_session.cleanup_grace_period",
    "session_cleanup_time_limit": "mod_python.file_session.cleanup_time_limit",
    "PSPDbmCache": "mod_python.psp.cache_database_filename",
}
"""PythonOptions as they were called before mod_python 3.3, which are still read, and what they are called."""


GONE_OPTIONS: dict[str, Change] = {
    "mod_python.importer.path": Change("MP1004", "is not read", "Write these directories into PythonPath."),
    "mod_python.importer.ignore": Change("MP1004", "is not read", "PythonAutoReload Off keeps modules as they are."),
    "mod_python.legacy.importer": Change("MP1005", "is not read: there is one way to import", "Leave it out."),
    "mod_python.future.importer": Change("MP1005", "is not read: there is one way to import", "Leave it out."),
}
"""PythonOptions of mod_python 3 that chose how modules are imported."""


def interpreter(group: str) -> Optional[str]:
    """The name of the interpreter of an application group of mod_wsgi's; empty for the virtual host's own, None where it cannot be told."""
    lower = group.lower()
    if lower in ("%{global}", ""):
        return MAIN
    if lower in ("%{server}", "%{resource}"):
        return ""
    return None if "%{" in group else group
