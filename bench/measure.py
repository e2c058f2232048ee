"""What is measured of whom, and what has been measured: rates, processor time, latencies, instructions."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import asgi
import frameworks
import instructions
import load
import pages
import servers
from load import Result
from servers import Halves, Layout, Server, processor

import daemons
from httpd import resident

HELLO = b"Hello World!"
CONNECTIONS = 32


@dataclass(frozen=True)
class Target:
    """What is asked of which server."""

    label: str
    server: str
    path: str
    user: bool = False

    def headers(self) -> tuple[str, ...]:
        return ("Authorization: Basic dXNlcjpwYXNzd29yZA==",) if self.user else ()


STATIC, FLOOR, FLUSHED = "httpd, static file", "C handler (the floor)", "C handler that flushes"
HANDLER, UNFLUSHED, FULL, WSGI = "handler", "handler, flush=0", "handler with authen and log", "WSGI"

TARGETS = [
    Target(STATIC, "httpd", "/hello.txt"),
    Target(FLOOR, "httpd", "/floor"),
    Target(FLUSHED, "httpd", "/floor-flush"),
    Target(UNFLUSHED, "mod_python (Rust)", "/unflushed"),
    Target(HANDLER, "mod_python (Rust)", "/mp"),
    Target(FULL, "mod_python (Rust)", "/full", user=True),
    Target(WSGI, "mod_python (Rust)", "/wsgi"),
    Target("mod_python 3.5, handler, flush=0", "mod_python 3.5", "/unflushed"),
    Target("mod_python 3.5, handler", "mod_python 3.5", "/mp"),
    Target("mod_python 3.5, WSGI", "mod_python 3.5", "/wsgi"),
    Target("mod_wsgi embedded", "mod_wsgi embedded", "/wsgi"),
    Target("mod_wsgi daemon", "mod_wsgi daemon", "/wsgi"),
    Target("mod_wsgi 4.9 embedded", "mod_wsgi 4.9 embedded", "/wsgi"),
    Target("nginx, static file", "nginx static", "/hello.txt"),
    Target("uWSGI behind nginx", "uWSGI behind nginx", "/wsgi"),
    Target("gunicorn", "gunicorn", "/wsgi"),
    Target("granian", "granian", "/wsgi"),
]


@dataclass
class Figures:
    """What was measured of a target in one layout."""

    runs: dict[str, list[Result]] = field(default_factory=dict)
    """By load generator."""
    memory: list[float] = field(default_factory=list)
    """MiB that each process of the server holds, after the load."""

    def rates(self, generator: str) -> list[float]:
        return [run.rate for run in self.runs.get(generator, [])]

    def rate(self, generator: str) -> float:
        return statistics.median(self.rates(generator))

    def cpu(self) -> float:
        """Microseconds of the server's processors for one request."""
        runs = self.runs["wrk"]
        return 1e6 * sum(run.cpu or 0 for run in runs) / max(1, sum(run.requests for run in runs))

    def latency(self, percentile: str, generator: str = "wrk") -> float:
        return statistics.median(run.latencies.get(percentile, 0) for run in self.runs[generator])

    def errors(self) -> int:
        return sum(run.errors for runs in self.runs.values() for run in runs)


@dataclass
class Table:
    """Rates (or times) of several ways to do the same."""

    title: str
    unit: str
    rows: dict[str, list[float]] = field(default_factory=dict)
    errors: int = 0
    note: str = ""
    less_is_better: bool = False


class Bench:
    """One run of everything."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.rounds, self.seconds = (3, 1.0) if quick else (5, 2.0)
        self.began = time.monotonic()
        cores = os.cpu_count() or 1
        halves = Halves.of_machine()
        self.half, self.server_cores, self.pin = halves.count, halves.server, halves.pin
        own = f"server and load on {self.half} core{'s' if self.half > 1 else ''} each"
        self.layouts = {f"1 child x 64 threads, {own}": Layout(1, 64, self.server_cores)}
        if not quick:
            self.layouts[f"16 children x 25 threads, {own}"] = Layout(16, 25, self.server_cores)
            self.layouts[f"16 children x 25 threads, sharing {cores} cores"] = Layout(16, 25)
        self.rates: dict[str, dict[str, Figures]] = {}
        self.open_loop: dict[str, Result] = {}
        self.open_rate = 0
        self.million: dict[str, Result] = {}
        self.pages: dict[str, pages.Costs] = {}
        self.asgi: dict[str, asgi.Costs] = {}
        self.frameworks: dict[str, frameworks.Costs] = {}
        self.daemons: dict[str, daemons.Costs] = {}
        self.instructions: dict[str, tuple[float, dict[str, float]]] = {}
        self.profiles: list[Table] = []
        self.growth: dict[str, dict[int, float]] = {}
        self.missing: dict[str, str] = {}

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)

    def run(self) -> None:
        for name, layout in self.layouts.items():
            self.measure_rates(name, layout)
        self.measure_million()
        self.measure_instructions()
        self.measure_pages()
        self.measure_asgi()
        self.measure_frameworks()
        self.measure_daemons()

    # Rates, processor time, memory

    def measure_rates(self, name: str, layout: Layout) -> None:
        figures: dict[str, Figures] = {}
        with self.started(layout, self.peers(layout)) as running:
            targets = [target for target in TARGETS if target.server in running]
            for target in targets:
                self.check(running[target.server], target)
                load.wrk(
                    running[target.server].url(target.path),
                    connections=CONNECTIONS,
                    seconds=1,
                    headers=target.headers(),
                )
            for number in range(self.rounds):
                for target in targets:
                    self.say(f"{name}: round {number + 1} of {self.rounds}: {target.label}")
                    server = running[target.server]
                    into = figures.setdefault(target.label, Figures())
                    self.one(into, server, target, layout)
                    self.check(server, target)
            for target in targets:
                figures[target.label].memory = [resident(pid) / 1024 for pid in running[target.server].pids()]
            if not self.rates:
                self.measure_open_loop(running, figures)
                self.measure_growth(running)
        self.rates[name] = figures

    def one(self, into: Figures, server: Server, target: Target, layout: Layout) -> None:
        pin = self.pin if layout.cores else ()
        before = processor(server.pids())
        url = server.url(target.path)
        done = load.wrk(url, connections=CONNECTIONS, seconds=self.seconds, pin=pin, headers=target.headers())
        done.cpu = processor(server.pids()) - before
        into.runs.setdefault("wrk", []).append(done)
        if len(into.runs["wrk"]) <= (1 if self.quick else 3):
            options = ("-A", ":".join(load.USER)) if target.user else ()
            requests = max(1000, int(done.rate * self.seconds / 2))
            into.runs.setdefault("ab", []).append(
                load.ab(url, connections=CONNECTIONS, requests=requests, pin=pin, options=options)
            )

    def measure_open_loop(self, running: dict[str, Server], figures: dict[str, Figures]) -> None:
        """Latencies at a rate that all of them can hold."""
        if not load.oha_program():
            self.missing["oha"] = "oha could not be installed: no latencies at a fixed rate"
            return
        labels = [STATIC, FLOOR, FLUSHED, UNFLUSHED, HANDLER, WSGI]
        labels += ["mod_python 3.5, handler", "mod_wsgi embedded", "uWSGI behind nginx", "granian"]
        targets = [target for target in TARGETS if target.label in labels and target.server in running]
        slowest = min(figures[target.label].rate("wrk") for target in targets)
        self.open_rate = max(500, int(slowest * 0.4) // 100 * 100)
        for target in targets:
            self.say(f"open loop, {self.open_rate}/s: {target.label}")
            url = running[target.server].url(target.path)
            seconds = 3 if self.quick else 10
            self.open_loop[target.label] = load.oha(
                url, rate=self.open_rate, connections=CONNECTIONS, seconds=seconds, pin=self.pin
            )

    def measure_growth(self, running: dict[str, Server]) -> None:
        """How the rate grows with the number of connections."""
        for label in (FLOOR, UNFLUSHED, WSGI, "mod_python 3.5, handler, flush=0", "mod_wsgi embedded"):
            target = next(target for target in TARGETS if target.label == label)
            if target.server not in running:
                continue
            for connections in (1, 4, 16, 64) if self.quick else (1, 2, 4, 8, 16, 32, 64):
                self.say(f"{connections} connections: {label}")
                done = load.wrk(
                    running[target.server].url(target.path),
                    connections=connections,
                    seconds=self.seconds / 2,
                    pin=self.pin,
                )
                self.growth.setdefault(label, {})[connections] = done.rate

    def measure_million(self) -> None:
        """The error count over many requests: as mod_python's author laid it out, and with a worker for each connection."""
        requests = 50_000 if self.quick else 1_000_000
        author, ample = Layout(16, 25), Layout(4, 128)
        for label, make, path, layout in (
            (UNFLUSHED, servers.ours, "/unflushed", ample),
            (UNFLUSHED, servers.ours, "/unflushed", author),
            (FLOOR, servers.plain, "/floor", author),
        ):
            name = f"{label}, {layout.children} x {layout.threads}"
            with self.started(layout, [lambda make=make, layout=layout: make(layout)]) as running:
                for server in running.values():
                    self.say(f"{requests} requests at 120 connections: {name}")
                    url = server.url(path)
                    self.million[f"{name}, ab"] = load.ab(url, connections=120, requests=requests)
                    if shutil.which("httpress"):
                        try:
                            done = load.httpress(url, connections=120, requests=requests)
                            self.million[f"{name}, httpress"] = done
                        except RuntimeError as error:
                            self.miss(f"{name}, httpress", error)

    # Instructions

    def measure_instructions(self) -> None:
        counted: list[tuple[str, instructions.Make, str]] = [
            (STATIC, servers.plain, "/hello.txt"),
            (f"{STATIC}, with our module unused", servers.ours, "/hello.txt"),
            (FLOOR, servers.plain, "/floor"),
            (FLUSHED, servers.plain, "/floor-flush"),
            (UNFLUSHED, servers.ours, "/unflushed"),
            (HANDLER, servers.ours, "/mp"),
            (WSGI, servers.ours, "/wsgi"),
            ("mod_python 3.5, handler, flush=0", servers.theirs, "/unflushed"),
            ("mod_wsgi embedded", servers.mod_wsgi, "/wsgi"),
        ]
        for label, make, path in counted:
            self.say(f"instructions: {label}")
            try:
                self.instructions[label] = instructions.count(make, path)
            except (OSError, RuntimeError) as error:
                self.miss(f"instructions of {label}", error)

    def measure_pages(self) -> None:
        """What sites are made of, beside mod_python 3.5."""
        self.say("pages: publisher, sessions, forms, cookies, PSP, writes")
        try:
            self.pages = pages.measure_cpu(
                pages.PAGES, Layout(1, 32, self.server_cores), self.rounds, self.seconds, self.pin
            )
            for page in pages.PAGES:
                self.say(f"instructions: {page.label}")
                pages.count_instructions(page, self.pages[page.label])
        except (OSError, RuntimeError) as error:
            self.miss("pages", error)

    def measure_asgi(self) -> None:
        """Beside the servers that people run for it."""
        self.say("ASGI: hello, JSON, an event stream, a WebSocket")
        try:
            layout = Layout(1, 32, self.server_cores)
            self.asgi = asgi.measure(layout, 2 if self.quick else 3, self.seconds, self.pin, [])
        except (OSError, RuntimeError) as error:
            self.miss("ASGI", error)

    def measure_frameworks(self) -> None:
        """Flask's and Django's hello."""
        self.say("frameworks: Flask, Django")
        try:
            layout = Layout(1, 32, self.server_cores)
            self.frameworks = frameworks.measure_cpu(layout, self.rounds, self.seconds, self.pin)
            for framework, costs in self.frameworks.items():
                self.say(f"instructions: {framework}")
                frameworks.count_instructions(framework, costs)
        except (OSError, RuntimeError) as error:
            self.miss("frameworks", error)

    def measure_daemons(self) -> None:
        """An application in processes of its own."""
        self.say("daemons: mod_wsgi's, and servers behind mod_proxy")
        try:
            layout = Layout(1, 32, self.server_cores)
            self.daemons = daemons.measure(layout, self.rounds, self.seconds, self.pin, [])
        except (OSError, RuntimeError) as error:
            self.miss("daemons", error)

    # Servers

    def peers(self, layout: Layout) -> list[Any]:
        every = [
            lambda: servers.plain(layout),
            lambda: servers.ours(layout),
            lambda: servers.theirs(layout),
            lambda: servers.mod_wsgi(layout),
            lambda: servers.mod_wsgi(layout, daemon=True),
            lambda: servers.mod_wsgi(layout, debian=True),
            lambda: servers.nginx(layout),
            lambda: servers.nginx(layout, uwsgi=True),
            lambda: servers.gunicorn(layout),
            lambda: servers.granian(layout),
        ]
        return every

    @contextmanager
    def started(self, layout: Layout, peers: list[Any]) -> Iterator[dict[str, Server]]:
        """Servers, started in turn; one that does not start is missing from the report, with the reason."""
        running: dict[str, Server] = {}
        try:
            for make in peers:
                server: Optional[Server] = None
                try:
                    server = make()
                    self.say(f"starting {server.name}")
                    server.start()
                    running[server.name] = server
                except (OSError, RuntimeError, TimeoutError, ValueError) as error:
                    self.miss(server.name if server else "a server", error)
                    if server:
                        server.stop()
            yield running
        finally:
            for server in running.values():
                server.stop()

    def check(self, server: Server, target: Target) -> None:
        body = load.fetch(server.url(target.path), user=target.user)
        if body.strip() != HELLO:
            raise SystemExit(f"{target.label} answers {body[:100]!r}")

    def miss(self, what: str, error: Exception) -> None:
        self.missing[what] = " ".join(str(error).split())[:300]
        self.say(f"missing: {what}: {self.missing[what]}")
