"""ASGI beside the servers that people run for it: hello, JSON, an event stream, a WebSocket's echo.

`make bench` has it in its report; `python bench/asgi.py [LABEL...]` measures it alone.
"""

from __future__ import annotations

import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import load
import servers
from load import fetch
from servers import VENV, Apache, Behind, Layout, Processes, Server, processor

CONNECTIONS = 16
OURS, UVLOOP = "mod_python, asyncio", "mod_python, uvloop"
UVICORN, PROXIED, GRANIAN, HYPERCORN = "uvicorn", "uvicorn behind mod_proxy", "granian", "hypercorn"
NAMES = (OURS, UVLOOP, UVICORN, PROXIED, GRANIAN, HYPERCORN)
PAGES = {
    "hello": "/hello",
    "10 KB of JSON, FastAPI": "/json",
    "event stream, 20 events": "/events",
    "WebSocket echo": "",
}
TEXT = b"a message of thirty-two bytes ..."[:32]


@dataclass
class Costs:
    """Microseconds of the server's processors for a request, or a message, of each round; by server."""

    cpu: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)


def measure(layout: Layout, rounds: int, seconds: float, pin: tuple[str, ...], labels: list[str]) -> dict[str, Costs]:
    """Processor time, in interleaved rounds. Raises SystemExit where answers differ or fail."""
    found = {label: Costs() for label in PAGES if not labels or any(word in label for word in labels)}
    running = start(layout)
    try:
        for label, costs in found.items():
            path = PAGES[label]
            if path and len({fetch(server.url(path)) for server in running.values()}) != 1:
                raise SystemExit(f"{label}: the answers differ")
            for number in range(rounds + 1):
                for name, server in running.items():
                    before = processor(server.pids())
                    # The first round warms up.
                    count, spent = one(server, path, seconds if number else 1, pin, f"{label}: {name}")
                    if number:
                        cpu = processor(server.pids()) - before
                        costs.cpu.setdefault(name, []).append(1e6 * cpu / max(1, count))
                        costs.rates.setdefault(name, []).append(count / spent)
    finally:
        for server in running.values():
            server.stop()
    return found


def one(server: Server, path: str, seconds: float, pin: tuple[str, ...], what: str) -> tuple[int, float]:
    """So many requests, or messages, were answered in so many seconds."""
    if not path:
        return messages(server.url(""), seconds)
    done = load.wrk(server.url(path), connections=CONNECTIONS, seconds=seconds, pin=pin)
    if done.errors:
        raise SystemExit(f"{what} has failed {done.errors} times")
    return done.requests, done.requests / done.rate


def start(layout: Layout) -> dict[str, Server]:
    """Start them all."""
    uvicorn = ["-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"]
    uvicorn += ["--workers", "1", "--app-dir", "@ROOT@/apps", "asgi_pages:application"]
    hypercorn = ["-m", "hypercorn", "--worker-class", "uvloop", "--workers", "1", "--bind", "127.0.0.1:@PORT@"]
    granian = ["-m", "granian", "--interface", "asgi", "--workers", "1", "--host", "127.0.0.1", "--port", "@PORT@"]
    granian += ["--loop", "uvloop", "--working-dir", "@ROOT@/apps", "--log-level", "error", "asgi_pages:application"]
    python = str(VENV / "bin/python")
    running: dict[str, Server] = {}
    try:
        for name, loop in ((OURS, "asyncio"), (UVLOOP, "uvloop")):
            text = f"PythonPath \"['@ROOT@/apps']+sys.path\"\nPythonOption mod_python.asgi.loop {loop}\n"
            running[name] = apache = servers.ours(layout, text + "PythonASGI / asgi_pages:application\n")
            begin(apache)
        alone = Processes(UVICORN, [[python, *uvicorn, "--port", "@PORT@"]], layout)
        running[UVICORN] = alone
        alone.start()
        behind = Processes(PROXIED, [[python, *uvicorn, "--port", "@PORT@"]], layout)
        running[PROXIED] = proxied = Behind(behind, layout, "upgrade=websocket keepalive=On")
        proxied.start()
        for name, command in ((GRANIAN, granian), (HYPERCORN, [*hypercorn, "@ROOT@/apps/asgi_pages:application"])):
            running[name] = other = Processes(name, [[python, *command]], layout)
            other.start()
    except BaseException:
        for server in running.values():
            server.stop()
        raise
    return running


def begin(apache: Apache) -> None:
    """Start httpd where its children can read what the application imports."""
    httpd = apache.prepare()
    site = next((VENV / "lib").glob("python3*/site-packages"))
    heavy = shutil.ignore_patterns(
        "numpy*", "matplotlib*", "PIL", "*.libs", "fontTools*", "mod_wsgi*", "pip*", "__pycache__"
    )
    shutil.copytree(site, httpd.root / "apps", dirs_exist_ok=True, ignore=heavy)
    subprocess.run(["chmod", "-R", "a+rX", str(httpd.root / "apps")], check=True)
    httpd.start()


def messages(url: str, seconds: float) -> tuple[int, float]:
    """Texts that connections send and have back, one at a time each."""
    host, port = url.removeprefix("http://").split(":")
    head = (
        f"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    frame, answer = bytes([0x81, 0x80 | len(TEXT), 0, 0, 0, 0]) + TEXT, bytes([0x81, len(TEXT)]) + TEXT
    count, waiting, clients = 0, selectors.DefaultSelector(), []
    for _ in range(CONNECTIONS):
        client = socket.create_connection((host, int(port)), 10)
        client.sendall(head.encode())
        while not (got := client.recv(4096)).endswith(b"\r\n\r\n"):
            if not got or b" 101 " not in got:
                raise SystemExit(f"{url}: no WebSocket: {got!r}")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients.append(client)
        waiting.register(client, selectors.EVENT_READ)
    begun = time.monotonic()
    for client in clients:
        client.sendall(frame)
    while (spent := time.monotonic() - begun) < seconds:
        for key, _ in waiting.select(10):
            client = key.fileobj  # type: ignore[assignment]
            if client.recv(4096) != answer:
                raise SystemExit(f"{url}: another message than was sent")
            count += 1
            client.sendall(frame)
    for client in clients:
        client.close()
    return count, spent


HEADER = ["processor time, µs", *NAMES, "ours of uvicorn alone", "uvicorn behind mod_proxy of ours"]


def rows(found: dict[str, Costs]) -> list[list[str]]:
    """A line for each page. `ours` is the better of the two loops."""
    lines = []
    for label, costs in found.items():
        median = {name: statistics.median(costs.cpu[name]) for name in NAMES}
        ours = min(median[OURS], median[UVLOOP])
        ratios = (f"{ours / median[UVICORN]:.2f}", f"{median[PROXIED] / ours:.2f}")
        lines.append([label, *(f"{median[name]:.1f}" for name in NAMES), *ratios])
    return lines


def main() -> int:
    parser = servers.command_line(__doc__, 3)
    parser.add_argument("labels", nargs="*", help="words of the labels; all without")
    chosen, halves = parser.parse_args(), servers.Halves.of_machine()
    found = measure(halves.layout(), chosen.rounds, chosen.seconds, halves.pin, chosen.labels)
    servers.show([HEADER, *rows(found)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
