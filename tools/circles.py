#!/usr/bin/env python3
"""Fails on a circle of files in src/ and bench/, and on an arrow of src/ that goes up.

An arrow is a file that uses another: in src/ by a path (`use crate::…`, `super::…`, in expressions, too), in bench/ by an import.
A declaration (`mod x;`) is none, nor is what only tests use. A name that one file takes from a second, which has it from a third
(`pub use`), is an arrow to the third. The table of layers in src/README.md says which is above which, from the first row down; files of
one row may use each other, as long as there is no circle.

usage: tools/circles.py [--list] [project]
"""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

Module = tuple[str, ...]
Arrows = dict[str, set[str]]
"""What each file uses. Files are named by their paths below src/ or bench/."""


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Looks for circles of files, and for arrows that go up.")
    parser.add_argument("--list", action="store_true", help="print every arrow")
    parser.add_argument("project", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    chosen = parser.parse_args(arguments)
    faults = []
    for folder, arrows in (("src", rust(chosen.project / "src")), ("bench", python(chosen.project / "bench"))):
        if chosen.list:
            for file, other in sorted((file, other) for file, used in arrows.items() for other in used):
                print(f"{folder}/{file} -> {folder}/{other}")
        for circle in circles(arrows):
            faults.append(f"{folder}/: a circle of {len(circle)} files: {', '.join(circle)}")
            faults.append(f"  none without {', '.join(advice(circle, arrows))}")
        if folder == "src":
            faults += upward(arrows, layers((chosen.project / "src/README.md").read_text()))
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


# Circles


def circles(arrows: Arrows) -> list[list[str]]:
    """Files that use each other, by whatever way: the strongly connected components of more than one."""
    reached = {file: set(reachable(file, arrows)) for file in arrows}
    groups = {frozenset(other for other in found if file in reached.get(other, ())) for file, found in reached.items()}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def reachable(file: str, arrows: Arrows) -> Iterator[str]:
    """What a file uses, directly or not: the file itself where it is part of a circle."""
    seen: set[str] = set()
    waiting = [file]
    while waiting:
        for other in arrows.get(waiting.pop(), ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
                yield other


def advice(circle: list[str], arrows: Arrows) -> list[str]:
    """Arrows without which there is no circle: few, if not the fewest, each time the one that leaves the least."""
    rest = {file: arrows[file] & set(circle) for file in circle}
    removed = []
    while circles(rest):
        within = [(file, other) for group in circles(rest) for file in group for other in rest[file] & set(group)]
        file, other = min(sorted(within), key=lambda arrow: weight(without(arrow, rest)))
        rest = without((file, other), rest)
        removed.append(f"{file} -> {other}")
    return removed


def without(arrow: tuple[str, str], arrows: Arrows) -> Arrows:
    return {file: used - {arrow[1]} if file == arrow[0] else used for file, used in arrows.items()}


def weight(arrows: Arrows) -> int:
    return sum(len(arrows[file] & set(group)) for group in circles(arrows) for file in group)


# Layers


def layers(page: str) -> dict[str, int]:
    """The row of each file and folder that the first column of the table of layers names, from the top down."""
    rows = itertools.takewhile(lambda line: line.startswith("|"), page[page.index("| layer |") :].splitlines())
    cells = [row.split("|")[1] for row in rows][2:]
    return {name: place for place, cell in enumerate(cells) for name in re.findall(r"`([^`]+)`", cell)}


def upward(arrows: Arrows, order: dict[str, int]) -> list[str]:
    """Arrows to a layer above, and files that are in none. The longest name of the table that fits a file decides."""

    def row(file: str) -> Optional[int]:
        fits = [name for name in order if name == file or (name.endswith("/") and file.startswith(name))]
        return order[max(fits, key=len)] if fits else None

    faults = [f"src/{file}: src/README.md names no layer of it" for file in sorted(arrows) if row(file) is None]
    for file, used in sorted(arrows.items()):
        for other in sorted(used):
            here, there = row(file), row(other)
            if here is not None and there is not None and there < here:
                faults.append(f"src/{file} -> src/{other}: an arrow upward")
    return faults


# Rust

TOKEN = re.compile(
    r"""
    (?: \s+ | //[^\n]* | /\*.*?\*/ | [bc]?r(\#*)".*?"\1 | [bc]?"(?:\\.|[^"\\])*" | b?'(?:\\.[^']*|[^\\'])' | '\w+ )
    | ( \w+(?:::\w+)* | :: | . )
    """,
    re.X | re.S,
)
"""What says nothing here (comments, texts, lifetimes), or a token; a path is one."""


def rust(root: Path) -> Arrows:
    """The arrows of a crate, from its `lib.rs` on."""
    crate = Crate(root)
    crate.read(root / "lib.rs", ())
    arrows: Arrows = {file: set() for file in crate.files.values()}
    for module, path in crate.paths:
        file, other = crate.files[module], crate.file_of(module, path)
        if file != other:
            arrows[file].add(other)
    return arrows


class Crate:
    """The modules of a crate, and what their code names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[Module, str] = {}
        self.imports: dict[Module, dict[str, Module]] = {}
        """The names that a module imports, and their paths."""
        self.paths: list[tuple[Module, Module]] = []
        """A module, and a path as it stands there."""

    def read(self, path: Path, module: Module) -> None:
        """Reads a file, and those of the modules that it declares."""
        self.files[module] = path.relative_to(self.root).as_posix()
        tokens = without_tests([match[2] for match in TOKEN.finditer(path.read_text()) if match[2]])
        handed_on: list[tuple[Module, str, Module]] = []
        words: set[str] = set()
        within, depth = [(module, 0)], 0  # inline modules, and how deep in braces they begin
        at = 0
        while at < len(tokens):
            token, before, here = tokens[at], tokens[at - 1] if at else "", within[-1][0]
            if token == "mod":
                child = (*here, tokens[at + 1])
                at += 2
                if tokens[at] == "{":
                    self.files[child] = self.files[module]
                    depth += 1
                    within.append((child, depth))
                else:
                    place = self.root.joinpath(*child)
                    self.read(place / "mod.rs" if (place / "mod.rs").exists() else place.with_suffix(".rs"), child)
            elif token == "use" and tokens[at + 1] != "<":  # as in `impl Trait + use<'a>`
                end = tokens.index(";", at)
                for name, path_of in spread(tokens[at + 1 : end]):
                    self.imports.setdefault(here, {})[name] = path_of
                    if before in ("pub", ")"):
                        handed_on.append((here, name, path_of))
                    else:
                        self.paths.append((here, path_of))
                at = end
            elif token == "{":
                depth += 1
            elif token == "}":
                if depth == within[-1][1]:
                    within.pop()
                depth -= 1
            elif "::" in token and len(token) > 2 and before != "::" and tokens[at - 3 : at] != ["pub", "(", "in"]:
                self.paths.append((here, tuple(token.split("::"))))
                words.add(token.split("::")[0])
            elif before not in ("::", "."):
                words.add(token)
            at += 1
        self.paths += [(here, path_of) for here, name, path_of in handed_on if name in words]

    def file_of(self, module: Module, path: Module) -> str:
        """The file that a path leads to; the module's own where it leads out of the crate, or to a name of the module."""
        seen: set[tuple[Module, Module]] = set()
        while (module, path) not in seen:
            seen.add((module, path))
            place: Module = ()
            if path[0] == "crate":
                path = path[1:]
            elif path[0] in ("self", "super") or (*module, path[0]) in self.files:
                place = module
            else:
                return self.files[module]
            while path and (path[0] in ("self", "super") or (*place, path[0]) in self.files):
                place = place[:-1] if path[0] == "super" else place if path[0] == "self" else (*place, path[0])
                path = path[1:]
            further = self.imports.get(place, {}).get(path[0]) if path else None
            if further is None or not self.is_ours(place, further):
                return self.files[place]
            module, path = place, further + path[1:]
        return self.files[module]

    def is_ours(self, module: Module, path: Module) -> bool:
        return path[0] in ("crate", "self", "super") or (*module, path[0]) in self.files


def spread(tree: list[str]) -> Iterator[tuple[str, Module]]:
    """The names and paths of a `use`, without its braces."""
    prefixes: list[Module] = [()]
    path, name = prefixes[-1], ""
    for before, token in zip(["", *tree], [*tree, ","]):
        if token == "{":
            prefixes.append(path)
            name = ""
        elif token in (",", "}"):
            if name:
                yield name, path
            if token == "}":
                prefixes.pop()
            path, name = prefixes[-1], ""
        elif before == "as":
            name = token
        elif token not in ("::", "as"):
            path += tuple(word for word in token.split("::") if word != "self" or not path)
            name = path[-1]


def without_tests(tokens: list[str]) -> list[str]:
    """What is left when everything below `#[cfg(test)]` is gone."""
    kept: list[str] = []
    at = 0
    while at < len(tokens):
        if tokens[at : at + 2] != ["#", "["]:
            kept.append(tokens[at])
            at += 1
            continue
        end = closing(tokens, at + 1)
        condition = tokens[at + 2 : end]
        at = end + 1
        if condition[:1] == ["cfg"] and "test" in condition and not {"any", "not"} & set(condition):
            while tokens[at : at + 2] == ["#", "["]:
                at = closing(tokens, at + 1) + 1
            while tokens[at] not in (";", "{") or ("use" in tokens[at - 3 : at] and tokens[at] == "{"):
                at = closing(tokens, at) + 1 if tokens[at] in ("(", "[", "{") else at + 1
            at = closing(tokens, at) + 1 if tokens[at] == "{" else at + 1
    return kept


def closing(tokens: list[str], at: int) -> int:
    """Where the bracket at this place is closed."""
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place] in ("(", "[", "{")) - (tokens[place] in (")", "]", "}"))
        if not depth:
            return place
    raise ValueError("a bracket is never closed")


# Python


def python(root: Path) -> Arrows:
    """The arrows of a folder of Python files, each a module."""
    arrows: Arrows = {}
    files = {path.stem: path.name for path in sorted(root.glob("*.py"))}
    for file in files.values():
        tree = ast.parse((root / file).read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        arrows[file] = {files[name] for name in names if name in files} - {file}
    return arrows


if __name__ == "__main__":
    sys.exit(main())
