"""``mod_python migrate``: what changes for a site of mod_python 3 or mod_wsgi, line by line, and mod_wsgi's configuration anew.

Only reads, but for what ``--write`` writes beside it. Nothing of the site is run.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run ``mod_python migrate``; its exit status: 0 (advice alone), 1 (warnings), 2 (errors)."""
    from mod_python._migrate import command

    return command.main(arguments)
