"""PythonTimeout: what is stuck is ended, its client answered, the log told where it stood; and nobody else is harmed."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import threading
import time
from typing import Any, Union

import pytest
from client import Answer, attempt
from conftest import FREE_THREADED, Serve, Server

from httpd import INTERPRETER, PATIENCE

LIMIT = 0.3
LONG = 1.2
"""For so long what is stuck stays so (apps/stuck.py)."""
CONFIG = f"""PythonPath "sys.path+['@ROOT@/apps']"
PythonImport stuck {INTERPRETER or "main_interpreter"}
PythonTimeout {LIMIT}
<Location /handler>
    SetHandler mod_python
    PythonHandler stuck
</Location>
<Location /nothing>
    SetHandler mod_python
    PythonHandler stuck
    PythonTimeout off
</Location>
<Location /nothing/again>
    PythonTimeout {LIMIT} handler
</Location>
<Location /others>
    SetHandler mod_python
    PythonHandler stuck
    PythonTimeout 0 handler
    PythonTimeout {LIMIT} wsgi
</Location>
<Location /access>
    SetHandler mod_python
    PythonAccessHandler stuck
    PythonHandler stuck::quick
</Location>
<Location /fixup>
    SetHandler mod_python
    PythonFixupHandler stuck
    PythonHandler stuck::quick
</Location>
<Location /cleaned>
    SetHandler mod_python
    PythonHandler stuck::cleaned
</Location>
<Location /outer>
    SetHandler mod_python
    PythonHandler stuck::outer
    PythonTimeout 5
</Location>
<Location /quick>
    SetHandler mod_python
    PythonHandler stuck::quick
    PythonTimeout 0
</Location>
<Location /flight>
    SetHandler mod_python
    PythonHandler stuck::flight
    PythonTimeout 0
</Location>
<Location /filtered>
    SetHandler mod_python
    PythonHandler stuck::plain
    PythonOutputFilter stuck SLOW
    SetOutputFilter SLOW
</Location>
<Location /flushed>
    SetHandler mod_python
    PythonHandler stuck::flushed
    PythonOutputFilter stuck SLOW
    SetOutputFilter SLOW
</Location>
<Location /tasks>
    SetHandler mod_python
    PythonHandler stuck::tasks
    PythonTimeout 0
</Location>
<Location /says>
    SetHandler mod_python
    PythonHandler stuck::says
    PythonDebug On
</Location>
<Location /saying>
    SetHandler mod_python
    PythonHandler stuck::plain
    PythonOutputFilter stuck::saying SAYING
    SetOutputFilter SAYING
</Location>
<Location /suspends>
    SetHandler mod_python
    PythonHandler stuck::plain
    PythonOutputFilter stuck::suspends SUSPENDS
    SetOutputFilter SUSPENDS
</Location>
<Location /imported>
    SetHandler mod_python
    PythonHandler slow_import
</Location>
<Location /halved>
    SetHandler mod_python
    PythonHandler halved
</Location>
<Location /received>
    SetHandler mod_python
    PythonHandler stuck::received
    PythonInputFilter stuck::inputfilter PLAIN
    SetInputFilter PLAIN
</Location>
<Location /wrapped>
    SetHandler mod_python
    PythonHandler stuck::wrapped
    PythonTimeout 0 handler
    PythonOption mod_python.asgi.application stuck::asgi
</Location>
<Location /wrapped/wsgi>
    PythonHandler stuck::wrapped_wsgi
    PythonOption mod_python.wsgi.application stuck::wsgi
</Location>
PythonWSGI /wsgi stuck:wsgi
PythonASGI /asgi stuck:asgi
PythonASGI /called stuck:called
"""
RACES = os.environ.get("MOD_PYTHON_RACES", "20000")
"""How often is raced; a million takes a few minutes: `MOD_PYTHON_RACES=1000000 make test ARGS="tests/test_deadlines.py -k too_late"`."""


def site(serve: Serve, config: str = CONFIG, **settings: Any) -> Server:
    return serve(config, **settings)


@pytest.fixture(scope="module")
def httpd(mpm: str, serve_module: Serve) -> Server:
    return site(serve_module, mpm=mpm)


@pytest.fixture(scope="module")
def lasting(serve_module: Serve) -> Server:
    """Its limit comes twice only after what is stuck has come back: no child ends."""
    return site(serve_module, CONFIG.replace(f"{LIMIT}", "0.7"))


CLAIM = r"PythonTimeout: |\]   ( |File)|OSError: Write failed"
"""Its entries: the line, and those of the stack; and what a handler notices whose client is gone when it comes back."""


@pytest.fixture(autouse=True)
def what_is_late_is_claimed(serve_module: Any) -> None:
    """The log may be told of what one test has ended when the next one runs already: it is written by another thread."""
    for server in serve_module.servers:
        claim(server)


_marks: dict[str, int] = {}
"""How long the log of a server was (its root) when a test began with it."""


def claim(server: Server) -> None:
    server.claims.append(CLAIM)
    _marks[str(server.root)] = len(server.log_text())


def answered(server: Server, path: str, **arguments: Any) -> Answer:
    """The answer, once it is whole: one is broken off where the thread is in the middle of sending, or in a filter, and does not come back."""
    found: list[Answer] = []

    def ask() -> bool:
        found.extend(filter(None, [attempt(server.port, path, **arguments)]))
        return bool(found)

    server._wait(ask, f"{path} does not answer")
    return found[0]


def ended(server: Server, path: str, limit: float = LIMIT, **arguments: Any) -> Answer:
    """The answer of a request that is ended in time: never before it, and within half a second once in ten, on however busy a machine."""
    claim(server)
    for _ in range(10):
        begun = time.monotonic()
        answer = server.get(path, **arguments)
        passed = time.monotonic() - begun
        assert limit * 0.8 <= passed < PATIENCE, answer
        if passed < limit + 0.5:
            return answer
    raise AssertionError(f"{path}: {passed} s")


def told(server: Server, request: str, *parts: Union[str, re.Pattern[str]]) -> str:
    """What the log says of a request since the test has begun: the line, and the stack, in which these parts are."""

    def has(said: str, part: Union[str, re.Pattern[str]]) -> bool:
        return part in said if isinstance(part, str) else bool(part.search(said))

    end = time.monotonic() + PATIENCE
    while True:
        text = server.log_text()[_marks.get(str(server.root), 0) :]
        # What the watcher has seen may come behind what the thread itself has said: it has no stack.
        for found in re.finditer(re.escape(f"PythonTimeout: {request} has taken"), text):
            said = text[found.start() :]
            if all(has(said, part) for part in parts):
                return said
        assert time.monotonic() < end, (request, parts, text[-4000:])
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["spin", "swallow"])
@pytest.mark.parametrize("place", ["/handler", "/wsgi", "/asgi"])
def test_what_spins_is_ended(httpd: Server, place: str, how: str) -> None:
    """`except Exception` does not catch it."""
    warm(httpd, f"{place}?")
    assert ended(httpd, f"{place}?{how}").status == 504
    # From 3.14 on, such a loop lets others have the lock where it ends.
    told(
        httpd,
        f"GET {place}",
        'stuck.py", line',
        "in stand",
        re.compile(r"while time\.monotonic\(\) < end:|\]     pass\n"),
    )
    # The worker, or the loop, goes on.
    assert httpd.ok("/quick").text.startswith("quick")


def test_the_end_of_what_an_application_gives_counts(httpd: Server) -> None:
    claim(httpd)
    httpd.claims.append("Exception ignored|Traceback|RequestTimeout")
    warm(httpd, "/wsgi?")
    begun = time.monotonic()
    answer = attempt(httpd.port, "/wsgi?goes")
    assert answer is None or answer.status == 504
    assert time.monotonic() - begun < 10
    told(httpd, "GET /wsgi", "in __del__")
    warm(httpd, "/wsgi?")


@pytest.mark.parametrize("path", ["/handler?part%20spin", "/wsgi?iterate%20spin", "/asgi?part%20spin"])
def test_a_part_is_never_taken_for_all(httpd: Server, path: str) -> None:
    claim(httpd)
    try:
        # Of a child's first request the import may have taken the time.
        assert httpd.get(path).status == 504
    except http.client.IncompleteRead as error:
        assert error.partial == b"a part"


@pytest.mark.parametrize("how", ["sleep", "lock", "c", "gil"])
@pytest.mark.parametrize("place", ["/handler", "/wsgi"])
def test_the_client_does_not_wait_for_what_does_not_come_back(lasting: Server, place: str, how: str) -> None:
    answer = ended(lasting, f"{place}?{how}", 0.7)
    assert answer.status == 504 and answer.header("Connection") == "close"
    lines = {"sleep": ("time.sleep",), "lock": ("_held.acquire",), "c": ("ctypes.CDLL",), "gil": ()}
    told(lasting, f"GET {place}", *lines[how])
    lasting.ok("/quick")


@pytest.mark.parametrize("how", ["await", "pool", "sleep"])
def test_an_asgi_task_is_cancelled(lasting: Server, how: str) -> None:
    """Also one that sleeps in the loop, which cannot be cancelled before it comes back."""
    warm(lasting, "/asgi?")
    assert ended(lasting, f"/asgi?{how}", 0.7).status == 504
    text = told(lasting, "GET /asgi", 'stuck.py", line')
    assert "base_events" not in text
    lasting.wait_log("GET '/asgi': cancelled")
    lasting.ok("/quick")


@pytest.mark.parametrize("how", ["await%20for%20ever", "turn%20for%20ever"])
def test_a_task_that_does_not_end_is_left(httpd: Server, how: str) -> None:
    """It catches whatever comes, and awaits again: its client, and the loop, are rid of it."""
    warm(httpd, "/asgi?")
    httpd.claims.append("coroutine ignored GeneratorExit|Exception ignored|Traceback")
    said = "a task that has been cancelled does not end"
    before = httpd.log_text().count(said)
    for _ in range(10):
        assert ended(httpd, f"/asgi?{how}").status == 504
        # It ends where RequestTimeout comes between two of its turns, which nothing catches there.
        with contextlib.suppress(TimeoutError):
            httpd._wait(lambda: httpd.log_text().count(said) > before, "nothing is said of it", 5)
            break
    assert httpd.log_text().count(said) > before
    httpd._wait(lambda: httpd.ok("/tasks").text == "0", "its task is still there")
    assert "await asyncio.sleep(" in httpd.log_text().rpartition("a task that has been cancelled")[2]
    warm(httpd, "/asgi?")


def test_a_task_that_is_cancelled_may_clean_up(httpd: Server) -> None:
    warm(httpd, "/asgi?")
    assert ended(httpd, "/asgi?clean%20up").status == 504
    httpd.wait_log("it has cleaned up")
    httpd._wait(lambda: httpd.ok("/tasks").text == "0", "its task is still there")


def test_what_catches_it_gets_it_again(httpd: Server) -> None:
    """It catches three, and raises something else, which the log is told of, too."""
    claim(httpd)
    httpd.claims.append("Traceback|ValueError: caught")
    assert httpd.get("/nothing/again?catch").status == 504
    httpd.wait_log("ValueError: caught")


def test_phases_have_their_time_each(httpd: Server) -> None:
    for place in ("/access", "/fixup"):
        assert ended(httpd, f"{place}?spin").status == 504
        httpd._wait(lambda place=place: httpd.get(place).text.startswith("quick"), place)  # type: ignore[misc]
    text = told(httpd, "GET /fixup")
    assert "PythonFixupHandler" in text.split("\n")[0]


def test_filters(httpd: Server) -> None:
    claim(httpd)
    assert answered(httpd, "/filtered?spin").status in (500, 504)
    assert "PythonOutputFilter" in told(httpd, "GET /filtered").split("\n")[0]
    httpd._wait(lambda: answered(httpd, "/filtered").text == "plain", "/filtered")


@pytest.mark.parametrize("place", ["/filtered", "/flushed"])
def test_a_filter_that_does_not_come_back_keeps_no_client(lasting: Server, place: str) -> None:
    """Also where the answer's end is behind it already, or the handler that writes is in the middle of sending: it is broken off."""
    claim(lasting)
    lasting._wait(lambda: answered(lasting, place).text == "plain", place)
    for _ in range(10):
        begun = time.monotonic()
        answer = attempt(lasting.port, f"{place}?sleep")
        passed = time.monotonic() - begun
        # With an answer, the filter has come back before anybody has looked.
        assert 0.5 < passed < PATIENCE and (answer is None or passed >= LONG)
        if passed < 0.7 + 0.5:
            break
    assert passed < 0.7 + 0.5
    assert "PythonOutputFilter" in told(lasting, f"GET {place}", "time.sleep").split("\n")[0]
    lasting.ok("/quick")


def test_a_connection_handler_that_does_not_come_back_keeps_no_client(serve: Serve) -> None:
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\nPythonTimeout 0.7\nPythonConnectionHandler stuck\n"
    server = serve(config + f"PythonImport stuck {INTERPRETER or 'main_interpreter'}\n")
    claim(server)

    def answer(how: bytes) -> tuple[bytes, float]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            begun = time.monotonic()
            client.sendall(how + b"\r\n")
            return client.makefile("rb").read(), time.monotonic() - begun

    assert answer(b"")[0] == b"a partdone"
    found = [answer(b"sleep")]
    while found[-1][1] > 0.7 + 0.5 and len(found) < 10:
        found.append(answer(b"sleep"))
    assert found[-1][0] == b"a part" and 0.5 < found[-1][1] < 0.7 + 0.5
    told(server, "a connection", "time.sleep")


@pytest.mark.parametrize("path", ["/says?says", "/says?goes", "/saying?says", "/saying?goes", "/suspends?x"])
def test_what_an_exception_says_of_itself_counts(httpd: Server, path: str) -> None:
    """And what its end does, and that of a coroutine which is no filter."""
    claim(httpd)
    httpd.claims.append("Says|slowly|TypeError|RuntimeWarning|Traceback|Exception ignored")
    answer = None
    for _ in range(10):
        begun = time.monotonic()
        answer = answer or attempt(httpd.port, path, headers={"Accept": "text/html"})
        assert time.monotonic() - begun < 10
    assert answer is not None and answer.status in (500, 504), answer
    told(httpd, f"GET {path.partition('?')[0]}", "in stand")
    assert httpd.ok("/quick").text.startswith("quick")


def test_cleanups(httpd: Server) -> None:
    claim(httpd)
    httpd._wait(lambda: answered(httpd, "/cleaned?spin").text == "clean", "/cleaned")
    assert "PythonCleanupHandler" in told(httpd, "GET /cleaned").split("\n")[0]


def test_an_import_leaves_no_half_module(httpd: Server) -> None:
    """An import is not broken off: its request ends in time, and the module is there for those that come behind it."""
    text = "import time\nfrom mod_python import apache\nend = time.monotonic() + 3\nwhile time.monotonic() < end:\n    pass\n"
    httpd.write("apps/slow_import.py", f"{text}def handler(req):\n    req.write('whole')\n    return apache.OK\n")
    before = len(httpd.log_text())
    assert httpd.get("/imported").status == 504
    httpd.wait_log("it is in the middle of an import, behind which RequestTimeout is raised")
    assert "the child ends" not in httpd.log_text()[before:]
    httpd._wait(lambda: is_whole(httpd, "/imported"), "it has not been imported")


def test_an_import_leaves_no_half_package(lasting: Server) -> None:
    """As asyncio, which cannot be imported again where a part of it is there already."""
    claim(lasting)
    assert lasting.get("/halved").status == 504
    lasting._wait(lambda: is_whole(lasting, "/halved"), "it has not been imported")


def is_whole(server: Server, path: str) -> bool:
    """The answer of one that has waited for the import may be cut: its time has passed when it begins."""
    return getattr(attempt(server.port, path), "text", None) == "whole"


def test_sections_cover_one_another(httpd: Server) -> None:
    """Off inside of a limit, a limit inside of off; one for WSGI is none for handlers."""
    assert httpd.ok("/nothing?sleep").text == "done"
    assert ended(httpd, "/nothing/again?spin").status == 504
    assert httpd.ok("/others?sleep").text == "done"


def test_one_inside_of_another(httpd: Server) -> None:
    """A redirect to a request with a shorter limit: that one ends."""
    assert ended(httpd, "/outer").status == 504


@pytest.mark.parametrize("gil", ["", "PythonInterpreter own\nPythonInterpreterGIL own own\n"], ids=["main", "own"])
def test_none_comes_too_late(serve: Serve, gil: str) -> None:
    """A function of test builds races: what is behind the end never sees the exception."""
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\nSetHandler mod_python\nPythonHandler stuck::race\n"
    server = serve(gil + config)
    if server.get("/?0").text == "none":
        pytest.skip("not a test build")
    assert int(server.ok(f"/?{RACES}", timeout=3600).text) > 20


def test_others_lose_nothing(mpm: str, serve: Serve) -> None:
    """While children are stuck, and end, others are answered, all of them."""
    config = (
        CONFIG
        + """
<IfModule !mpm_prefork_module>
    ServerLimit 8
    StartServers 3
    MinSpareThreads 4
    MaxSpareThreads 24
    ThreadsPerChild 4
    MaxRequestWorkers 24
</IfModule>
"""
    )
    server = serve(config, mpm=mpm, children=3, threads=4)
    claim(server)
    lost: list[Any] = []
    counted = [0]
    over = threading.Event()

    def ask() -> None:
        while not over.is_set() and not lost:
            try:
                answer = server.get("/quick")
                if answer.status != 200 or not answer.text.startswith("quick"):
                    lost.append(answer)
            except (OSError, http.client.HTTPException) as error:
                lost.append(error)
            counted[0] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for path in ("/handler?sleep", "/handler?spin", "/wsgi?lock", "/asgi?await", "/handler?for%20ever"):
            assert ended(server, path).status == 504, path
        server.wait_log("the child ends, with a thread that has not come back")
        seen = counted[0]
        server._wait(lambda: bool(lost) or counted[0] >= max(seen + 20, 50), "nobody else is answered")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not lost


@pytest.mark.skipif(FREE_THREADED, reason="there is no lock")
def test_what_keeps_the_lock_is_shown_all_the_same(serve: Serve) -> None:
    server = serve(CONFIG, children=2)
    claim(server)
    asked = 0
    # Of a child's first request the import may have taken the time, more so in an interpreter that begins with it.
    while "the interpreter's lock is held by another thread, or by code in C" not in server.log_text():
        assert server.get("/handler?gil%20for%20ever").status == 504
        asked += 1
        server._wait(lambda asked=asked: server.log_text().count("GET /handler has taken") >= asked, "nothing is told")
    told(server, "GET /handler", "it does not come back: the child ends", "in stand")
    server.wait_log("the child ends, with a thread that has not come back")


def test_a_slow_client_is_no_deadlines_business(httpd: Server) -> None:
    """Not where a filter of Python's reads what it sends, either."""
    pids = httpd.child_pids()
    with socket.create_connection(("127.0.0.1", httpd.port), timeout=PATIENCE) as client:
        client.sendall(b"POST /received HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\n123")
        begun = time.monotonic()
        while time.monotonic() - begun < 5 * LIMIT:
            assert httpd.ok("/quick").status == 200
        client.sendall(b"456")
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200") and b"123456" in answer
    assert set(pids) <= set(httpd.child_pids())


def warm(server: Server, path: str) -> None:
    """Until it answers: of a first request, the loop's beginning may take the time."""
    claim(server)
    server._wait(lambda: answered(server, path).text == "done", f"{path} does not answer")


def test_a_slow_body_of_asgi_is_no_deadlines_business(lasting: Server) -> None:
    """Neither while its worker waits for it, nor in the steps of the loop behind that."""
    warm(lasting, "/asgi?")
    with socket.create_connection(("127.0.0.1", lasting.port), timeout=PATIENCE) as client:
        client.sendall(b"POST /asgi?body HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\n123")
        begun = time.monotonic()
        while time.monotonic() - begun < 1.7:
            assert lasting.ok("/quick").status == 200
        client.sendall(b"456")
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"123456"), answer


def test_what_spins_before_its_first_await_is_ended(lasting: Server) -> None:
    """The call of an application counts as its task does; the loop goes on."""
    warm(lasting, "/called?")
    assert ended(lasting, "/called?spin%20on", 0.7).status == 504
    told(lasting, "GET /called", "in __call__", "in stand")
    warm(lasting, "/asgi?")


def test_an_application_that_a_handler_calls(httpd: Server) -> None:
    """It has its own limit, whatever the handler's."""
    pids = httpd.child_pids()
    warm(httpd, "/wrapped?")
    for path, how in (("/wrapped", "await"), ("/wrapped", "spin"), ("/wrapped/wsgi", "spin")):
        assert ended(httpd, f"{path}?{how}").status == 504
        told(httpd, f"GET {path}")
        warm(httpd, f"{path}?")
    assert set(pids) <= set(httpd.child_pids())


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("PythonTimeout soon", 'needs a number of seconds from 0.1 to 86400, or 0 for none, not "soon"'),
        ("PythonTimeout -1", "needs a number of seconds"),
        ("PythonTimeout 0.01", "needs a number of seconds"),
        ("PythonTimeout 5 cgi", 'is for handler, wsgi or asgi, not for "cgi"'),
    ],
)
def test_mistakes(serve: Serve, line: str, text: str) -> None:
    checked = serve(line + "\n", start=False).check()
    assert checked.returncode != 0 and text in checked.stderr


def test_the_exception_is_documented() -> None:
    from mod_python import apache

    assert issubclass(apache.RequestTimeout, BaseException) and not issubclass(apache.RequestTimeout, Exception)
    assert "PythonTimeout" in str(apache.RequestTimeout()) and str(apache.RequestTimeout("x")) == "x"
