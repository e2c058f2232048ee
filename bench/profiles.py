"""Profiles beside hello: bodies, files, uploads, waiting, computing, many handlers, the start."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Optional

import load
import servers
from measure import Bench, Table
from servers import Apache, Layout

from httpd import RELEASE

ROUNDS = 3
"""Fewer than for hello: there are many profiles."""


def measure(bench: Bench) -> list[Table]:
    """Every profile, each in interleaved rounds."""
    few = Layout(1, 64, bench.server_cores)
    many = Layout(2, 200, bench.server_cores)
    tables = []
    for title, path, static, layout, connections in (
        ("10 KB body", "page", "/page.txt", few, 32),
        ("1 MB file (sendfile)", "file", "/megabyte.bin", few, 32),
        ("10 ms of waiting, 200 connections", "wait", None, many, 200),
        ("Computing, on 1 core", "compute", None, Layout(1, 64, "0"), 32),
        ("Computing, on all cores, 1 child", "compute", None, Layout(1, 64), 32),
        ("Computing, on all cores, a child a core", "compute", None, Layout(2 * bench.half, 64), 32),
    ):
        tables.append(compare(bench, title, path, static, layout, connections))
    tables.append(upload(bench, few))
    tables.append(handlers(bench, few))
    tables += start(bench)
    return tables


def compare(bench: Bench, title: str, path: str, static: Optional[str], layout: Layout, connections: int) -> Table:
    table = Table(title, "answers a second")
    peers: list[Callable[[], Apache]] = [
        lambda: servers.ours(layout),
        lambda: servers.theirs(layout),
        lambda: servers.mod_wsgi(layout),
    ]
    if static:
        peers.append(lambda: servers.plain(layout))
    with bench.started(layout, peers) as running:
        asked = [
            ("httpd, static file", "httpd", static),
            ("handler", "mod_python (Rust)", f"/{path}"),
            ("WSGI", "mod_python (Rust)", f"/profiles/{path}"),
            ("mod_python 3.5, handler", "mod_python 3.5", f"/{path}"),
            ("mod_wsgi embedded", "mod_wsgi embedded", f"/profiles/{path}"),
        ]
        urls = {label: running[server].url(where) for label, server, where in asked if where and server in running}
        bodies = {label: load.fetch(url) for label, url in urls.items()}
        if len(set(bodies.values())) != 1:
            raise SystemExit(f"{title}: the answers differ: { {label: body[:20] for label, body in bodies.items()} }")
        for number in range(ROUNDS):
            for label, url in urls.items():
                bench.say(f"{title}: round {number + 1} of {ROUNDS}: {label}")
                pin = bench.pin if layout.cores else ()
                done = load.wrk(url, connections=connections, seconds=bench.seconds, pin=pin)
                table.rows.setdefault(label, []).append(done.rate)
                table.errors += done.errors
    return table


def upload(bench: Bench, layout: Layout) -> Table:
    table = Table("10 MB upload", "uploads a second")
    peers: list[Callable[[], Apache]] = [
        lambda: servers.ours(layout),
        lambda: servers.theirs(layout),
        lambda: servers.mod_wsgi(layout),
    ]
    size = 10_000_000
    with bench.started(layout, peers) as running, tempfile.NamedTemporaryFile() as body:
        body.write(b"x" * size)
        body.flush()
        asked = [
            ("handler", "mod_python (Rust)", "/upload"),
            ("WSGI", "mod_python (Rust)", "/profiles/upload"),
            ("mod_python 3.5, handler", "mod_python 3.5", "/upload"),
            ("mod_wsgi embedded", "mod_wsgi embedded", "/profiles/upload"),
        ]
        for number in range(ROUNDS):
            for label, server, path in asked:
                if server not in running:
                    continue
                url = running[server].url(path)
                bench.say(f"{table.title}: round {number + 1} of {ROUNDS}: {label}")
                if load.fetch(url, data=b"x" * size) != str(size).encode():
                    raise SystemExit(f"{label} has not got the whole upload")
                options = ("-p", body.name, "-T", "application/octet-stream")
                done = load.ab(url, connections=4, requests=20 if bench.quick else 60, pin=bench.pin, options=options)
                table.rows.setdefault(label, []).append(done.rate)
                table.errors += done.errors
    return table


def handlers(bench: Bench, layout: Layout) -> Table:
    """Does a request cost more where many handlers are configured?"""
    table = Table("1, 10 and 100 handlers configured, each asked in turn", "answers a second")
    running: dict[int, Apache] = {}
    try:
        for count in (1, 10, 100):
            places = "".join(
                f"<Location /h{number}>\n    SetHandler mod_python\n    PythonHandler h{number}\n</Location>\n"
                for number in range(count)
            )
            config = f"PythonPath \"sys.path+['@ROOT@/apps']\"\n{places}"
            apache = Apache(f"{count} handlers", config, layout, module=RELEASE)
            httpd = apache.prepare()
            for number in range(count):
                httpd.write(f"apps/h{number}.py", (httpd.root / "apps/unflushed.py").read_text())
            httpd.start()
            running[count] = apache
            for number in range(count):
                load.fetch(apache.url(f"/h{number}"))
        for number in range(ROUNDS):
            for count, apache in running.items():
                bench.say(f"{count} handlers: round {number + 1} of {ROUNDS}")
                done = load.wrk(apache.url(f"/h{count - 1}"), connections=32, seconds=bench.seconds, pin=bench.pin)
                table.rows.setdefault(f"{count}", []).append(done.rate)
                table.errors += done.errors
    finally:
        for apache in running.values():
            apache.stop()
    return table


def start(bench: Bench) -> list[Table]:
    """From the start of httpd to its first connection, and to its first answer."""
    cold = Table("Cold start: until httpd accepts connections", "milliseconds", less_is_better=True)
    first = Table("First request after the start", "milliseconds", less_is_better=True)
    layout = Layout(1, 64)
    makers: dict[str, tuple[Callable[[], Apache], str]] = {
        "httpd, static file": (lambda: servers.plain(layout), "/hello.txt"),
        "handler": (lambda: servers.ours(layout), "/mp"),
        "WSGI": (lambda: servers.ours(layout), "/wsgi"),
        "mod_python 3.5, handler": (lambda: servers.theirs(layout), "/mp"),
        "mod_wsgi embedded": (lambda: servers.mod_wsgi(layout), "/wsgi"),
    }
    for number in range(ROUNDS):
        for label, (make, path) in makers.items():
            bench.say(f"start: round {number + 1} of {ROUNDS}: {label}")
            try:
                apache = make()
            except (OSError, RuntimeError) as error:
                bench.miss(f"the start of {label}", error)
                continue
            httpd = apache.prepare()
            try:
                began = time.monotonic()
                httpd.start()
                up = time.monotonic()
                load.fetch(apache.url(path))
                cold.rows.setdefault(label, []).append(1000 * (up - began))
                first.rows.setdefault(label, []).append(1000 * (time.monotonic() - up))
            finally:
                apache.stop()
    cold.note = "The start is polled every 10 ms."
    return [cold, first]
