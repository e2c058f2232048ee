"""Running a changed module again, so that others see the old names until all the new ones are there.

The new source runs in a dictionary of its own, a copy of the module's. Only when it has come to its end does the module
show that dictionary: the module stays the same object, its functions and its attributes are one, and what the source does
not set anew is kept, as ``importlib.reload`` keeps it. Functions of the old source that still run keep the old names.
While it runs, its own thread alone sees the new names in the module.
"""

from __future__ import annotations

import contextlib
from _thread import get_ident
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType, new_class
from typing import Any, Callable, ClassVar, Optional

_MISSING = object()
_OF_A_RUN = ("__annotations__", "__annotate__", "__conditional_annotations__")
"""What a module's own code gathers: begins anew."""


_METHODS = ("__getattribute__", "__setattr__", "__delattr__", "__dir__")
"""What the classes below have that a module shows."""


class _Names:
    """The dictionaries that a module shows."""

    def __init__(self, current: dict[str, Any]) -> None:
        self.current = current
        self.coming: Optional[tuple[int, dict[str, Any]]] = None
        """The thread that runs new source, and what it has set."""

    def here(self) -> dict[str, Any]:
        """What this thread sees."""
        coming = self.coming
        return coming[1] if coming is not None and coming[0] == get_ident() else self.current


class _Reloaded(ModuleType):
    """A module whose names are in a dictionary that can be exchanged. Python's own cannot."""

    _mp_names: ClassVar[_Names]
    _mp_first: ClassVar[frozenset[str]]
    """Properties of the module's own class: they come before names."""

    def __getattribute__(self, name: str) -> Any:
        kind = type(self)
        names = kind._mp_names.here()
        if name == "__dict__":
            return names
        if name not in kind._mp_first:
            found = names.get(name, _MISSING)
            if found is not _MISSING:
                return found
        for base in kind.__mro__:
            if (base is _Reloaded or "_mp_names" in base.__dict__) and name not in _METHODS:
                continue
            found = base.__dict__.get(name, _MISSING)
            if found is not _MISSING:
                bind = getattr(type(found), "__get__", None)
                return found if bind is None else bind(found, self, kind)
        hook = names.get("__getattr__")
        if hook is not None:
            return hook(name)
        raise AttributeError(f"module {names.get('__name__')!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        if name == "__class__":
            ModuleType.__setattr__(self, name, _class_for(kind._mp_names, value))
        elif name == "__dict__":
            raise AttributeError("readonly attribute")
        elif name in kind._mp_first:
            ModuleType.__setattr__(self, name, value)
        else:
            kind._mp_names.here()[name] = value

    def __delattr__(self, name: str) -> None:
        kind = type(self)
        if name in kind._mp_first:
            ModuleType.__delattr__(self, name)
        elif kind._mp_names.here().pop(name, _MISSING) is _MISSING:
            raise AttributeError(name)

    def __dir__(self) -> list[str]:
        names = type(self)._mp_names.here()
        hook = names.get("__dir__")
        return list(names) if hook is None else hook()


def _class_for(names: _Names, base: type) -> type:
    """A class that shows these names, and is what the module's class has been."""
    if issubclass(base, _Reloaded):
        return base
    own = [kind for kind in base.__mro__ if kind not in ModuleType.__mro__]
    first = frozenset(
        name
        for kind in own
        for name, value in kind.__dict__.items()
        if hasattr(type(value), "__set__") or hasattr(type(value), "__delete__")
    )
    bases = (base, _Reloaded) if own else (_Reloaded,)
    attributes = {"_mp_names": names, "_mp_first": first, "__module__": base.__module__, "__doc__": base.__doc__}
    return new_class(base.__name__, bases, {}, lambda namespace: namespace.update(attributes))


def run_again(module: ModuleType) -> None:
    """Run the module's new source; what fails leaves the module as it was. One thread a module at a time.

    The source is compiled, never read from bytecode: two changes within the file system's
    granularity of time would look the same there.

    Raises what reading, compiling and running raise.
    """
    spec = module.__spec__
    loader: Any = spec.loader if spec else None
    file = module.__file__ or ""
    code = loader.source_to_code(loader.get_data(file), file)
    before = type(module)
    names = before._mp_names if issubclass(before, _Reloaded) else _Names(module.__dict__)
    seed = names.current.copy()
    new = seed.copy()
    for name in _OF_A_RUN:
        new.pop(name, None)
    new["__doc__"] = None
    names.coming = (get_ident(), new)
    change: Callable[[ModuleType, str, Any], None] = ModuleType.__setattr__
    try:
        change(module, "__class__", _class_for(names, before))
        exec(code, new)
        _drop_definitions(new, seed, code)
        _take_over(new, seed, names.current)
    except BaseException:
        names.coming = None
        change(module, "__class__", before)
        raise
    names.current = new
    names.coming = None


def _take_over(new: dict[str, Any], seed: dict[str, Any], current: dict[str, Any]) -> None:
    """What others have set or deleted meanwhile counts where the new source has not set it, too."""
    current = current.copy()
    for name, value in current.items():
        if value is not seed.get(name, _MISSING) and new.get(name, _MISSING) is seed.get(name, _MISSING):
            new[name] = value
    for name, value in seed.items():
        if name not in current and new.get(name, _MISSING) is value:
            del new[name]


def _drop_definitions(new: dict[str, Any], seed: dict[str, Any], code: CodeType) -> None:
    """Functions and classes that the source no longer speaks of are gone; other names may be what the module keeps."""
    spoken, module = set(_names_in(code)), seed.get("__name__")
    for name, value in seed.items():
        if new.get(name, _MISSING) is not value or name in spoken:
            continue
        place = _defined(value)
        if all(type(part) is str for part in (module, name, *place)) and place == (module, name):
            del new[name]


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names_in(inner)


def _defined(value: object) -> tuple[Any, Any]:
    """The module and the name of a definition. Asked of Python's own types: a metaclass might answer otherwise."""
    if type(value) is FunctionType:
        return value.__module__, value.__qualname__
    if issubclass(type(value), type):
        own = type.__dict__
        with contextlib.suppress(AttributeError):
            return own["__module__"].__get__(value), own["__qualname__"].__get__(value)
    return None, None
