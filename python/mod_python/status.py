"""What the interpreters of all children do: ``PythonHandler mod_python.status``.

A page, or JSON with ``?json``. It shows names of modules and of the configuration: protect it as mod_status is protected::

    <Location /python-status>
        SetHandler mod_python
        PythonHandler mod_python.status
        Require local
    </Location>
"""

from __future__ import annotations

import os
import sys
import time
from html import escape
from typing import TYPE_CHECKING, Any

import _apache

from mod_python import apache, version

if TYPE_CHECKING:
    from _apache import mp_request

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em } h2 { font-size: 1.15em; margin-top: 2em } table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: left; vertical-align: top; overflow-wrap: anywhere }
td.n { text-align: right; font-variant-numeric: tabular-nums }
"""


def handler(req: mp_request) -> int:
    """Write the page, or JSON."""
    report = status()
    req.headers_out["Cache-Control"] = "no-store"
    if req.args == "json":
        import json

        req.content_type = "application/json"
        req.write(json.dumps(report, indent=1) + "\n")
    else:
        req.content_type = "text/html; charset=utf-8"
        req.write(_page(report))
    return apache.OK


def status() -> dict[str, Any]:
    """The interpreters of all children that live, and the modules of the one that asks.

    ``interpreters`` is a list of dicts with ``pid``, ``name``, ``gil`` ("own" or "shared", "none" in a free-threaded Python), ``made`` (seconds since the
    epoch), ``milliseconds`` (that it took to make), ``requests`` and ``errors``; of ASGI, ``tasks`` that the event loop has in
    hand, open ``websockets``, requests that are ``detached`` from their workers, and the ``lag`` with which the loop has begun with the last ones
    (microseconds). ``modules`` maps names to files.
    """
    names = (
        *("pid", "name", "gil", "made", "milliseconds", "requests", "errors"),
        *("tasks", "websockets", "detached", "lag"),
    )
    rows = sorted(_apache._interpreters())
    return {
        "mod_python": version.version,
        "python": sys.version.split()[0],
        "pid": os.getpid(),
        "interpreter": apache.interpreter,
        "interpreters": [dict(zip(names, row)) for row in rows],
        "modules": {name: getattr(module, "__file__", None) for name, module in sorted(sys.modules.items())},
    }


def _page(report: dict[str, Any]) -> str:
    now = time.time()
    rows = [
        f"<tr><td class=n>{one['pid']}<td>{escape(one['name'])}<td>{one['gil']}<td class=n>{_age(now - one['made'])}"
        f"<td class=n>{one['milliseconds']}<td class=n>{one['requests']}<td class=n>{one['errors']}"
        f"<td class=n>{one['tasks']}<td class=n>{one['websockets']}<td class=n>{one['detached']}<td class=n>{one['lag'] / 1000:.1f}</tr>"
        for one in report["interpreters"]
    ]
    modules = [
        f"<tr><td>{escape(name)}<td>{escape(str(file or 'built in'))}</tr>" for name, file in report["modules"].items()
    ]
    title = f"mod_python {escape(report['mod_python'])}, Python {escape(report['python'])}"
    return "\n".join(
        [
            f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style></head>",
            f"<body><h1>{title}</h1>",
            "<h2>Interpreters of all children</h2>",
            "<table><tr><th>child<th>interpreter<th>GIL<th>age<th>made in ms<th>requests<th>errors"
            "<th>tasks<th>WebSockets<th>detached<th>loop's lag in ms</tr>",
            *rows,
            "</table>",
            f"<h2>Modules of {escape(str(report['interpreter']))} in child {report['pid']}</h2>",
            "<table><tr><th>module<th>file</tr>",
            *modules,
            "</table></body></html>\n",
        ]
    )


def _age(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
