"""Plots as inline SVG: lines over time, made by the server. Labels are HTML beside the drawing, so that they keep their size."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple, Optional

Values = Sequence[Optional[float]]
_WIDTH, _HEIGHT = 600, 120
"""The drawing's own coordinates; it is stretched to where it stands."""


class Line(NamedTuple):
    """One line of a plot."""

    name: str
    kind: str
    """A class of the style sheet, which has the colour."""
    values: Values
    filled: bool = False


class Axis(NamedTuple):
    """The upright axis: where a value lies on it."""

    low: float
    high: float
    ticks: list[float]
    is_log: bool = False

    def place(self, value: float) -> float:
        """From 0, below, to 1."""
        if self.is_log:
            value = math.log10(value) if value > 0 else self.low
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def plot(
    title: str,
    unit: str,
    lines: Sequence[Line],
    times: tuple[float, float],
    show: Callable[[float], str],
    is_log: bool = False,
) -> str:
    """A figure: title, unit, a legend with the last values, the plot. `times` are those of its two ends, `show` writes a value."""
    values = [value for line in lines for value in line.values if value is not None]
    axis = decades(values) if is_log else scale(values)
    drawn = "".join(_drawn(line, axis) for line in lines)
    grid = "".join(f"<path class=g d='M0 {_y(tick, axis)}H{_WIDTH}'/>" for tick in axis.ticks)
    levels = "".join(
        f"<span style='bottom:{100 * axis.place(tick):.4g}%'>{escape(show(tick)) if tick else '0'}</span>"
        for tick in axis.ticks
    )
    moments = moments_of(*times)
    labels = "".join(f"<span style='left:{100 * place:.4g}%'>{label}</span>" for place, label in moments)
    marks = "".join(f"<path class=g d='M{place * _WIDTH:.1f} 0V{_HEIGHT}'/>" for place, _label in moments)
    return (
        f"<figure><figcaption><h2>{escape(title)}<small>{escape(unit)}</small></h2>{_legend(lines, show)}</figcaption>"
        f"<div class=plot><div class=y aria-hidden=true>{levels}</div>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' preserveAspectRatio=none role=img aria-label='{escape(title)}'>"
        f"{marks}{grid}{drawn}</svg><div class=x aria-hidden=true>{labels}</div></div></figure>"
    )


def _legend(lines: Sequence[Line], show: Callable[[float], str]) -> str:
    entries = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        last = escape(show(known[-1])) if known else "\u2013"
        entries.append(f"<li class={line.kind}>{escape(line.name)} <b>{last}</b></li>")
    return f"<ul>{''.join(entries)}</ul>"


def _drawn(line: Line, axis: Axis) -> str:
    parts = []
    for run in _runs(line.values):
        path = "L".join(f"{x} {_y(value, axis)}" for x, value in run)
        if line.filled:
            parts.append(f"<path class='a {line.kind}' d='M{run[0][0]} {_HEIGHT}L{path}L{run[-1][0]} {_HEIGHT}Z'/>")
        parts.append(f"<path class='l {line.kind}' d='M{path}'/>")
    return "".join(parts)


def _runs(values: Values) -> list[list[tuple[str, float]]]:
    """Points without a gap between them; one alone becomes a short line."""
    runs: list[list[tuple[str, float]]] = []
    width = _WIDTH / max(1, len(values))
    gap = True
    for place, value in enumerate(values):
        if value is None:
            gap = True
            continue
        if gap:
            runs.append([(f"{place * width:.1f}", value)])
            gap = False
        runs[-1].append((f"{(place + 1) * width:.1f}", value))
    return runs


def _y(value: float, axis: Axis) -> str:
    return f"{_HEIGHT * (1 - axis.place(value)):.1f}"


def scale(values: Sequence[float]) -> Axis:
    """From 0 on, with two to four ticks at round numbers."""
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    if most <= 0:
        return Axis(0.0, 1.0, [0.0])
    step = 10.0 ** math.floor(math.log10(most))
    factor = next(factor for factor in (0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5, 10) if most <= 4 * factor * step)
    count = math.ceil(most / (factor * step) - 1e-9)
    return Axis(0.0, count * factor * step, [number * factor * step for number in range(count + 1)])


def decades(values: Sequence[float]) -> Axis:
    """Powers of ten, two at least, and a tick at each, or at every second of many."""
    known = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
    low, high = (math.floor(min(known)), math.ceil(max(known))) if known else (-3, 0)
    high = max(high, low + 2)
    return Axis(low, high, [10.0**power for power in range(low, high + 1, 1 if high - low < 5 else 2)], is_log=True)


def moments_of(begin: float, end: float) -> list[tuple[float, str]]:
    """Where on the axis of time there is a label, and which: round times of day, or days."""
    span = end - begin
    if span <= 0:
        return []
    every = next((each for each in (60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200) if span / each <= 6), 86400)
    form = "%a %d" if every == 86400 else "%H:%M"
    offset = time.localtime(end).tm_gmtoff
    first = math.ceil((begin + offset) / every) * every - offset
    found = []
    for number in range(int(span / every) + 1):
        place = (first + number * every - begin) / span
        # A label at an end would stand out of the plot.
        if 0.04 <= place <= 0.97:
            found.append((place, time.strftime(form, time.localtime(first + number * every))))
    return found
