"""This package, for a Python that is started to run a part of it: by its place, and not another of its name that this Python finds first.

mod_python 3's, as Debian has it, lies among the system Python's own packages.
"""

from __future__ import annotations

import os

PLACE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The directory that the package lies in."""

LOAD = """import importlib.util as found, sys
place = sys.argv.pop(1) + "/mod_python"
spec = found.spec_from_file_location("mod_python", place + "/__init__.py", submodule_search_locations=[place])
sys.modules["mod_python"] = found.module_from_spec(spec)
spec.loader.exec_module(sys.modules["mod_python"])
"""
"""What a program begins with whose first argument, which it takes away, is PLACE. Nothing else of that directory hides the library's."""
