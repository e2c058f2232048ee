"""What a handler's code meets here that mod_python 3.x did otherwise: docs/differences.md and docs/moving.md say more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mod_python._doctor.findings import Finding

_READS = ("read", "readline", "readlines")
_GONE = {
    "build_wsgi_env": "PythonWSGI, or PythonHandler mod_python.wsgi",
    "wsgi_start_response": "PythonWSGI, or PythonHandler mod_python.wsgi",
    "requires": "nothing: httpd has no such list since 2.3",
}
"""What `req` does not have; docs/objects.md lists it."""
_SIGNED = ("SignedCookie", "MarshalCookie")
_SESSIONS = ("Session", "FileSession", "DbmSession", "MemorySession")
_INNER = ("CallBack", "ModuleCache", "import_module_cached", "make_obcallback", "resolve_object_path")
_HANDLERS = re.compile(
    r"(?:post(?:readrequest)|trans|headerparser|init|access|authen|authz|type|fixup|log|cleanup)?handler"
)
_SESSION_TEXT = (
    "sessions are JSON, no pickles (docs/differences.md#sessions): values are texts, numbers, lists and dictionaries"
)
_SIGNED_TEXT = "signatures are HMAC-SHA-256 (docs/differences.md#signed-cookies): what clients have is not taken"


def check(path: str, tree: ast.Module) -> Iterator[Finding]:
    """A module that parses. What is about `req` is told where the name is `req`, as everybody calls it."""
    uses = _uses_mod_python(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and uses:
            yield from _function(path, node)
        elif isinstance(node, ast.Call):
            yield from _call(path, node, uses)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from _attribute(path, node, node.value.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("mod_wsgi."):
            yield Finding("MP2013", f"environ has no {node.value}", path, node.lineno)
        elif isinstance(node, ast.Assign) and uses:
            yield from _assignment(path, node)
        elif isinstance(node, ast.ImportFrom) and node.module == "mod_python":
            for alias in node.names:
                if alias.name in ("importer", "Session2"):
                    yield Finding("MP2008", f"there is no mod_python.{alias.name}", path, node.lineno)


def _uses_mod_python(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mod_python":
            return True
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "mod_python" for alias in node.names):
            return True
    return False


def _function(path: str, node: ast.FunctionDef) -> Iterator[Finding]:
    """A handler that returns nothing is a 500."""
    arguments = node.args.args
    if not _HANDLERS.fullmatch(node.name) or not arguments or arguments[-1].arg not in ("req", "request", "r"):
        return
    inner = [child for child in ast.walk(node) if isinstance(child, (ast.Return, ast.Raise, ast.Yield))]
    if not any(isinstance(child, ast.Raise) or getattr(child, "value", None) is not None for child in inner):
        yield Finding("MP2009", f"{node.name} returns nothing", path, node.lineno)


def _call(path: str, node: ast.Call, uses: bool) -> Iterator[Finding]:
    function = node.func
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    if owner == "req" and name in _READS:
        yield Finding("MP2005", f"req.{name}() gives bytes", path, node.lineno)
    elif owner == "req" and name == "register_cleanup" and len(node.args) > 1 and isinstance(node.args[1], ast.Tuple):
        text = "the clean-up is called with the tuple, not with its items (docs/differences.md#the-data-of-clean-ups)"
        yield Finding("MP2011", text, path, node.lineno)
    elif name in _SIGNED and (uses or owner == "Cookie"):
        yield Finding("MP2007", f"{name}: {_SIGNED_TEXT}", path, node.lineno)
    elif (name in _SESSIONS and (owner == "Session" or (not owner and uses))) and node.args:
        yield Finding("MP2006", f"{name}: {_SESSION_TEXT}", path, node.lineno)
        if any(keyword.arg == "secret" for keyword in node.keywords):
            yield Finding("MP2007", f"{name} with a secret: {_SIGNED_TEXT}", path, node.lineno)


def _attribute(path: str, node: ast.Attribute, owner: str) -> Iterator[Finding]:
    if owner == "req" and node.attr in _GONE:
        yield Finding("MP2008", f"req.{node.attr} is not there", path, node.lineno, f"Use {_GONE[node.attr]}.")
    elif owner == "apache" and node.attr in _INNER:
        yield Finding("MP2008", f"apache.{node.attr} is not there: it was the inside of mod_python", path, node.lineno)


def _assignment(path: str, node: ast.Assign) -> Iterator[Finding]:
    for target in node.targets:
        if not isinstance(target, ast.Subscript) or not isinstance(target.value, ast.Call):
            continue
        function = target.value.func
        if isinstance(function, ast.Attribute) and function.attr in ("get_config", "get_options"):
            text = f"writing to {function.attr}() changes a copy (docs/differences.md#tables-of-the-configuration)"
            yield Finding("MP2011", text, path, node.lineno)


def by_line(path: str, number: int, line: str) -> Iterator[Finding]:
    """The same of a line that cannot be parsed, as far as a line tells."""
    for name in _READS:
        if re.search(rf"\breq\.{name}\(", line):
            yield Finding("MP2005", f"req.{name}() gives bytes", path, number)
    for name in _GONE:
        if re.search(rf"\breq\.{name}\b", line):
            yield Finding("MP2008", f"req.{name} is not there", path, number, f"Use {_GONE[name]}.")
    for name in _SIGNED:
        if re.search(rf"\b{name}\b", line) and "import" not in line:
            yield Finding("MP2007", f"{name}: {_SIGNED_TEXT}", path, number)
    if re.search(r"\bSession\.(?:Session|\w+Session)\(", line):
        yield Finding("MP2006", f"Session: {_SESSION_TEXT}", path, number)
