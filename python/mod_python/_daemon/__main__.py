"""The keeper's process: ``python -I …/mod_python/_daemon/__main__.py NAME``, as httpd's parent starts it."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # The package that this file is of, and no other of its name: Python may have the one of mod_python 3 among its own. Its directory is
    # not searched for anything else, and nothing of the user's environment is (-I).
    import importlib.util

    _package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    _found = importlib.util.spec_from_file_location(
        "mod_python", os.path.join(_package, "__init__.py"), submodule_search_locations=[_package]
    )
    if _found is not None and _found.loader is not None:
        sys.modules["mod_python"] = importlib.util.module_from_spec(_found)
        _found.loader.exec_module(sys.modules["mod_python"])

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
