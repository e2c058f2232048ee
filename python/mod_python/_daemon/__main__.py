"""The keeper's process: ``python -I …/mod_python/_daemon/__main__.py NAME``, as httpd's parent starts it."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # The package that this file is of, not Debian's of the same name; nothing of the user's environment is searched (-I).
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    import mod_python as _own  # noqa: F401 # from here on it is found by that

    # Whatever lies beside it hides nothing of the library.
    sys.path.append(sys.path.pop(0))

from mod_python._daemon.journal import Journal
from mod_python._daemon.keeper import Keeper
from mod_python._daemon.orders import Orders
from mod_python._own.problems import Problem


def main() -> int:
    """Keep the daemon; the exit status."""
    # Its name is in the command line, for whoever looks for it.
    journal = Journal(sys.argv[1] if len(sys.argv) > 1 else "?")
    try:
        orders = Orders(0)
        first = orders.first(journal)
        if first.task is not None:
            Keeper(orders, first).run()
    except EOFError:
        return 0
    except (OSError, Problem) as error:
        journal.say("crit", f"its keeper cannot go on: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
