"""A page that shows what a handler sees: ``PythonHandler mod_python.testhandler``. Not for servers that others can reach.

Everything is escaped. The error log is shown (``?view_log=1``) where PythonDebug is on, and nowhere else.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from mod_python import apache, util, version

if TYPE_CHECKING:
    from _apache import mp_request

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse; width: 100% } th, td { border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: left;
vertical-align: top; overflow-wrap: anywhere } th { width: 18em; font-weight: 600 } pre { background: #f6f6f6; padding: 1em;
overflow: auto } p { color: #666 }
"""


def handler(req: mp_request) -> int:
    """Write the page."""
    form = util.FieldStorage(req)
    debug = str(req.get_config().get("PythonDebug", "0")) == "1"
    if form.getfirst("view_log") and debug:
        return _log(req)
    req.add_common_vars()
    req.content_type = "text/html; charset=utf-8"
    parts = [
        f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>mod_python</title><style>{_STYLE}</style></head><body>",
        "<h1>mod_python</h1>",
        _table("General", _general(req)),
        '<p><a href="?view_log=1">the end of the error log</a></p>' if debug else "",
        _table("Request headers", req.headers_in.items()),
        _table("subprocess_env", req.subprocess_env.items()),
        _table("get_config()", req.get_config().items()),
        _table("get_options()", req.get_options().items()),
        _table("notes", req.notes.items()),
        _table("server.get_config()", req.server.get_config().items()),
        _table("server.get_options()", req.server.get_options().items()),
        f"<h2>Configuration</h2>\n<pre>{escape(_tree(apache.config_tree()))}</pre>",
        "</body></html>\n",
    ]
    req.write("\n".join(parts))
    return apache.OK


def _general(req: mp_request) -> list[tuple[str, Any]]:
    query = apache.mpm_query
    threaded = query(apache.AP_MPMQ_IS_THREADED)
    forked = query(apache.AP_MPMQ_IS_FORKED)
    return [
        ("mod_python", version.version),
        ("Server", req.subprocess_env.get("SERVER_SOFTWARE")),
        ("Python", sys.version),
        ("sys.path", "\n".join(sys.path)),
        ("Interpreter", req.interpreter),
        ("Phase", req.phase),
        ("Threads a child", query(apache.AP_MPMQ_MAX_THREADS) if threaded else "the MPM has no threads"),
        ("Children", query(apache.AP_MPMQ_MAX_DAEMONS) if forked else "the MPM does not fork"),
        ("ServerRoot", apache.server_root()),
        ("DocumentRoot", req.document_root()),
        ("Error log", req.server.error_fname),
        ("Request", req.the_request),
        ("File", req.filename),
    ]


def _table(title: str, rows: Iterable[tuple[Any, Any]]) -> str:
    cells = [
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value)).replace(chr(10), '<br>')}</td></tr>"
        for name, value in rows
    ]
    body = "<table>\n" + "\n".join(cells) + "\n</table>" if cells else "<p>empty</p>"
    return f"<h2>{escape(title)}</h2>\n{body}"


def _tree(nodes: list[Any], depth: int = 0) -> str:
    lines = []
    for node in nodes:
        if isinstance(node, list):
            lines.append(_tree(node, depth + 1))
        else:
            lines.append("    " * depth + " ".join(part for part in node if part))
    return "\n".join(lines)


def _log(req: mp_request) -> int:
    req.content_type = "text/plain; charset=utf-8"
    name = os.path.join(apache.server_root() or "", req.server.error_fname or "")
    try:
        with open(name, errors="replace") as file:
            req.write("".join(deque(file, 100)))
    except OSError as error:
        req.write(f"the error log cannot be read: {error}\n")
    return apache.OK
