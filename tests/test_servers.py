"""Servers and their tables, interpreters by place, the environment's encoding, files that change."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading

import pytest
from conftest import APPS, MEMORY, Serve, Server, places

from httpd import query_apxs, resident

CONFIG = """
PythonOption set "by the configuration"
PythonImport servers::on_import main_interpreter
<Location /marked>
    SetHandler mod_python
    PythonAccessHandler servers::mark
    PythonHandler servers::marked
</Location>
<Location /per>
    SetHandler mod_python
    PythonInterpPerDirective On
    PythonHandler servers::adding
</Location>
<Location /earlier>
    SetHandler mod_python
    PythonInterpPerDirective On
    PythonFixupHandler servers::adding_earlier
</Location>
<Location /many>
    SetHandler mod_python
    PythonAccessHandler servers::adding_much
    PythonHandler hello::unflushed
</Location>
<Location /awkward>
    SetHandler mod_python
    PythonHandler servers::awkwardly_named
</Location>
<Location /directory>
    SetHandler mod_python
    PythonInterpPerDirectory Off
    PythonHandler servers::config
</Location>
<Directory @ROOT@/htdocs/inherits>
    SetHandler mod_python
    PythonInterpPerDirective On
    PythonAccessHandler servers::adding_without
</Directory>
<Files caf*>
    SetHandler mod_python
    PythonHandler servers::environment
</Files>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(places("servers", "hello") + CONFIG, mpm=mpm, interpreter=None, children=1)
    server.write("htdocs/file", "0123456789")
    server.write("htdocs/inherits/file", "")
    os.mkfifo(server.root / "htdocs/pipe")
    (server.root / "htdocs/pipe").chmod(0o666)
    return server


def test_what_an_import_writes_later_requests_see(httpd: Server) -> None:
    for _ in range(3):
        assert httpd.ok("/servers/tables").text == "1 kept by the configuration"


def test_each_interpreter_has_tables_of_its_own(serve: Serve, mpm: str) -> None:
    text = places("servers")
    named = "<If \"%{QUERY_STRING} == 'other'\">\nPythonInterpreter other\n</If>\n"
    server = serve(text + named, mpm=mpm, interpreter=None, threads=1, children=1)
    seen = {query: [int(server.ok(f"/servers/count?{query}").text) for _ in range(3)] for query in ("", "other")}
    # Each child of prefork's counts for itself.
    assert all(1 <= number <= 3 for numbers in seen.values() for number in numbers), seen
    assert mpm == "prefork" or seen == {"": [1, 2, 3], "other": [1, 2, 3]}


def test_an_attribute_of_the_server_lives_as_long_as_the_request(httpd: Server) -> None:
    for _ in range(3):
        assert httpd.ok("/marked").text == "PythonAccessHandler True"


def test_per_directory_is_listed(httpd: Server) -> None:
    assert httpd.ok("/directory").text == "0"
    assert httpd.ok("/servers/config").text == "None"


def test_added_handlers_run_in_their_directory_s_interpreter(httpd: Server) -> None:
    for _ in range(2):
        text = httpd.ok("/per?/one,/two,,/one").text
        assert text == "/per:/per;/one/ /one/;/two/ /two/;/per /per;/one/ /one/;"
        # Where no handler is configured, there is no place to share.
        for name in ("/one/", "/two/", "main_interpreter"):
            httpd.wait_log(f"logged in {name}$")
        httpd.new_log()
        assert httpd.ok("/earlier?/one").text == "/one/ /one/;"


def test_an_added_handler_has_the_directory_of_the_one_that_adds_it(httpd: Server) -> None:
    folder = f"{httpd.root}/htdocs/inherits/"
    for _ in range(2):
        assert httpd.ok("/inherits/file").text == f"{folder} {folder};"


def test_added_handlers_are_not_remembered_for_ever(httpd: Server, mpm: str) -> None:
    def ask(times: int) -> int:
        for _ in range(times):
            assert httpd.ok("/many?1000").text == "Hello World!"
        return sum(resident(pid) for pid in httpd.child_pids())

    before = ask(10)
    if mpm != "prefork":
        assert ask(40) - before < 6000 * MEMORY


def test_a_key_of_the_application_in_its_module(httpd: Server) -> None:
    for _ in range(3):
        assert httpd.get("/awkward").status == 500
        httpd.claim("PythonHandler servers::awkwardly_named: Traceback.*LookupError: compared")
    assert httpd.ok("/hello/unflushed")


def test_the_environment_is_utf_8(httpd: Server) -> None:
    httpd.write("htdocs/café", "")
    text = httpd.ok("/caf%C3%A9/d%C3%A9j%C3%A0/%FF?a=%C3%A9").text
    assert dict(line.split("=", 1) for line in text.splitlines()) == {
        "PATH_INFO": ascii("/déjà/\udcff"),
        "PATH_TRANSLATED": ascii(f"{httpd.root}/htdocs/déjà/\udcff"),
        "SCRIPT_NAME": ascii("/café"),
        "REQUEST_URI": ascii("/caf%C3%A9/d%C3%A9j%C3%A0/%FF?a=%C3%A9"),
        "QUERY_STRING": ascii("a=%C3%A9"),
    }


def test_tables_are_drained_and_compared_in_line_with_their_size(httpd: Server) -> None:
    (first, pops), (second, more_pops) = (
        map(float, line.split()) for line in httpd.ok("/servers/drained").text.splitlines()
    )
    assert second < 10 * first + 0.05, (first, second)
    assert more_pops < 10 * pops + 0.05, (pops, more_pops)


def test_files_that_cannot_be_sent(httpd: Server) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(httpd.root / "htdocs/socket"))
        (httpd.root / "htdocs/socket").chmod(0o777)
        first = int(httpd.ok("/servers/refused_file").text)
        for _ in range(20):
            assert int(httpd.ok("/servers/refused_file").text) <= first + 4
        (httpd.root / "htdocs/socket").unlink()


def test_a_file_that_is_swapped_while_it_is_sent(httpd: Server) -> None:
    """What has been looked at is what is sent: a pipe in its place would keep the worker for ever."""
    folder = httpd.root / "htdocs"
    done = threading.Event()
    (folder / "link").symlink_to("file")

    def swap() -> None:
        for number in range(10**9):
            if done.is_set():
                return
            (folder / "next").symlink_to(("file", "pipe")[number % 2])
            (folder / "next").replace(folder / "link")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(5):
            text = httpd.ok(f"/servers/swapped?{folder}/link").text
            assert re.fullmatch("(0123456789)*", text)
    finally:
        done.set()
        thread.join()
    (folder / "link").unlink()


def test_servers_that_a_module_makes_for_requests(serve: Serve, mpm: str) -> None:
    """Such a server goes with its request; the next one's may lie in its place."""
    server = serve(
        places("servers") + 'PythonOption set "by the configuration"\n', mpm=mpm, interpreter=None, start=False
    )
    module = server.root / "own_server.so"
    includes = [f"-I{query_apxs('INCLUDEDIR')}", f"-I{query_apxs('APR_INCLUDEDIR')}"]
    flags = ["-shared", "-fPIC", "-Werror", *query_apxs("EXTRA_CPPFLAGS").split(), *includes]
    subprocess.run(["cc", *flags, "-o", str(module), str(APPS / "own_server.c")], check=True)
    module.chmod(0o755)
    config = f"LoadModule own_server_module {module}\nMaxMemFree 1\n" + places("servers")
    server.configure(config + 'PythonOption set "by the configuration"\n')
    server.start()
    for number in range(30):
        name = f"own{number % 3}"
        assert server.ok("/servers/own_server", headers={"X-Own": name}).text == name
    server.wait_log("of its own")
