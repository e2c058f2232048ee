"""What is written in several places says the same everywhere."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
from typing import Any

import pytest
from conftest import Serve, Server
from mod_python import _forms, _outside, httpdconf
from mod_python.testing import FakeHandlerList, FakeRequest

from httpd import PROJECT

CITED = re.compile(r"\b(docs/\w+\.md)#([\w-]+)")
HANDLER = """
import inspect
import json
import _apache
from mod_python import apache

def names(object):
    # What begins so is for tests, and in test builds alone.
    return sorted(name for name in dir(object) if not name.startswith(("__", "_race")))

def called(object):
    return {name: getattr(object, name) for name in names(object) if inspect.isbuiltin(getattr(object, name))}

def signatures(object):
    found = {name: inspect.signature(function) for name, function in called(object).items()}
    if not inspect.ismodule(object):
        for name, signature in found.items():
            first, *others = inspect.signature(getattr(type(object), name)).parameters.values()
            assert first.name == "self" and others == list(signature.parameters.values()), name
    return {name: str(signature) for name, signature in found.items()}

def docs(object):
    found = {name: getattr(type(object), name).__doc__ for name in names(type(object))}
    return {**found, **documented(object)}

def documented(object):
    return {
        name: f"{name}{signature.replace(', /', '')}: {getattr(object, name).__doc__}"
        for name, signature in signatures(object).items()
    }

def misnamed(object):
    for name, function in called(object).items():
        parameters = inspect.signature(function).parameters.values()
        least = sum(parameter.default is parameter.empty for parameter in parameters)
        for count in [len(parameters) + 1, len(parameters) + 7, *range(least)]:
            try:
                function(*[None] * count)
            except TypeError as error:
                text = str(error)
            else:
                text = "it was called"
            # Of what takes no arguments Python says it, with the class or module in front.
            if not text.rpartition(".")[2].startswith(f"{name}() takes ") or not text.endswith(f" ({count} given)"):
                yield f"{name} with {count} arguments: {text}"

def outputfilter(filter):
    filter.req.filter = docs(filter), signatures(filter), list(misnamed(filter))
    filter.pass_on()

def handler(req):
    kinds = {kind.__name__: names(kind) for kind in map(type, (req, req.server, req.connection, req.finfo, req.hlist))}
    kinds["table"] = names(apache.table)
    objects = (req, req.server, req.connection, req.finfo, req.hlist)
    objects += (apache.table(),)
    named = {type(object).__name__.replace("mp_table", "table"): object for object in objects}
    named["_apache"] = _apache
    kinds["docs"] = {name: docs(object) for name, object in named.items() if object is not _apache}
    kinds["signatures"] = {name: signatures(object) for name, object in named.items()}
    kinds["misnamed"] = [text for object in named.values() for text in misnamed(object)]
    req.register_output_filter("seen", "tells")
    req.add_output_filter("seen")
    req.write("\\n")
    kinds["docs"]["mp_filter"], kinds["signatures"]["mp_filter"], wrong = req.filter
    kinds["misnamed"] += wrong
    kinds["docs"]["_apache"] = documented(_apache)
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


ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", re.M)


def rewritten(section: str, docs: dict[str, str]) -> str:
    """The section with a row for everything that there is; what it says of mod_python 3.5 stays, and a new one is new."""
    states = {name: state for name, state, _ in ROW.findall(section)}
    rows = [
        f"| `{name}` | {states.get(name, 'new')} | {docs[name].replace('|', chr(92) + '|')} |" for name in sorted(docs)
    ]
    found = list(ROW.finditer(section))
    return section[: found[0].start()] + "\n".join(rows) + section[found[-1].end() :]


def test_the_page_of_objects_is_the_module(running: dict[str, dict[str, dict[str, str]]]) -> None:
    """MOD_PYTHON_WRITE=1 has it written anew instead."""
    path = PROJECT / "docs/objects.md"
    sections = re.split(r"^(?=## )", path.read_text(), flags=re.M)
    order = ("mp_request", "mp_server", "mp_conn", "mp_hlist", "mp_finfo", "table", "mp_filter", "_apache")
    if os.environ.get("MOD_PYTHON_WRITE"):
        sections[1:9] = [rewritten(section, running["docs"][kind]) for kind, section in zip(order, sections[1:])]
        path.write_text("".join(sections))
    for kind, section in zip(order, sections[1:]):
        rows = {name: text.replace("\\|", "|") for name, _, text in ROW.findall(section)}
        assert rows == running["docs"][kind], kind
    absent = re.findall(r"^\| `(\w+)` \| not there: [^|]+ \| \|$", path.read_text(), re.M)
    assert absent and not set(absent) & set(running["docs"]["mp_request"])


def test_the_stub_has_the_signatures(running: dict[str, dict[str, dict[str, str]]]) -> None:
    tree = ast.parse((PROJECT / "python/_apache.pyi").read_text())
    bodies = {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    for kind, native in running["signatures"].items():
        body = tree.body if kind == "_apache" else bodies[kind]
        functions = [node for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("__")]
        assert sorted(node.name for node in functions) == sorted(native), kind
        for node in functions:
            text = signature_of(node.args, kind != "_apache")
            # What the stub does not say of a default may be anything.
            pattern = re.escape(text).replace(r"=\.\.\.", r"=[^,]+")
            assert re.fullmatch(pattern, native[node.name]), f"{kind}.{node.name}{text} is {native[node.name]}"


def test_wrong_calls_name_what_was_called(running: dict[str, list[str]]) -> None:
    """`filter.readline(1, 2)` was told of read()."""
    assert running["misnamed"] == []


def test_stand_ins_are_called_like_what_they_stand_for(running: dict[str, dict[str, dict[str, str]]]) -> None:
    request: Any = FakeRequest()
    hlist = FakeHandlerList("handler", None)
    stand_ins = {"mp_request": request, "mp_server": request.server, "mp_conn": request.connection, "mp_hlist": hlist}
    for kind, stand_in in {**stand_ins, "table": _outside.table(), "_apache": _outside}.items():
        native = running["signatures"][kind]
        found = vars(_outside) if stand_in is _outside else vars(type(stand_in))
        for name in sorted(found.keys() & native.keys()):
            signature = inspect.signature(getattr(stand_in, name))
            plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
            signature = signature.replace(parameters=plain, return_annotation=signature.empty)
            assert str(signature) == native[name], f"{kind}.{name}"


def signature_of(arguments: ast.arguments, is_method: bool) -> str:
    """As `inspect` writes it, of a bound method."""
    if is_method:
        (arguments.posonlyargs or arguments.args).pop(0)
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        argument.annotation = None
    return f"({ast.unparse(arguments)})"


def names_of(body: list[ast.stmt]) -> set[str]:
    names = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    names |= {node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    return {name for name in names if not name.startswith("__")}


def test_the_page_of_directives_is_the_module(running: dict[str, list[list[str]]]) -> None:
    """MOD_PYTHON_WRITE=1 has its table written anew instead."""
    path, row = (
        PROJECT / "docs/directives.md",
        re.compile(r"^\| `(Python\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", re.M),
    )
    if os.environ.get("MOD_PYTHON_WRITE"):
        text = path.read_text()
        rows = [[cell.replace("|", "\\|") for cell in cells] for cells in running["directives"]]
        lines = [f"| `{name}` | `{arguments}` | {' | '.join(rest)} |" for name, arguments, *rest in rows]
        found = list(row.finditer(text))
        path.write_text(text[: found[0].start()] + "\n".join(lines) + text[found[-1].end() :])
    table = [[cell.replace("\\|", "|").strip("`") for cell in found] for found in row.findall(path.read_text())]
    assert table == running["directives"], "MOD_PYTHON_WRITE=1 make test ARGS=tests/test_papers.py"


def test_configurations_in_python_know_every_directive(running: dict[str, list[list[str]]]) -> None:
    directives = [row[0] for row in running["directives"]]
    assert sorted(name for name in httpdconf.__all__ if name.startswith("Python")) == sorted(directives)
    for name in directives:
        made = vars(httpdconf)[name]("some value")
        assert (str(made), repr(made)) == (f"{name} some value\n", f"{name}('some value')")


def test_the_table_of_options_has_what_the_package_reads() -> None:
    """Names of three words are written nowhere else in it but where they are read; forms make theirs."""
    source = (PROJECT / "src/config/options.rs").read_text()
    listed = re.findall(r'"(mod_python\.[\w.]+)"', source[source.index("const OF_PACKAGE") :].split("];")[0])
    assert listed == sorted(set(listed))
    read = set(_forms._OPTIONS)
    for path in (PROJECT / "python/mod_python").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= set(re.findall(r"^mod_python\.[a-z]+(?:_session)?\.[a-z_]+$", node.value))
    assert set(listed) == read


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
                cited.add(((path.parent / page).resolve() if page else path, anchor))
    for page, anchor in cited:
        headings = re.findall(r"^#+ (.*)$", texts[page], re.M) if anchor else []
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or slugs.count(anchor) == 1, (page, anchor)
