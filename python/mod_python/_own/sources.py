"""What the source of a module says of the applications in it, without running it."""

from __future__ import annotations

import ast
import dataclasses
import os
import platform
from typing import Optional, Union

from mod_python._own.problems import Problem

_USUAL = ("application", "app", "api", "asgi", "wsgi")
_FACTORIES = ("create_app", "make_app", "create_application")

_KINDS = {
    "bottle.Bottle": "wsgi",
    "bottle.default_app": "wsgi",
    "django.core.asgi.get_asgi_application": "asgi",
    "django.core.wsgi.get_wsgi_application": "wsgi",
    "falcon.App": "wsgi",
    "falcon.asgi.App": "asgi",
    "fastapi.FastAPI": "asgi",
    "flask.Flask": "wsgi",
    "litestar.Litestar": "asgi",
    "quart.Quart": "asgi",
    "socketio.ASGIApp": "asgi",
    "socketio.WSGIApp": "wsgi",
    "starlette.applications.Starlette": "asgi",
}
"""What the classes and functions of frameworks make."""

_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


@dataclasses.dataclass
class Source:
    """A module's source: its top-level names, and what they are bound to at last."""

    names: dict[str, Optional[ast.AST]]
    """None: to something that only an import tells."""
    origins: dict[str, str]
    """What imports have given names: ``Flask`` to ``flask.Flask``."""
    error: str = ""
    """Why it cannot be read: its place, the line, what is wrong."""

    @property
    def has_handler(self) -> bool:
        """Is there a ``handler(req)``?"""
        found = self.names.get("handler")
        return isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)) and len(_parameters(found)) == 1

    def usual(self, kind: str) -> tuple[str, bool]:
        """The application's name, where it has a usual one, and whether that is a factory's."""
        for name in _USUAL:
            if name in self.names and (kind or self.kind(name) or name in _USUAL[:2]):
                return name, False
        for name in _FACTORIES:
            if isinstance(self.names.get(name), ast.FunctionDef):
                return name, True
        return "", False

    def kind(self, name: str) -> str:
        """``wsgi`` or ``asgi``; empty where only an import can tell."""
        found = self.names.get(name)
        if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return "" if found.decorator_list else _kind_of_function(found)
        return self._kind_of_value(found, self.origins)

    def factory_kind(self, name: str) -> str:
        """What a function makes, as ``kind`` says it."""
        found = self.names.get(name)
        if not isinstance(found, ast.FunctionDef) or found.decorator_list:
            return ""
        inner = _bound(found.body)
        returned = [node.value for node in ast.walk(found) if isinstance(node, ast.Return)]
        origins = {**self.origins, **inner.origins}
        kinds = set()
        for value in returned:
            made = inner.names.get(value.id) if isinstance(value, ast.Name) else value
            kinds.add(self._kind_of_value(made, origins))
        return kinds.pop() if len(kinds) == 1 else ""

    def _kind_of_value(self, value: Optional[ast.AST], origins: dict[str, str]) -> str:
        if not isinstance(value, ast.Call):
            return ""
        dotted = _dotted(value.func)
        if dotted is None:
            return ""
        first, _, rest = dotted.partition(".")
        origin = origins.get(first, first) + (f".{rest}" if rest else "")
        return _KINDS.get(origin, "")


def look(path: str) -> Source:
    """Read a module's source."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except SyntaxError as error:
        text = (error.text or "").rstrip()
        line = f"\n    {text.strip()}" if text else ""
        return Source({}, {}, f"{path}, line {error.lineno}: SyntaxError: {error.msg}{line}")
    except (OSError, ValueError) as error:
        return Source({}, {}, f"{path} cannot be read: {error}")
    except (RecursionError, MemoryError):
        # The parser's own limits, which an import meets as well, and other versions of Python set elsewhere.
        return Source({}, {}, f"{path} cannot be read: it is nested too deeply for Python {platform.python_version()}")
    return _bound(tree.body)


def _bound(body: list[ast.stmt]) -> Source:
    found = Source({}, {})
    for statement in body:
        _bind(statement, found)
    return found


def _bind(statement: ast.stmt, found: Source) -> None:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        found.names[statement.name] = statement
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    found.names[node.id] = statement.value if node is target else None
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        found.names[statement.target.id] = statement.value
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            name = alias.asname or alias.name.split(".")[0]
            found.names[name] = None
            found.origins[name] = alias.name if alias.asname else name
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            name = alias.asname or alias.name
            found.names[name] = None
            if not statement.level:
                found.origins[name] = f"{statement.module}.{alias.name}"
    else:
        # What is bound inside a condition or a loop is bound to this or that.
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.names[node.id] = None
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.names[node.name] = None


def _parameters(function: _Function) -> list[str]:
    return [argument.arg for argument in [*function.args.posonlyargs, *function.args.args]]


def _kind_of_function(function: _Function) -> str:
    count = len(_parameters(function))
    if isinstance(function, ast.AsyncFunctionDef):
        return "asgi" if count == 3 else ""
    return "wsgi" if count == 2 else ""


def _dotted(node: ast.AST) -> Optional[str]:
    parts: list[str] = []
    # Not by recursion: a chain may be longer than that goes.
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def no_file(path: str) -> Problem:
    """What to say of a path that is no file."""
    if os.path.lexists(path):
        what = "is a link that leads nowhere" if os.path.islink(path) and not os.path.exists(path) else "is no file"
        return Problem(f"{path} {what}")
    found = similar(path)
    return Problem(f"there is no file {path}", f"Did you mean {found}?" if found else "")


def similar(path: str) -> str:
    """The name of a file or module beside a path that is not there, much like it; or nothing."""
    import difflib

    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ""
    found = difflib.get_close_matches(name, names, 1)
    return os.path.join(folder, found[0]) if found else ""


def hint_of(directory: str, module: str) -> str:
    """Where the search for a package's module ends."""
    place = directory
    for part in module.split("."):
        inner = os.path.join(place, part)
        if not os.path.isdir(inner) and not os.path.isfile(f"{inner}.py"):
            found = similar(f"{inner}.py")
            return f"in {place} there is no {part}.py" + (f"; did you mean {os.path.basename(found)}?" if found else "")
        place = inner
    return f"{place} is no module"
