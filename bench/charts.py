"""Charts beside the report (matplotlib)."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

OURS = {"handler", "handler, flush=0", "handler with authen and log", "WSGI"}


def bars(path: Path, title: str, rates: dict[str, list[float]], axis: str) -> None:
    """One bar a row: the median, with the smallest and largest."""
    labels = list(rates)
    medians = [statistics.median(rates[label]) for label in labels]
    low = [median - min(rates[label]) for label, median in zip(labels, medians)]
    high = [max(rates[label]) - median for label, median in zip(labels, medians)]
    figure, axes = pyplot.subplots(figsize=(9, 0.36 * len(labels) + 1.2))
    colours = ["#2a6f97" if label in OURS else "#b0b7bf" for label in labels]
    axes.barh(labels, medians, xerr=[low, high], color=colours, ecolor="#555555", capsize=2)
    axes.invert_yaxis()
    axes.set_xlabel(axis)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def lines(path: Path, series: dict[str, dict[int, float]], x: str, y: str) -> None:
    """One line a row, over a logarithmic scale of powers of two."""
    figure, axes = pyplot.subplots(figsize=(8, 4.2))
    for label, points in series.items():
        axes.plot(list(points), list(points.values()), marker="o", label=label, linewidth=2 if label in OURS else 1)
    axes.set_xscale("log", base=2)
    counts = sorted({count for points in series.values() for count in points})
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
