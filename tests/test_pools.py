"""Interpreters with locks of their own, pools of them, and what operators see of all."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import re
import subprocess
import sys
import sysconfig
from typing import Any

import pytest
from conftest import FREE_THREADED, MEMORY, Serve, Server, install, places

from httpd import resident

OWN = sys.version_info >= (3, 13)
"""Can interpreters have locks of their own?"""
OWN_GIL, SHARED_GIL = ("none", "none") if FREE_THREADED else ("own" if OWN else "shared", "shared")
"""What operators see of them."""
MODULES = ("auth_basic", "authz_user")
POOL = f"""
{places("isolated")}
PythonInterpreterPool pool size=2
PythonImport isolated pool
<Location /isolated>
    PythonInterpreter pool
</Location>
<Location /phases>
    SetHandler mod_python
    PythonInterpreter pool
    PythonHandler isolated
    PythonAuthenHandler isolated
    PythonFixupHandler isolated
    AuthType Basic
    AuthName x
    Require valid-user
</Location>
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
"""
USER = {"Authorization": "Basic dTpw"}


@pytest.fixture(scope="module")
def pool(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(POOL, mpm=mpm, modules=MODULES, start=False)
    marks = server.root / "htdocs/marks"
    marks.mkdir()
    marks.chmod(0o777)
    return server.start()  # type: ignore[return-value]


def refused(serve: Serve, config: str) -> str:
    server = serve(config, start=False)
    done = server.check()
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("PythonInterpreterPool p size=0", "PythonInterpreterPool: needs a size from 1 to 256, such as size=4"),
        ("PythonInterpreterPool p 4", "PythonInterpreterPool: needs a size from 1 to 256, such as size=4"),
        ("PythonInterpreterPool p size=1000", "PythonInterpreterPool: needs a size from 1 to 256"),
        ("PythonInterpreterPool p", "PythonInterpreterPool takes two arguments"),
        ("PythonInterpreterPool main_interpreter size=2", "cannot be main_interpreter"),
        ("PythonInterpreterPool p size=2\nPythonInterpreterPool p size=3", "a second time"),
        ("PythonInterpreter nosuch#1", "PythonInterpreter nosuch#1: there is no PythonInterpreterPool nosuch"),
        (
            "PythonInterpreterPool p size=2\nPythonInterpreter p#3",
            "PythonInterpreter p#3: the pool p has 2 interpreters",
        ),
        ("PythonImport os p#0", "PythonImport p#0: there is no PythonInterpreterPool p"),
        ("PythonInterpreterGIL mine", "PythonInterpreterGIL: must be shared or own"),
        ("PythonInterpreterGIL own main_interpreter", "cannot change main_interpreter"),
    ],
)
def test_mistakes(serve: Serve, line: str, reason: str) -> None:
    assert reason in refused(serve, line)


def test_older_pythons_are_warned_about(serve: Serve) -> None:
    server = serve("PythonInterpreterGIL own\nPythonInterpreterPool p size=2\n", start=False)
    done = server.check()
    assert done.returncode == 0
    for directive in ("PythonInterpreterGIL own", "PythonInterpreterPool p"):
        assert (
            f"{directive} needs Python 3.13 or newer (with 3.12, importing datetime, decimal or sqlite3" in done.stderr
        ) is not OWN, done.stderr


def test_a_lock_of_its_own(serve: Serve, mpm: str) -> None:
    config = places("isolated") + (
        "PythonInterpreterGIL own\nPythonInterpreterGIL shared old\n"
        "<Location /isolated/where>\nPythonInterpreter new\n</Location>\n"
        "<Location /isolated/handler>\nPythonHandler isolated::where\nPythonInterpreter old\n</Location>\n"
    )
    server = serve(config, mpm=mpm)
    for path, name in (("/isolated/where", "new"), ("/isolated/handler", "old")):
        assert json.loads(server.ok(path).text)["apache"] == name
    server.wait_log(rf'interpreter "new" created: Python 3\.\d+, {OWN_GIL} GIL, \d+ ms')
    server.wait_log(rf'interpreter "old" created: Python 3\.\d+, {SHARED_GIL} GIL, \d+ ms')
    assert re.search(
        rf'interpreter "main_interpreter" created: Python 3\.\d+, {SHARED_GIL} GIL, \d+ ms', server.log_text()
    )


def test_a_pool_is_there_from_the_start(pool: Server) -> None:
    """PythonImport runs in each."""
    answer = json.loads(pool.ok("/isolated/where").text)
    for number in (1, 2) if OWN else (1,):
        assert f'interpreter "pool#{number}" created' in pool.log_text()
    assert answer["req"] == answer["apache"] == answer["loaded_in"]
    assert re.fullmatch("pool#[12]", answer["req"])


def test_requests_go_to_an_idle_interpreter(pool: Server) -> None:
    if pool.mpm == "prefork":
        return  # one request a child: there is nobody to meet
    marks = pool.root / "htdocs/marks"
    for mark in marks.iterdir():
        mark.unlink()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        answers = threads.map(lambda name: pool.ok(f"/isolated/meets?{name}").text, ("a", "b"))
    assert set(answers) == ({"pool#1", "pool#2"} if OWN else {"pool#1"})


def test_a_request_stays_in_its_interpreter(pool: Server) -> None:
    """Through all phases, also under load."""

    def ask(_: int) -> set[str]:
        return set(pool.ok("/phases", headers=USER).text.split())

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(400)))
    assert all(len(answer) == 1 for answer in answers)
    if OWN and pool.mpm != "prefork":
        assert set.union(*answers) == {"pool#1", "pool#2"}


def test_contexts(pool: Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: pool.ok(f"/isolated/contexts?{number}").text, range(200)))
    assert set(answers) == {"unset"}


def test_signals_stay_httpds(pool: Server) -> None:
    pool.new_log()
    assert pool.ok("/isolated/signals").text == "kept"
    pool.wait_log(r":warn\].*signal\.signal\(15, .*\) has no effect: signals belong to httpd")


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ("fork", "forked"),
        ("prepared", "run"),
        ("subprocess", "run"),
        ("terminate", "-15"),
        ("spawned", "-15"),
        ("multiprocessing", "45"),
    ],
)
@pytest.mark.parametrize("interpreter", ["main_interpreter", "other"])
def test_children_of_a_handler(serve: Serve, mpm: str, interpreter: str, how: str, answer: str) -> None:
    server = serve(f"{places('isolated')}PythonInterpreter {interpreter}\n", mpm=mpm, interpreter=None)
    pids = set(server.child_pids())
    if (how, interpreter) == ("fork", "other"):
        # CPython forks the main interpreter only.
        assert server.get("/isolated/processes?fork").status == 500
        server.claim("RuntimeError: fork not supported for isolated subinterpreters")
    elif (how, interpreter) == ("prepared", "other"):
        assert server.get("/isolated/processes?prepared").status == 500
        server.claim("RuntimeError: preexec_fn not supported within subinterpreters")
    else:
        assert server.ok(f"/isolated/processes?{how}").text == answer
    assert pids <= set(server.child_pids())


@pytest.mark.parametrize("how", ["fork", "prepared", "subprocess", "multiprocessing"])
def test_children_of_a_handler_beside_another_interpreter(serve: Serve, how: str) -> None:
    """CPython's fork() of the main interpreter, too, gives a child that crashes or hangs, when there is another one."""
    config = places("isolated") + "PythonInterpreter main_interpreter\nPythonInterpreterPool beside size=1\n"
    server = serve(config, mpm="event", interpreter=None)
    if how in ("fork", "prepared"):
        assert server.get(f"/isolated/processes?{how}").status == 500
        server.claim("RuntimeError: fork is not supported beside other interpreters")
    else:
        assert server.ok(f"/isolated/processes?{how}").status == 200


# What operators see


def status(server: Server) -> dict[str, Any]:
    answer = server.ok("/status?json")
    assert answer.header("Content-Type") == "application/json"
    found: dict[str, Any] = json.loads(answer.text)
    return found


def pids(server: Server) -> set[int]:
    """The children whose interpreters are shown."""
    return {row["pid"] for row in status(server)["interpreters"]}


def test_status(serve: Serve, mpm: str) -> None:
    """The interpreters of all children, their requests and errors."""
    server = serve(
        POOL + "<Location /isolated/fails>\nPythonInterpreter other\n</Location>\n", mpm=mpm, modules=MODULES
    )
    for _ in range(5):
        server.ok("/phases", headers=USER)
    assert server.get("/isolated/fails").status == 500
    server.claim("ValueError: in 3")
    # On prefork, a child that has not been asked for anything may still be starting Python.
    server._wait(lambda: pids(server) == set(server.child_pids()), "a child is not shown")
    found: dict[str, Any] = {}

    def counted() -> bool:
        # A request is counted a moment after its client has the answer.
        found.update(status(server))
        rows = found["interpreters"]
        others = [(row["requests"], row["errors"]) for row in rows if row["name"] == "other"]
        return sum(row["requests"] for row in rows if row["name"].startswith("pool#")) == 5 and others == [(1, 1)]

    server._wait(counted, "requests are not counted")
    rows = found["interpreters"]
    assert {row["name"] for row in rows} >= {"main_interpreter", "pool#1", "other"}
    assert {row["gil"] for row in rows if row["name"].startswith("pool#")} == {OWN_GIL}
    assert "mod_python.apache" in found["modules"] and found["python"].startswith(f"{sys.version_info[0]}.")
    assert "pool#1" in server.ok("/status").text and "mod_python.apache" in server.ok("/status?modules").text
    before = pids(server)
    server.graceful()
    assert not before & pids(server)


# Extension modules


@pytest.mark.parametrize("module", ["numpy", "cryptography", "pydantic"])
def test_extensions_work_in_the_main_interpreter(serve: Serve, module: str) -> None:
    server = serve(f"{places('isolated')}PythonInterpreter main_interpreter\n", start=False)
    install(server, module)
    server.start()
    for _ in range(3):
        assert server.ok(f"/isolated/extension?{module}").text == "45"


@pytest.mark.parametrize("module", ["numpy", "cryptography", "pydantic"])
@pytest.mark.parametrize("gil", ["shared", "own"])
def test_extensions_in_a_sub_interpreter(serve: Serve, module: str, gil: str) -> None:
    """Each works, or is refused with a sentence that says what to do; the child lives on."""
    config = f"{places('isolated')}PythonInterpreterGIL {gil} other\nPythonInterpreter other\n"
    config += "<Location /isolated/extension>\nPythonInterpreter main_interpreter\n</Location>\n"
    config += "<Location /other>\nSetHandler mod_python\nPythonHandler isolated::extension\n</Location>\n"
    server = serve(config, start=False)
    install(server, module)
    server.start()
    pids = set(server.child_pids())
    # The main interpreter has it already: that is when a second one is refused.
    assert server.ok(f"/isolated/extension?{module}").text == "45"
    answer = server.get(f"/other?{module}")
    if answer.status == 500:
        server.claim(r"cannot be used in the interpreter 'other'.*PythonInterpreter main_interpreter")
    else:
        assert (answer.status, answer.text) == (200, "45")
    assert server.ok(f"/isolated/extension?{module}").text == "45"
    assert pids <= set(server.child_pids())


ONCE = """
#include <Python.h>
static int execute(PyObject *module)
{
    static PyInterpreterState *first;
    if (!first)
        first = PyInterpreterState_Get();
    if (first == PyInterpreterState_Get())
        return 0;
    PyErr_SetString(PyExc_ImportError, "cannot load module more than once per process");
    return -1;
}
static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "once", .m_slots = slots};
PyMODINIT_FUNC PyInit_once(void)
{
    return PyModuleDef_Init(&definition);
}
"""


@pytest.mark.parametrize("first", ["one", "two"])
def test_an_extension_that_another_interpreter_has_loaded(serve: Serve, first: str) -> None:
    """The main interpreter may be too late for it as any other: the log says who was there, and what to do."""
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\n" + "".join(
        f"<Location /{name}>\nSetHandler mod_python\nPythonHandler needs_once\nPythonInterpreter {interpreter}\n"
        "</Location>\nPythonInterpreterGIL shared one\nPythonInterpreterGIL shared two\n"
        for name, interpreter in (("one", "one"), ("two", "two"), ("main", "main_interpreter"))
    )
    # A pool would be one more that might have loaded it.
    server = serve(config, start=False, interpreter=None)
    server.write(
        "apps/needs_once.py", "def handler(req):\n    import once\n    req.write(once.__name__)\n    return 0\n"
    )
    (server.root / "once.c").write_text(ONCE)
    flags = ["-shared", "-fPIC", "-I", sysconfig.get_paths()["include"]]
    library = server.root / "apps/once.so"
    subprocess.run(["cc", *flags, str(server.root / "once.c"), "-o", str(library)], check=True)
    server.start()
    assert server.ok(f"/{first}").text == "once"
    assert server.get("/main").status == 500
    line = server.claim("ImportError: cannot load module more than once per process")
    assert (
        f"another interpreter of this process ('{first}') has loaded this extension module before 'main_interpreter'"
        in line
    )
    assert line.endswith("name the same one: PythonInterpreter main_interpreter")
    other = "two" if first == "one" else "one"
    assert server.get(f"/{other}").status == 500
    server.claim(f"cannot be used in the interpreter '{other}'.*PythonInterpreter main_interpreter")


ABORTING = """
#include <Python.h>
#include <stdlib.h>
static int execute(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main())
        abort();
    return 0;
}
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "aborting", .m_slots = slots};
PyMODINIT_FUNC PyInit_aborting(void)
{
    return PyModuleDef_Init(&definition);
}
"""


def test_an_extension_that_aborts(serve: Serve, mpm: str) -> None:
    """The error log says where; other children, and the next one, go on."""
    config = places("isolated") + "PythonInterpreter main_interpreter\n"
    config += "<Location /other>\nSetHandler mod_python\nPythonHandler isolated::aborts\nPythonInterpreter other\n</Location>\n"
    config += "PythonInterpreterGIL shared other\n"  # one with a lock of its own refuses such an extension
    server = serve(config, mpm=mpm, start=False)
    source = server.root / "aborting.c"
    source.write_text(ABORTING)
    library = server.root / "apps/aborting.so"
    flags = ["-shared", "-fPIC", "-I", sysconfig.get_paths()["include"]]
    subprocess.run(["cc", *flags, str(source), "-o", str(library)], check=True)
    server.start()
    assert server.ok("/isolated/where")
    with pytest.raises((OSError, http.client.HTTPException)):
        server.get("/other")
    server.claim("exit signal Abort")
    # It is written in pieces, between which other children may have their entries.
    said = re.sub(r"\[\w{3} \w{3} \d\d [\d:.]+ \d{4}\] .*\n", "", server.log_text())
    assert re.search(r'(?s)Fatal Python error: Aborted\n.*File "[^"]*/apps/isolated.py", line \d+ in aborts', said), (
        said
    )
    assert server.ok("/isolated/aborts").text == "aborting"


# Many interpreters


def test_fifty_interpreters(serve: Serve) -> None:
    """No crash, nothing of one in another, no growth after the first round."""
    names = [f"name{number}" for number in range(50)]
    sections = "".join(
        f"<Location /{name}>\nSetHandler mod_python\nPythonHandler isolated::where\nPythonInterpreter {name}\n</Location>\n"
        for name in names
    )
    server = serve(f"PythonPath \"sys.path+['@ROOT@/apps']\"\n{sections}", threads=48)

    def round_of_requests() -> None:
        for name in names:
            done = subprocess.run(
                ["ab", "-q", "-k", "-c", "32", "-n", "200", "-l", server.url(f"/{name}?{name}")],
                capture_output=True,
                text=True,
                check=True,
            )
            assert "Non-2xx" not in done.stdout and re.search(r"Complete requests: +200\n", done.stdout), done.stdout

    [pid] = server.child_pids()
    sizes = []
    # A worker keeps a state for each interpreter that it has come to; on a slow machine it takes long until all have been everywhere.
    while len(sizes) < 4 or (len(sizes) < 12 and sizes[-1] - sizes[-2] >= 1024 * MEMORY):
        round_of_requests()
        sizes.append(resident(pid))
    assert server.child_pids() == [pid]
    assert sizes[-1] - sizes[-2] < 1024 * MEMORY, sizes
    for name in names:
        answer = json.loads(server.ok(f"/{name}?{name}").text)
        assert (answer["apache"], answer["count"]) == (name, len(sizes) * 200 + 1)
