"""A benchmark that is run alone: its options, the halves of the machine, and its table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from servers import Layout

THREADS = 32


def parser(document: str, rounds: int = 5) -> argparse.ArgumentParser:
    """Options that all of them have. Debian's modules ask the first python3 on PATH where its library is."""
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ["PATH"]
    made = argparse.ArgumentParser(description=document)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--seconds", type=float, default=2)
    return made


def halves() -> tuple[Layout, tuple[str, ...]]:
    """One child of 32 threads on the first half of the cores, and what puts a load generator on the other half."""
    cores = os.cpu_count() or 1
    half = max(1, cores // 2)
    if cores == 1:
        return Layout(1, THREADS), ()
    return Layout(1, THREADS, f"0-{half - 1}"), ("taskset", "-c", f"{half}-{cores - 1}")


def show(header: list[str], rows: Iterable[list[str]]) -> int:
    """Print a table; the exit status."""
    for row in [header, *rows]:
        print(" | ".join(row))
    return 0
