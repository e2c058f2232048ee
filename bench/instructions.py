"""Instructions a request, counted by callgrind on a single-process httpd: repeatable to a fraction of a per cent."""

from __future__ import annotations

import collections
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Union

from load import Request
from servers import Apache, Layout

FEW, MANY = 300, 1300
"""The difference of these two counts is without the connection and the first request."""
PATIENCE = 120.0

Make = Callable[..., Apache]


def count(make: Make, asked: Union[str, Request]) -> tuple[float, dict[str, float]]:
    """Instructions of one request, or of a GET of a path: all, and by the object (program or library) that they belong to."""
    one = Request(asked) if isinstance(asked, str) else asked
    few, many = (totals(make, one, requests) for requests in (FEW, MANY))
    each = {name: (many[name] - few.get(name, 0)) / (MANY - FEW) for name in many}
    return sum(each.values()), {name: value for name, value in each.items() if value >= 1}


def totals(make: Make, asked: Request, requests: int) -> dict[str, float]:
    """Instructions of a whole run, by object. A cookie that the first answer sets is sent from then on."""
    # One process (-X); mod_python 3.5 divides by the number of its locks, which it takes from this, less one.
    layout = Layout(1, 4)
    apache = make(layout, mpm="prefork")
    httpd = apache.prepare()
    # The child writes it, as another user.
    httpd.root.chmod(0o777)
    out = httpd.root / "callgrind.out"
    out.touch()
    out.chmod(0o666)
    # Without the start, whose cost is not the same twice: Python's hashes are random.
    only = ["--collect-atstart=no", "--toggle-collect=ap_run_process_connection"]
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *only]
    command = [*valgrind, *httpd._command(), "-X", "-DFOREGROUND"]
    with (httpd.root / "valgrind").open("wb") as output:
        fixed = {**os.environ, **apache.environment, "PYTHONHASHSEED": "0"}
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=fixed)
    try:
        limit = time.monotonic() + PATIENCE
        while not answers(httpd.port, asked):
            if process.poll() is not None or time.monotonic() > limit:
                text = (httpd.root / "valgrind").read_text(errors="replace")
                raise RuntimeError(
                    f"{apache.name} does not answer under valgrind: {text[-1000:]}{httpd.log_text()[-500:]}"
                )
            time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", httpd.port, timeout=PATIENCE)
        headers = dict(asked.headers)
        for _ in range(requests):
            connection.request(asked.method, asked.path, asked.body, headers)
            response = connection.getresponse()
            if response.status != 200 or not response.read():
                raise RuntimeError(f"{asked.path} answers {response.status}")
            if "Cookie" not in headers and response.getheader("Set-Cookie"):
                headers["Cookie"] = response.getheader("Set-Cookie", "").partition(";")[0]
        connection.close()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        return by_object(out)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        httpd.remove()


def answers(port: int, asked: Request) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request(asked.method, asked.path, asked.body, asked.headers)
        return connection.getresponse().status == 200
    return False


def by_object(out: Path) -> dict[str, float]:
    """Self cost by object: callgrind's file names one (`ob=`), then lists lines of cost until the next."""
    found: dict[str, float] = collections.defaultdict(float)
    names: dict[str, str] = {}
    current, call = "", False
    for line in out.read_text().splitlines():
        if match := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?", line):
            if match[3]:
                names[match[2]] = label(match[3])
            if not match[1]:
                current = names[match[2]]
        elif line.startswith("calls="):
            call = True
        elif re.match(r"[+\-*\d]", line):
            # The line after `calls=` is the called function's, which counts for itself.
            if not call:
                found[current] += float(line.split()[1])
            call = False
    if not found:
        raise RuntimeError("callgrind counted nothing")
    return dict(found)


def label(path: str) -> str:
    """What a reader calls an object."""
    name = Path(path).name
    for pattern, text in (
        (r"apache2|httpd", "httpd"),
        (r"libapr", "APR"),
        (r"libpython|python3", "CPython"),
        (r"mod_python\.so", "mod_python"),
        (r"mod_wsgi", "mod_wsgi"),
        (r"mod_.*", "httpd's modules"),
        (r"libc\.|ld-linux|libpthread", "C library"),
    ):
        if re.search(pattern, name):
            return text
    return "other"
