"""What is written in several places says the same everywhere."""

from __future__ import annotations

import ast
import json
import re

import pytest
from conftest import Serve, Server
from mod_python import httpdconf

from httpd import PROJECT

CITED = re.compile(r"\b(docs/\w+\.md)#([\w-]+)")
HANDLER = """
import json
import _apache
from mod_python import apache

def names(object):
    return sorted(name for name in dir(object) if not name.startswith("__"))

def docs(object):
    return {name: getattr(object, name).__doc__ for name in names(object)}

def outputfilter(filter):
    filter.req.filter_docs = docs(type(filter))
    filter.pass_on()

def handler(req):
    kinds = {kind.__name__: names(kind) for kind in map(type, (req, req.server, req.connection, req.finfo, req.hlist))}
    kinds["table"] = names(apache.table)
    objects = (req, req.server, req.connection, req.finfo, req.hlist)
    kinds["docs"] = {kind.__name__: docs(kind) for kind in map(type, objects)}
    kinds["docs"]["table"] = docs(apache.table)
    req.register_output_filter("seen", "tells")
    req.add_output_filter("seen")
    req.write("\\n")
    kinds["docs"]["mp_filter"] = req.filter_docs
    functions = {name: getattr(_apache, name) for name in names(_apache)}
    kinds["docs"]["_apache"] = {
        name: function.__doc__
        for name, function in functions.items()
        if callable(function) and not isinstance(function, type)
    }
    kinds["module"] = [name for name in names(_apache)]
    kinds["constants"] = {
        name: value for name, value in vars(apache).items() if name.isupper() and isinstance(value, int)
    }
    kinds["directives"] = _apache._directives()
    req.content_type = "application/json"
    req.write(json.dumps(kinds))
    return apache.OK
"""


@pytest.fixture(scope="module")
def running(serve_module: Serve) -> dict[str, object]:
    server: Server = serve_module(
        "<Location />\nSetHandler mod_python\nPythonHandler tells\nPythonPath \"sys.path+['@ROOT@/apps']\"\n</Location>\n",
        start=False,
    )
    server.write("apps/tells.py", HANDLER)
    server.start()
    answer = json.loads(server.ok("/").text)
    assert isinstance(answer, dict)
    return answer


def test_the_stub_is_the_module(running: dict[str, list[str]]) -> None:
    tree = ast.parse((PROJECT / "python/_apache.pyi").read_text())
    classes = {node.name: names_of(node.body) for node in tree.body if isinstance(node, ast.ClassDef)}
    for kind in ("mp_request", "mp_server", "mp_conn", "mp_finfo", "mp_hlist", "table"):
        assert sorted(classes[kind]) == running[kind], kind
    top = names_of(tree.body) | {"SERVER_RETURN", "table"}
    assert sorted(top - {"_T", "_Text"}) == running["module"]


def test_the_page_of_objects_is_the_module(running: dict[str, dict[str, dict[str, str]]]) -> None:
    page = (PROJECT / "docs/objects.md").read_text()
    sections = re.split(r"^## ", page, flags=re.M)[1:]
    found = [dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", section, re.M)) for section in sections]
    order = ("mp_request", "mp_server", "mp_conn", "mp_hlist", "mp_finfo", "table", "mp_filter", "_apache")
    for kind, rows in zip(order, found):
        assert {name: text.replace("\\|", "|") for name, text in rows.items()} == running["docs"][kind], kind
    absent = re.findall(r"^\| `(\w+)` \| not there: [^|]+ \| \|$", page, re.M)
    assert absent and not set(absent) & set(running["docs"]["mp_request"])


def names_of(body: list[ast.stmt]) -> set[str]:
    names = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    names |= {node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    return {name for name in names if not name.startswith("__")}


def test_the_readme_lists_every_directive(running: dict[str, list[list[str]]]) -> None:
    readme = (PROJECT / "README.md").read_text()
    rows = re.findall(r"^\| `(Python\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", readme, re.M)
    table = [[cell.replace("\\|", "|").strip("`") for cell in row] for row in rows]
    assert table == running["directives"]


def test_configurations_in_python_know_every_directive(running: dict[str, list[list[str]]]) -> None:
    directives = [row[0] for row in running["directives"]]
    assert sorted(name for name in httpdconf.__all__ if name.startswith("Python")) == sorted(directives)
    for name in directives:
        made = vars(httpdconf)[name]("some value")
        assert (str(made), repr(made)) == (f"{name} some value\n", f"{name}('some value')")


def test_the_readme_is_run() -> None:
    """Its handler is the example that `make run` serves."""
    readme = (PROJECT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    for name in ("mp.py", "hello_wsgi.py"):
        example = (PROJECT / "examples" / name).read_text()
        assert any(normal(block) == normal(example) for block in blocks), name


def test_the_wsgi_example_is_one_line(serve: Serve) -> None:
    readme = (PROJECT / "README.md").read_text()
    blocks = re.findall(r"```apache\n(.*?)```", readme, re.S)
    (block,) = [block for block in blocks if "PythonWSGI" in block]
    server = serve(block.replace("/srv/site", "@ROOT@/apps"), start=False)
    server.write("apps/hello_wsgi.py", (PROJECT / "examples/hello_wsgi.py").read_text())
    assert server.start().get("/").text == "Hello World!"


def normal(text: str) -> str:
    return ast.unparse(ast.parse(text))


def test_constants_have_their_values(running: dict[str, dict[str, int]]) -> None:
    constants = running["constants"]
    expected = {
        "OK": 0,
        "DECLINED": -1,
        "DONE": -2,
        "HTTP_OK": 200,
        "HTTP_NOT_FOUND": 404,
        "HTTP_NOT_EXTENDED": 510,
        "APLOG_ERR": 3,
        "FINFO_FILETYPE": 12,
        "URI_FRAGMENT": 8,
        "M_INVALID": 26,
        "M_OPTIONS": 5,
        "PROXYREQ_RESPONSE": 3,
        "APR_REG": 1,
        "APR_DIR": 2,
        "REMOTE_DOUBLE_REV": 3,
    }
    assert {name: constants[name] for name in expected} == expected


def test_every_verb_of_the_makefile_is_listed() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    assert len(makefile.splitlines()) <= 80
    for verb in ["build", "run", "test", "lint", "fmt", "install"]:
        assert re.search(rf"^{verb}:.*##", makefile, re.M), verb


def test_versions_agree() -> None:
    cargo = re.findall(r'^version = "(.*)"', (PROJECT / "Cargo.toml").read_text(), re.M)[0]
    package = re.findall(r'^version = "(.*)"', (PROJECT / "python/mod_python/version.py").read_text(), re.M)[0]
    assert cargo == package
    assert f"## {cargo}" in (PROJECT / "CHANGELOG.md").read_text()


def test_the_picture_of_the_layers_is_their_table() -> None:
    page = (PROJECT / "src/README.md").read_text()
    table = page[page.index("| layer |") :].split("\n\n")[0]
    rows = [", ".join(re.findall(r"`([^`]+)`", row.split("|")[1])) for row in table.splitlines()[2:]]
    picture = re.findall(r"```mermaid\n(.*?)```", page, re.S)[0]
    shown = re.findall(r"\w+\[\"(.*?)\"\]", picture)
    assert shown == [row for row in rows if row != "fuzz.rs"]
    assert all((PROJECT / "src" / name).exists() for row in rows for name in row.split(", "))


def test_what_is_cited_is_there() -> None:
    """Sections of docs/ that code, tests and other pages name, and the files that pages link to."""
    files = [path for folder in ("src", "tests", "python", "tools", "docs") for path in (PROJECT / folder).rglob("*.*")]
    texts = {path: path.read_text() for path in files if path.suffix in (".rs", ".py", ".sh", ".md")}
    texts |= {path: path.read_text() for path in PROJECT.glob("*.md")}
    cited = {(PROJECT / page, anchor) for text in texts.values() for page, anchor in CITED.findall(text)}
    assert len(cited) > 15
    for path, text in texts.items():
        if path.suffix == ".md":
            linked = (link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link)
            for page, _, anchor in (link.partition("#") for link in linked):
                assert not page or (path.parent / page).exists(), (path, page)
                cited.add((path.parent / page if page else path, anchor))
    for page, anchor in cited:
        headings = re.findall(r"^#+ (.*)$", texts[page], re.M) if anchor else []
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or slugs.count(anchor) == 1, (page, anchor)
