"""Frames of a traceback as a page shows them: which are the application's, the lines around, the variables."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from html import escape
from itertools import groupby, islice
from types import CodeType, TracebackType
from typing import NamedTuple, Optional

from mod_python._debug_values import Values, cut, visible, without_secrets
from mod_python._tracebacks import INNER, source_line

_BEFORE, _AFTER = 6, 4
"""How many lines of source stand before and behind the one that is meant."""
_FIRST, _LAST = 12, 30
"""How many frames of a traceback are shown of its beginning and of its end."""
_OPEN = 5
"""How many of the application's frames are open, from the innermost one on."""


class _Frame(NamedTuple):
    step: TracebackType
    kind: str
    """``user``, ``library`` or ``inner``."""
    repeated: int


def frames(traceback: Optional[TracebackType], values: Values) -> str:
    """All frames of a traceback, the innermost first."""
    found, left_out = _found(traceback)
    if not found:
        return ""
    users = [place for place, one in enumerate(found) if one.kind == "user"]
    opened = set(users[-_OPEN:]) or {len(found) - 1}
    first = users[-1] if users else len(found) - 1
    parts: list[str] = []
    for kind, numbered in groupby(reversed(list(enumerate(found))), lambda pair: pair[1].kind == "inner"):
        group = list(numbered)
        if kind:
            rows = "".join(f"<li>{_place(one)}</li>" for _, one in group)
            plural = "s" if len(group) > 1 else ""
            parts.append(
                f'<details class="folded"><summary>{len(group)} frame{plural} of mod_python or importlib</summary>'
                f"<ul>{rows}</ul></details>"
            )
            continue
        for place, one in group:
            parts.append(_frame(one, values, place in opened, place == first))
            if left_out and place == len(found) - _LAST:
                parts.append(f'<p class="left">… {left_out} frames are left out …</p>')
    return "".join(parts)


def _found(traceback: Optional[TracebackType]) -> tuple[list[_Frame], int]:
    """Frames from the outermost on, those of a recursion once; and how many of the middle are missing."""
    runs: list[tuple[TracebackType, int]] = []
    before: Optional[tuple[CodeType, int]] = None
    left_out = 0
    step = traceback
    while step is not None:
        now = (step.tb_frame.f_code, step.tb_lineno)
        if before is not None and now[0] is before[0] and now[1] == before[1]:
            runs[-1] = (step, runs[-1][1] + 1)
        else:
            runs.append((step, 0))
            if len(runs) > _FIRST + _LAST:
                left_out += 1 + runs.pop(_FIRST)[1]
        before = now
        step = step.tb_next
    return [_Frame(step, _kind(step.tb_frame.f_code.co_filename), count) for step, count in runs], left_out


def _kind(file: str) -> str:
    if file.startswith(INNER):
        return "inner"
    paths = sysconfig.get_paths()
    libraries = [paths[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths]
    if file.startswith((*libraries, "<frozen ")) or "/site-packages/" in file or "/dist-packages/" in file:
        return "library"
    return "user"


def _place(one: _Frame) -> str:
    code = one.step.tb_frame.f_code
    name = getattr(code, "co_qualname", code.co_name)
    again = f' <span class="over">and {one.repeated} times more</span>' if one.repeated else ""
    return (
        f'<span class="name">{_text(name, 200)}</span> '
        f'<span class="file">{_text(code.co_filename, 500)}:{one.step.tb_lineno}</span>{again}'
    )


def _frame(one: _Frame, values: Values, is_open: bool, is_first: bool) -> str:
    frame, code = one.step.tb_frame, one.step.tb_frame.f_code
    body = source(code.co_filename, one.step.tb_lineno, _columns(one.step))
    variables, more = values.variables(frame) if one.kind == "user" else ([], 0)
    if variables:
        rows = "".join(
            f"<tr><td>{escape(name)}<small>{escape(kind)}</small></td><td>{escape(text)}</td></tr>"
            for name, kind, text in variables
        )
        rest = f", {more} more are not shown" if more else ""
        plural = "s" if len(variables) > 1 else ""
        body += (
            f'<details class="locals"{" open" if is_first else ""}>'
            f"<summary>{len(variables)} variable{plural}{rest}</summary><table>{rows}</table></details>"
        )
    shown = " open" if is_open else ""
    return f'<details class="frame {one.kind}"{shown}><summary>{_place(one)}</summary>{body}</details>'


def source(
    file: str, line: int, columns: Optional[tuple[int, int]] = None, around: tuple[int, int] = (_BEFORE, _AFTER)
) -> str:
    """The lines of a file around one; empty where there is no such file."""
    try:
        linecache.checkcache(file)
        lines = linecache.getlines(file)
    except Exception:
        return ""
    begin, end = max(line - around[0], 1), min(line + around[1], len(lines))
    rows = []
    for number in range(begin, end + 1):
        text = lines[number - 1].rstrip("\r\n")
        is_meant = number == line
        shown = _marked(text, columns) if is_meant and columns else escape(_line(text))
        kind = ' class="now"' if is_meant else ""
        rows.append(f"<span{kind}><i>{number}</i>{shown}</span>")
    return f'<div class="source">{"".join(rows)}</div>' if line <= len(lines) else ""


def _line(text: str) -> str:
    return visible(cut(without_secrets(text, only_quoted=True), 240))


def _marked(text: str, columns: tuple[int, int]) -> str:
    begin, end = columns
    if len(text) > 240 or _line(text) != text or (not text[:begin].strip() and not text[end:].strip()):
        return escape(_line(text))
    return f"{escape(text[:begin])}<mark>{escape(text[begin:end])}</mark>{escape(text[end:])}"


def _columns(step: TracebackType) -> Optional[tuple[int, int]]:
    """Which characters of the line are meant (PEP 657); None where all are, or nobody knows."""
    if sys.version_info < (3, 11):
        return None
    code = step.tb_frame.f_code
    begin = end = None
    if step.tb_lasti >= 0:
        found = next(islice(code.co_positions(), step.tb_lasti // 2, None), None)
        if found is not None and found[0] == found[1] == step.tb_lineno:
            begin, end = found[2], found[3]
    if begin is None or end is None:
        return None
    line = source_line(code.co_filename, step.tb_lineno).encode("utf-8", "replace")
    return len(line[:begin].decode("utf-8", "replace")), len(line[:end].decode("utf-8", "replace"))


def _text(text: str, most: int) -> str:
    return escape(visible(cut(text, most)))
