"""A package whose import takes too long the first time, when it has imported a part of itself (test_deadlines.py)."""

import sys
import time

from .part import *  # noqa: F403 (as asyncio does)

__all__ = part.__all__  # noqa: F405

if not hasattr(sys, "_was_halved"):
    sys._was_halved = True
    _end = time.monotonic() + 1.5
    while time.monotonic() < _end:
        pass
