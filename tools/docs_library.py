"""The library's reference: a page for each module that users import, of its source. Nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional, Union

MODULES = (
    *("apache", "util", "Cookie", "Session", "psp", "publisher", "cache", "testing", "status", "metrics"),
    *("wsgi", "asgi", "cgihandler", "testhandler", "httpdconf"),
)
Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Named(NamedTuple):
    """What a module offers under a name."""

    name: str
    node: ast.stmt
    doc: str
    """What stands behind a constant."""


def pages(package: Path) -> Iterator[tuple[str, str]]:
    """Names of modules and their pages; `index` lists them."""
    rows = []
    for name in MODULES:
        tree = ast.parse((package / f"{name}.py").read_text())
        first = (ast.get_docstring(tree) or "").split("\n\n")[0].split("\n")[0]
        rows.append(f"| [`mod_python.{name}`](library/{name}.md) | {prose(first)} |\n")
        yield name, module(package, name, tree)
    yield (
        "index",
        "# The library\n\nWhat handlers import. The native objects (`req`, its connection and server, tables, filters) are in\n"
        "[the page of objects](objects.md).\n\n| module | |\n| --- | --- |\n" + "".join(rows),
    )


def module(package: Path, name: str, tree: ast.Module) -> str:
    """A module's page."""
    found = list(offered(package, tree))
    text = f"# mod_python.{name}\n\n{prose(ast.get_docstring(tree) or '')}\n"
    functions = [one for one in found if isinstance(one.node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    classes = [one for one in found if isinstance(one.node, ast.ClassDef)]
    constants = [one for one in found if isinstance(one.node, (ast.Assign, ast.AnnAssign))]
    for one in functions:
        assert isinstance(one.node, (ast.FunctionDef, ast.AsyncFunctionDef))
        text += f"\n## {one.name}\n\n{signature(one.node)}{prose(ast.get_docstring(one.node) or '')}\n"
    for one in classes:
        assert isinstance(one.node, ast.ClassDef)
        text += kind(one.name, one.node)
    if constants:
        text += "\n## Constants\n\n| name | value | |\n| --- | --- | --- |\n"
        text += "".join(constant(one) for one in constants)
    return text


def offered(package: Path, tree: ast.Module) -> Iterator[Named]:
    """What a module defines, and what it takes from a module with an underscore under the same name (`import x as x`)."""
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mod_python._"):
            source = package / f"{(node.module or '').removeprefix('mod_python.').replace('.', '/')}.py"
            kept = [
                alias.asname for alias in node.names if alias.asname == alias.name and not alias.name.startswith("_")
            ]
            if kept and source.is_file():
                there = {one.name: one for one in offered(package, ast.parse(source.read_text()))}
                yield from (there[name] for name in kept if name in there)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if not node.name.startswith("_"):
                yield Named(node.name, node, "")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
                yield Named(target.id, node, doc_behind(tree.body, place))


def doc_behind(body: list[ast.stmt], place: int) -> str:
    """The text that stands as a statement behind another one."""
    after = body[place + 1] if place + 1 < len(body) else None
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return after.value.value
    return ""


def kind(name: str, node: ast.ClassDef) -> str:
    """A class: how it is made, then its methods."""
    methods = {one.name: one for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
    first = methods.pop("__init__", None)
    bases = [ast.unparse(base) for base in node.bases if not ast.unparse(base).lstrip("*").startswith("_")]
    text = f"\n## {name}\n\n"
    text += signature(first, name, is_method=True) if first else f"```python\nclass {name}({', '.join(bases)})\n```\n\n"
    documented = [ast.get_docstring(node), ast.get_docstring(first) if first else None]
    text += "\n\n".join(prose(doc) for doc in documented if doc) + "\n"
    if first and bases:
        text += "\nA kind of " + ", ".join(f"`{base}`" for base in bases) + ".\n"
    for method in methods.values():
        doc = ast.get_docstring(method)
        if (
            method.name.startswith("_")
            or not doc
            or any(".setter" in ast.unparse(one) for one in method.decorator_list)
        ):
            continue
        is_property = any(ast.unparse(one).endswith("property") for one in method.decorator_list)
        shown = f"```python\n{name}.{method.name}\n```\n\n" if is_property else signature(method, is_method=True)
        text += f"\n### {name}.{method.name}\n\n{shown}{prose(doc)}\n"
    return text


def signature(node: Function, name: Optional[str] = None, is_method: bool = False) -> str:
    """A function as it is called, with the types of what it takes and gives; a long one an argument a line."""
    parts = parameters(node.args)
    if is_method and not any(ast.unparse(one) == "staticmethod" for one in node.decorator_list):
        del parts[0]
        parts = parts[1:] if parts[:1] == ["/"] else parts
    returned = f" -> {ast.unparse(node.returns)}" if node.returns and name is None else ""
    start = ("async " if isinstance(node, ast.AsyncFunctionDef) else "") + (name or node.name)
    text = f"{start}({', '.join(parts)}){returned}"
    if len(text) > 96:
        text = f"{start}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returned}"
    return f"```python\n{text}\n```\n\n"


def parameters(arguments: ast.arguments) -> list[str]:
    """What a function takes, each as it is written, with the marks between them."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    parts = [parameter(argument, default) for argument, default in zip(plain, defaults)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        parts.append("*" + ast.unparse(arguments.vararg))
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [parameter(argument, default) for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    return parts + (["**" + ast.unparse(arguments.kwarg)] if arguments.kwarg else [])


def parameter(argument: ast.arg, default: Optional[ast.expr]) -> str:
    """One of them."""
    text = ast.unparse(argument)
    equals = " = " if argument.annotation else "="
    return text if default is None else f"{text}{equals}{ast.unparse(default)}"


def constant(one: Named) -> str:
    """A constant's row."""
    value = one.node.value if isinstance(one.node, (ast.Assign, ast.AnnAssign)) else None
    text = ast.unparse(value) if value is not None else ""
    shown = f"`{text}`".replace("|", "\\|") if text and len(text) < 60 else ""
    return f"| `{one.name}` | {shown} | {prose(one.doc).replace(chr(10), ' ').replace('|', chr(92) + '|')} |\n"


def prose(doc: str) -> str:
    """A docstring as Markdown: pieces of code, and blocks behind `::`."""
    out: list[str] = []
    for block in re.split(r"\n\n+", doc):
        if block.startswith("    ") or (out and out[-1].startswith("    ") and block.startswith(" ")):
            out.append("\n".join(f"    {line[4:]}" if line.startswith("    ") else line for line in block.split("\n")))
            continue
        block = re.sub(r"::$", ":", block.rstrip()) if block.strip() != "::" else ""
        if block:
            out.append(re.sub(r"``([^`]+)``", r"`\1`", escaped(block)))
    return "\n\n".join(out)


def escaped(text: str) -> str:
    """What would be HTML or emphasis stands as it is; code does so anyway."""
    parts = re.split(r"(``[^`]+``)", text)
    return "".join(part if part.startswith("``") else re.sub(r"([<*_])", r"\\\1", part) for part in parts)
