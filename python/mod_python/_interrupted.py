"""What an import that was interrupted has left in sys.modules.

importlib takes a module out whose code has raised, but not the submodules that this had imported by then. When it is imported again they
are there already, so nothing sets them as its attributes: ``from .part import *`` and then ``part`` (which asyncio does) fails from
then on. ``PythonTimeout`` may interrupt any import, also one between a submodule's end and its becoming an attribute.
"""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from types import ModuleType

_LOADERS = (SourceFileLoader, SourcelessFileLoader)
"""Theirs can be run again. An extension module often cannot, and is found without being an attribute."""


def mend() -> None:
    """Have what comes next import it as a whole: submodules without their package go, others become its attributes."""
    # In order: a package's own package comes first.
    for name in sorted(name for name in list(sys.modules) if "." in name):
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if type(module) is not ModuleType or spec is None or getattr(spec, "_initializing", False):
            continue
        parent, _, child = name.rpartition(".")
        package = sys.modules.get(parent)
        if package is None:
            if type(spec.loader) in _LOADERS:
                sys.modules.pop(name, None)
        elif type(package) is ModuleType and package.__dict__.keys().isdisjoint((child, "__getattr__")):
            setattr(package, child, module)
