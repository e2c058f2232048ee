"""What the project asks of its own speed, and whether this run shows it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from measure import Bench, Figures


@dataclass(frozen=True)
class Goal:
    """A ratio of two rows that must be at least, or at most, so much."""

    text: str
    row: str
    to: str
    wanted: float
    at_most: bool = False
    figure: str = "rate"
    """rate, p99 or instructions"""
    why: str = ""
    """Where the time goes, for when it is not reached."""


FLUSH = (
    "A flush is a system call of its own: the answer leaves in two packets, the client is woken twice. That is most of the"
    " difference, and the flushing C handler pays it as well: see its row."
)
GIL = (
    "The instructions counted below differ less than this, so the rest is time in the kernel and in caches: a thread that gives"
    " the interpreter's lock may have to wake another one, and many processes on few cores each bring CPython's data of their"
    " own. Not broken down further."
)
ENVIRON = (
    "The rest lies in what PEP 3333 asks for: a dict of some 30 entries is made and dropped, a head of str is checked and"
    " converted, and the application itself runs: see the share of CPython in the profile."
)

FLOOR, FLUSHED = "C handler (the floor)", "C handler that flushes"
BOUNDED = (
    "Out of reach here: the C handler, which does nothing, does not reach it itself, or by less than 5 %. httpd's own work and"
    " the kernel's take the rest of the time."
)
MEMORY = "CPython and its standard modules, in each child."

GOALS = [
    Goal("handler, flush=0, of the floor", "handler, flush=0", "C handler (the floor)", 0.95, why=GIL),
    Goal("handler of the flushing floor", "handler", "C handler that flushes", 0.95, why=GIL),
    Goal("handler, flush=0, over a static file", "handler, flush=0", "httpd, static file", 1.5, why=GIL),
    Goal("handler over a static file", "handler", "httpd, static file", 1.5, why=FLUSH),
    Goal(
        "handler, flush=0, over mod_python 3.5's", "handler, flush=0", "mod_python 3.5, handler, flush=0", 1.5, why=GIL
    ),
    Goal("handler over mod_python 3.5's", "handler", "mod_python 3.5, handler", 1.5, why=FLUSH),
    Goal("handler, flush=0, over mod_wsgi embedded", "handler, flush=0", "mod_wsgi embedded", 2.5, why=GIL),
    Goal("handler over mod_wsgi embedded", "handler", "mod_wsgi embedded", 2.5, why=FLUSH),
    Goal("WSGI of the floor", "WSGI", "C handler (the floor)", 0.8, why=ENVIRON),
    Goal("WSGI over mod_wsgi embedded", "WSGI", "mod_wsgi embedded", 2.0, why=ENVIRON),
    Goal("WSGI over uWSGI behind nginx", "WSGI", "uWSGI behind nginx", 1.0, why=ENVIRON),
    Goal(
        "p99 of the handler, flush=0, to the floor's",
        "handler, flush=0",
        "C handler (the floor)",
        2.0,
        True,
        "p99",
        GIL,
    ),
]
INSTRUCTIONS = [
    Goal(
        "instructions of the handler, flush=0, to the floor's",
        "handler, flush=0",
        "C handler (the floor)",
        1.12,
        True,
        "instructions",
        GIL,
    ),
    Goal("instructions of WSGI to the floor's", "WSGI", "C handler (the floor)", 1.45, True, "instructions", ENVIRON),
    Goal(
        "instructions of a static file with our module loaded, unused, to those without it",
        "httpd, static file, with our module unused",
        "httpd, static file",
        1.01,
        True,
        "instructions",
    ),
]
MEMORY_MIB = 12.0


def section(bench: Bench) -> str:
    """The table of goals, and in words what has not been reached."""
    layouts = list(bench.rates)
    short = [f"layout {number + 1}" for number in range(len(layouts))]
    lines = ["## What was asked, and what this run shows\n"]
    lines += [f"- layout {number + 1}: {name}" for number, name in enumerate(layouts)]
    lines += ["", row(["", "asked", *short]), row(["---"] + ["---:"] * (len(layouts) + 1))]
    missed: dict[str, dict[str, list[str]]] = {}

    def add(text: str, asked: str, values: list[tuple[str, bool]], whys: list[str]) -> None:
        lines.append(row([text, asked, *(shown if met else f"**{shown}**" for shown, met in values)]))
        for name, (_, met), why in zip(short, values, whys):
            if not met:
                missed.setdefault(why, {}).setdefault(text, []).append(name if len(values) > 1 else "")

    for goal in GOALS:
        values = [judged(goal, of_rates(goal, figures)) for figures in bench.rates.values()]
        add(goal.text, asked(goal), values, [bounded(goal, figures) or goal.why for figures in bench.rates.values()])
    values = [memory(figures) for figures in bench.rates.values()]
    add(
        "memory of a child over httpd's own, MiB",
        f"≤ {MEMORY_MIB:g}",
        values,
        [MEMORY] * len(values),
    )
    for goal in INSTRUCTIONS:
        one = judged(goal, of_instructions(goal, bench))
        add(goal.text, asked(goal), [one], [goal.why])
    for name, result in bench.million.items():
        if not name.startswith("handler"):
            continue
        one = (str(result.errors), result.errors == 0)
        add(f"errors in {result.requests:,} requests, {name}, 120 connections", "0", [one], [CLOSED])
    lines.append("\nFigures in bold are not what was asked.\n")
    if missed:
        lines.append("Not reached in this run:\n")
        for why, texts in missed.items():
            named = [f"{text} ({', '.join(names)})" if any(names) else text for text, names in texts.items()]
            lines.append(f"- {'; '.join(named)}. {why}")
        lines.append("")
    return "\n".join(lines)


CLOSED = (
    "httpd's event MPM closes kept connections when all workers of a child are busy, and ab counts what it had sent on them as"
    " failed: see the C handler's row. With a worker for each connection in every child there is nothing to close."
)


def bounded(goal: Goal, figures: dict[str, Figures]) -> str:
    """Says so where the C handler itself hardly reaches the goal: then no handler can be expected to."""
    floor = FLUSHED if goal.row == "handler" else FLOOR
    if goal.figure != "rate" or goal.to == floor:
        return ""
    reached = of_rates(Goal(goal.text, floor, goal.to, goal.wanted), figures)
    return BOUNDED if reached is not None and reached < 1.05 * goal.wanted else ""


def of_rates(goal: Goal, figures: dict[str, Figures]) -> Optional[float]:
    if goal.row not in figures or goal.to not in figures:
        return None
    one, other = figures[goal.row], figures[goal.to]
    if goal.figure == "p99":
        return one.latency("p99") / other.latency("p99")
    # Of rates in the same round: what slows the machine down for a while slows both.
    return statistics.median(a / b for a, b in zip(one.rates("wrk"), other.rates("wrk")))


def of_instructions(goal: Goal, bench: Bench) -> Optional[float]:
    if goal.row not in bench.instructions or goal.to not in bench.instructions:
        return None
    return bench.instructions[goal.row][0] / bench.instructions[goal.to][0]


def memory(figures: dict[str, Figures]) -> tuple[str, bool]:
    ours, plain = (statistics.mean(figures[label].memory) for label in ("handler", "httpd, static file"))
    return f"{ours - plain:.1f}", ours - plain <= MEMORY_MIB


def judged(goal: Goal, value: Optional[float]) -> tuple[str, bool]:
    if value is None:
        return "not measured", False
    digits = 3 if goal.figure == "instructions" else 2
    met = value <= goal.wanted if goal.at_most else value >= goal.wanted
    return f"{value:.{digits}f}", met


def asked(goal: Goal) -> str:
    return f"{'≤' if goal.at_most else '≥'} {goal.wanted:g}"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
