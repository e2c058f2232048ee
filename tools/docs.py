"""Makes the documentation's site of docs/, the README and the package: `make docs`, target/docs/site. A broken link fails.

Pages are written in docs/. Those of directives, options and codes are sections of one file there, whose table tests compare with the
module; each becomes a page. The library's are made of its docstrings (docs_library). Links go by the names that files have in the
repository, so that they hold there, too; a directive's or an option's name in code leads to its page by itself.
"""

from __future__ import annotations

import html
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, NamedTuple

import docs_library
import docs_manual

PROJECT = Path(__file__).resolve().parent.parent
OUTPUT = PROJECT / "target/docs"
NAMED = {
    "README.md": "index.md",
    "src/README.md": "inside.md",
    "LICENSE": "LICENSE.txt",
    "docs/mod_python.1": "command.md",
}
"""Files that have another name on the site; docs/x is x, and everything else as it is."""
COPIED = (
    *("CHANGELOG.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md", "LICENSE", "README.md", "src/README.md"),
    *("bench/report.md", "bench/quick.md"),
)
FENCE = re.compile(r"^(```.*?^```\n?)", re.M | re.S)
PIECE = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))|(?<![`\[])`([^`\n]+)`(?!`)")
"""A link, or a piece of code."""
TITLE = re.compile(r"\*\*(.*?)\*\* \((\w+)\)")
"""What a section of docs/codes.md begins with: what it is, and the level."""
ROW = re.compile(r"^\| `([\w.]+)` \| (.*) \|$", re.M)

GUIDE = (
    "handlers",
    "publisher",
    "psp",
    "forms",
    "sessions",
    "wsgi",
    "asgi",
    "daemons",
    "phases",
    "filters",
    "interpreters",
    "testing",
)
"""The guide's chapters, in the order in which they are read."""


class Split(NamedTuple):
    """A file whose sections are pages."""

    source: str
    level: str
    """What a section's heading begins with."""
    page: Callable[[str, list[str], str], str]
    """Makes a page of a name, the cells of its row, and the section's text."""


def cells(row: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)]


def facts(*rows: tuple[str, str]) -> str:
    """A table of two columns without a head."""
    lines = "".join(f"| {name} | {value.replace('|', chr(92) + '|')} |\n" for name, value in rows if value.strip("` "))
    return f"| | |\n| --- | --- |\n{lines}"


def directive(name: str, row: list[str], text: str) -> str:
    """A directive's page."""
    arguments, context, default, help = row
    syntax = f"`{name} {arguments.strip('`')}`"
    said = facts(("Syntax", syntax), ("Context", context), ("Default", default))
    return f"# {name}\n\n{help[:1].upper()}{help[1:]}.\n\n{said}\n{text}"


def option(name: str, row: list[str], text: str) -> str:
    """A PythonOption's page."""
    values, default, help = row
    said = facts(("Syntax", f"`PythonOption {name} {values.strip('`')}`"), ("Default", default))
    return f"# {name}\n\n{help[:1].upper()}{help[1:]}.\n\n{said}\n{text}"


def code(name: str, row: list[str], text: str) -> str:
    """A code's page."""
    title = TITLE.match(text)
    return f"# {name}: {title[1]}\n\nLevel: {title[2]}.\n{text[title.end() :]}" if title else f"# {name}\n\n{text}"


SPLITS = (
    Split("docs/directives.md", "##", directive),
    Split("docs/options.md", "##", option),
    Split("docs/codes.md", "###", code),
)


def slug(text: str, separator: str = "-") -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", separator)


def sections(text: str, level: str) -> dict[str, str]:
    """The texts below headings of a level, up to the next one of it or a higher one."""
    parts = re.split(rf"^(#{{1,{len(level)}}}) (.*)\n", text, flags=re.M)
    return {
        title: body.strip() + "\n" for mark, title, body in zip(parts[1::3], parts[2::3], parts[3::3]) if mark == level
    }


def brief(section: str) -> str:
    """What stays of a section that has become a page: a line for one that has a title."""
    heading, _, text = section.partition("\n\n")
    title = TITLE.match(text)
    return f"- `{heading.split()[-1]}` {title[1]} ({title[2]})\n" if title else ""


def shown(code: str) -> str:
    """A piece of code with a stroke that is no cell's end: GitHub takes the backslash away, Markdown's table does not."""
    return f"<code>{html.escape(code.strip('`')).replace(chr(92) + '|', '&#124;')}</code>" if "\\|" in code else code


class Site:
    """The pages: what each is made of, and where links lead."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        """Texts by their path on the site; their links are those of the site already, or absolute in the repository (`/docs/…`)."""
        self.files: dict[str, Path] = {}
        """What is copied as it is."""
        self.anchors: dict[tuple[str, str], str] = {}
        """The page that a section of a file has become."""
        self.names: dict[str, str] = {}
        """The page of a directive, an option, a code."""
        self.origin: dict[str, str] = {}
        """The file in the repository that a page is made of."""
        self.children: dict[str, list[str]] = {}

    def place(self, source: str) -> str:
        """Where a file of the repository is on the site."""
        return NAMED.get(source, source.removeprefix("docs/"))

    def read(self) -> None:
        """Take in everything that there is."""
        for path in sorted([*(PROJECT / "docs").rglob("*"), *(PROJECT / name for name in COPIED)]):
            source = path.relative_to(PROJECT).as_posix()
            if path.is_dir() or source.startswith("docs/theme/") or source == "docs/requirements.txt":
                continue
            if path.suffix == ".md":
                self.add(self.place(source), path.read_text(), source)
            elif source == "docs/mod_python.1":
                self.add("command.md", docs_manual.page(path.read_text()), source)
            else:
                self.files[self.place(source)] = path
        for picture in (PROJECT / "bench").glob("*.png"):
            self.files[f"bench/{picture.name}"] = picture
        for split in SPLITS:
            self.split(split)
        for name, text in docs_library.pages(PROJECT / "python/mod_python"):
            place = "library.md" if name == "index" else f"library/{name}.md"
            self.add(place, text, "docs/objects.md")
            if name != "index":
                self.children.setdefault("library.md", []).append(place)

    def add(self, place: str, text: str, source: str) -> None:
        """A page, and what it is made of."""
        self.pages[place], self.origin[place] = text, source

    def split(self, split: Split) -> None:
        """Make a page of each section, and a list of them in place of the file."""
        place = self.place(split.source)
        text = self.pages[place]
        found = sections(text, split.level)
        rows = {name: cells(rest) for name, rest in ROW.findall(text)} or {name: [] for name in found}
        for name, row in rows.items():
            page = f"{place.removesuffix('.md')}/{name}.md"
            self.add(page, split.page(name, row, found.get(name, "")), split.source)
            self.names[name] = page
            self.anchors[split.source, slug(name)] = page
            self.children.setdefault(place, []).append(page)
        body = rf"^{split.level} (?:{'|'.join(map(re.escape, rows))})\n.*?(?=^#{{1,{len(split.level)}}} |\Z)"
        self.pages[place] = re.sub(body, lambda match: brief(match[0]), text, flags=re.M | re.S)

    def finished(self, place: str) -> str:
        """A page's text with its links as they are on the site."""
        text = re.sub(r"^```mermaid\n.*?^```\n", "", self.pages[place], flags=re.M | re.S)
        linked: set[str] = {place}

        def relative(target: str) -> str:
            return os.path.relpath(target, os.path.dirname(place) or ".")

        def piece(match: re.Match[str]) -> str:
            if match[2]:
                return match[1] + self.link(place, match[2]) + match[3]
            first = match[4].removeprefix("PythonOption ").split(" ")[0]
            target = self.names.get(first) or self.names.get(match[4].split(" ")[0])
            if target is None or target in linked:
                return shown(match[0])
            linked.add(target)
            return f"[{shown(match[0])}]({relative(target)})"

        lines: list[str] = []
        for part in FENCE.split(text):
            if part.startswith("```"):
                lines.append(part)
                continue
            for line in part.splitlines(keepends=True):
                untouched = line.startswith(("#", "    ")) or "](#" in line
                lines.append(line if untouched else PIECE.sub(piece, line))
        return "".join(lines)

    def link(self, place: str, target: str) -> str:
        """Where a link leads; one that leads nowhere is left as it is, for the site's own check to find."""
        if "://" in target or target.startswith(("#", "mailto:")):
            return target
        path, _, anchor = target.partition("#")
        source = os.path.normpath(os.path.join(os.path.dirname(self.origin[place]), path))
        page = self.anchors.get((source, anchor))
        if page is None:
            page = self.place(source)
        else:
            anchor = ""
        found = os.path.relpath(page, os.path.dirname(place) or ".")
        return f"{found}#{anchor}" if anchor else found

    def write(self, folder: Path) -> None:
        """Write all pages and files into an empty directory."""
        shutil.rmtree(folder, ignore_errors=True)
        for place in self.pages:
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.finished(place))
        for place, source in self.files.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path)

    def nav(self) -> list[Any]:
        """The order of pages; one in docs/ that nobody has named stands with what is about running."""
        guide = [f"guide/{name}.md" for name in GUIDE]
        moving = ["moving.md", "differences.md"]
        how = ["how.md", "inside.md", "bench/report.md"]
        project = ["CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "RELEASING.md"]
        reference: list[Any] = [
            self.branch(place) for place in ("directives.md", "options.md", "codes.md", "library.md")
        ]
        reference += ["objects.md", "command.md"]
        running = ["deployment.md", "operations.md", "check.md", "logging.md", "asgi.md", "hostile.md"]
        named = {
            *guide,
            *moving,
            *how,
            *project,
            *running,
            "objects.md",
            "command.md",
            "index.md",
            "start.md",
            "bench/quick.md",
        }
        named |= {place for children in self.children.items() for place in (children[0], *children[1])}
        running[1:1] = sorted(self.pages.keys() - named)
        return [
            {"Overview": "index.md"},
            {"Start": "start.md"},
            {"Guide": guide},
            {"Running it": running},
            {"Moving here": moving},
            {"Reference": reference},
            {"How it works": how},
            {"Project": project},
        ]

    def branch(self, place: str) -> dict[str, Any]:
        """A page that others are below."""
        title = re.match(r"# (.*)", self.pages[place])
        below = [{Path(child).stem.removeprefix("mod_python."): child} for child in self.children[place]]
        return {title[1] if title else place: [place, *below]}


def build(folder: Path) -> None:
    """Make the site; every warning is an error."""
    from mkdocs.commands import build as making
    from mkdocs.config import load_config
    from pygments.formatters import HtmlFormatter

    site = Site()
    site.read()
    pages = folder / "pages"
    site.write(pages)
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    (pages / "code.css").write_text(f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n")
    (folder / "mkdocs.yml").write_text("site_name: mod_python\n")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    checks = dict.fromkeys(("not_found", "anchors", "absolute_links", "unrecognized_links"), "warn")
    config = load_config(
        str(folder / "mkdocs.yml"),
        docs_dir=str(pages),
        site_dir=str(folder / "site"),
        theme={"name": None, "custom_dir": str(PROJECT / "docs/theme"), "static_templates": ["404.html"]},
        nav=site.nav(),
        strict=True,
        use_directory_urls=False,
        plugins=["search"],
        validation={"links": checks, "nav": {"omitted_files": "ignore", "not_found": "warn"}},
        markdown_extensions=[
            "sane_lists",
            {"codehilite": {"css_class": "highlight", "guess_lang": False}},
            {"toc": {"slugify": slug, "permalink": "#"}},
        ],
    )
    making.build(config)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else OUTPUT)
