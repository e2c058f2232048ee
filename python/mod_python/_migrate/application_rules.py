"""What a WSGI application that was Python 2's gives as text, where bytes have to be, and the functions that mod_wsgi's scripts have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Optional

from mod_python._doctor.findings import Finding

_SCRIPTS = {
    "check_password": "PythonAuthenHandler: authenhandler(req)",
    "get_realm_hash": "PythonAuthenHandler: authenhandler(req)",
    "groups_for_user": "PythonAuthzHandler: authzhandler(req)",
    "allow_access": "PythonAccessHandler: accesshandler(req)",
}


def check(path: str, node: ast.FunctionDef) -> Iterator[Finding]:
    """A function."""
    names = [argument.arg for argument in node.args.args]
    if node.name in _SCRIPTS and names[:1] == ["environ"]:
        remedy = f"Write a handler for {_SCRIPTS[node.name]}."
        yield Finding("MP2013", f"nobody calls {node.name}(environ, …)", path, node.lineno, remedy)
    if names[-2:] == ["environ", "start_response"]:
        yield from _application(path, node)


def _application(path: str, node: ast.FunctionDef) -> Iterator[Finding]:
    inner = list(_own(node))
    texts: dict[str, set[bool]] = {}
    for child in inner:
        if isinstance(child, ast.Assign):
            for target in child.targets:
                if isinstance(target, ast.Name):
                    texts.setdefault(target.id, set()).add(_is_text(child.value, set()))
        elif isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            texts.setdefault(child.id, set())
    known = {name for name, said in texts.items() if said == {True}}
    for child in inner:
        if isinstance(child, (ast.Return, ast.Yield)) and _gives(child, known):
            text = "a WSGI application gives text, and has to give bytes"
            yield Finding("MP2014", text, path, child.lineno)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, without the functions in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _own(child)


def _gives(node: ast.AST, known: set[str]) -> bool:
    value: Optional[ast.expr] = getattr(node, "value", None)
    if isinstance(value, (ast.List, ast.Tuple)) and isinstance(node, ast.Return):
        return any(_is_text(one, known) for one in value.elts)
    return value is not None and _is_text(value, known)


def _is_text(node: ast.expr, known: set[str]) -> bool:
    """Is it a text on Python 3, whatever happens?"""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.BinOp):
        is_joined = isinstance(node.op, ast.Add) and _is_text(node.right, known)
        return is_joined or (isinstance(node.op, (ast.Mod, ast.Add)) and _is_text(node.left, known))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("join", "format", "replace", "strip") and _is_text(node.func.value, known)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr", "unicode")
    )
