"""Importing: in circles and threads, from certain directories, again after a change; and what the log says when it fails."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve, Server

CONFIG = (
    "PythonPath \"sys.path+['@ROOT@/apps', '@ROOT@/live']\"\n"
    + "".join(
        f"<Location /{name}>\nSetHandler mod_python\nPythonHandler importing::{name}\n</Location>\n"
        for name in ("together", "searched", "kept", "standard")
    )
    + "<Location /slow>\nSetHandler mod_python\nPythonHandler slow\n</Location>\n"
    "<Location /slowfile>\nSetHandler mod_python\nPythonHandler @ROOT@/live/slowfile.py\n</Location>\n"
    "<Location /other>\nSetHandler mod_python\nPythonHandler @ROOT@/live/other.py\n</Location>\n"
)
ONE = "StartServers 1\nMinSpareServers 1\nMaxSpareServers 1\nMaxRequestWorkers 1\n"
"""Of prefork: others would look at the files in their own time."""
LINES = r"\] (Traceback| +\S|\w+(Error|Exit)\b|mod_python: )"
"""The lines of a traceback."""


def start(serve: Serve, mpm: str, files: dict[str, str], config: str = CONFIG) -> Server:
    server = serve((ONE if mpm == "prefork" else "") + config, mpm=mpm, start=False)
    for name, text in files.items():
        server.write(f"live/{name}", text)
    for path in (server.root / "live").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (server.root / "live").mkdir(exist_ok=True)
    (server.root / "live").chmod(0o755)
    return server.start()  # type: ignore[return-value]


def ask(server: Server, place: str, value: object) -> Any:
    return json.loads(server.ok(f"{place}?{json.dumps(value, separators=(',', ':'))}".replace('"', "%22")).text)


def handler(text: str) -> str:
    return f"from mod_python import apache\nimport importing\n{text}\n"


PAGE = """
VALUE = {value!r}
{between}
def handler(req):
    req.write(VALUE + "," + LAST)
    return apache.OK
LAST = {value!r}
"""


def reads(name: str) -> str:
    """How a module of a circle imports another."""
    return f"import {name}" if "/" not in name else f"apache.import_module(importing.LIVE + '/{name}')"


@pytest.mark.parametrize(
    "circle",
    [
        ["./a.py", "./b.py"],
        ["./a.py", "b"],
        ["a", "b"],
        ["./a.py", "b", "./c.py"],
        ["pack.a", "./b.py", "pack.c"],
    ],
)
def test_circles_of_imports_end(serve: Serve, mpm: str, circle: list[str]) -> None:
    """Each of the threads has begun one module before any goes on to the next one."""
    files = {"pack/__init__.py": ""}
    for place, name in enumerate(circle):
        file = name[2:] if "/" in name else name.replace(".", "/") + ".py"
        following = circle[(place + 1) % len(circle)]
        text = f"importing.meet('circle', {len(circle)})\n{reads(following)}\nDONE = 'done'"
        files[file] = handler(text)
    server = start(serve, mpm, files)
    # An unfinished module may be what a circle gives; an exception or a hanging thread may not.
    for _ in range(2):
        assert ask(server, "/together", circle) == dict.fromkeys(circle, "done")


def test_a_package_and_its_module_in_two_threads(serve: Serve, mpm: str) -> None:
    """The package imports the module, whose import begins with the package."""
    files = {
        "pack/__init__.py": handler("importing.meet('package', 2)\nimport pack.part\nDONE = 'done'"),
        "pack/part.py": "DONE = 'done'\n",
        "meets.py": handler("importing.meet('package', 2)\nDONE = apache.import_module('pack.part').DONE"),
    }
    server = start(serve, mpm, files)
    names = ["pack", "meets", "pack.part"]
    assert ask(server, "/together", names) == dict.fromkeys(names, "done")


def test_a_module_that_fails_is_imported_again(serve: Serve, mpm: str) -> None:
    files = {
        "bad.py": "raise LookupError('once')\n",
        "recursive.py": handler(f"{reads('./recursive.py')}\nDONE = 'done'"),
    }
    server = start(serve, mpm, files)
    names = ["./bad.py", "./recursive.py", "bad"]
    expected = {"./bad.py": "LookupError('once')", "./recursive.py": "done", "bad": "LookupError('once')"}
    assert ask(server, "/together", names) == expected
    server.write("live/bad.py", "DONE = 'mended'\n")
    assert ask(server, "/together", ["./bad.py", "bad"]) == {"./bad.py": "mended", "bad": "mended"}


@pytest.mark.parametrize("page", ["slow", "slowfile"])
@pytest.mark.parametrize("end", ["", "raise LookupError('at last')"])
def test_others_go_on_while_a_module_is_loaded_again(serve: Serve, mpm: str, page: str, end: str) -> None:
    """With what there is of it, however long that takes: never with an empty one."""
    if mpm == "prefork":
        pytest.skip("one request a child")
    files = {
        f"{page}.py": handler(PAGE.format(value="old", between="")),
        "other.py": handler(PAGE.format(value="other", between="")),
    }
    server = start(serve, mpm, files)
    assert server.ok(f"/{page}").text == "old,old"
    between = "open(importing.LIVE + '/../run/begun', 'w').close()\nimporting.wait_for('go')\n"
    (server.root / "run").chmod(0o777)
    server.write(f"live/{page}.py", handler(PAGE.format(value="new", between=between) + end))
    answers: list[str] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            answers.append(server.ok(f"/{page}").text)

    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in clients:
        thread.start()
    try:
        server._wait(lambda: (server.root / "run/begun").exists(), "the change was not seen")
        for _ in range(20):
            assert server.ok(f"/{page}").text in ("old,old", "new,old")
            assert server.ok("/other").text == "other,other"
        server.write("live/go", "")
        if end:
            server.claim("has changed but cannot be loaded; the old one stays: LookupError: at last")
            server.claims.append(LINES)
            assert server.ok(f"/{page}").text == "old,old"
        else:
            server._wait(lambda: server.ok(f"/{page}").text == "new,new", "the new one was not seen")
    finally:
        server.write("live/go", "")
        stop.set()
        for thread in clients:
            thread.join()
    assert set(answers) <= {"old,old", "new,old", "new,new"}
    assert not server.unclaimed()


def test_a_slow_first_import_holds_nobody_else(serve: Serve, mpm: str) -> None:
    """Who needs the module waits until it is whole; other modules, also new ones, are imported meanwhile."""
    if mpm == "prefork":
        pytest.skip("one request a child")
    between = "importing.wait_for('go')"
    files = {f"{page}.py": handler(PAGE.format(value=page, between=between)) for page in ("slow", "slowfile")}
    files["other.py"] = handler(PAGE.format(value="other", between=""))
    files["keeping.py"] = KEEPING.format(version=1)
    server = start(serve, mpm, files)
    answers: list[str] = []
    clients = [
        threading.Thread(target=lambda page=page: answers.append(server.ok(f"/{page}").text))
        for page in ("slow", "slow", "slowfile", "slowfile")
    ]
    for thread in clients:
        thread.start()
    assert server.ok("/other").text == "other,other"
    assert server.ok("/kept").text and server.ok("/standard").text == "wave"
    assert not answers
    server.write("live/go", "")
    for thread in clients:
        thread.join()
    assert sorted(answers) == ["slow,slow"] * 2 + ["slowfile,slowfile"] * 2


KEEPING = """
import dataclasses, sys, typing
try:
    state
except NameError:
    state = []
state.append({version})
count = 0
def show():
    global count
    count += 1
    here = sys.modules[__name__]
    assert here.count == count
    here.count = count + 10
    return {{"version": {version}, "state": list(state), "count": count, "set": getattr(here, "SET", None)}}
"""


def test_what_a_module_keeps(serve: Serve, mpm: str) -> None:
    """Its identity, one dictionary, and what its source does not set anew."""
    first = KEEPING.format(version=1) + "set_once = 1\n"
    server = start(serve, mpm, {"keeping.py": first})

    def show() -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(server.ok("/kept").text)
        assert shown["same"] and shown["one"]
        return shown

    shown = show()
    assert (shown["version"], shown["state"], shown["count"]) == (1, [1], 11)
    assert show()["count"] == 22
    second = KEEPING.format(version=2) + (
        "setattr(sys.modules[__name__], 'SET', 2)\nfrom typing import ClassVar\n"
        "@dataclasses.dataclass\nclass Record:\n    kind: 'ClassVar[int]' = 1\nassert not dataclasses.fields(Record)\n"
    )
    server.write("live/keeping.py", second)
    server._wait(lambda: show()["version"] == 2, "the change was not seen")
    shown = show()
    assert shown["state"] == [1, 2] and shown["set"] == 2
    assert "set_once" in shown["names"]
    server.write("live/keeping.py", "state = None\nfresh = 1\ndef show(): pass\n1 / 0\n")

    def broken() -> bool:
        assert show()["version"] == 2
        return "has changed but cannot be loaded" in server.log_text()

    server._wait(broken, "the broken change was not noticed")
    assert show()["state"] == [1, 2] and "fresh" not in show()["names"]
    server.write("live/keeping.py", KEEPING.format(version=3))
    server._wait(lambda: show()["version"] == 3, "the repair was not seen")
    assert show()["state"] == [1, 2, 3]
    server.claims += ["has changed but cannot be loaded", LINES]
    assert not server.unclaimed()


WHAT = "WHAT = {!r}\n"


def test_modules_of_certain_directories(serve: Serve, mpm: str) -> None:
    """Packages, modules in them, packages without a file; each directory's own, and nobody else's is replaced."""
    files = {}
    for place in ("one", "one2"):
        files |= {
            f"{place}/pkg/__init__.py": WHAT.format(f"{place} pkg"),
            f"{place}/pkg/deep/__init__.py": WHAT.format(f"{place} deep"),
            f"{place}/pkg/deep/m.py": "from . import WHAT as deep\nfrom .. import WHAT as top\nWHAT = deep + '+' + top\n",
            f"{place}/space/m.py": WHAT.format(f"{place} space"),
            f"{place}/wave.py": WHAT.format(f"{place} wave"),
        }
    server = start(serve, mpm, files)
    asked = [["pkg.deep.m", "one"], ["pkg.deep.m", "one2"], ["pkg.deep.m", "one"], ["pkg.deep.m", "one2"]]
    found = ask(server, "/searched", asked)
    assert [what for what, *_ in found] == ["one deep+one pkg", "one2 deep+one2 pkg"] * 2
    assert found[0] == found[2] and found[1] == found[3] and found[0][1] == "pkg.deep.m"
    found = ask(
        server, "/searched", [["space.m", "one"], ["space.m", "one2"], ["space.m", "one"], ["pkg", "one2", "one"]]
    )
    assert [what for what, *_ in found[:3]] == ["one space", "one2 space", "one space"] and found[0] == found[2]
    assert found[3][0] == "one2 pkg" or found[3][1] == "pkg"
    # The standard library's is there first, and stays.
    assert server.ok("/standard").text == "wave"
    assert ask(server, "/searched", [["wave", "one"]])[0][0] == "one wave"
    assert server.ok("/standard").text == "wave"
    for name in ("nothing", "pkg.nothing", "pkg.deep.nothing"):
        for place in ("one", "one2"):
            text, kind, _ = ask(server, "/searched", [[name, place]])[0]
            assert kind == "ModuleNotFoundError" and f"No module named '{name}'" in text
    assert ask(server, "/searched", [["pkg", "nowhere"]])[0][1] == "ModuleNotFoundError"
    server.write("live/one/pkg/deep/m.py", WHAT.format("changed"))
    server._wait(lambda: ask(server, "/searched", asked[:1])[0][0] == "changed", "the change was not seen")
    server.write("live/one2/pkg/deep/m.py", WHAT.format("changed, too"))
    server._wait(lambda: ask(server, "/searched", asked[1:2])[0][0] == "changed, too", "the change was not seen")
    assert ask(server, "/searched", asked[:1])[0][0] == "changed"


def test_a_change_that_fails_is_logged_with_the_request(serve: Serve, mpm: str) -> None:
    """In the virtual host's log, a line each, also when the application has replaced sys.stderr."""
    page = handler("import io, sys\nsys.stderr = io.StringIO()\n" + PAGE.format(value="old", between=""))
    config = CONFIG + "<VirtualHost *:@PORT@>\nServerName v\nErrorLog @ROOT@/v.log\n" + CONFIG + "</VirtualHost>\n"
    server = start(serve, mpm, {"slow.py": page}, config)
    assert server.ok("/slow").text == "old,old"
    server.write("live/slow.py", "def inner():\n    raise LookupError('first' + chr(10) + 'second')\ninner()\n")
    log = server.root / "v.log"

    def logged() -> bool:
        assert server.ok("/slow").text == "old,old"
        return "LookupError" in log.read_text()

    server._wait(logged, "nothing was logged")
    lines = [line for line in log.read_text().splitlines() if ":error]" in line]
    assert "module 'slow' has changed but cannot be loaded; the old one stays" in lines[0]
    assert all("[client 127.0.0.1" in line for line in lines), lines
    # What an exception says is one line, whatever is in it.
    message = [line for line in lines if "LookupError: " in line]
    assert len(message) == 2 and all(r"first\nsecond" in line for line in message), lines
    shown = [re.sub(r"^.*?\] ", "", re.sub(r"^.*\[client [^]]*\] ", "", line)) for line in lines[1:]]
    assert shown[0] == "Traceback (most recent call last):"
    frames = [line for line in shown if line.lstrip().startswith("File ")]
    assert len(frames) == 2 and all("live/slow.py" in line for line in frames)
    assert shown[-1] == r"LookupError: first\nsecond"


def test_tracebacks_show_the_application(serve: Serve, mpm: str) -> None:
    files = {
        "slow.py": "import deeper\n",
        "deeper.py": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise LookupError('x')\n",
    }
    server = start(serve, mpm, files)
    assert server.get("/slow").status == 500
    server.claim("LookupError: x")
    text = server.log_text()
    assert "ZeroDivisionError" in text and "During handling" in text and "live/slow.py" in text and "deeper.py" in text
    assert "importlib" not in text and "_modules.py" not in text and "mod_python/apache.py" not in text
    server.claims.append(LINES)


HINTS = """
PythonPath "sys.path+['@ROOT@/apps', '@ROOT@/nowhere', '@ROOT@/shut/inner', '@ROOT@/live']"
<Location /app>
    SetHandler mod_python
    PythonHandler app
</Location>
<Location /package>
    SetHandler mod_python
    PythonHandler closed.part
</Location>
<Location /file>
    SetHandler mod_python
    PythonHandler @ROOT@/shut/inner/app.py
</Location>
<Location /unreadable>
    SetHandler mod_python
    PythonHandler unreadable
</Location>
"""


def test_what_stands_in_the_way_of_an_import(serve: Serve, mpm: str) -> None:
    """A missing directory, one that cannot be passed, a file that cannot be read: the component, the user, the remedy."""
    files = {"../shut/inner/app.py": "", "closed/part.py": "", "unreadable.py": ""}
    server = start(serve, mpm, files, HINTS)
    root: Path = server.root
    (root / "shut").chmod(0o700 if os.geteuid() == 0 else 0)
    (root / "live/closed").chmod(0o711 if os.geteuid() == 0 else 0o100)
    (root / "live/unreadable.py").chmod(0o600 if os.geteuid() == 0 else 0)
    expected = {
        "/app": [
            "No module named 'app'",
            f"{root}/nowhere does not exist",
            f"cannot pass {root}/shut .*chmod o.x {root}/shut",
        ],
        "/package": [f"cannot read {root}/live/closed .*chmod o.rx {root}/live/closed"],
        "/file": ["PermissionError", f"cannot pass {root}/shut .*chmod o.x {root}/shut"],
        "/unreadable": ["PermissionError", f"cannot read {root}/live/unreadable.py .*chmod o.r "],
    }
    try:
        for path, patterns in expected.items():
            server.new_log()
            assert server.get(path).status == 500, path
            for pattern in patterns:
                server.claim(pattern)
            server.claims.append(LINES)
            text = server.new_log()
            assert "httpd's user " in text
        # What has been mended is found without a restart.
        server.write("nowhere/app.py", PAGE.format(value="there", between="from mod_python import apache"))
        (root / "nowhere").chmod(0o755)
        assert server.ok("/app").text == "there,there"
    finally:
        for place in ("shut", "live/closed", "live/unreadable.py"):
            (root / place).chmod(0o755)


def test_a_path_without_the_standard_library(serve: Serve, mpm: str) -> None:
    """The log names the remedy, when the expression is met and when an import fails; other areas are not hurt."""
    config = (
        "<Location /bare>\nPythonPath \"['@ROOT@/apps', '@ROOT@/live']\"\nSetHandler mod_python\nPythonHandler importing::standard\n"
        "</Location>\n<Location /whole>\nPythonPath \"sys.path+['@ROOT@/apps']\"\nSetHandler mod_python\n"
        "PythonHandler importing::standard\n</Location>\n"
    )
    server = start(serve, mpm, {}, config)
    for _ in range(2):
        assert server.get("/bare").status == 500
    server.claim(r"ModuleNotFoundError: No module named '\w+'")
    server.claims.append(LINES)
    text = server.log_text()
    assert re.search(r"warn\].*leaves Python's standard library out of sys.path; write PythonPath .sys.path\+\[", text)
    assert re.search(
        r"PythonHandler importing.*leaves Python's standard library out of sys.path", text.replace("\n", " ")
    )
    assert "cannot be shown" not in text
    assert server.ok("/whole").text == "wave"
    assert not server.unclaimed()


OWN = """
import sys, types
VALUE = {0}
class Own(types.ModuleType):
    @property
    def twice(self):
        return self.VALUE * 2
    def method(self):
        return self.VALUE
sys.modules[__name__].__class__ = Own
def __getattr__(name):
    if name == "lazy":
        return VALUE
    raise AttributeError(name)
assert sys.modules[__name__].twice == {0} * 2
{1}
"""


def test_classes_of_modules_stay_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that has given itself a class, and hooks of its own, is loaded again as others are."""
    from mod_python import _reloading

    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "own_class.py"
    file.write_text(OWN.format(1, ""))
    module: Any = importlib.import_module("own_class")
    for number in (2, 3):
        file.write_text(OWN.format(number, ""))
        _reloading.run_again(module)
        assert (module.VALUE, module.twice, module.method(), module.lazy) == (number, 2 * number, number, number)
        file.write_text(OWN.format(9, "1 / 0"))
        with pytest.raises(ZeroDivisionError):
            _reloading.run_again(module)
        assert (module.VALUE, module.twice, module.lazy) == (number, 2 * number, number)
        assert vars(module)["VALUE"] == number
    module.VALUE = 5
    assert module.lazy == 5 and module.twice == 10
    with pytest.raises(AttributeError):
        module.twice = 1
    with pytest.raises(AttributeError):
        _ = module.nothing
    del module.VALUE
    with pytest.raises(AttributeError):
        del module.VALUE
    assert "own_class" in repr(module)
    assert "twice" not in dir(module) and "lazy" not in dir(module) and "method" not in vars(module)
    # Python's own way to do it again works on such a module as on others: in place.
    with pytest.raises(ZeroDivisionError):
        importlib.reload(module)
    assert (module.VALUE, module.twice) == (9, 18) and module.__spec__.name == "own_class"
    del sys.modules["own_class"]


def test_what_others_set_meanwhile_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload that fails undoes what its source has set, and nothing else."""
    from mod_python import _reloading

    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "shared.py"
    file.write_text("import threading\nVALUE = 1\nstate = 1\ndef read():\n    return VALUE, state\n")
    module: Any = importlib.import_module("shared")
    read = module.read
    module.begun, module.go = threading.Event(), threading.Event()
    file.write_text("VALUE = 2\nfresh = 1\nbegun.set()\nassert go.wait(30)\n1 / 0\n")

    def again() -> None:
        with pytest.raises(ZeroDivisionError):
            _reloading.run_again(module)

    thread = threading.Thread(target=again)
    thread.start()
    assert module.begun.wait(30)
    assert module.read is read
    module.state, module.added = 8, 9
    module.go.set()
    thread.join()
    assert module.read() == (1, 8) and module.added == 9 and not hasattr(module, "fresh")
    del sys.modules["shared"]


def test_the_text_of_an_exception() -> None:
    """Frames of the application, the chain, groups; and something where nothing can be formatted."""
    from mod_python import _tracebacks, apache

    inner = str(Path(_tracebacks.__file__).with_name("x.py"))

    def raised(text: str, file: str) -> BaseException:
        try:
            exec(compile(text, file, "exec"), {})
        except BaseException as error:
            return error
        raise AssertionError(text)

    text = _tracebacks.describe(raised("1 / 0", inner))
    assert "x.py" not in text and "test_imports" in text
    error = raised("1 / 0", inner)
    error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
    # Frames of ours alone: what it says, and what was served.
    assert _tracebacks.describe(error) == "ZeroDivisionError: division by zero"
    _tracebacks.place(error, "/srv/a\nb.py")
    assert _tracebacks.describe(error) == "ZeroDivisionError: division by zero\nmod_python: raised for /srv/a\r\nb.py"
    error = raised("1 / 0", "/srv/a.py")
    _tracebacks.place(error, "/srv/a.py")
    assert "raised for" not in _tracebacks.describe(error)
    error = raised("def f(:", inner)
    assert "SyntaxError" in _tracebacks.describe(error) and 'x.py", line 1' in _tracebacks.describe(error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apache, "interpreter", "main_interpreter")
        patch.setattr(_tracebacks._apache, "_interpreters", list, raising=False)
        for refusal in (
            "cannot load module more than once per process",
            "PyO3 modules may only be initialized once per interpreter process",
            "PyO3 modules do not yet support subinterpreters",
            "Interpreter change detected - this module can only be loaded into one interpreter per process.",
        ):
            text = _tracebacks.describe(ImportError(refusal))
            assert "this process has loaded this extension module before 'main_interpreter'" in text
        assert _tracebacks.describe(ImportError("once")) == "ImportError: once"
    looped = raised("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise LookupError('x') from e", "/srv/a.py")
    assert looped.__cause__ is not None
    looped.__cause__.__cause__ = looped
    text = _tracebacks.describe(looped)
    assert "LookupError: x" in text and "direct cause" in text

    class Strange(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    assert "Strange" in _tracebacks.describe(Strange())

    def fails(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'tokenize'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tracebacks.traceback, "TracebackException", fails)
        text = _tracebacks.describe(raised("1 / 0", "/srv/a.py"))
        error = raised("1 / 0", inner)
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        _tracebacks.place(error, "/srv/b.py")
        alone = _tracebacks.describe(error)
    assert text.endswith("ZeroDivisionError: division by zero") and '  File "/srv/a.py", line 1, in <module>' in text
    assert alone == "ZeroDivisionError: division by zero\nmod_python: raised for /srv/b.py"


@pytest.mark.parametrize("way", ["PythonPath", "PythonPath without the library", "the section's directory"])
def test_files_called_like_modules_of_the_library(serve: Serve, mpm: str, way: str) -> None:
    """They are the application's: what Python itself loads to find its handler is the library's."""
    place, paths = (
        "@ROOT@/live",
        {"PythonPath": "['@ROOT@/live']+sys.path", "PythonPath without the library": "['@ROOT@/live']"},
    )
    config = f'PythonPath "{paths[way]}"\n' if way in paths else ""
    config = (
        f"DocumentRoot {place}\n<Directory {place}>\nSetHandler mod_python\nPythonHandler own\n{config}</Directory>\n"
    )
    names = ("configparser", "csv", "email", "inspect", "json", "pathlib", "tempfile", "zipfile")
    files = {f"{name}.py": f"raise ImportError({name!r})\n" for name in names}
    files["own.py"] = "def handler(req):\n    req.write('own')\n    return 0\n"
    assert start(serve, mpm, files, config).ok("/").text == "own"
