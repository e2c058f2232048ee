"""WebSockets that have left their worker (MPM event): more of them than there are threads, and what becomes of them at their end."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from asgi_site import applications, heard, site
from conftest import Serve, Server
from test_asgi_websocket import Raw, frame, opening, request, talk
from test_faults import DEBUG, Faults, faults
from test_wsgi_protocols import certificate
from websockets.exceptions import ConnectionClosed

from httpd import PATIENCE

__all__ = ["certificate", "faults"]

THREADS = 3
MANY = 40
CONFIG = """
AsyncRequestWorkerFactor 50
LogFormat "%U %>s %B %D" streams
CustomLog @ROOT@/access_log streams
PythonASGI /hello asgi_apps:hello
<Location /server-status>
    SetHandler server-status
</Location>
<Location /noted>
    PythonLogHandler stream_ends::log
</Location>
PythonASGI /noted stream_ends:noted
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    config = applications("asgi_sockets") + CONFIG
    return site(serve_module, config, mpm="event", threads=THREADS, modules=("status",))


@pytest.fixture(autouse=True)
def nothing_is_noted(httpd: Server) -> Iterator[None]:
    (httpd.root / "notes/seen").unlink(missing_ok=True)
    yield
    (httpd.root / "notes/seen").unlink(missing_ok=True)


def status(server: Server) -> dict[str, str]:
    """What mod_status says."""
    lines = server.ok("/server-status?auto").text.splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def logged(server: Server, path: str) -> list[str]:
    """The lines of the access log for a path, once there is one."""
    found: list[str] = []

    def look() -> bool:
        lines = (server.root / "access_log").read_text().splitlines()
        found[:] = [line for line in lines if line.startswith(f"{path} ")]
        return bool(found)

    server._wait(look, "the access log has no such line")
    return found


def test_more_of_them_than_workers(httpd: Server) -> None:
    with ExitStack() as all_of_them:
        clients = [all_of_them.enter_context(opening(httpd, "/quiet")) for _ in range(MANY)]
        for turn in range(3):
            for number, client in enumerate(clients):
                client.send(f"{turn} {number}")
            assert httpd.ok("/hello").text == "Hello World!"
            for number, client in enumerate(clients):
                assert client.recv(PATIENCE) == f"{turn} {number}"
        # httpd counts from time to time.
        httpd._wait(lambda: int(status(httpd)["ConnsTotal"]) >= MANY, "connections are not counted")
        assert int(status(httpd)["BusyWorkers"]) <= THREADS
    httpd._wait(lambda: int(status(httpd)["ConnsTotal"]) <= 2, "connections are counted that have gone")


def test_they_are_logged_at_their_end(httpd: Server) -> None:
    with opening(httpd, "/quiet/logged") as client:
        client.send("spam" * 100)
        assert client.recv(PATIENCE) == "spam" * 100
        assert "/quiet/logged" not in (httpd.root / "access_log").read_text()
    (line,) = logged(httpd, "/quiet/logged")
    _, code, sent, duration = line.split()
    assert code == "101" and int(sent) > 150 and int(duration) > 0


def test_what_belongs_to_the_end_of_a_request(httpd: Server) -> None:
    """PythonLogHandler and clean-ups run; the application may use the request meanwhile, and not afterwards."""
    with opening(httpd, "/noted") as client:
        client.send("uri")
        assert client.recv(PATIENCE) == "/noted"
        client.send("header")
        assert client.recv(PATIENCE) == "Upgrade"
    assert heard(httpd) == ["log", "clean-up"]
    assert logged(httpd, "/noted")


def test_one_that_does_not_read_keeps_nobody(httpd: Server) -> None:
    with ExitStack() as all_of_them:
        slow = [all_of_them.enter_context(talk(httpd, "/floods")) for _ in range(THREADS + 2)]
        with opening(httpd, "/quiet") as client:
            for number in range(50):
                client.send(str(number))
                assert client.recv(PATIENCE) == str(number)
        assert httpd.ok("/hello").text == "Hello World!"
        for raw in slow:
            for _ in range(100):
                assert raw.frame() == (0x82, b"x" * 65536)
        for raw in slow:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert heard(httpd)[0] < 4000 * 65536


def test_bytes_that_come_with_the_handshake(httpd: Server) -> None:
    """They have been read by then, and lie in httpd's filters."""
    with socket.create_connection(("127.0.0.1", httpd.port), PATIENCE) as connection:
        connection.sendall(request("/quiet") + frame(1, b"spam"))
        data = b""
        while not data.endswith(b"\x81\x04spam"):
            part = connection.recv(65536)
            assert part, data
            data += part


def test_an_application_that_fails(httpd: Server) -> None:
    with opening(httpd, "/raises_late") as client:
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1011
    httpd.claim("asgi_sockets raises late")


def test_clients_that_vanish(httpd: Server) -> None:
    for _ in range(20):
        with talk(httpd, "/quiet") as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    httpd._wait(lambda: int(status(httpd)["ConnsTotal"]) <= 2, "connections are counted that have gone")


def test_over_tls(serve: Serve, certificate: Path) -> None:
    config = applications("asgi_sockets") + CONFIG
    config += f"SSLEngine On\nSSLCertificateFile {certificate}/cert.pem\nSSLCertificateKeyFile {certificate}/key.pem\n"
    modules = ("status", "ssl", "socache_shmcb")
    server = site(serve, config + "SSLSessionCache none\n", mpm="event", threads=THREADS, modules=modules)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    # By one thread a connection: Python's TLS sockets cannot be used by two at once.
    clients = [Raw(server, "/quiet", tls=context) for _ in range(MANY)]
    for number, client in enumerate(clients):
        client.socket.sendall(frame(1, b"%d" % number))
    for number, client in enumerate(clients):
        assert client.frame() == (0x81, b"%d" % number)
    large = b"spam" * 500_000
    clients[0].socket.sendall(frame(2, large))
    assert clients[0].frame() == (0x82, large)
    for client in clients:
        client.socket.sendall(frame(8, b"\x03\xe8"))
        assert client.frame() == (0x88, b"\x03\xe8")
        client.socket.close()


@pytest.mark.parametrize("how", ["graceful", "stop"])
def test_the_end_of_the_child(serve: Serve, how: str) -> None:
    config = applications("asgi_sockets") + CONFIG + "PythonOption mod_python.asgi.shutdown_timeout 0.1\n"
    server = site(serve, config, mpm="event", threads=THREADS, modules=("status",))
    with ExitStack() as all_of_them:
        clients = [all_of_them.enter_context(opening(server, "/quiet")) for _ in range(MANY)]
        for client in clients:
            client.send("spam")
            assert client.recv(PATIENCE) == "spam"
        getattr(server, how)()
        for client in clients:
            with pytest.raises(ConnectionClosed):
                client.recv(PATIENCE)
            assert client.close_code == 1012


@pytest.mark.parametrize("fault", ["streams", "stream poll"])
def test_failures(serve: Serve, faults: Faults, fault: str) -> None:
    """Without the streams' thread the worker serves on; where a stream cannot be waited for it ends."""
    config = applications("asgi_sockets") + CONFIG
    server = site(serve, config, mpm="event", threads=THREADS, modules=("status",), module=DEBUG)
    with opening(server, "/quiet") as client:
        client.send("spam")
        assert client.recv(PATIENCE) == "spam"
    faults.set(fault)
    if fault == "streams":
        with opening(server, "/quiet") as client:
            client.send("spam")
            assert client.recv(PATIENCE) == "spam"
    else:
        with talk(server, "/echo") as client:
            assert not client.socket.recv(1)
        server.claim("a stream cannot be waited for")
        assert heard(server) == [1006, ""]
    faults.clear()
    with opening(server, "/quiet") as client:
        client.send("spam")
        assert client.recv(PATIENCE) == "spam"
