"""The main job: the configuration and the handler of the README."""

from __future__ import annotations

import subprocess

import pytest
from conftest import Serve, Server, places

CONFIG = """
<Location />
    SetHandler mod_python
    PythonHandler hello
    PythonPath "sys.path+['@ROOT@/apps']"
</Location>
<Location /function>
    PythonHandler hello::unflushed
</Location>
<Location /class>
    PythonHandler hello::Page.show
</Location>
<Location /object>
    PythonHandler hello::keeper.show
</Location>
<Location /program>
    SetHandler python-program
</Location>
<Location /static.txt>
    SetHandler none
</Location>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(CONFIG, mpm=mpm, threads=64)
    server.write("htdocs/static.txt", "a file")
    return server


def test_hello_world(httpd: Server) -> None:
    answer = httpd.ok("/")
    assert (answer.text, answer.header("Content-Type")) == ("Hello World!", "text/plain")
    assert "mod_python/" in (answer.header("Server") or "") and "Python/3" in (answer.header("Server") or "")


def test_an_unflushed_answer_has_a_length(httpd: Server) -> None:
    answer = httpd.ok("/function")
    assert (answer.text, answer.header("Content-Length")) == ("Hello World!", "12")


def test_a_class_is_called_with_the_request(httpd: Server) -> None:
    assert httpd.ok("/class").text == "page /class"
    assert httpd.ok("/object").text == "kept"


def test_python_program_is_another_name(httpd: Server) -> None:
    assert httpd.ok("/program").text == "Hello World!"


def test_other_handlers_are_left_alone(httpd: Server) -> None:
    assert httpd.ok("/static.txt").text == "a file"


def test_head_has_no_body(httpd: Server) -> None:
    answer = httpd.ok("/function", "HEAD")
    assert answer.body == b"" and answer.header("Content-Length") == "12"


def test_ab_sees_no_failure(httpd: Server) -> None:
    # No more kept connections than prefork has children: httpd closes those that wait for one for long.
    for path in ("/", "/function"):
        command = ["ab", "-q", "-k", "-c", "16", "-n", "20000", httpd.url(path)]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Failed requests:        0" in report and "Non-2xx" not in report, report


def test_ab_from_the_first_request(serve: Serve, mpm: str) -> None:
    """Threads that meet while the module is imported for the first time all wait for it."""
    server = serve(places("hello"), mpm=mpm, threads=64)
    command = ["ab", "-q", "-c", "32", "-n", "500", server.url("/hello/unflushed")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Failed requests:        0" in report and "Non-2xx" not in report, report
    assert not server.unclaimed()
