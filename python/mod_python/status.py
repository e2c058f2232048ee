"""What the interpreters of all children do: ``PythonHandler mod_python.status``.

A page (``?range=10m``, ``4h`` or ``7d``; ``?modules`` has the loaded modules; ``?stack=pid:thread`` where a thread is), or JSON with ``?json``. It shows names of modules and of
the configuration: protect it as mod_status is protected::

    <Location /python-status>
        SetHandler mod_python
        PythonHandler mod_python.status
        Require local
    </Location>
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any, Optional

import _apache

from mod_python import _measures, _status_page, apache, version
from mod_python._daemon.states import states

if TYPE_CHECKING:
    from _apache import mp_request


def handler(req: mp_request) -> int:
    """Write the page, or JSON."""
    report = status(req.get_options().get("mod_python.status.queries", "").lower() == "on")
    req.headers_out["Cache-Control"] = "no-store"
    if req.args == "json":
        req.content_type = "application/json"
        req.write(json.dumps(report, indent=1) + "\n")
        return apache.OK
    req.content_type = "text/html; charset=utf-8"
    if req.args == "modules":
        req.write(_status_page.modules(report))
        return apache.OK
    asked = re.fullmatch(r"stack=(\d{1,9}):(\d{1,18})", req.args or "")
    if asked:
        req.write(_status_page.stack(report, int(asked[1]), int(asked[2])))
        return apache.OK
    chosen = (req.args or "").partition("range=")[2]
    req.write(_status_page.page(report, chosen if chosen in _measures.RANGES else "10m"))
    return apache.OK


def status(queries: bool = False) -> dict[str, Any]:
    """The interpreters of all children that live, and the modules of the one that asks; with the queries of what is in flight where that is asked for.

    ``interpreters`` is a list of dicts with ``pid``, ``name``, ``gil`` ("own" or "shared", "none" in a free-threaded Python), ``made`` (seconds since the
    epoch), ``milliseconds`` (that it took to make), ``requests`` and ``errors``; of ASGI, ``tasks`` that the event loop has in
    hand, open ``websockets``, requests that are ``detached`` from their workers, and the ``lag`` with which the loop has begun with the last ones
    (microseconds). ``applications`` is a list of dicts of what all children have done since httpd was started: ``interpreter``,
    ``application``, ``requests`` that have ended, ``errors``, ``1xx`` to ``5xx``, ``bytes``, and seconds of all requests together: ``waiting``
    for the interpreter's lock, in ``python``, ``sending``, and their ``duration``. ``children`` have ``pid``, ``born`` (seconds since the
    epoch), ``memory`` (bytes) and ``processor`` (seconds). ``in_flight`` are the requests that are in Python, but for this one: ``pid``, ``thread``
    (as threading.get_ident() has it there), ``interpreter``, ``work`` (a directive, "wsgi" or "asgi"), ``request`` (method and URI, without a query unless ``queries``)
    and ``age`` in seconds. ``daemons`` are what `PythonDaemon` has made of this httpd (``mod_python._daemon.states``). ``modules`` maps names to files.
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
        "applications": [_application(one) for one in _measures.applications()],
        "in_flight": _in_flight(queries),
        "daemons": states(_apache._daemons()),
        "children": [child._asdict() for child in _measures.children()[1]],
        "modules": _modules(),
    }


def _modules() -> dict[str, Optional[str]]:
    """The loaded modules and their files. What stands for one in ``sys.modules`` is not asked: it might import something, or raise."""
    names: Any = vars(ModuleType)["__dict__"]
    found: dict[str, Optional[str]] = {}
    for name, module in list(sys.modules.items()):
        file = names.__get__(module).get("__file__") if issubclass(type(module), ModuleType) else None
        if type(name) is str:
            found[name] = file if type(file) is str else None
    return dict(sorted(found.items()))


def _application(one: _measures.Application) -> dict[str, Any]:
    times = {name: round(getattr(one, name), 6) for name in ("waiting", "python", "sending", "duration")}
    named = {"interpreter": one.interpreter, "application": one.application, "requests": one.requests}
    return {**named, **one.counts, **times}


def _in_flight(queries: bool) -> list[dict[str, Any]]:
    """Those that have been here for longest come first."""
    names, now, own = (
        ("pid", "thread", "interpreter", "work", "request"),
        time.time(),
        (os.getpid(), threading.get_ident()),
    )
    found = sorted((one for one in _apache._in_flight(queries) if one[:2] != own), key=lambda one: one[5])
    return [{**dict(zip(names, one)), "age": round(max(0.0, now - one[5] / 1e6), 3)} for one in found]
