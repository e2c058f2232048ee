"""One daemon for several virtual hosts: each has its own applications and options, wherever those of the others lie."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Serve, Server
from kept_daemons import PROXY, Daemon, user

HOSTS = {
    "a": "PythonWSGI / whose:one daemon=shop\nPythonOption of-a 1\nPythonOption shared a",
    "b": "PythonWSGI /x whose:two daemon=shop\nPythonOption shared b\n<Location /x/in>\nPythonOption inner b\n</Location>",
    "c": "PythonWSGI /x whose:three daemon=shop\nPythonASGI /x/y whose:asgi daemon=shop",
    "d": "PythonASGI /x whose:asgi daemon=shop",
    "e": "PythonWSGIMatch ^/(x|z) whose:two daemon=shop\nPythonWSGI / whose:three daemon=shop",
    "f": "PythonWSGIMatch ^/(x|z) whose:one daemon=shop",
    "g": "PythonWSGI /x whose:make() daemon=shop\nPythonWSGI /x/in whose:one",
    "h": "<Location /x>\nSetHandler mod_python\nPythonHandler whose\nPythonOption mod_python.daemon shop\nPythonOption of-h 1\n</Location>",
}
CONFIG = (
    f"PythonDaemon shop {user()} working-directory=@ROOT@/apps\nPythonPath \"['@ROOT@/apps']+sys.path\"\n"
    + "".join(f"<VirtualHost *>\nServerName {name}\n{lines}\n</VirtualHost>\n" for name, lines in HOSTS.items())
)
INNER = "[('inner', 'b'), ('shared', 'b')]"
ANSWERS = [
    ("a", "/", "one [] / [('of-a', '1'), ('shared', 'a')]"),
    ("a", "/x/y", "one [] /x/y [('of-a', '1'), ('shared', 'a')]"),
    ("b", "/x/y", "two [/x] /y [('shared', 'b')]"),
    ("b", "/x/in/", f"two [/x] /in/ {INNER}"),
    ("c", "/x/z", "three [/x] /z []"),
    ("c", "/x/y/z", "asgi [/x/y] /z -"),
    ("d", "/x/y/z", "asgi [/x] /y/z -"),
    ("e", "/x/y", "two [/x] /y []"),
    ("e", "/z", "two [/z]  []"),
    ("e", "/xy", "three [] /xy []"),
    ("f", "/z/y", "one [/z] /y []"),
    ("g", "/x/y", "made [/x] /y []"),
    ("g", "/x/in/y", "one [/x/in] /y []"),
    ("h", "/x/y", "handler [] None [('of-h', '1')]"),
]


@pytest.fixture(scope="module")
def front(serve_module: Serve, mpm: str) -> Iterator[Server]:
    server = serve_module(CONFIG, modules=PROXY, mpm=mpm)
    Daemon(server).serves()
    yield server


@pytest.mark.parametrize(("host", "path", "wanted"), ANSWERS)
def test_each_host_has_its_own(front: Server, host: str, path: str, wanted: str) -> None:
    text = front.ok(path, headers={"Host": host}).text
    said, _, pid = text.rpartition(" ")
    # An option of whose host nobody has spoken would be the daemon's, or another host's.
    assert said == wanted
    in_front = int(pid) in front.child_pids()
    assert in_front == (path == "/x/in/y")


@pytest.mark.parametrize("host", ["b", "d", "f", "h"])
def test_nothing_else_is_anybodys(front: Server, host: str) -> None:
    """What lies at `/` of one host is no other's."""
    assert front.get("/", headers={"Host": host}).status in (403, 404)
