"""Many requests of every kind through one child: its memory must level out.

python tests/leaks.py [--requests 1000000] [kind…]
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Callable

from conftest import MEMORY, Server, places
from soak import OPENING

from httpd import resident

CONFIG = """
PythonWSGI /wsgi wsgi_apps:hello
PythonASGI /asgi asgi_apps:hello
PythonASGI /brief soaking_asgi:brief
PythonASGI /echo soaking_asgi:echo
PythonOption mod_python.asgi.detach_after 0.005
AsyncRequestWorkerFactor 200
PythonOption mod_python.dbm_session.database_directory @ROOT@/run
PythonOption mod_python.session.database_directory @ROOT@/run
PythonOutputFilter everything UPPER
<Location /filter>
    SetHandler mod_python
    PythonHandler hello
    SetOutputFilter UPPER
</Location>
<Directory @ROOT@/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
    AddHandler mod_python .psp .py
    PythonHandler mod_python.psp | .psp
    PythonHandler mod_python.publisher | .py
</Directory>
"""
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: text/plain\r\n\r\n'
    + b"0123456789" * 2000
    + b"\r\n--b--\r\n"
)
STEPS = 10
"""The memory is looked at so often; after a fifth of the requests it has to be level."""


def ab(*options: str, status: int = 200) -> Callable[[Server, str, int], None]:
    def ask(server: Server, path: str, requests: int) -> None:
        command = ["ab", "-q", "-k", "-l", "-c", "16", "-n", str(requests), *options, server.url(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        other = re.search(r"Non-2xx responses: +(\d+)", done.stdout)
        assert int(other[1]) == requests if status != 200 and other else not other, done.stdout
        assert re.search(r"Failed requests: +0\n", done.stdout), done.stdout

    return ask


def known(server: Server, path: str, requests: int) -> None:
    """A client that has a session: without one, each request would begin another."""
    cookie = str(server.ok(path).header("Set-Cookie")).partition(";")[0]
    ab("-C", cookie)(server, path, requests)


def aborts(server: Server, path: str, requests: int) -> None:
    """Clients that go, by a reset, while their answer comes."""

    def work(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(OSError), socket.socket() as connection:
                # A small window: the server cannot be done before the client is gone.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(30)
                connection.connect(("127.0.0.1", server.port))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                connection.recv(100)

    threads = [threading.Thread(target=work, args=(requests // 8,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_threads(work: Callable[[], None], requests: int) -> None:
    def all_of_them() -> None:
        for _ in range(requests // 16):
            work()

    threads = [threading.Thread(target=all_of_them) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sockets(server: Server, path: str, requests: int) -> None:
    """WebSockets, each with a message; every second one is left without a word."""

    def work() -> None:
        for is_closed in (True, False):
            with (
                socket.create_connection(("127.0.0.1", server.port), 30) as connection,
                connection.makefile("rb") as file,
            ):
                connection.sendall(OPENING)
                while file.readline() != b"\r\n":
                    pass
                connection.sendall(b"\x81\x84\0\0\0\0spam")
                assert file.read(6) == b"\x81\x04spam"
                if is_closed:
                    connection.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
                    assert file.read(4) == b"\x88\x02\x03\xe8"

    in_threads(work, requests // 2)


def streams(server: Server, path: str, requests: int) -> None:
    """Answers that leave their worker."""
    in_threads(lambda: assert_equal(server.ok(path).text, "one\ntwo\n"), requests)


def assert_equal(found: str, expected: str) -> None:
    assert found == expected, found


def kinds(form: Path) -> dict[str, tuple[str, Callable[[Server, str, int], None]]]:
    """Path and client of each kind."""
    return {
        "handler": ("/hello/handler", ab()),
        "wsgi": ("/wsgi", ab()),
        "publisher": ("/index.py?a=b", ab()),
        "psp": ("/page.psp?a=b", ab()),
        "session": ("/leaking/session", known),
        "filter": ("/filter", ab()),
        "upload": ("/leaking/upload", ab("-p", str(form), "-T", "multipart/form-data; boundary=b")),
        "exception": ("/leaking/fails", ab(status=500)),
        "abort": ("/leaking/large", aborts),
        "subrequest": ("/page.shtml", ab()),
        "redirect": ("/leaking/redirects", ab()),
        "cleanup": ("/leaking/cleans", ab()),
        "asgi": ("/asgi", ab()),
        "websocket": ("/echo", sockets),
        "stream": ("/brief", streams),
    }


def search(requests: int, wanted: list[str]) -> list[str]:
    """Ask so often for each kind, and print what memory has done; gives the kinds that have grown."""
    server = Server(places("hello", "leaking") + CONFIG, threads=32, modules=("include",), level="emerg")
    server.write("htdocs/index.py", "def index(req, a):\n    return a\n")
    server.write("htdocs/page.psp", "<% for i in range(3): %><%= i %><% # end %><%= form.getfirst('a') %>")
    server.write("htdocs/page.shtml", '<!--#include virtual="/hello/handler" --><!--#python eval="1 + 1" -->')
    (server.root / "run").chmod(0o777)
    server.start()
    grown = []
    try:
        [pid] = server.child_pids()
        with tempfile.NamedTemporaryFile() as form:
            form.write(FORM)
            form.flush()
            for name, (path, client) in kinds(Path(form.name)).items():
                if wanted and name not in wanted:
                    continue
                memory, blocks = [], []
                for _ in range(STEPS):
                    client(server, path, requests // STEPS)
                    blocks.append(int(server.ok("/leaking/blocks").text))
                    memory.append(resident(pid))
                level = memory[STEPS // 5]
                grew, more = memory[-1] - level, blocks[-1] - blocks[STEPS // 5]
                # What is in use at the moment of the measurement differs with the size of the answers.
                room = max(1024, level // 20) * MEMORY
                verdict = "level" if grew <= room and more <= 2000 * MEMORY else "GROWN"
                print(
                    f"{name:<10} {requests:>8} requests: RSS {memory[0]} {level} … {memory[-1]} KiB ({grew:+}), "
                    f"Python's blocks {more:+}: {verdict}",
                    flush=True,
                )
                if verdict != "level":
                    grown.append(name)
        assert server.child_pids() == [pid], "the child has been replaced"
    finally:
        server.stop()
        server.remove()
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("kinds", nargs="*")
    arguments = parser.parse_args()
    return bool(search(arguments.requests, arguments.kinds))


if __name__ == "__main__":
    sys.exit(main())
