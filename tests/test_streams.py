"""The standard streams are everybody's: nothing that one application does to them breaks them for another."""

from __future__ import annotations

import ast
import re

import pytest
from conftest import APPS, Serve, Server, places


def ways() -> list[str]:
    """The names of what apps/streams.py does."""
    tree = ast.parse((APPS / "streams.py").read_text())
    table = next(node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WAYS")
    assert isinstance(table.value, ast.Dict)
    names = [key.value for key in table.value.keys if isinstance(key, ast.Constant)]
    functions = re.findall(
        r"^            (\w+),$", ast.get_source_segment((APPS / "streams.py").read_text(), table) or "", re.M
    )
    return [*map(str, names), *functions, "request"]


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = places("streams") + "PythonWSGI /wsgi streams\n"
    return serve_module(config, mpm=mpm, threads=1 if mpm == "prefork" else 4)


@pytest.mark.parametrize("way", ways())
def test_what_one_breaks_another_does_not_notice(httpd: Server, way: str) -> None:
    httpd.get(f"/streams/breaks?{way}")
    httpd.claims += ["AttributeError|ValueError", r"(printed|errors|written|bytes|logged) \w+|\] process|python:error"]
    for number in range(4):
        mark = f"{way}{number}"
        assert httpd.ok(f"/streams/prints?{mark}").text == "printed"
        for line in (f"printed {mark}", f"errors {mark}", f"bytes {mark}", f"logged {mark}"):
            httpd.wait_log(f"{line}$")


@pytest.mark.parametrize("way", ["close", "detach", "buffer", "with", "wrap", "bend", "close"])
def test_the_application_s_errors_stay_open(httpd: Server, way: str) -> None:
    for query in (way, ""):
        assert httpd.ok(f"/wsgi?{query}").text == "still there"
        httpd.claim("the application's errors")
        httpd.claim("the application prints")


def test_redirections_are_a_thread_s_own(httpd: Server) -> None:
    assert httpd.ok("/streams/redirects").text == repr(("outer\nTrue\n", "inner\n", "mine\n", True, True))
    httpd.claim("elsewhere")


def test_the_module_s_class(httpd: Server) -> None:
    assert httpd.ok("/streams/modules").text == "modules"
