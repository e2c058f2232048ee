"""The locks of sessions belong to the request that the client has sent, and end with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from http.client import RemoteDisconnected
from pathlib import Path

import pytest
from client import Answer
from conftest import Serve, Server, places

from httpd import CHILD_USER

SECTIONS = """
<Directory @ROOT@/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
    AddHandler mod_python .psp
    PythonHandler mod_python.psp
</Directory>
<Directory @ROOT@/htdocs/indexed>
    DirectoryIndex none.html page.visit
    SetHandler mod_python
    PythonFixupHandler visits
    PythonHandler visits::after_fixup
</Directory>
<Location /broken>
    ErrorDocument 404 /visits/error
    SetHandler mod_python
    PythonHandler visits::fails
</Location>
<Location /missing>
    ErrorDocument 404 /visits/error
</Location>
<Location /early>
    SetHandler mod_python
    PythonAccessHandler visits::unlocked
    PythonHandler visits::count
</Location>
<Location /apart>
    PythonInterpPerDirective On
    SetHandler mod_python
    PythonAccessHandler visits::apart
</Location>
<Location /apart/inner>
    PythonHandler visits::apart
</Location>
<Location /quick>
    SetHandler mod_python
    PythonOption mod_python.session.lock_timeout 0.5
    PythonHandler visits::count
</Location>
<Location /soon>
    SetHandler mod_python
    PythonOption mod_python.session.lock_timeout 10
    PythonHandler visits::count
</Location>
<Location /patient>
    SetHandler mod_python
    PythonOption mod_python.session.lock_timeout -1
    PythonHandler visits::waits
</Location>
<Location /wrong>
    SetHandler mod_python
    PythonOption mod_python.session.lock_timeout soon
    PythonHandler visits::count
</Location>
"""
PAGES = {
    "page.shtml": '<!--#include virtual="/visits/count" -->,<!--#include virtual="/visits/count" -->',
    "swept.shtml": '<!--#include virtual="/visits/sweeps"-->',
    "again.shtml": '<!--#include virtual="/visits/again" -->,<!--#include virtual="/visits/again" -->',
    "ends.shtml": '<!--#include virtual="/visits/count" -->,<!--#include virtual="/visits/ends" -->',
    "indexed/page.visit": "",
    "form.psp": "<% session['n'] = session.get('n', 0) + 1 %><%= session['n'] %> <%= form.getfirst('a') %>",
    "applied.psp": (
        "<% session['n'] = session.get('n', 0) + 1 %><%= session['n'] %> <%= psp.apply_data(lambda req, a='': a) %>"
    ),
}


def served(
    serve: Serve, mpm: str, store: str = "FileSession", children: int = 2, more: str = "", **settings: object
) -> Server:
    config = "PythonOption go @ROOT@/sessions/go\nPythonOption mod_python.session.application_path /\n"
    config += f"PythonOption mod_python.session.session_type {store}\n"
    config += f"PythonOption mod_python.session.database_directory @ROOT@/sessions\n{places('visits')}{SECTIONS}{more}"
    server = serve(config, mpm=mpm, start=False, threads=12, children=children, modules=("include",), **settings)
    for name, text in PAGES.items():
        server.write(f"htdocs/{name}", text)
    (server.root / "htdocs/indexed").chmod(0o755)
    directory = server.root / "sessions"
    directory.mkdir()
    if os.geteuid() == 0:
        shutil.chown(directory, CHILD_USER)
    return server.start()


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    return served(serve_module, mpm)


class Visitor:
    """A browser that keeps its cookies."""

    def __init__(self, server: Server) -> None:
        self.server, self.cookies = server, dict[str, str]()

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}

    def get(self, path: str, method: str = "GET", **arguments: object) -> Answer:
        answer = self.server.get(path, method, headers=self.headers, **arguments)
        for cookie in answer.all("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status == 200, (answer, self.server.log_text()[-3000:])
        return answer.text

    def is_free(self) -> bool:
        """Nobody has the session's lock, or will soon be without it."""
        return self.get("/visits/count").status == 200


def test_includes(httpd: Server) -> None:
    """A session that is first taken up in a sub-request."""
    visitor = Visitor(httpd)
    assert visitor.text("/page.shtml") == "1,2" and not visitor.cookies, "the headers have left by then"
    assert visitor.text("/visits/count") == "1"
    assert [visitor.text("/page.shtml") for _ in range(3)] == ["2,3", "4,5", "6,7"]
    assert [visitor.text("/again.shtml") for _ in range(3)] == ["8,9", "10,11", "12,13"]
    assert visitor.text("/visits/count") == "14"
    before = dict(visitor.cookies)
    assert visitor.text("/ends.shtml") == "15,ended"
    visitor.cookies = before
    assert visitor.text("/visits/count") == "1"


@pytest.mark.parametrize("store", ["FileSession", "DbmSession"])
def test_a_sub_request_removes_what_is_over(serve: Serve, mpm: str, store: str) -> None:
    server = served(serve, mpm, store)
    assert server.ok("/swept.shtml").text == "swept"
    server.wait_log("0 sessions that were over have been removed")


def test_a_fixup_behind_a_directory_index(httpd: Server) -> None:
    visitor = Visitor(httpd)
    assert [visitor.text("/indexed/") for _ in range(3)] == ["1", "2", "3"]
    assert [visitor.text("/indexed/?again") for _ in range(3)] == ["4", "5", "6"]
    assert visitor.text("/indexed/?ends") == "ended" and visitor.text("/visits/count") == "1"


def test_error_documents(httpd: Server) -> None:
    visitor = Visitor(httpd)
    for path in ("/missing", "/broken"):
        for _ in range(3):
            answer = visitor.get(path)
            assert answer.status == 404 and answer.text.isdigit()
    assert visitor.text("/visits/count") == "7"


def test_interpreters(serve: Serve, mpm: str) -> None:
    server = served(serve, mpm, interpreter=None)
    visitor = Visitor(server)
    for number in range(1, 7, 2):
        first, second = visitor.text("/apart/inner").splitlines()
        assert [first.split()[0], second.split()[0]] == [str(number), str(number + 1)]
        assert first.split()[1] != second.split()[1], "each has an object of its own, of the same session"
    assert visitor.text("/visits/count") == "7" and list(visitor.cookies) == ["pysid"]


@pytest.mark.parametrize("store", ["FileSession", "DbmSession"])
def test_first_without_the_lock(serve: Serve, mpm: str, store: str) -> None:
    """What others saved in between is not lost."""
    server = served(serve, mpm, store, children=4)
    visitor = Visitor(server)
    visitor.text("/early")
    command = ["ab", "-q", "-n", "400", "-c", "12", "-H", f"Cookie: {visitor.headers['Cookie']}", server.url("/early")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Complete requests:      400" in report and "Non-2xx" not in report, report
    assert visitor.text("/early") == "402"


def test_ended_before_the_lock(httpd: Server) -> None:
    visitor = Visitor(httpd)
    assert visitor.text("/visits/ended") == "1 True True"
    first = dict(visitor.cookies)
    assert visitor.text("/visits/ended") == "1 False True"
    assert visitor.cookies != first and visitor.text("/visits/count") == "2"


def test_two_sessions_of_many_visitors(httpd: Server) -> None:
    """Nobody waits for somebody who waits for him."""
    visitors = [Visitor(httpd) for _ in range(8)]
    for visitor in visitors:
        visitor.text("/visits/two")
        assert sorted(visitor.cookies) == ["a", "b"]
    command = ["ab", "-q", "-n", "60", "-c", "2", "-s", "20", "-H"]
    running = [
        subprocess.Popen(
            [*command, f"Cookie: {visitor.headers['Cookie']}", httpd.url("/visits/two")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for visitor in visitors[:4]
    ]
    for process in running:
        report, _ = process.communicate()
        assert "Complete requests:      60" in report and "Non-2xx" not in report, report
    assert [visitor.text("/visits/two") for visitor in visitors] == ["62"] * 4 + ["2"] * 4


def test_threads_and_mistakes(httpd: Server) -> None:
    for _ in range(5):
        assert httpd.ok("/visits/threads").text == "ok"
        assert httpd.ok("/visits/mistakes").text == "ok"


def test_clean_ups(httpd: Server) -> None:
    visitor = Visitor(httpd)
    visitor.text("/visits/count")
    for number in range(2, 12):
        visitor.text("/visits/cleans")
        Server._wait(lambda number=number: visitor.text("/visits/shows") == str(number), "no clean-up has run")
    assert visitor.text("/visits/count") == "12"


class Holding:
    """A request that keeps its visitor's session until it is let go."""

    def __init__(self, visitor: Visitor) -> None:
        visitor.text("/visits/count")
        self.file = Path(visitor.server.root / "sessions/go")
        self.held = Path(f"{self.file}.held")
        self._thread = threading.Thread(target=lambda: visitor.get("/visits/holds"))

    def __enter__(self) -> Holding:
        self.file.unlink(missing_ok=True)
        self.held.unlink(missing_ok=True)
        self._thread.start()
        Server._wait(self.held.exists, "the session is not held")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.write_text("")
        self._thread.join()


def test_waiting_has_an_end(httpd: Server) -> None:
    visitor, other = Visitor(httpd), Visitor(httpd)
    with Holding(visitor):
        for _ in range(3):
            assert visitor.get("/quick").status == 503
        line = httpd.wait_log("another request has had it for 0.5 seconds")
        assert "warn" in line and visitor.cookies["pysid"] not in line
        assert [other.text("/soon") for _ in range(3)] == ["1", "2", "3"], "strangers do not wait"
    assert visitor.get("/soon").text == "2"
    assert visitor.get("/wrong").status == 500
    httpd.claim("mod_python.session.lock_timeout: 'soon' is not a number of seconds")


def test_a_child_that_ends_does_not_wait_for_ever(serve: Serve) -> None:
    """And the new children know what the old ones hold."""
    server = served(serve, "event", children=4)
    visitor = Visitor(server)
    with Holding(visitor):
        statuses: list[int] = []
        waits = threading.Thread(target=lambda: statuses.append(visitor.get("/patient").status))
        waits.start()
        server._wait(Path(f"{server.root}/sessions/go.waits").exists, "nobody waits")
        before, old = server.log_text().count("resuming normal operations"), set(server.child_pids())
        server.signal(signal.SIGUSR1)
        server._wait(lambda: server.log_text().count("resuming normal operations") > before, "no graceful restart")
        # httpd may lose what comes at this moment, and an old child take it.
        server._wait(lambda: bool(set(server.child_pids()) - old), "there is no new child")
        assert visitor.get("/quick").status == 503
        waits.join()
        assert statuses == [503]
    server._wait(lambda: not old & set(server.child_pids()), "an old child stays")
    assert visitor.text("/soon") == "2"


def test_a_child_that_dies(serve: Serve, mpm: str) -> None:
    server = served(serve, mpm)
    visitor = Visitor(server)
    for number in range(1, 4):
        assert visitor.text("/visits/count") == str(number)
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            visitor.get("/visits/dies")
    assert visitor.text("/soon") == "4"


@pytest.mark.parametrize("page", ["form.psp", "applied.psp"])
def test_a_page_reads_its_form_before_it_takes_the_session(httpd: Server, page: str) -> None:
    visitor = Visitor(httpd)
    visitor.text("/visits/count")
    head = f"POST /{page} HTTP/1.1\r\nHost: x\r\nCookie: {visitor.headers['Cookie']}\r\nConnection: close\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6\r\n\r\na=sp"
    with socket.create_connection(("127.0.0.1", httpd.port), 30) as slow:
        slow.sendall(head.encode())
        marker = f"{page}-asked"
        # The slow request is being served once this one, on a later connection, has been.
        for number in range(2, 12):
            assert visitor.text(f"/soon?{marker}") == str(number)
        slow.sendall(b"am")
        parts = []
        while part := slow.recv(65536):
            parts.append(part)
    assert b"12 spam" in b"".join(parts)
