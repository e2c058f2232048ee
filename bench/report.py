"""report.md and its charts: generated, never edited."""

from __future__ import annotations

import datetime
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import asgi as gateways
import charts
import frameworks
import pages as sites
import verdicts

import daemons as own
from httpd import PROJECT, system_httpd

if TYPE_CHECKING:
    from measure import Bench, Figures

HERE = Path(__file__).resolve().parent


def write(bench: Bench) -> None:
    """Write the report and say where it is."""
    parts = [head(bench), verdicts.section(bench)]
    for number, (layout, figures) in enumerate(bench.rates.items()):
        parts.append(rates(bench, layout, figures, number))
    parts += [
        open_loop(bench),
        errors(bench),
        instructions(bench),
        pages(bench),
        asgi(bench),
        with_frameworks(bench),
        daemons(bench),
        growth(bench),
        profiles(bench),
        missing(bench),
    ]
    path = HERE / ("quick.md" if bench.quick else "report.md")
    path.write_text("\n".join(part for part in parts if part))
    bench.say(f"written: {path}")


def head(bench: Bench) -> str:
    now = datetime.datetime.now().strftime("%Y-%m-%d")
    kind = " (QUICK=1: shorter rounds, one layout)" if bench.quick else ""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = output("git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD")
    versions = [
        ("This module", f"commit {commit or 'unknown'}"),
        ("httpd", first_line(system_httpd().program, "-v")),
        ("Python embedded", first_line("/usr/bin/python3", "--version")),
        *((name, package(name)) for name in DEBIAN),
        *((name, wheel(name)) for name in ("mod_wsgi", "gunicorn", "granian", "uvicorn", "uvloop", "hypercorn")),
        ("oha", first_line(str(PROJECT / "target/bench/oha/bin/oha"), "--version")),
    ]
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {now}{kind}. Figures are medians of {bench.rounds} interleaved rounds of one run, with the",
        "smallest and largest in brackets. Rates differ from machine to machine and hour to hour; the ratios are what counts.",
        "",
        f"- Machine: {os.cpu_count()} cores, {cpu[1] if cpu else platform.machine()}, Linux {platform.release()}",
        *(f"- {name}: {version}" for name, version in versions if version),
        "- Method: the servers are started in turn with the same number of processes and threads, the same application and",
        "  the modules that Debian's httpd loads by default; a warm-up; then rounds in which each is measured after the other.",
        f"  wrk with 32 kept connections for {bench.seconds:g} s, then ab. wrk checks the status of every answer, ab its status and length;",
        "  the body is compared before and after every run. The event MPM. Processor time is what the server's processes have used.",
        "",
    ]
    return "\n".join(lines)


DEBIAN = ("libapache2-mod-python", "libapache2-mod-wsgi-py3", "nginx", "uwsgi-core", "wrk", "apache2-utils", "valgrind")


def rates(bench: Bench, layout: str, figures: dict[str, Figures], number: int) -> str:
    from measure import FLOOR, STATIC

    name = f"rates-{number + 1}.png"
    charts.bars(
        HERE / name, layout, {label: one.rates("wrk") for label, one in figures.items()}, "answers a second (wrk)"
    )
    static, floor = figures[STATIC].rate("wrk"), figures[FLOOR].rate("wrk")
    rows = [
        [
            label,
            spread(one.rates("wrk")),
            f"{one.rate('wrk') / static:.2f}",
            f"{one.rate('wrk') / floor:.2f}",
            f"{statistics.median(one.rates('ab')):,.0f}",
            f"{one.cpu():.1f}",
            f"{one.latency('p50'):.2f}",
            f"{one.latency('p99'):.2f}",
            f"{statistics.mean(one.memory):.0f} ({sum(one.memory):,.0f})",
            str(one.errors()),
        ]
        for label, one in figures.items()
    ]
    header = [
        "hello",
        "answers/s (wrk)",
        "x static",
        "x floor",
        "answers/s (ab)",
        "cpu µs",
        "p50 ms",
        "p99 ms",
        "MiB a process (all)",
        "errors",
    ]
    return f"## Hello: {layout}\n\n{table(header, rows)}\n![{layout}]({name})\n"


def open_loop(bench: Bench) -> str:
    if not bench.open_loop:
        return ""
    rows = [
        [label, *(f"{result.latencies[name]:.2f}" for name in ("p50", "p99", "p99.9")), str(result.errors)]
        for label, result in bench.open_loop.items()
    ]
    title = f"## Latency at a fixed rate of {bench.open_rate:,} requests a second"
    text = "oha, open loop: a latency counts from when the request was due. The first layout above.\n"
    return f"{title}\n\n{text}\n{table(['', 'p50 ms', 'p99 ms', 'p99.9 ms', 'errors'], rows)}"


def errors(bench: Bench) -> str:
    rows = [
        [name, f"{result.requests:,}", str(result.errors), f"{result.rate:,.0f}"]
        for name, result in bench.million.items()
    ]
    text = "By children and threads of each.\n"
    return f"## Many requests at 120 connections\n\n{text}\n{table(['', 'requests', 'errors', 'answers/s'], rows)}"


def instructions(bench: Bench) -> str:
    from measure import FLOOR, STATIC, UNFLUSHED, WSGI

    if FLOOR not in bench.instructions:
        return ""
    floor = bench.instructions[FLOOR][0]
    rows = [[label, f"{count:,.0f}", f"{count / floor:.3f}"] for label, (count, _) in bench.instructions.items()]
    parts = sorted({name for label in (FLOOR, UNFLUSHED, WSGI) for name in bench.instructions.get(label, (0, {}))[1]})
    profile = [
        [name, *(f"{bench.instructions[label][1].get(name, 0):,.0f}" for label in (STATIC, FLOOR, UNFLUSHED, WSGI))]
        for name in parts
    ]
    return (
        "## Instructions a request\n\n"
        "valgrind --tool=callgrind, prefork with -X, the difference of 300 and 1,300 requests; user space only.\n\n"
        f"{table(['', 'instructions', 'x floor'], rows)}\n"
        "Where they are spent:\n\n"
        f"{table(['', STATIC, FLOOR, UNFLUSHED, WSGI], profile)}"
    )


def pages(bench: Bench) -> str:
    if not bench.pages:
        return ""
    text = (
        "One child of 32 threads, wrk with 16 kept connections; instructions as above. A file session's requests come from 64\n"
        "browsers. The ratio is that of processor times in rounds that followed one another; in bold what is not as asked.\n"
        "The C handler stands where the page does and answers without doing anything (nor reading a body): what it is to 3.5 nothing\n"
        "can be more.\n"
    )
    return f"## What sites are made of\n\n{text}\n{table(sites.HEADER, sites.rows(bench.pages))}"


def asgi(bench: Bench) -> str:
    if not bench.asgi:
        return ""
    text = (
        "One child of 32 threads, or one process; 16 kept connections. Processor time of the server's processes for one request, or\n"
        "one message of the WebSocket's. Asked: hello at most 1.2 of uvicorn alone, and uvicorn behind mod_proxy at least 3 of ours;\n"
        "the echo at most 1 of uvicorn's.\n"
    )
    return f"## ASGI\n\n{text}\n{table(gateways.HEADER, gateways.rows(bench.asgi))}"


def with_frameworks(bench: Bench) -> str:
    if not bench.frameworks:
        return ""
    text = (
        "One child of 32 threads, wrk with 16 kept connections; uWSGI with its default of one thread a process. Most of the time is\n"
        "the framework's own. Ratios as above.\n"
    )
    return f"## Frameworks\n\n{text}\n{table(frameworks.HEADER, frameworks.rows(bench.frameworks))}"


def daemons(bench: Bench) -> str:
    if not bench.daemons:
        return ""
    rates = " and ".join(f"{costs.rate:,} ({label})" for label, costs in bench.daemons.items() if costs.rate)
    text = (
        "An application in processes of its own: one, of 32 threads (gunicorn 8, uWSGI one, uvicorn with the same as ASGI), behind a front of\n"
        "32; servers listen at a UNIX socket. Processor time of all of them, the front's, too; wrk with 16 kept connections. Steady: oha,\n"
        f"open loop, requests a second: {rates or 'not measured here'}. Ratios of processor times as above.\n"
    )
    return f"## Daemons\n\n{text}\n{table(own.HEADER, own.rows(bench.daemons))}"


def growth(bench: Bench) -> str:
    if not bench.growth:
        return ""
    charts.lines(HERE / "connections.png", bench.growth, "connections", "answers a second (wrk)")
    counts = sorted({count for rates in bench.growth.values() for count in rates})
    rows = [
        [label, *(f"{rates[count]:,.0f}" if count in rates else "" for count in counts)]
        for label, rates in bench.growth.items()
    ]
    return f"## By the number of connections\n\n{table(['answers/s', *map(str, counts)], rows)}\n![connections](connections.png)\n"


def profiles(bench: Bench) -> str:
    parts = ["## Other profiles\n"]
    for one in bench.profiles:
        medians = {label: statistics.median(values) for label, values in one.rows.items()}
        first = next(iter(medians.values()), 1)
        rows = [[label, spread(values), f"{medians[label] / first:.2f}"] for label, values in one.rows.items()]
        note = f"{one.note}\n" if one.note else ""
        failed = f"Errors: {one.errors}\n" if one.errors else ""
        parts.append(f"### {one.title}\n\n{table(['', one.unit, 'x the first'], rows)}{note}{failed}")
    return "\n".join(parts)


def missing(bench: Bench) -> str:
    if not bench.missing:
        return ""
    return "## What could not be measured here\n\n" + "".join(
        f"- {what}: {why}\n" for what, why in bench.missing.items()
    )


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(values: list[float]) -> str:
    median = statistics.median(values)
    form = "{:,.0f}" if median >= 100 else "{:,.1f}"
    return f"{form.format(median)} ({form.format(min(values))}–{form.format(max(values))})"  # noqa: RUF001


def package(name: str) -> str:
    return output("dpkg-query", "-W", "-f", "${Version}", name)


def wheel(name: str) -> str:
    python = str(PROJECT / "target/bench/venv/bin/python")
    return output(python, "-c", f"from importlib.metadata import version; print(version({name!r}))")


def first_line(*command: str) -> str:
    return output(*command).partition("\n")[0].removeprefix("Server version: ")


def output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return (done.stdout or done.stderr).strip()


if __name__ == "__main__":
    sys.exit("run `make bench`")
