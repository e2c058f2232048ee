"""Load generators, and what they say: rates, latencies, errors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from servers import BUILD

USER = ("user", "password")
"""What the profile with authentication sends."""


@dataclass
class Result:
    """One run of a load generator."""

    rate: float
    """Answers a second."""
    requests: int
    errors: int
    """Failed connections, wrong statuses and lengths, timeouts."""
    latencies: dict[str, float] = field(default_factory=dict)
    """Milliseconds, by percentile such as `p99`."""
    cpu: Optional[float] = None
    """Seconds of the server's processors for the whole run."""


@dataclass(frozen=True)
class Request:
    """What is asked of a server: a GET, or a POST of a body."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Optional[bytes] = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


def script(requests: list[Request]) -> str:
    """Lua for wrk, which sends these in turn; `wrk()` takes it. Each connection begins somewhere else among them."""

    def text(value: bytes) -> str:
        return '"' + "".join(f"\\{byte:03d}" for byte in value) + '"'

    made = []
    for one in requests:
        headers = "".join(f"[{text(n.encode())}]={text(v.encode())}," for n, v in one.headers.items())
        body = "nil" if one.body is None else text(one.body)
        made.append(f'wrk.format("{one.method}", {text(one.path.encode())}, {{{headers}}}, {body})')
    return (
        f"local made, place = {{}}, 0\nfunction init(args)\n  made = {{{', '.join(made)}}}\nend\n"
        "function request()\n  place = place % #made + 1\n  return made[place]\nend\n"
    )


def wrk(
    url: str, *, connections: int, seconds: float, pin: tuple[str, ...] = (), headers: tuple[str, ...] = (),
    lua: str = "",
) -> Result:  # fmt: skip
    """wrk checks every status."""
    command = [*pin, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s"]
    for header in headers:
        command += ["-H", header]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if lua:
            file.write(lua)
            file.flush()
            command += ["-s", file.name]
        text = run([*command, url], seconds + 60)
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    errors += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    latencies = {
        f"p{percent}": milliseconds(value) for percent, value in re.findall(r"^\s+(\d+)%\s+(\S+)$", text, re.M)
    }
    return Result(number(r"Requests/sec:\s+([\d.]+)", text), int(number(r"(\d+) requests in", text)), errors, latencies)


def ab(
    url: str, *, connections: int, requests: int, pin: tuple[str, ...] = (), options: tuple[str, ...] = ()
) -> Result:
    """ab checks every status, and every length against the first answer's."""
    command = [*pin, "ab", "-q", "-k", "-r", "-c", str(connections), "-n", str(requests), *options, url]
    text = run(command, 600)
    errors = int(number(r"Failed requests:\s+(\d+)", text)) + sum(
        map(int, re.findall(r"Non-2xx responses:\s+(\d+)", text))
    )
    latencies = {f"p{percent}": float(value) for percent, value in re.findall(r"^\s+(\d+)%\s+(\d+)", text, re.M)}
    return Result(
        number(r"Requests per second:\s+([\d.]+)", text),
        int(number(r"Complete requests:\s+(\d+)", text)),
        errors,
        latencies,
    )


def httpress(url: str, *, connections: int, requests: int) -> Result:
    """httpress, as mod_python's author used it; only where it is installed."""
    text = run(["httpress", "-n", str(requests), "-c", str(connections), "-t", "1", "-k", url], 600)
    return Result(number(r"([\d.]+) rps", text), requests, int(number(r"(\d+) fail", text)))


def oha(url: str, *, rate: int, connections: int, seconds: float, pin: tuple[str, ...] = ()) -> Result:
    """An open loop: so many requests a second, however long the answers take; latencies count from when they were due."""
    command = [*pin, str(oha_program()), "--no-tui", "--output-format", "json", "-q", str(rate), "--latency-correction"]
    document = json.loads(run([*command, "-c", str(connections), "-z", f"{seconds:g}s", url], seconds + 60))
    statuses = document["statusCodeDistribution"]
    # What is under way when the time is up is no error.
    failures = {name: count for name, count in document["errorDistribution"].items() if "deadline" not in name}
    percentiles = document["latencyPercentiles"]
    answers = sum(statuses.values())
    return Result(
        document["summary"]["requestsPerSec"],
        answers,
        answers - statuses.get("200", 0) + sum(failures.values()),
        {name: 1000 * (percentiles[name] or 0) for name in ("p50", "p99", "p99.9")},
    )


def oha_program() -> Optional[Path]:
    """Where oha is, if it could be had."""
    own = BUILD / "oha/bin/oha"
    if own.exists():
        return own
    found = shutil.which("oha")
    return Path(found) if found else None


def fetch(url: str, *, user: bool = False, data: Optional[bytes] = None) -> bytes:
    """One answer's body; anything but a 200 raises."""
    request = urllib.request.Request(url, data=data)
    if user:
        import base64

        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(USER).encode()).decode())
    with urllib.request.urlopen(request, timeout=60) as response:
        if response.status != 200:
            raise RuntimeError(f"{url} answers {response.status}")
        body: bytes = response.read()
        return body


def run(command: list[str], seconds: float) -> str:
    """A program's output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"the load generator printed no {pattern!r}: {text[-1000:]}")
    return float(found[1])


def milliseconds(text: str) -> float:
    """`1.5ms`, `800.00us` and so on."""
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]
