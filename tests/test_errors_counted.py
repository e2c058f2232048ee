"""Errors are counted by mod_python.status wherever Python code of a site makes them, and the debugger is wherever it runs."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import threading

import pytest
from conftest import Serve, Server

from httpd import free_port

SITE = """
AcceptFilter http none
PythonPath "sys.path + ['@ROOT@/apps']"
PythonInterpreter main_interpreter
PythonOutputFilter counted::broken_filter BROKEN_OUT
PythonInputFilter counted::broken_filter BROKEN_IN
PythonWSGI /wsgi counted:application
PythonASGI /asgi/before asgi_apps:raises
PythonASGI /asgi/late asgi_apps:raises_late
PythonASGI /asgi/behind asgi_apps:raises_after
PythonASGI /asgi/nothing asgi_apps:nothing
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
<Location /is>
    SetHandler mod_python
</Location>
<Location /is/raises>
    PythonHandler counted::raises
</Location>
<Location /is/forgets>
    PythonHandler counted::forgets
</Location>
<Location /is/absent>
    PythonHandler counted::absent
</Location>
<Location /is/says_not_found>
    PythonHandler counted::says_not_found
</Location>
<Location /is/late>
    PythonFixupHandler counted::raises
    PythonHandler counted::fine
</Location>
<Location /is/out>
    PythonHandler counted::fine
    SetOutputFilter BROKEN_OUT
</Location>
<Location /is/in>
    PythonHandler counted::reads
    SetInputFilter BROKEN_IN
</Location>
<Location /is/tag>
    Options +Includes
    PythonHandler counted::page
    SetOutputFilter INCLUDES
</Location>
<Location /is/registers>
    PythonHandler counted::registers
</Location>
<Location /is/cleanup>
    PythonHandler counted::fine
    PythonCleanupHandler counted::raises
</Location>
"""


class Site:
    def __init__(self, server: Server, raising: int, returning: int) -> None:
        self.server, self.raising, self.returning = server, raising, returning

    def errors(self) -> int:
        rows = json.loads(self.server.ok("/status?json").text)["interpreters"]
        return sum(row["errors"] for row in rows)


@pytest.fixture(scope="module")
def site(serve_module: Serve, mpm: str) -> Site:
    ports = free_port(), free_port()
    text = SITE
    for port, name in zip(ports, ("talks", "returns")):
        text += (
            f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nPythonConnectionHandler counted::{name}\n"
            "PythonInterpreter main_interpreter\n</VirtualHost>\n"
        )
    return Site(serve_module(text, mpm=mpm, modules=("include",)), *ports)


BROKEN = (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)


@pytest.mark.parametrize(
    ("path", "body", "log"),
    [
        ("/is/raises", None, "counted::raises: .*LookupError"),
        ("/is/forgets", None, "counted::forgets: the handler returned a value of type NoneType"),
        ("/is/absent", None, "contains no 'absent'"),
        ("/is/late", None, "PythonFixupHandler counted::raises: .*LookupError"),
        ("/is/out", None, "PythonOutputFilter counted::broken_filter: .*LookupError"),
        ("/is/in", b"body", "PythonInputFilter counted::broken_filter: .*LookupError"),
        ("/is/tag?tag", None, "#python: .*NameError"),
        ("/is/registers", None, "python_cleanup: .*LookupError"),
        ("/is/cleanup", None, "PythonCleanupHandler counted::raises: .*LookupError"),
        ("/wsgi/before", None, "mod_python.wsgi: .*LookupError"),
        ("/wsgi/after", None, "mod_python.wsgi: .*LookupError"),
        ("/wsgi/close", None, "mod_python.wsgi: .*LookupError"),
        ("/wsgi/short", None, "gives 3 bytes where its Content-Length says 10"),
        ("/wsgi/long", None, "more than the 2 bytes"),
        ("/asgi/before", None, "mod_python.asgi: .*LookupError"),
        ("/asgi/late", None, "mod_python.asgi: .*LookupError"),
        ("/asgi/behind", None, "after the answer: .*LookupError"),
        ("/asgi/nothing", None, "has ended without an answer"),
    ],
)
def test_an_error_is_counted_once(site: Site, path: str, body: bytes | None, log: str) -> None:
    before = site.errors()
    with contextlib.suppress(BROKEN):
        site.server.get(path, method="POST" if body else "GET", body=body)
    site.server.claim(log)
    site.server._wait(lambda: site.errors() > before, "the error was not counted")
    assert site.errors() == before + 1


def test_what_is_no_error_is_not_counted(site: Site) -> None:
    before = site.errors()
    assert site.server.get("/is/says_not_found").status == 404
    assert site.server.ok("/wsgi/fine").text == "onetwo"
    assert site.server.ok("/is/tag").text == "page"
    assert site.errors() == before


def talk(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 30) as connection, connection.makefile("rb") as file:
        return file.read()


def test_connection_handlers(site: Site) -> None:
    """SERVER_RETURN ends a handler wherever it is raised."""
    before = site.errors()
    assert talk(site.returning) == b"bye\n"
    assert site.errors() == before
    talk(site.raising)
    site.server.claim("PythonConnectionHandler counted::talks: .*LookupError")
    site.server._wait(lambda: site.errors() == before + 1, "the error was not counted")


def test_an_import_at_the_start(serve: Serve, mpm: str) -> None:
    server = serve("PythonImport no_such_module main_interpreter\n" + SITE, mpm=mpm)
    server.claim("PythonImport no_such_module main_interpreter: .*ModuleNotFoundError")

    def counted() -> set[int]:
        return {row["errors"] for row in json.loads(server.ok("/status?json").text)["interpreters"]}

    # A child may have begun and not have come to its imports.
    server._wait(lambda: counted() == {1}, "the errors of imports are not counted")


def test_the_debugger_in_filters_and_connections(serve: Serve) -> None:
    """PythonEnablePdb On, in a foreground httpd of one process: as in a handler."""
    port = free_port()
    text = SITE.replace("broken_filter BROKEN_OUT", "debugged_filter BROKEN_OUT").replace(
        "<Location /is/out>", "<Location /is/out>\nPythonEnablePdb On"
    )
    text += (
        f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nPythonConnectionHandler counted::returns\n"
        "PythonEnablePdb On\nPythonInterpreter main_interpreter\n</VirtualHost>\n"
    )
    server = serve(text, mpm="prefork", start=False)
    command = [*server._command(), "-X", "-DONE_PROCESS"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdin is not None
        server._wait(lambda: answers(server), "no single process")
        got: list[object] = []

        def type_in(text: str) -> None:
            assert process.stdin is not None
            process.stdin.write(text)
            process.stdin.flush()

        client = threading.Thread(target=lambda: got.append(server.get("/is/out").text))
        client.start()
        # The handler itself, then its filter.
        type_in("continue\n" + "print('in', filter.name)\ncontinue\n")
        client.join(30)
        assert got.pop() == "page"
        client = threading.Thread(target=lambda: got.append(talk(port)))
        client.start()
        type_in("print('talking', conn.local_ip)\ncontinue\n")
        client.join(30)
        assert got.pop() == b"bye\n"
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert "in broken_out" in output.lower() and "talking 127.0.0.1" in output


def answers(server: Server) -> bool:
    try:
        return server.get("/wsgi/fine").status == 200
    except OSError:
        return False
