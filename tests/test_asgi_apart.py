"""Requests of ASGI whose worker does not attach the interpreter: what is made when it is looked for, and what is left to the worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from asgi_site import applications, heard, site
from client import ask
from conftest import Serve, Server

LOOKS = ["item", "get", "in", "keys", "iter", "values", "items", "dict", "stars", "copy", "length", "equal", "bool"]
CONFIG = """
<Location /marks>
    PythonLogHandler asgi_apart::log
</Location>
<Location /limited>
    PythonTimeout 60
</Location>
PythonASGI /limited asgi_apart:looks
PythonASGI /absent asgi_apart:nothing
"""


@pytest.fixture(scope="module")
def httpd(mpm: str, serve_module: Serve) -> Server:
    return site(serve_module, applications("asgi_apart") + CONFIG, mpm=mpm)


@pytest.mark.parametrize("how", LOOKS)
def test_the_request_is_made_when_it_is_looked_for(httpd: Server, how: str) -> None:
    for path in ("/looks", "/looks", "/limited"):
        assert httpd.ok(f"{path}?{how}").text == path


def test_nothing_else_is_there(httpd: Server) -> None:
    assert httpd.ok("/lacks").text == "KeyError('other')"


def test_the_request_is_the_one_of_later_phases(httpd: Server) -> None:
    for _ in range(2):
        assert httpd.ok("/marks").text == "marked"
        assert heard(httpd) == ["eggs"]


def test_the_request_has_ended(serve: Serve) -> None:
    # One child: what one request leaves behind, the next one finds.
    server = site(serve, applications("asgi_apart"), mpm="event", children=1)
    for _ in range(2):
        assert server.ok("/keeps").text == "kept"
        seen: set[str] = set()

        def has_expired(seen: set[str] = seen) -> bool:  # httpd ends the first request after the client has its answer
            seen.add(server.ok("/comes_late").text)
            return "request object has expired" in seen

        server._wait(has_expired, "the request does not expire")
        assert seen <= {"request object has expired", "request object cannot be used between its phases"}


def test_what_the_request_is_given_counts(httpd: Server) -> None:
    assert dict(httpd.ok("/writes").headers)["X-Spam"] == "eggs"


def test_an_application_that_is_absent(httpd: Server) -> None:
    """The loop's thread leaves it to the worker, each time."""
    for _ in range(2):
        assert ask(httpd.port, "/absent").status == 500
    httpd.claim("contains no 'nothing'")


def test_many_at_once(httpd: Server) -> None:
    """Whole batches of them, by one wake-up."""
    with ThreadPoolExecutor(8) as clients:
        answers = clients.map(lambda _: httpd.ok("/looks?get").text, range(200))
        assert set(answers) == {"/looks"}
