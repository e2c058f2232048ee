"""``mod_python check``: what keeps a configuration or a site from working, as httpd's user would find out.

Runs outside httpd, under any Python from 3.9 on. Code of the site runs in processes of its own, as httpd's user where root asks.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run ``mod_python check``; its exit status: 0 (nothing but advice), 1 (warnings), 2 (errors)."""
    from mod_python._doctor import command

    return command.main(arguments)
