"""Flask's and Django's hello, beside mod_wsgi and uWSGI: processor time, and instructions where httpd is the server.

`make bench` has it in its report; `python bench/frameworks.py` measures it alone.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import alone
import instructions
import load
import servers
from servers import Apache, Layout, Processes, Server, processor

OURS, MOD_WSGI, UWSGI = "mod_python (Rust)", "mod_wsgi embedded", "uWSGI behind nginx"
FRAMEWORKS = ("flask", "django")
CONNECTIONS = 16
WANTED = 1.0
"""No slower than any of the others; most of the time is the framework's own."""


@dataclass
class Costs:
    """What one request costs, by server: microseconds of processor time of each round, and instructions."""

    cpu: dict[str, list[float]] = field(default_factory=dict)
    instructions: dict[str, float] = field(default_factory=dict)

    def ratio(self, other: str) -> Optional[float]:
        """How many times as fast as another server, in rounds that followed one another."""
        rounds = [(a, b) for a, b in zip(self.cpu.get(OURS, []), self.cpu.get(other, [])) if a and b]
        return statistics.median(b / a for a, b in rounds) if rounds else None


def ours(layout: Layout, **more: object) -> Apache:
    site = next((servers.VENV / "lib").glob("python3.*")) / "site-packages"
    return servers.ours(layout, servers.conf("frameworks.conf", SITE=str(site)), **more)


def mod_wsgi(layout: Layout, **more: object) -> Apache:
    module = servers.mod_wsgi_module()
    text = servers.conf("frameworks-mod_wsgi.conf", MOD_WSGI=module, VENV=str(servers.VENV))
    return Apache(MOD_WSGI, text, layout, **more)  # type: ignore[arg-type]


def uwsgi(layout: Layout, framework: str) -> Processes:
    return servers.nginx(
        layout, uwsgi=True, module=f"{framework}_hello:application", location=f"/{framework}", home=servers.VENV
    )


def measure_cpu(layout: Layout, rounds: int, seconds: float, pin: tuple[str, ...]) -> dict[str, Costs]:
    """Processor time, in interleaved rounds. Raises SystemExit where an answer is not hello."""
    found = {framework: Costs() for framework in FRAMEWORKS}
    for framework, costs in found.items():
        makers: dict[str, Callable[[], Server]] = {
            OURS: lambda: ours(layout),
            MOD_WSGI: lambda: mod_wsgi(layout),
            UWSGI: lambda framework=framework: uwsgi(layout, framework),  # type: ignore[misc]
        }
        running = {name: make() for name, make in makers.items()}
        try:
            for server in running.values():
                server.start()
            for number in range(rounds + 1):
                for name, server in running.items():
                    url = server.url(f"/{framework}/" if name != UWSGI else f"/{framework}")
                    if load.fetch(url).strip() != b"Hello World!":
                        raise SystemExit(f"{framework}: {name} answers something else")
                    before = processor(server.pids())
                    done = load.wrk(url, connections=CONNECTIONS, seconds=seconds if number else 1, pin=pin)
                    if done.errors:
                        raise SystemExit(f"{framework}: {name} has failed {done.errors} times")
                    # The first round warms up.
                    if number:
                        spent = 1e6 * (processor(server.pids()) - before) / done.requests
                        costs.cpu.setdefault(name, []).append(spent)
        finally:
            for server in running.values():
                server.stop()
    return found


def count_instructions(framework: str, costs: Costs) -> None:
    """Instructions of one request, of the servers that are httpd."""
    for name, make in ((OURS, ours), (MOD_WSGI, mod_wsgi)):
        costs.instructions[name] = instructions.count(make, f"/{framework}/")[0]


HEADER = ["", "cpu µs", "mod_wsgi's", "uWSGI's", "x mod_wsgi", "x uWSGI", "asked", "instructions", "mod_wsgi's"]


def rows(found: dict[str, Costs]) -> list[list[str]]:
    """The table; in bold what is not as asked."""
    lines = []
    for framework, costs in found.items():
        times = [
            f"{statistics.median(costs.cpu[name]):.0f}" if name in costs.cpu else "" for name in (OURS, MOD_WSGI, UWSGI)
        ]
        ratios = [costs.ratio(name) for name in (MOD_WSGI, UWSGI)]
        shown = ["" if one is None else f"{one:.2f}" if one >= WANTED else f"**{one:.2f}**" for one in ratios]
        counts = [f"{costs.instructions[name]:,.0f}" if name in costs.instructions else "" for name in (OURS, MOD_WSGI)]
        lines.append([f"{framework.capitalize()}'s hello", *times, *shown, f"≥ {WANTED:g}", *counts])
    return lines


def main() -> int:
    parser = alone.parser(__doc__)
    parser.add_argument("--instructions", action="store_true", help="count instructions, too")
    arguments = parser.parse_args()
    layout, pin = alone.halves()
    found = measure_cpu(layout, arguments.rounds, arguments.seconds, pin)
    for framework, costs in found.items():
        if arguments.instructions:
            count_instructions(framework, costs)
    return alone.show(HEADER, rows(found))


if __name__ == "__main__":
    sys.exit(main())
