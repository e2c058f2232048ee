"""Runs CGI scripts in Python inside the server: ``AddHandler mod_python .py`` and ``PythonHandler mod_python.cgihandler``.

A script is run as ``__main__`` each time, with its own globals. It has its own ``os.environ``, standard streams and (on
Linux) working directory, which no other thread sees; what it imports is shared with other scripts. Processes that it
starts get its environment.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from types import CodeType
from typing import TYPE_CHECKING, Any

import _apache

from mod_python import _cgi, _modules, _tracebacks, apache
from mod_python.cache import Entry, FileCache

if TYPE_CHECKING:
    from _apache import mp_request


class _ScriptCache(FileCache):
    def __getitem__(self, name: Any) -> Any:
        try:
            return super().__getitem__(name)
        except BaseException:
            # What a script was before must not run on when it can be read, or compiled, no more.
            with contextlib.suppress(KeyError):
                del self[name]
            raise

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> CodeType:
        with opened:
            return compile(opened.read(), key, "exec", dont_inherit=True)


_scripts = _ScriptCache(512)
_directory_lock = threading.RLock()
"""Where threads share one working directory, scripts run one at a time; one may redirect to another."""


def handler(req: mp_request) -> int:
    """Run the script that the request names. Raises SERVER_RETURN (404), and what the script raises."""
    script = req.subprocess_env.get("script_filename") or req.filename or ""
    if not script or "\0" in script or not os.path.isfile(script):
        raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND)
    script = os.path.abspath(script)
    try:
        return _serve(req, script)
    except Exception as error:
        _tracebacks.place(error, script)
        raise


def _serve(req: mp_request, script: str) -> int:
    code = _scripts[script]
    _modules.use_directory(os.path.dirname(script))
    own = _apache._own_directory()
    if not own:
        _directory_lock.acquire()
    try:
        _run(req, script, code)
    finally:
        if not own:
            _directory_lock.release()
    return apache.OK


def _run(req: mp_request, script: str, code: CodeType) -> None:
    try:
        before = os.getcwd()
    except OSError:
        before = "/"
    streams = _cgi.setup_cgi(req)
    output = _cgi.output()
    try:
        os.chdir(os.path.dirname(script))
        try:
            exec(code, {"__name__": "__main__", "__file__": script, "__builtins__": __builtins__})
        except SystemExit as error:
            if error.code not in (None, 0):
                req.log_error(f"{script} ended with {error.code!r}", apache.APLOG_WARNING)
        # It may be one that the script has put there.
        sys.stdout.flush()
        output.finish()
        if output.lacks_head:
            raise ValueError("the CGI script has written no empty line behind its headers")
    except apache.SERVER_RETURN:
        raise
    except BaseException:
        output.abandon()
        raise
    finally:
        _cgi.restore_nocgi(*streams)
        try:
            os.chdir(before)
        except OSError:
            # httpd was started where its children may not go.
            os.chdir("/")
