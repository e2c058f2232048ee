"""What parses on both Pythons and does something else on Python 3: print that is none, lists that are views, arguments that are gone."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from typing import Optional

from mod_python._doctor.findings import Finding
from mod_python._migrate import both

_CODECS = ("hex", "base64", "zlib", "bz2", "rot13", "rot_13", "quopri", "uu", "string_escape")
_VIEWS = ("keys", "values", "items")
_LAZY = ("map", "filter", "zip")
_LISTS = ("sort", "append", "reverse", "extend", "insert", "index", "remove")
"""Methods of lists that what stands for lists now does not have; dictionaries have a pop() of their own."""
_ITERATORS = (
    "iter",
    "open",
    "enumerate",
    "map",
    "filter",
    "zip",
    "reversed",
    "reader",
    "DictReader",
    "finditer",
    "count",
    "cycle",
)
_TABLES = ("headers_in", "headers_out", "err_headers_out", "subprocess_env", "notes")
"""Attributes of the request that are tables, which have the old methods."""
_MAKES_TABLES = ("table", "make_table", "get_config", "get_options", "FieldStorage")
_TABLE_METHODS = ("has_key", "iteritems", "iterkeys", "itervalues")


def has_methods(tree: ast.Module, node: ast.Attribute, is_page: bool) -> bool:
    """Is an old method asked of something of mod_python's that has it: a table, a form?"""
    if node.attr not in _TABLE_METHODS:
        return False
    if is_page and isinstance(node.value, ast.Name) and node.value.id == "form":
        return node.attr == "has_key"
    return _kind(node.value, _assigned(tree)) == "table" and (node.attr == "has_key" or not _is_form(node.value))


def _is_form(node: ast.expr) -> bool:
    return "form" in ast.dump(node).lower()


@functools.lru_cache(4)
def _assigned(tree: ast.Module) -> dict[str, str]:
    """What names are in a module, where all that is given to them is of one kind: a table, a view, an iterator."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, set()).add(_kind(node.value, {}) or "")
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.setdefault(node.id, set())
        elif isinstance(node, ast.arg):
            found.setdefault(node.arg, set()).add("")
    loops = [node.target for node in ast.walk(tree) if isinstance(node, (ast.For, ast.comprehension, ast.AugAssign))]
    for name in (one for loop in loops for one in ast.walk(loop) if isinstance(one, ast.Name)):
        found.setdefault(name.id, set()).add("")
    return {name: next(iter(kinds)) for name, kinds in found.items() if len(kinds) == 1}


def _kind(node: ast.expr, names: dict[str, str]) -> Optional[str]:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        is_req = isinstance(node.value, ast.Name) and node.value.id == "req"
        return "table" if node.attr in _TABLES or (is_req and node.attr == "form") else None
    if isinstance(node, ast.GeneratorExp):
        return "iterator"
    if not isinstance(node, ast.Call):
        return None
    called = _called(node)
    if called in _MAKES_TABLES:
        return "table"
    if called in _VIEWS and isinstance(node.func, ast.Attribute) and not node.args:
        return None if _kind(node.func.value, names) == "table" else "view"
    if called in _LAZY and isinstance(node.func, ast.Name):
        return "lazy"
    return "iterator" if called in _ITERATORS else None


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def check(path: str, tree: ast.Module) -> Iterator[Finding]:
    """A module, or a page's code, that parses."""
    names = _assigned(tree)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in both.nodes(tree):
        if isinstance(node, ast.Expr):
            yield from _statement(path, node.value)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift) and _is_print(node.left):
            yield Finding("MP2001", "print >>file is gone", path, node.lineno, "Write print(…, file=file).")
        elif isinstance(node, ast.Raise):
            if isinstance(_first(node.exc), (ast.Constant, ast.JoinedStr)):
                yield Finding("MP2001", "a text is no exception", path, node.lineno, "Write raise a class's instance.")
        elif isinstance(node, ast.ExceptHandler):
            yield from _handler(path, node)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield from _item(path, node, names)
        elif isinstance(node, ast.Call):
            yield from _call(path, node, names, defined)


def _is_print(node: Optional[ast.expr]) -> bool:
    return isinstance(node, ast.Name) and node.id == "print"


def _first(node: Optional[ast.expr]) -> Optional[ast.expr]:
    """What an expression begins with: of `a % b` a."""
    while isinstance(node, ast.BinOp):
        node = node.left
    return node


def _statement(path: str, node: ast.expr) -> Iterator[Finding]:
    """An expression by itself that was a print statement once."""
    if _is_print(node):
        yield Finding("MP2001", "a lone print prints nothing", path, node.lineno, "Write print().")
        return
    first: Optional[ast.expr] = node.elts[0] if isinstance(node, ast.Tuple) and node.elts else node
    begins = _first(first)
    if isinstance(begins, ast.Call) and isinstance(begins.func, ast.Attribute):
        begins = begins.func.value
        is_written = isinstance(begins, ast.Call) and _is_print(begins.func)
    elif isinstance(begins, ast.Subscript):
        is_written = _is_print(begins.value)
    else:
        is_print = _is_print(begins) and not (isinstance(first, ast.BinOp) and isinstance(first.op, ast.RShift))
        is_call = isinstance(begins, ast.Call) and _is_print(begins.func)
        is_written = (is_print or is_call) and begins is not node
    if is_written:
        yield Finding("MP2001", "print is a function", path, node.lineno, "Write print(…).")


def _handler(path: str, node: ast.ExceptHandler) -> Iterator[Finding]:
    """`except X, e:`, which Python 3.14 takes for two exceptions."""
    kinds = node.type
    if not isinstance(kinds, ast.Tuple) or len(kinds.elts) != 2 or node.name:
        return
    first, second = kinds.elts
    has_none = (kinds.lineno, kinds.col_offset) == (first.lineno, first.col_offset)
    if has_none and isinstance(second, ast.Name) and second.id[:1].islower():
        yield Finding("MP2001", "`except X, e` is gone", path, node.lineno, "Write except X as e:.")


def _item(path: str, node: ast.Subscript, names: dict[str, str]) -> Iterator[Finding]:
    kind = _kind(node.value, names)
    index = node.slice
    is_number = isinstance(index, (ast.Slice, ast.UnaryOp)) or (
        isinstance(index, ast.Constant) and isinstance(index.value, int)
    )
    if kind in ("view", "lazy") and is_number:
        yield _no_list(path, node, node.value, f"{_shown(node.value)} is no list: it has no items by number")


def _shown(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    called = _called(node) if isinstance(node, ast.Call) else ""
    return f".{called}()" if called in _VIEWS else f"{called}()"


def _no_list(path: str, node: ast.expr, value: ast.expr, text: str) -> Finding:
    return Finding("MP2004", text, path, node.lineno, f"Write list(…) around {_shown(value)}, where it is made.")


def _call(path: str, node: ast.Call, names: dict[str, str], defined: set[str]) -> Iterator[Finding]:
    """Arguments that are gone: sort(cmp=…), and codecs between bytes and bytes; methods of lists that are none any more."""
    called = _called(node)
    first = node.args[0] if node.args else None
    has_cmp = any(one.arg == "cmp" for one in node.keywords)
    compares = isinstance(first, ast.Lambda) and len(first.args.args) == 2
    if called in ("sort", "sorted") and (has_cmp or (called == "sort" and compares)):
        text = f"{called}(cmp=…) is gone" if has_cmp else "sort() takes no function that compares"
        yield Finding("MP2004", text, path, node.lineno, "Write key=functools.cmp_to_key(…).")
    if called in ("encode", "decode") and isinstance(first, ast.Constant) and first.value in _CODECS:
        text = f".{called}({first.value!r}) is gone"
        yield Finding("MP2004", text, path, node.lineno, f"Write codecs.{called}(data, {first.value!r}).")
    if not isinstance(node.func, ast.Attribute):
        return
    value = node.func.value
    kind = _kind(value, names)
    if kind in ("view", "lazy") and called in _LISTS:
        yield _no_list(path, node, value, f"{_shown(value)} is no list: it has no {called}()")
    elif kind in ("iterator", "lazy") and called == "next" and not node.args and "next" not in defined:
        yield Finding("MP2004", ".next() is gone", path, node.lineno, "Write next(iterator).")
