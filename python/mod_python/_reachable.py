"""What the publisher lets a URL reach: the kinds of objects, and where what is called has been written.

Decided by what an object is, not by its exact type: a class with a metaclass is a class. What comes from Python's
library, from mod_python or from C is not there to be published, whatever a page wraps it in.
"""

from __future__ import annotations

import functools
import os
import sys
import types
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from mod_python._later import later

if TYPE_CHECKING:
    import inspect
    import sysconfig
else:
    inspect = later("inspect")
    sysconfig = later("sysconfig")

HIDDEN: tuple[type, ...] = (
    type,
    ModuleType,
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.CodeType,
    types.FrameType,
    types.TracebackType,
    type((lambda value: lambda: value)(0).__closure__[0]),  # type: ignore[index]
    property,
    classmethod,
    super,
)
"""Kinds of objects that are neither published nor looked into."""

_VALUES = frozenset(
    [
        "builtins",
        "types",
        "datetime",
        "_datetime",
        "_pydatetime",
        "decimal",
        "_decimal",
        "_pydecimal",
        "fractions",
        "uuid",
        "pathlib",
        "pathlib._local",
        "collections",
        "array",
        "ipaddress",
        "time",
        "http",
        "zoneinfo",
    ]
)
"""Modules of the library whose objects are values, and can be shown."""

_HEAP = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: a class that has been made, not compiled in."""

_DEPTH = 100
"""So many wrappers may lie around a function."""


@functools.cache
def _library() -> tuple[str, ...]:
    """Where Python's library lies."""
    places = [path for name, path in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib")]
    return tuple(os.path.realpath(path) + os.sep for path in places)


def is_searchable(found: Any) -> bool:
    """May names be looked up in an object? In instances of classes that users have written, or a package of theirs."""
    return not isinstance(found, HIDDEN) and not is_of_library(type(found))


def is_publishable(found: Any) -> bool:
    """May an object be shown, or called, if its origin is no reason against it?"""
    if isinstance(found, HIDDEN):
        return False
    kind = type(found)
    if callable(found) or not is_of_library(kind):
        return True
    module = _module_of(kind)
    # mod_python's own classes do not say whose they are, which makes them "builtins".
    return module in _VALUES and not (module == "builtins" and kind.__flags__ & _HEAP)


def is_of_library(kind: type) -> bool:
    """Does a class come from Python's library, from mod_python or from the interpreter itself?"""
    return _is_library(_module_of(kind))


def origin(found: Any) -> Any:
    """What is run in the end when an object is called: a function, or something that no Python code stands for.

    Looks through methods, functools.partial, functools.wraps, descriptors and ``__call__``. None where there is no end.
    """
    for _ in range(_DEPTH):
        if isinstance(found, (MethodType, staticmethod, classmethod)):
            found = found.__func__
        elif isinstance(found, partial):
            found = found.func
        elif isinstance(found, HIDDEN):
            return found
        else:
            wrapped = getattr(found, "__wrapped__", None)
            if wrapped is not None:
                found = wrapped
                continue
            if isinstance(found, FunctionType):
                return found
            call = inspect.getattr_static(type(found), "__call__", None)
            if call is None:
                return found
            if isinstance(call, types.WrapperDescriptorType):
                return call if is_of_library(call.__objclass__) else found
            if not isinstance(call, (FunctionType, MethodType, staticmethod, classmethod, partial, *HIDDEN)):
                call = getattr(found, "__call__")  # noqa: B004, B009 # the object itself is looked at
            elif isinstance(call, property):
                call = getattr(found, "__call__")  # noqa: B004, B009 # as above
            found = call
    return None


def is_foreign(called: Any) -> bool:
    """Does what `origin` has found come from Python's library, from mod_python, or from C?"""
    if isinstance(called, FunctionType):
        return _is_library(called.__module__) or _lies_in_library(called.__code__.co_filename)
    if isinstance(called, type):
        return is_of_library(called)
    return called is None or isinstance(called, HIDDEN) or is_of_library(type(called))


def _module_of(kind: type) -> str:
    name = getattr(kind, "__module__", None)
    # A class that does not say is nobody's we know.
    return name if isinstance(name, str) else "builtins"


def _is_library(name: object) -> bool:
    if not isinstance(name, str):
        return False
    top = name.partition(".")[0]
    if top in ("builtins", "mod_python", "_apache"):
        return True
    # A user's own module may bear a name of the library's.
    module = sys.modules.get(name) or sys.modules.get(top)
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    if isinstance(file, str) and not _lies_in_library(file) and ".zip" + os.sep not in file:
        return False
    if isinstance(file, str) and _lies_in_library(file):
        return True
    return top in getattr(sys, "stdlib_module_names", sys.builtin_module_names)


def _lies_in_library(file: str) -> bool:
    file = os.path.realpath(file)
    return file.startswith(_library()) and "-packages" + os.sep not in file
