"""An uploaded file: in memory, until it is told to go to disk."""

from __future__ import annotations

import tempfile


class Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A file in memory that is told when to go to disk. Complete as a file before Python 3.11, too."""

    held = 0
    """Bytes of it, while they lie in memory."""

    on_disk = False

    def __init__(self) -> None:
        # A form may have many of them: the buffer of each, once it is on disk, is 128 KB otherwise (Python 3.14).
        super().__init__(buffering=8192)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
