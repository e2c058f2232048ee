"""What a handler's code meets here that mod_python 3.x did otherwise: docs/differences.md and docs/moving.md say more."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
from collections.abc import Iterator

from mod_python._doctor.findings import Finding
from mod_python._migrate import application_rules, both

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
_LOOKED_AT = ("apache", "util", "Session", "Cookie", "psp", "publisher", "cache")
_PACKAGE = ("mp_version", "version", "_apache")
"""What the package itself has beside its modules."""
_TAKE_BYTES = (
    "len",
    "loads",
    "write",
    "BytesIO",
    "b64decode",
    "b64encode",
    "md5",
    "sha1",
    "sha256",
    "update",
    "fromstring",
    "unpack",
)
"""Functions that are content with bytes."""
_HANDLERS = re.compile(
    r"(?:post(?:readrequest)|trans|headerparser|init|access|authen|authz|type|fixup|log|cleanup)?handler"
)
_SESSION_TEXT = "sessions are JSON, no pickles (docs/differences.md#sessions): values are texts, numbers, lists, dictionaries, sets, dates and such, not objects of your own"
_SIGNED_TEXT = "signatures are HMAC-SHA-256 (docs/differences.md#signed-cookies): what clients have is not taken"


def check(path: str, tree: ast.Module, is_page: bool = False) -> Iterator[Finding]:
    """A module that parses, or a page. What is about `req` is told where the name is `req`, as everybody calls it."""
    uses = is_page or _uses_mod_python(tree)
    decoded = _decoded(tree)
    yield from _modules(path, tree)
    for node in both.nodes(tree):
        if isinstance(node, ast.FunctionDef) and uses:
            yield from _function(path, node)
        elif isinstance(node, ast.Call):
            yield from _call(path, node, uses, decoded)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from _attribute(path, node, node.value.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("mod_wsgi."):
            yield Finding("MP2013", f"environ has no {node.value}", path, node.lineno)
        elif isinstance(node, ast.Assign) and uses:
            yield from _assignment(path, node)
        if isinstance(node, ast.FunctionDef):
            yield from application_rules.check(path, node)
        if uses and isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name in _SIGNED:
                yield Finding("MP2007", f"{name}: {_SIGNED_TEXT}", path, node.lineno)


def _uses_mod_python(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mod_python":
            return True
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "mod_python" for alias in node.names):
            return True
    return False


def _modules(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Modules of mod_python, and what they do not have. A name that a module binds itself is its own."""
    imported: dict[str, str] = {}
    for node in both.nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "mod_python":
            for alias in node.names:
                imported[alias.asname or alias.name] = alias.name
                if alias.name != "*" and not is_there(alias.name):
                    yield Finding("MP2008", f"there is no mod_python.{alias.name}", path, node.lineno)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mod_python."):
            of = str(node.module)[len("mod_python.") :]
            for alias in node.names:
                if not is_there(of) or (alias.name != "*" and not _has(of, alias.name)):
                    yield Finding("MP2008", f"there is no mod_python.{of}.{alias.name}", path, node.lineno)
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    stored |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in both.nodes(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
            module = imported.get(node.value.id, "")
            if module and node.value.id not in stored and node.attr not in _INNER and not _has(module, node.attr):
                yield Finding("MP2008", f"{node.value.id}.{node.attr} is not there", path, node.lineno)


def is_there(name: str) -> bool:
    """Has this package such a module, or a name?"""
    return importlib.util.find_spec(f"mod_python.{name.split('.')[0]}") is not None or name in _PACKAGE


@functools.lru_cache(None)
def _has(module: str, name: str) -> bool:
    """Does a module of this package have a name? Of those that handlers use, and that can be imported outside httpd."""
    if module not in _LOOKED_AT:
        return True
    try:
        found = importlib.import_module(f"mod_python.{module}")
        # Some are set by httpd alone.
        return hasattr(found, name) or name in getattr(found, "__annotations__", {})
    except Exception:
        return True


def _decoded(tree: ast.Module) -> set[int]:
    """The calls that read bytes where bytes are meant: decoded at once or by the name that they are given, counted, written, parsed."""
    found: set[int] = set()
    names = {
        node.func.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "decode"
        and isinstance(node.func.value, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "decode":
            found.add(id(node.value))
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
            if called in _TAKE_BYTES:
                found.update(id(argument) for argument in node.args)
        elif isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id in names for one in node.targets
        ):
            found.add(id(node.value))
    return found


def _function(path: str, node: ast.FunctionDef) -> Iterator[Finding]:
    """A handler that returns nothing is a 500."""
    arguments = node.args.args
    if not _HANDLERS.fullmatch(node.name) or not arguments or arguments[-1].arg not in ("req", "request", "r"):
        return
    if all(isinstance(part, ast.Pass) or _is_text(part) for part in node.body):
        return
    inner = [child for child in ast.walk(node) if isinstance(child, (ast.Return, ast.Raise, ast.Yield))]
    ends = any(
        (getattr(child.func, "attr", "") or getattr(child.func, "id", "")) == "redirect"
        for child in ast.walk(node)
        if isinstance(child, ast.Call)
    )
    if not ends and not any(
        isinstance(child, ast.Raise) or getattr(child, "value", None) is not None for child in inner
    ):
        yield Finding("MP2009", f"{node.name} returns nothing", path, node.lineno)


def _is_text(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)


def _call(path: str, node: ast.Call, uses: bool, decoded: set[int]) -> Iterator[Finding]:
    function = node.func
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    value = function.value if isinstance(function, ast.Attribute) else None
    owner = value.id if isinstance(value, ast.Name) else ""
    if name in _READS and id(node) not in decoded:
        if owner == "req":
            yield Finding("MP2005", f"req.{name}() gives bytes", path, node.lineno)
        elif uses and isinstance(value, ast.Attribute) and value.attr == "file":
            yield Finding(
                "MP2005",
                f"{name}() of a field's file gives bytes",
                path,
                node.lineno,
                "Write .decode() where text is meant.",
            )
    elif owner == "req" and name == "register_cleanup" and len(node.args) > 1 and isinstance(node.args[1], ast.Tuple):
        text = "the clean-up is called with the tuple, not with its items (docs/differences.md#the-data-of-clean-ups)"
        yield Finding("MP2011", text, path, node.lineno)
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
