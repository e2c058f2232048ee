"""Where threads and tasks are, as text: the lines of a traceback that has not been raised.

Called by the watcher of ``PythonTimeout`` and by ``mod_python.status``, in the middle of what others do: nothing here waits.
"""

from __future__ import annotations

import sys
import traceback
from types import CodeType, FrameType
from typing import Any, Optional

from mod_python import _tracebacks

_MOST = 100
"""So many frames are shown of a stack's end."""


def of_thread(ident: int, behind: frozenset[CodeType] = frozenset()) -> str:
    """Where the thread of this interpreter is that ``threading.get_ident()`` gives this number; "" where it is not in Python.

    The innermost frame is the last; of those ``behind`` a function's, that one's callers are left out.
    """
    frame: Optional[FrameType] = sys._current_frames().get(ident)
    frames: list[tuple[FrameType, int]] = []
    while frame is not None and len(frames) < _MOST and frame.f_code not in behind:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return _shown(frames[::-1])


_IMPORT = "<frozen importlib._bootstrap>"


def is_importing(ident: int) -> bool:
    """Is the thread in the middle of importing a module?

    What ends an import there leaves half of it behind: importlib takes out the module whose code has raised, and not the submodules that
    it had imported by then, which nothing sets as its attributes any more. asyncio, for one, cannot be imported again.
    """
    frame: Optional[FrameType] = sys._current_frames().get(ident)
    while frame is not None and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None


def of_coroutine(coroutine: Any) -> str:
    """Where a coroutine that does not run waits: its frame, and those of what it awaits."""
    frames: list[tuple[FrameType, int]] = []
    while coroutine is not None and len(frames) < _MOST:
        frame = next((found for name in _FRAMES if (found := getattr(coroutine, name, None)) is not None), None)
        if frame is None:
            break
        frames.append((frame, frame.f_lineno))
        coroutine = next((found for name in _AWAITED if (found := getattr(coroutine, name, None)) is not None), None)
    return _shown(frames)


def of_either(coroutine: Any, ident: int, behind: frozenset[CodeType]) -> str:
    """Where a coroutine is that waits, or runs in the thread ``ident``; None stands for one that nobody has been given yet."""
    if coroutine is None or getattr(coroutine, "cr_running", False):
        return of_thread(ident, behind)
    return of_coroutine(coroutine)


_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")


def _shown(frames: list[tuple[FrameType, int]]) -> str:
    """The application's frames, or all of them where there are no others."""
    own = [(frame, line) for frame, line in frames if not _tracebacks.is_inner(frame.f_code.co_filename)]
    summary = traceback.StackSummary()
    for frame, line in own or frames:
        code: CodeType = frame.f_code
        summary.append(
            traceback.FrameSummary(_tracebacks.in_line(code.co_filename), line, _tracebacks.in_line(code.co_name))
        )
    return "".join(summary.format()).rstrip()
