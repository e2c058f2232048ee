"""What mod_python sites are made of, beside mod_python 3.5: publisher, sessions, forms, cookies, PSP, many writes.

`make bench` has it in its report; `python bench/pages.py [LABEL...]` measures it alone, `--instructions` counts only those.
"""

from __future__ import annotations

import statistics
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import alone
import instructions
import load
import servers
from load import Request
from servers import Apache, Layout, processor

OURS, THEIRS, FLOOR = "mod_python (Rust)", "mod_python 3.5", "C handler"
CONNECTIONS = 16
SESSIONS = 64
"""So many browsers, since one session's requests wait for one another."""


@dataclass(frozen=True)
class Page:
    """A page, and how many times as fast as mod_python 3.5 it should be, in processor time."""

    label: str
    request: Request
    wanted: float = 2.0


def _multipart(size: int) -> Request:
    boundary = "----boundary7d1f"
    parts = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\nnobody\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file.bin"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n"
    )
    body = parts.encode() + bytes(range(256)) * (size // 256) + f"\r\n--{boundary}--\r\n".encode()
    return Request("/upload", {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body)


_FORM = (
    b"name=Jane+Doe&town=Koeln&choice=1&choice=2&text=" + b"A+few+words+that+somebody+has+written%2C+and+more.+" * 11
)
_COOKIES = {"Cookie": "theme=light; basket=apples; visitor=5f4dcc3b5aa765d61d8327deb882cf99; seen=1"}

PAGES = [
    Page("publisher page with an argument", Request("/published/page/hello?name=World")),
    Page("file session, read and saved", Request("/session")),
    Page(
        "form POST of 600 bytes", Request("/form", {"Content-Type": "application/x-www-form-urlencoded"}, _FORM[:600])
    ),
    Page("cookies read and set", Request("/cookies", _COOKIES)),
    Page("headers and ten writes", Request("/headers", {"User-Agent": "bench"}), 1.5),
    Page("PSP table of 20 rows", Request("/psp/table.psp"), 1.5),
    Page("multipart with a 100 KB file", _multipart(100_000), 1.5),
    Page("20 writes that flush", Request("/flushed"), 1.5),
]


@dataclass
class Costs:
    """What one request of a page costs, by server: microseconds of processor time of each round, and instructions."""

    cpu: dict[str, list[float]] = field(default_factory=dict)
    instructions: dict[str, float] = field(default_factory=dict)

    def ratio(self) -> Optional[float]:
        """How many times as fast as mod_python 3.5: of rounds that followed one another."""
        if OURS not in self.cpu or THEIRS not in self.cpu:
            return None
        return self.times(OURS)

    def times(self, name: str) -> Optional[float]:
        """The same for any of them: for the C handler it is what can be reached at all."""
        # The clock that counts it ticks a hundred times a second: a round that was kept from running shows nothing.
        rounds = [
            (one, theirs) for one, theirs in zip(self.cpu.get(name, []), self.cpu.get(THEIRS, [])) if one and theirs
        ]
        return statistics.median(theirs / one for one, theirs in rounds) if rounds else None


def _floor(layout: Layout, **more: object) -> Apache:
    """A C handler that does nothing, where the pages are: httpd's own work for such a request, and the kernel's."""
    kept = [line for line in servers.conf("pages.conf").splitlines() if not line.strip().startswith("Python")]
    sections = "\n".join(kept).replace("SetHandler mod_python", "SetHandler floor")
    text = f"LoadModule floor_module {servers.readable(servers.FLOOR)}\n{sections}\n"
    return Apache(FLOOR, text, layout, **more)  # type: ignore[arg-type]


Makers = dict[str, Callable[..., Apache]]
MAKERS: Makers = {
    OURS: lambda layout, **more: servers.ours(layout, servers.conf("pages.conf"), **more),
    THEIRS: lambda layout, **more: servers.theirs(layout, servers.conf("pages.conf"), **more),
    FLOOR: _floor,
}


def measure_cpu(
    pages: list[Page], layout: Layout, rounds: int, seconds: float, pin: tuple[str, ...]
) -> dict[str, Costs]:
    """Processor time, in interleaved rounds. Raises SystemExit where the two answer differently."""
    found = {page.label: Costs() for page in pages}
    running = {name: make(layout) for name, make in MAKERS.items()}
    try:
        for apache in running.values():
            apache.start()
        for page in pages:
            scripts = {name: load.script(_requests(apache, page)) for name, apache in running.items()}
            bodies = {name: _fetch(apache, page.request)[1] for name, apache in running.items()}
            bodies.pop(FLOOR)
            if len({body.strip() for body in bodies.values()}) != 1:
                raise SystemExit(
                    f"{page.label}: the answers differ: { {name: body[:200] for name, body in bodies.items()} }"
                )
            for number in range(rounds + 1):
                for name, apache in running.items():
                    before = processor(apache.pids())
                    done = load.wrk(
                        apache.url(page.request.path),
                        connections=CONNECTIONS, seconds=seconds if number else 1, pin=pin, lua=scripts[name],
                    )  # fmt: skip
                    if done.errors:
                        raise SystemExit(f"{page.label}: {name} has failed {done.errors} times")
                    # The first round warms up.
                    if number:
                        spent = 1e6 * (processor(apache.pids()) - before) / done.requests
                        found[page.label].cpu.setdefault(name, []).append(spent)
    finally:
        for apache in running.values():
            apache.stop()
    return found


def count_instructions(page: Page, costs: Costs, names: tuple[str, ...] = (OURS, THEIRS)) -> None:
    """Instructions of one request."""
    for name in names:
        costs.instructions[name] = instructions.count(MAKERS[name], page.request)[0]


def _requests(apache: Apache, page: Page) -> list[Request]:
    """What is sent in turn: one request, or that of as many browsers as there are sessions."""
    cookie = _fetch(apache, page.request)[0]
    if cookie is None or "Cookie" in page.request.headers:
        return [page.request]
    cookies = [_fetch(apache, page.request)[0] or "" for _ in range(SESSIONS)]
    return [Request(page.request.path, {"Cookie": cookie.partition(";")[0]}, page.request.body) for cookie in cookies]


def _fetch(apache: Apache, asked: Request) -> tuple[Optional[str], bytes]:
    """The cookie that an answer sets, and its body."""
    request = urllib.request.Request(apache.url(asked.path), data=asked.body, headers=asked.headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.headers.get("Set-Cookie"), response.read()


def rows(found: dict[str, Costs]) -> list[list[str]]:
    """The table: what was asked in the last column but one, and whether it is reached in the last."""
    lines = []
    for page in PAGES:
        costs = found.get(page.label)
        if costs is None:
            continue
        ratio = costs.ratio()
        times = [
            f"{statistics.median(costs.cpu[name]):.1f}" if name in costs.cpu else "" for name in (OURS, THEIRS, FLOOR)
        ]
        reachable = costs.times(FLOOR)
        counts = [f"{costs.instructions[name]:,.0f}" if name in costs.instructions else "" for name in (OURS, THEIRS)]
        shown = "" if ratio is None else f"{ratio:.2f}" if ratio >= page.wanted else f"**{ratio:.2f}**"
        bound = "" if reachable is None else f"{reachable:.2f}"
        lines.append([page.label, *times, shown, bound, f"≥ {page.wanted:g}", *counts])
    return lines


HEADER = [
    *("", "cpu µs", "3.5's cpu µs", "C handler's cpu µs", "x mod_python 3.5", "C handler x 3.5", "asked"),
    *("instructions", "3.5's instructions"),
]


def main() -> int:
    parser = alone.parser(__doc__)
    parser.add_argument("labels", nargs="*", help="words of the labels of pages; all without")
    parser.add_argument("--instructions", action="store_true", help="count instructions instead of processor time")
    parser.add_argument("--ours", action="store_true", help="count ours alone")
    arguments = parser.parse_args()
    pages = [page for page in PAGES if not arguments.labels or any(word in page.label for word in arguments.labels)]
    if not arguments.instructions:
        layout, pin = alone.halves()
        return alone.show(HEADER, rows(measure_cpu(pages, layout, arguments.rounds, arguments.seconds, pin)))
    for page in pages:
        costs = Costs()
        count_instructions(page, costs, (OURS,) if arguments.ours else (OURS, THEIRS))
        print(" | ".join(rows({page.label: costs})[0]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
