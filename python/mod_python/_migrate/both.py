"""Code for Python 2 and 3 at once: which parts of a module are not run by Python 3, or have something else ready where they fail."""

from __future__ import annotations

import ast
import operator as _operators
import sys
from collections.abc import Iterator
from typing import Any, Optional

_GUARDS = {
    "ImportError": (ast.Import, ast.ImportFrom),
    "ModuleNotFoundError": (ast.Import, ast.ImportFrom),
    "NameError": (ast.Name,),
    "AttributeError": (ast.Attribute, ast.ImportFrom),
}
"""What may fail under `try`, by the exception that is caught by its name."""
_ALL = tuple({kind for kinds in _GUARDS.values() for kind in kinds})


_Spared = tuple[type[ast.AST], ...]


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree that Python 3 runs, without those that are tried and have a substitute."""
    waiting: list[tuple[ast.AST, _Spared]] = [(tree, ())]
    while waiting:
        node, spared = waiting.pop()
        if not isinstance(node, spared):
            yield node
        waiting += reversed(list(_children(node, spared)))


def _children(node: ast.AST, spared: _Spared) -> Iterator[tuple[ast.AST, _Spared]]:
    if isinstance(node, (ast.If, ast.IfExp)):
        holds = _value(node.test)
        if isinstance(holds, bool):
            parts: Any = node.body if holds else node.orelse
            yield from ((part, spared) for part in (parts if isinstance(parts, list) else [parts]))
            return
    if isinstance(node, ast.Try):
        yield from _tried(node, spared)
        return
    yield from ((child, spared) for child in ast.iter_child_nodes(node))


def _tried(node: ast.Try, spared: _Spared) -> Iterator[tuple[ast.AST, _Spared]]:
    caught = [name for handler in node.handlers for name in _caught(handler)]
    kinds = tuple(kind for name in caught for kind in _GUARDS.get(name, ()))
    if any(handler.type is None for handler in node.handlers) and _imports_alone(node):
        kinds = (ast.Import, ast.ImportFrom)
    if not any(_replaces(handler) for handler in node.handlers):
        kinds = ()
    # What an older Python had is no mistake where the newer one has been tried.
    older = _ALL if kinds else ()
    yield from ((part, (*spared, *kinds)) for part in node.body)
    for handler in node.handlers:
        if not older:
            yield handler, spared
        else:
            yield from ((part, (*spared, *older)) for part in handler.body)
    yield from ((part, spared) for part in (*node.orelse, *node.finalbody))


def _caught(handler: ast.ExceptHandler) -> list[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [kind.id for kind in kinds if isinstance(kind, ast.Name)]


def _imports_alone(node: ast.Try) -> bool:
    return all(isinstance(part, (ast.Import, ast.ImportFrom)) for part in node.body)


def _replaces(handler: ast.ExceptHandler) -> bool:
    """Is there something that stands for what has failed, or is it of no use?"""
    return not any(isinstance(child, ast.Raise) for child in ast.walk(handler))


def _value(test: ast.expr) -> Optional[object]:
    """What a question for Python's version is here; None for any other question."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _value(test.operand)
        return None if not isinstance(inner, bool) else not inner
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    if name.upper() in ("PY2", "PY3", "IS_PY2", "IS_PY3", "PYTHON2", "PYTHON3"):
        return name.endswith("3")
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    left, right = _version(test.left), test.comparators[0]
    try:
        value = ast.literal_eval(right)
        return None if left is None else _compared(test.ops[0], left, value)
    except (ValueError, TypeError):
        return None


def _version(node: ast.expr) -> Any:
    """A part of sys.version_info, or sys.hexversion; None for anything else."""
    if isinstance(node, ast.Subscript):
        whole = _version(node.value)
        index = node.slice
        if whole is None or not isinstance(whole, tuple):
            return None
        if isinstance(index, ast.Slice):
            ends = [end.value if isinstance(end, ast.Constant) else None for end in (index.lower, index.upper)]
            return whole[slice(*(end if isinstance(end, int) else None for end in ends))]
        place = index.value if isinstance(index, ast.Constant) else None
        return whole[place] if isinstance(place, int) and place in (0, 1, 2) else None
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    if name == "version_info":
        return tuple(sys.version_info)
    if name == "major" and isinstance(node, ast.Attribute):
        return None if _version(node.value) is None else sys.version_info[0]
    return sys.hexversion if name == "hexversion" else None


def _compared(operator: ast.cmpop, left: Any, right: Any) -> Optional[bool]:
    known = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
    name = known.get(type(operator))
    return bool(getattr(_operators, name)(left, right)) if name else None
