"""PythonConnectionHandler: whole connections in Python."""

from __future__ import annotations

import socket
import struct

import pytest
from client import ask
from conftest import Serve, Server, places

from httpd import free_port


class Ports:
    def __init__(self, server: Server, lines: int, declines: int, rubbish: int, closed: int) -> None:
        self.server, self.lines, self.declines, self.rubbish, self.closed = server, lines, declines, rubbish, closed


@pytest.fixture(scope="module")
def ports(serve_module: Serve, mpm: str) -> Ports:
    numbers = [free_port() for _ in range(4)]
    handlers = ("lines", "lines::declines", "lines::rubbish", "lines::closed")
    # This server speaks first: httpd must not wait for the client's data before it accepts.
    config = places("hello") + "AcceptFilter http none\n"
    for number, handler in zip(numbers, handlers):
        config += (
            f"Listen 127.0.0.1:{number}\n<VirtualHost 127.0.0.1:{number}>\nPythonConnectionHandler {handler}\n"
            "PythonInterpreter main_interpreter\n</VirtualHost>\n"
        )
    return Ports(serve_module(config, mpm=mpm, threads=16), *numbers)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 30)


def test_a_line_protocol(ports: Ports) -> None:
    for _ in range(30):
        with connect(ports.lines) as connection, connection.makefile("rwb") as file:
            assert file.readline() == b"hello\n"
            for sent, answer in ((b"spam\n", b"SPAM\n"), (b"read 3\nabc", b"<abc>\n"), (b"quit\n", b"bye\n")):
                file.write(sent)
                file.flush()
                assert file.readline() == answer
            assert file.read() == b""


def test_the_handler_list(ports: Ports) -> None:
    with connect(ports.lines) as connection, connection.makefile("rwb") as file:
        assert file.readline() == b"hello\n"
        file.write(b"hlist\n")
        file.flush()
        entry = b"{'handler':'lines','directory':None,'is_location':False,'silent':0}"
        assert file.readline() == b"lines None 0 " + entry + b"\n"
        assert file.readline() == b"None {} PyCapsule\n"


def test_reading_everything(ports: Ports) -> None:
    with connect(ports.lines) as connection:
        connection.sendall(b"rest\n" + b"x" * 100000)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(1000):
            received += part
    assert received == b"hello\n100000\n"


def test_a_client_that_leaves(ports: Ports) -> None:
    with connect(ports.lines) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b"hello\n" and connection.recv(1000) == b""
    ports.server.wait_log("the client has left")
    with connect(ports.closed) as connection:
        connection.sendall(b"some")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ports.server.claim("PythonConnectionHandler lines::closed: Traceback.*OSError: Connection (read|write) error")


def test_errors_are_logged_and_the_child_lives_on(ports: Ports) -> None:
    with connect(ports.lines) as connection:
        connection.sendall(b"raise\n")
        while connection.recv(1000):
            pass
    ports.server.claim("PythonConnectionHandler lines: Traceback.*LookupError: in a connection handler")
    with connect(ports.rubbish) as connection:
        assert connection.recv(1000) == b""
    ports.server.claim("PythonConnectionHandler lines::rubbish: the handler's result must be an int")
    assert ports.server.ok("/hello/handler").text == "Hello World!"


def test_a_kept_connection_expires(ports: Ports) -> None:
    if ports.server.mpm == "prefork":
        return  # another child would not have it

    def talk(sent: bytes) -> bytes:
        with connect(ports.lines) as connection, connection.makefile("rb") as file:
            connection.sendall(sent)
            return file.read()

    assert talk(b"keep\n") == b"hello\n"
    # httpd takes it down a moment after the client has seen its end.
    expired = b"hello\nconnection object has expired\nbye\n"
    ports.server._wait(lambda: talk(b"expired\nquit\n") == expired, "the connection does not expire")


def test_declined_goes_on_to_http(ports: Ports) -> None:
    assert ask(ports.declines, "/hello/handler").text == "Hello World!"
