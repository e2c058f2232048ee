"""``reload=``: files whose change has a daemon read its application anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

_Signature = Optional[tuple[int, int, int]]


class Changes:
    """Looks at files (modification time, size, which file it is) when it is asked to."""

    def __init__(self, paths: Sequence[str], directory: str) -> None:
        self._known = {path: _signature(path) for path in (os.path.join(directory, name) for name in paths)}

    def look(self) -> list[str]:
        """The files that have changed since the last look; one that is missing has not changed before it is there again."""
        changed = []
        for path, known in self._known.items():
            found = _signature(path)
            if found is not None and found != known:
                self._known[path] = found
                changed.append(path)
        return changed


def _signature(path: str) -> _Signature:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
