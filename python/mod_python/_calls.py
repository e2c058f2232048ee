"""Calling an object with the fields of a form as its arguments."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Optional

from mod_python._later import later

if TYPE_CHECKING:
    import inspect

    from mod_python._forms import FieldStorage
else:
    inspect = later("inspect")

_Names = tuple[str, ...]
_MISSING: Any = object()
_VARKEYWORDS = 8
"""inspect.CO_VARKEYWORDS: a function takes any name."""
_PLACEHOLDER = getattr(functools, "Placeholder", _MISSING)
"""What stands in a partial for an argument that is still to come (Python 3.14)."""


class _Parameters:
    """What an object can be given: by place alone, by place or name, by name alone, and whether by any name."""

    filled: frozenset[str] = frozenset()
    """Names of parameters that have been given by place: to give them again is a TypeError."""
    named: frozenset[str] = frozenset()
    """The names of all that can still be given."""
    preset: frozenset[str] = frozenset()
    """Names that have been given as keywords, which no field may replace."""

    def __init__(self, by_place: _Names, by_both: _Names, by_name: _Names, any_name: bool) -> None:
        self.by_place, self.by_both, self.by_name, self.any_name = by_place, by_both, by_name, any_name
        self._named = by_both

    def fill(self, arguments: tuple[Any, ...], at: int = 0) -> _Parameters:
        """The parameters at these places have been given."""
        places, behind = self.by_place + self.by_both, at + len(arguments)
        open_places, taken = places[:at], places[at:behind]
        if _PLACEHOLDER is not _MISSING:
            pairs = [*zip(taken, arguments)]
            open_places += tuple(name for name, value in pairs if value is _PLACEHOLDER)
            taken = tuple(name for name, value in pairs if value is not _PLACEHOLDER)
        self.filled = self.filled.union(name for name in taken if name in self._named)
        only = max(len(self.by_place) - behind, 0)
        rest = places[behind:]
        self.by_place, self.by_both = open_places + rest[:only], rest[only:]
        return self

    def give(self, names: Iterable[str]) -> _Parameters:
        """These have been given as keywords."""
        self.preset = self.preset.union(names)
        return self


def apply_fs_data(object: Any, fs: FieldStorage, **args: Any) -> Any:
    """Call an object with the fields of a form as arguments: those that it has parameters of the name for.

    Values are text, lists of them where a name occurs several times, and Field objects for files. What the caller gives in
    ``args`` cannot be replaced by a field, nor what a partial has been given before. What is not written in Python is
    called without arguments. Raises what the object raises; TypeError where a field that it needs is missing.
    """
    return call(object, parameters_of(object), fs, args)


def parameters_of(object: Any) -> Optional[_Parameters]:
    """What an object can be given of a form; None for what is called without arguments. To be kept for as long as the object,
    and what it is made of, are the same."""
    parameters = _parameters(object)
    if parameters is not None:
        parameters.named = frozenset(parameters.by_place + parameters.by_both + parameters.by_name)
    return parameters


def call(object: Any, parameters: Optional[_Parameters], fs: FieldStorage, args: dict[str, Any]) -> Any:
    """`apply_fs_data` with the object's parameters."""
    if parameters is None:
        return object()
    any_name, named, preset = parameters.any_name, parameters.named, parameters.preset
    given: dict[Any, Any] = {}
    texts: Any = getattr(fs, "_texts", None)
    if texts is not None and not (any_name or parameters.by_place or preset or fs._made):
        # Most functions. Nobody can have renamed a field.
        for name, value in texts:
            if name in named and name not in args:
                if name in given:
                    break
                given[name] = value
        else:
            for name, value in args.items():
                if name in named:
                    given[name] = value
            return object(**given)
        given.clear()
    several: set[Any] = set()
    for name, value in _values(fs):
        if (name in named or (any_name and name is not None)) and name not in args and name not in preset:
            if name not in given:
                given[name] = value
            elif name in several:
                given[name].append(value)
            else:
                several.add(name)
                given[name] = [given[name], value]
    if any_name:
        given.update(args)
    else:
        for name, value in args.items():
            if name in named:
                given[name] = value
    places = []
    for name in parameters.by_place:
        if name not in given:
            break
        places.append(given.pop(name))
    if any_name:
        given = {name: value for name, value in given.items() if name not in parameters.filled}
    elif parameters.by_place:
        names = parameters.by_both + parameters.by_name
        given = {name: value for name, value in given.items() if name in names}
    return object(*places, **given)


def _values(fs: FieldStorage) -> Iterable[tuple[Any, Any]]:
    """Names and what a function gets: text, or a Field for a file."""
    texts: Optional[list[tuple[str, str]]] = getattr(fs, "_texts", None)
    if texts is not None and not fs._made:
        # Nobody can have renamed a field.
        return texts
    return [(field.name, field if field.filename else field.value) for field in fs.list]


def _parameters(object: Any, depth: int = 0) -> Optional[_Parameters]:
    """What an object takes that is written in Python, whatever is wrapped around it; None for everything else."""
    if depth > 20:
        return None
    if isinstance(object, functools.partial):
        inner = _parameters(object.func, depth + 1)
        return inner and inner.fill(object.args).give(object.keywords)
    if isinstance(object, FunctionType):
        method = vars(object).get("__partialmethod__", vars(object).get("_partialmethod"))
        if isinstance(method, functools.partialmethod):
            # Made for what binds neither: its first argument is the instance, those of the partial follow.
            inner = _parameters(method.func, depth + 1)
            return inner and inner.fill(method.args, at=1).give(method.keywords)
        return _around(vars(object).get("__wrapped__"), _of_code(object.__code__), depth)
    if isinstance(object, MethodType):
        inner = _parameters(object.__func__, depth + 1)
        return inner and inner.fill((object.__self__,))
    if isinstance(object, type):
        return _of_class(object, depth)
    call = _own_call(object)
    wrapped = inspect.getattr_static(object, "__wrapped__", None)
    if wrapped is not None:
        wrapped = getattr(object, "__wrapped__", None)
    if call is not None:
        inner = _parameters(call, depth + 1)
        return inner and _around(wrapped, inner, depth)
    # functools.cache, staticmethod: C, around a function in Python.
    return None if wrapped is None else _parameters(wrapped, depth + 1)


def _around(wrapped: Any, parameters: _Parameters, depth: int) -> _Parameters:
    """A wrapper that hands on any name must not hand on a field for what has been given inside it."""
    if wrapped is not None and parameters.any_name:
        inner = _parameters(wrapped, depth + 1)
        if inner is not None:
            own = parameters.by_both + parameters.by_name
            parameters.give(name for name in inner.preset | inner.filled if name not in own)
    return parameters


def _of_code(code: CodeType) -> _Parameters:
    names, only, both = code.co_varnames, code.co_posonlyargcount, code.co_argcount
    any_name = bool(code.co_flags & _VARKEYWORDS)
    return _Parameters(names[:only], names[only:both], names[both : both + code.co_kwonlyargcount], any_name)


def _of_class(cls: type, depth: int) -> Optional[_Parameters]:
    for name in ("__init__", "__new__"):
        maker = getattr(cls, name, None)
        if isinstance(maker, FunctionType):
            inner = _parameters(maker, depth + 1)
            return inner and inner.fill((cls,))
    return None


def _own_call(object: Any) -> Any:
    """``__call__`` of an object whose class defines it in Python: a method, or another object that can be called."""
    call = inspect.getattr_static(type(object), "__call__", None)
    if call is None or type(call).__name__ in ("wrapper_descriptor", "method_descriptor"):
        return None
    return getattr(object, "__call__")  # noqa: B004, B009 # the method itself is looked at, not whether there is one
