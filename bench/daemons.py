"""An application in processes of its own, behind a front: our daemon beside mod_wsgi's, and beside servers behind mod_proxy.

Everything that a request costs counts: the front's processes, the daemon's, and what watches them. `make bench` has it in its report;
`python bench/daemons.py [LABEL...]` measures it alone.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import load
import servers
from load import Result
from servers import VENV, Apache, Behind, Layout, Processes, Server, processor

CONNECTIONS = 16
EMBEDDED, DAEMON, MOD_WSGI = "mod_python, embedded", "mod_python, daemon", "mod_wsgi, daemon"
GUNICORN, UVICORN, UWSGI = (
    "gunicorn behind mod_proxy_http",
    "uvicorn behind mod_proxy_http",
    "uWSGI behind mod_proxy_uwsgi",
)
PAGES = {"hello": ("/hello", b"Hello World!"), "10 KB": ("/page", b"x" * 10240)}
WANTED = 2.2
"""So many times mod_wsgi's daemon has to use as much processor time as ours."""
WANTED_P99 = 2.0
"""So many times as long as embedded's the slowest answers may take."""


@dataclass
class Costs:
    """What one page costs, by server."""

    runs: dict[str, list[Result]] = field(default_factory=dict)
    """With all connections busy, round by round."""
    steady: dict[str, Result] = field(default_factory=dict)
    """At one rate for all of them."""
    rate: int = 0

    def cpu(self, name: str) -> list[float]:
        """Microseconds of processor time for a request, of each round."""
        return [1e6 * (run.cpu or 0) / max(1, run.requests) for run in self.runs.get(name, [])]

    def ratio(self, name: str) -> Optional[float]:
        """How many times as much as our daemon a server uses, in rounds that followed one another."""
        pairs = [(other, ours) for other, ours in zip(self.cpu(name), self.cpu(DAEMON)) if ours]
        return statistics.median(other / ours for other, ours in pairs) if pairs else None

    def late(self, name: str) -> Optional[float]:
        """How many times as long as embedded's the slowest hundredth takes, in rounds that followed one another."""
        runs = zip(self.runs.get(name, []), self.runs.get(EMBEDDED, []))
        pairs = [(one.latencies["p99"], other.latencies["p99"]) for one, other in runs]
        return statistics.median(one / other for one, other in pairs) if pairs else None

    def latency(self, name: str, percentile: str) -> float:
        """Milliseconds, with all connections busy."""
        return statistics.median(run.latencies[percentile] for run in self.runs[name])


def measure(layout: Layout, rounds: int, seconds: float, pin: tuple[str, ...], labels: list[str]) -> dict[str, Costs]:
    """Processor time and latencies, in interleaved rounds. Raises SystemExit where answers differ or fail."""
    found = {label: Costs() for label in PAGES}
    with started(layout, labels) as running:
        for label, costs in found.items():
            path, body = PAGES[label]
            for number in range(rounds + 1):
                for name, server in running.items():
                    if load.fetch(server.url(path)) != body:
                        raise SystemExit(f"{label}: {name} answers something else")
                    before = processor(server.pids())
                    # The first round warms up.
                    time = seconds if number else 1
                    done = load.wrk(server.url(path), connections=CONNECTIONS, seconds=time, pin=pin)
                    done.cpu = processor(server.pids()) - before
                    if done.errors:
                        raise SystemExit(f"{label}: {name} has failed {done.errors} times")
                    if number:
                        costs.runs.setdefault(name, []).append(done)
            if load.oha_program():
                steady(costs, running, path, seconds, pin)
    return found


def steady(costs: Costs, running: dict[str, Server], path: str, seconds: float, pin: tuple[str, ...]) -> None:
    """Latencies at a rate that all of them can hold."""
    slowest = min(statistics.median(run.rate for run in runs) for runs in costs.runs.values())
    costs.rate = max(100, int(slowest * 0.4) // 100 * 100)
    for name, server in running.items():
        costs.steady[name] = done = load.oha(
            server.url(path), rate=costs.rate, connections=CONNECTIONS, seconds=2 * seconds, pin=pin
        )
        if done.errors:
            raise SystemExit(f"{path}: {name} has failed {done.errors} times at a fixed rate")


@contextmanager
def started(layout: Layout, labels: list[str]) -> Iterator[dict[str, Server]]:
    """Those of these names, or all."""
    running: dict[str, Server] = {}
    try:
        for name, server in makers(layout).items():
            if not labels or any(word in name for word in labels):
                running[name] = server
                server.start()
        yield running
    finally:
        for server in running.values():
            server.stop()


def makers(layout: Layout) -> dict[str, Server]:
    """The servers, each with one process for the application, and as many threads as it takes."""
    size = f"processes={layout.children} threads={layout.threads}"
    ours = f"PythonDaemon bench {size} python-path=@ROOT@/apps\nPythonWSGI / wsgi_pages:application daemon=bench\n"
    embedded = "PythonPath \"['@ROOT@/apps']+sys.path\"\nPythonWSGI / wsgi_pages:application\n"
    theirs = (
        f"LoadModule wsgi_module {servers.mod_wsgi_module()}\nWSGIPythonHome {VENV}\nWSGISocketPrefix @ROOT@/run/wsgi\n"
        f"WSGIDaemonProcess bench {size}\nWSGIProcessGroup bench\nWSGIApplicationGroup %{{GLOBAL}}\n"
        "WSGIScriptAlias / @ROOT@/apps/wsgi_pages.py\n"
    )
    gunicorn = [str(VENV / "bin/gunicorn"), "--workers", "@WORKERS@", "--threads", str(min(layout.threads, 8))]
    gunicorn += ["--bind", "unix:@SOCKET@", "--umask", "0", "--chdir", "@ROOT@/apps", "--log-level", "error"]
    uvicorn = [
        str(VENV / "bin/uvicorn"),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--uds",
        "@SOCKET@",
    ]
    uvicorn += ["--log-level", "error", "--workers", "1", "--app-dir", "@ROOT@/apps", "asgi_pages:application"]
    uwsgi = ["/usr/bin/uwsgi", "--plugin", "python3", "--master", "--need-app", "--disable-logging", "--die-on-term"]
    uwsgi += ["--processes", "@WORKERS@", "--socket", "@SOCKET@", "--chmod-socket=666", "--chdir", "@ROOT@/apps"]
    # mod_proxy keeps a connection no longer than the server does.
    behind = {
        GUNICORN: ([*gunicorn, "wsgi_pages:application"], "http", "ttl=1"),
        UVICORN: (uvicorn, "http", "ttl=4"),
        UWSGI: ([*uwsgi, "--module", "wsgi_pages:application"], "uwsgi", ""),
    }
    return {
        EMBEDDED: servers.ours(layout, embedded),
        DAEMON: servers.ours(layout, servers.proxy_modules("http") + ours),
        MOD_WSGI: Apache(MOD_WSGI, theirs, layout),
        **{
            name: Behind(Processes(name, [command], layout, scheme=scheme), layout, options, (scheme,))
            for name, (command, scheme, options) in behind.items()
        },
    }


HEADER = [
    *("", "cpu µs", "x our daemon", "asked", "p50 ms", "p99 ms", "p99 x embedded", "asked"),
    *("p50 ms, steady", "p99 ms, steady", "p99 x embedded, steady"),
]


def rows(found: dict[str, Costs]) -> list[list[str]]:
    """A line for each page and server; in bold what is not as asked."""
    lines = []
    for label, costs in found.items():
        for name in costs.runs:
            ratio, late = costs.ratio(name), costs.late(name)
            line = [f"{label}: {name}", f"{statistics.median(costs.cpu(name)):.1f}"]
            line += judged(ratio, "≥", WANTED, name == MOD_WSGI)
            line += [f"{costs.latency(name, percentile):.2f}" for percentile in ("p50", "p99")]
            line += judged(late, "≤", WANTED_P99, name == DAEMON)
            lines.append([*line, *at_one_rate(costs, name)])
    return lines


def at_one_rate(costs: Costs, name: str) -> list[str]:
    """The cells of the latencies at a rate that all of them hold."""
    if name not in costs.steady or EMBEDDED not in costs.steady:
        return [""] * 3
    p50, p99 = (costs.steady[name].latencies[percentile] for percentile in ("p50", "p99"))
    return [f"{p50:.2f}", f"{p99:.2f}", f"{p99 / costs.steady[EMBEDDED].latencies['p99']:.2f}"]


def judged(ratio: Optional[float], sign: str, wanted: float, is_asked: bool) -> list[str]:
    """A ratio, and what is asked of it."""
    if ratio is None:
        return ["", ""]
    is_met = ratio >= wanted if sign == "≥" else ratio <= wanted
    return [f"{ratio:.2f}" if is_met or not is_asked else f"**{ratio:.2f}**", f"{sign} {wanted:g}" if is_asked else ""]


def main() -> int:
    parser = servers.command_line(__doc__, 5)
    parser.add_argument("labels", nargs="*", help="words of the servers' names; all without")
    chosen, halves = parser.parse_args(), servers.Halves.of_machine()
    found = measure(halves.layout(), chosen.rounds, chosen.seconds, halves.pin, chosen.labels)
    servers.show([HEADER, *rows(found)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
