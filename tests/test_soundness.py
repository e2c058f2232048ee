"""Nothing that a handler does kills or hangs a child."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import socket
import subprocess
import sys

import pytest
from conftest import DEFAULT_INTERPRETER, Serve, Server, places

CONFIG = """
MaxMemFree 1
PythonWSGI /nests soundness:nests
PythonOutputFilter soundness::outlives OUTLIVES
PythonOutputFilter soundness::shortens SHORTENS
<Files short.bin>
    SetOutputFilter SHORTENS
</Files>
PythonOutputFilter soundness::upper UPPY
PythonInputFilter soundness::upper INUPPY
<Location /soundness/outlives>
    SetHandler mod_python
    PythonHandler soundness::hello
    SetOutputFilter OUTLIVES
</Location>
<Location /soundness/thread_writes>
    SetOutputFilter UPPY
    SetInputFilter INUPPY
</Location>
<Location /soundness/filtered>
    SetOutputFilter UPPY
</Location>
<Location /soundness/by_handler>
    SetHandler mod_python
    PythonHandler soundness::hello
    PythonCleanupHandler soundness
</Location>
<Location /soundness/read_in_log>
    SetHandler mod_python
    PythonHandler soundness::hello
    PythonLogHandler soundness
</Location>
<LocationMatch ^/phase/(?<phase>\\w+)>
    PythonFixupHandler soundness::finfo_fixup
</LocationMatch>
<Directory @ROOT@/htdocs>
    Options +MultiViews +Indexes
    PythonFixupHandler soundness::finfo_fixup
</Directory>
<Files "limited*">
    LimitRequestBody 10
    SetHandler mod_python
    SetOutputFilter INCLUDES;DEFLATE
</Files>
<Files limited.shtml>
    PythonHandler soundness::refused_then
</Files>
<Files limited_early.shtml>
    SetHandler none
    PythonFixupHandler soundness
</Files>
<Directory @ROOT@/htdocs>
    Options +Includes
    <Files page*.shtml>
        SetOutputFilter INCLUDES
    </Files>
</Directory>
<Location /threaded>
    SetHandler mod_python
    PythonHandler soundness::has_locals
</Location>
PythonInterpPerDirectory Off
<Directory @ROOT@/htdocs/pub>
    DirectoryIndex index.py
    PythonInterpPerDirectory On
    <Files index.py>
        SetHandler mod_python
        PythonHandler soundness::interpreter_of
    </Files>
</Directory>
"""
RESULTS = [1, 7, -3, -7, 99, 600, 1000, -100, 2**31 - 1, -(2**31)]
PHASES = ["Trans", "Init", "HeaderParser", "Access", "Authen", "Authz", "Type", "Fixup", "Log", "Cleanup"]


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    config = places("soundness") + CONFIG
    config += "PythonTransHandler soundness::gives_there\n"
    for phase in PHASES[1:]:
        more = "AuthType Basic\nAuthName x\nRequire valid-user\n" if phase.startswith("Auth") else ""
        more += "PythonAuthenHandler soundness::authenticates\n" if phase == "Authz" else ""
        config += f"<Location /results/{phase}>\nPython{phase}Handler soundness::gives\n{more}</Location>\n"
    modules = (
        "negotiation",
        "autoindex",
        "authz_user",
        "include",
        "deflate",
        "filter",
        *(["http2"] if mpm != "prefork" else []),
    )
    if mpm != "prefork":
        config += "Protocols h2c http/1.1\n"
    server = serve_module(config, mpm=mpm, modules=modules, level="info", start=False)
    server.write("htdocs/page.shtml", '<!--#include virtual="/soundness/writes_to_main" -->')
    for name in (
        "limited.shtml",
        "limited_early.shtml",
        "plain.txt",
        "views.html.en",
        "views.html.de",
        "pub/index.py",
        "dir/file.txt",
    ):
        server.write(f"htdocs/{name}", "content")
    for folder in (server.root / "htdocs/pub", server.root / "htdocs/dir"):
        folder.chmod(0o755)
    return server.start()


@pytest.fixture(autouse=True)
def children_live(httpd: Server) -> None:
    """No child has died, whatever the test did."""
    httpd.new_log()
    yield
    text = httpd.log_text()
    assert "exit signal" not in text and "panic at" not in text, text[-3000:]


def test_cleanups_that_register_cleanups(httpd: Server) -> None:
    assert httpd.ok("/soundness/chained").text == "chained"
    for depth in (3, 2, 1, 0):
        httpd.wait_log(f"soundness: clean-up {depth}")
    assert httpd.ok("/soundness/by_handler").text == "hello"
    httpd.wait_log("soundness: registered by a PythonCleanupHandler /soundness/by_handler")
    for _ in range(50):
        assert httpd.ok("/soundness/by_handler").text == "hello"
        assert httpd.ok("/soundness/by_del").text == "by __del__"


def test_cleanups_without_end(httpd: Server) -> None:
    assert httpd.ok("/soundness/endless").text == "endless"
    httpd.claim("clean-ups have run and register others; the rest is left out")
    assert httpd.ok("/soundness/hello").text == "hello"


def test_related_requests_at_the_end(httpd: Server) -> None:
    for _ in range(30):
        answer = httpd.ok("/soundness/two_redirects")
        assert answer.text.startswith("[/soundness/two_redirects]")
    httpd.wait_log("looked next=/soundness/redirected prev=None main=None")
    httpd.wait_log("redirected from /soundness/two_redirects")


def test_threads_on_related_requests(httpd: Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: httpd.ok("/soundness/threads_on_prev").text, range(40))
        assert set(answers) == {"threads"}


def test_a_thread_that_loops_on_a_request(httpd: Server) -> None:
    for _ in range(30):
        assert httpd.ok("/soundness/busy_thread").text == "busy"
    if httpd.mpm != "prefork":
        httpd._wait(lambda: int(httpd.ok("/soundness/busy_count").text) == 30, "a clean-up was lost")


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_after_the_answer(httpd: Server, version: str) -> None:
    if version == "2" and httpd.mpm == "prefork":
        return  # mod_http2 does not work there
    flag = "--http2-prior-knowledge" if version == "2" else "--http1.1"
    for path, said in (
        ("reads_late", r"late \[b'', b'', b'', \[\], 0, 'the request has been answered'"),
        ("read_in_log", "log phase b'' b''"),
    ):
        for _ in range(10):
            command = ["curl", "-sS", flag, "-d", "x" * 1000, httpd.url(f"/soundness/{path}")]
            # HTTP/2 may reset a stream whose body nobody has read, when the answer is there.
            got = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            assert got.stdout in ("early", "hello", "") and got.returncode in (0, 92), got
        httpd.wait_log(said)


@pytest.mark.parametrize("what", ["", "writes", "redirects", "declines", "404", "done", "raises"])
def test_after_httpd_has_refused_the_body(httpd: Server, what: str) -> None:
    """The filters have had the answer's end by then."""
    for page in ("limited.shtml", "limited_early.shtml"):
        for encoding in ("gzip", "identity"):
            for _ in range(5):
                head = (
                    f"POST /{page}?{what} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n"
                )
                with socket.create_connection(("127.0.0.1", httpd.port), 30) as client:
                    client.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 1000)
                    client.shutdown(socket.SHUT_WR)
                    answer = b""
                    with contextlib.suppress(ConnectionResetError):
                        while block := client.recv(65536):
                            answer += block
                assert answer.startswith(b"HTTP/1.1 413 ") and answer.count(b"HTTP/1.1 ") == 1, answer
    httpd.claims += ["LookupError: after the end", "RuntimeError: the request", "AH01587|AH01588|LimitRequestBody"]


def test_a_part_of_a_page_that_writes_to_the_page(httpd: Server) -> None:
    assert httpd.ok("/page.shtml").text == "[another request]" * 4


@pytest.mark.parametrize("phase", PHASES)
def test_results_that_are_no_status(httpd: Server, phase: str) -> None:
    silent = phase in ("Log", "Cleanup")
    for number in RESULTS:
        answer = httpd.get(f"/results/{phase}/x", headers={"X-Result": str(number)})
        assert answer.status == (404 if silent else 500), (phase, number, answer)
        httpd.claim(f"Python{phase}Handler soundness::gives.*: the handler returned {number}, which is no status")
    for number in RESULTS:
        assert httpd.get(f"/soundness/raises?{number}").status == 500
        httpd.claim("the handler raised SERVER_RETURN with")


def test_a_redirect_without_a_location(httpd: Server) -> None:
    """HTTP/0.9 has no headers."""
    for number in (301, 302, 303, 305, 307, 308, 201):
        with socket.create_connection(("127.0.0.1", httpd.port), 30) as client:
            client.sendall(f"GET /soundness/old?{number}\r\n\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
        assert httpd.get(f"/soundness/old?{number}").status in (number, 999)


@pytest.mark.parametrize("handler", ["leads_astray", "led_astray"])
def test_a_redirect_without_a_location_whose_page_fails(httpd: Server, handler: str) -> None:
    pids = httpd.child_pids()
    for number in (301, 302, 303, 305, 307, 308, 201):
        with socket.create_connection(("127.0.0.1", httpd.port), 30) as client:
            client.sendall(f"GET /soundness/{handler}?{number} HTTP/1.0\r\n\r\n".encode())
            assert b"</html>" in b"".join(iter(lambda: client.recv(4096), b""))
    assert set(pids) <= set(httpd.child_pids())


def test_results_in_the_first_phase(serve: Serve, mpm: str) -> None:
    h2 = mpm != "prefork"
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\nPythonPostReadRequestHandler soundness\n"
    config += "Protocols h2c http/1.1\n" if h2 else ""
    server = serve(config + "ErrorDocument 500 /missing\n", mpm=mpm, modules=("http2",) if h2 else ())
    for number in RESULTS:
        for flag in ("--http1.1", "--http2-prior-knowledge")[: 2 if h2 else 1]:
            command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", flag, "-H", f"X-Result: {number}"]
            got = subprocess.run([*command, server.url("/")], capture_output=True, text=True, timeout=30, check=True)
            assert got.stdout == "500", (number, flag, got)
    server.claims.append("which is no status")
    assert "exit signal" not in server.log_text()


def test_finfo(httpd: Server) -> None:
    for path in ("/plain.txt", "/views.html", "/views", "/dir/", "/dir", "/missing", "/dir/file.txt/more", "/pub/"):
        httpd.get(path)
    assert "fname" in httpd.ok("/soundness/finfo").text
    httpd.claims.append("None could be negotiated")


def test_filter_objects_beyond_their_life(httpd: Server) -> None:
    for _ in range(6):
        assert "hello" in httpd.ok("/soundness/outlives").text
        assert "b'" not in httpd.ok("/soundness/uses_old_filter").text


def test_threads_that_use_filters(httpd: Server) -> None:
    for _ in range(5):
        answer = httpd.ok("/soundness/thread_writes", "POST", body=b"some body")
        assert answer.text == "FROM A THREAD FILTERED "
    assert httpd.mpm == "prefork" or httpd.ok("/soundness/threads_done").text == "[b'SOME']" * 5


def test_locals_of_threads_that_end(serve: Serve, mpm: str) -> None:
    config = places("soundness") + "MaxConnectionsPerChild 5\n"
    server = serve(config, mpm=mpm, children=2)
    for _ in range(40):
        try:
            assert server.get("/soundness/has_locals").text == "local"
        except (ConnectionError, http.client.HTTPException):
            continue  # a child that goes
    server.graceful()
    server.claims += ["a local goes", "without a line end", "to stderr"]
    text = server.log_text()
    assert "panic" not in text and "exit signal" not in text


def test_file_wrappers_in_one_another(httpd: Server) -> None:
    assert httpd.ok("/nests").text == "nested"


def test_the_interpreter_s_name(httpd: Server) -> None:
    directory = str(httpd.root / "htdocs/pub") + "/"
    for path in ("/pub/", "/pub/index.py"):
        assert httpd.ok(path).text in (directory, "/", DEFAULT_INTERPRETER), path
    assert httpd.ok("/soundness/hello").text == "hello"


@pytest.mark.parametrize("where", ["", "PythonInterpreter other", "PythonInterpreter pooled"])
def test_errors_of_the_module_s_own(serve: Serve, where: str) -> None:
    server = serve(places("soundness") + f"PythonInterpreterPool pooled size=1\n{where}\n")
    server.claims.append("PythonInterpreterPool")
    for _ in range(20):
        assert server.ok("/soundness/tables").text == "tables"
    assert "exit signal" not in server.log_text()


def test_classes_that_nobody_can_change(httpd: Server) -> None:
    changed = httpd.ok("/soundness/classes").text
    assert changed == "changed: []" or sys.version_info < (3, 10)


def test_an_interpreter_of_a_handler_s_own(httpd: Server) -> None:
    assert httpd.ok("/soundness/foreign").text == "3 ended"
    assert httpd.ok("/soundness/hello").text


def test_a_part_of_a_page_adds_filters_of_whole_answers(httpd: Server) -> None:
    """A sub-request's filters end with it; those that all of the answer passes would be left behind."""
    httpd.write("htdocs/page2.shtml", '<!--#include virtual="/soundness/outlives_the_page" -->' * 20 + "end")
    for _ in range(3):
        assert httpd.ok("/page2.shtml").text == "refused;" * 80 + "end"


def test_a_file_that_becomes_shorter_in_a_filter(httpd: Server) -> None:
    for _ in range(3):
        httpd.write("htdocs/short.bin", "x" * 1_000_000).chmod(0o666)
        with contextlib.suppress(http.client.HTTPException, OSError):
            httpd.get("/short.bin")
        httpd.claim("PythonOutputFilter soundness::shortens.*OSError")
    assert httpd.ok("/soundness/hello").text


def test_a_global_lock_that_its_thread_has_already(httpd: Server) -> None:
    for _ in range(3):
        assert httpd.ok("/soundness/waits_for_itself").text == "Failed to acquire global mutex lock;" * 2


def test_an_error_log_that_nobody_reads(serve: Serve, mpm: str) -> None:
    """A full pipe stops who has something to tell, and nobody else."""
    if mpm == "prefork":
        pytest.skip("one request a child")
    logger = "|/bin/sh -c 'until [ -e @ROOT@/run/read ]; do sleep 0.1; done; exec cat >/dev/null'"
    config = places("soundness") + "PythonWSGI /lengths soundness:lengths\n"
    own = f'<VirtualHost *:@PORT@>\nServerName stuck\nErrorLog "{logger}"\nLogLevel info\n{config}</VirtualHost>\n'
    free = f"<VirtualHost *:@PORT@>\nServerName free\n{config}</VirtualHost>\n"
    server = serve(free + own, mpm=mpm, threads=16)
    stuck = {"Host": "stuck"}
    paths = ["soundness/logs?log_error", "soundness/logs?stream", "soundness/logs?cleanup", "soundness/logs?raises"]
    paths += ["lengths?2", "lengths?9"]
    with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
        first = pool.submit(server.get, f"/{paths[0]}", headers=stuck)
        try:
            # It waits once the pipe is full, and the others after it.
            waiting = [pool.submit(server.get, f"/{path}", headers=stuck, timeout=60) for path in paths[1:]]
            for _ in range(20):
                assert server.ok("/soundness/hello", headers={"Host": "free"}).text
        finally:
            (server.root / "run/read").touch()
        for future in (first, *waiting):
            with contextlib.suppress(http.client.HTTPException, OSError):
                future.result()
    assert server.ok("/soundness/hello", headers=stuck).text


@pytest.mark.parametrize("debug", ["Off", "On"])
def test_a_client_erases_nothing_from_the_log(serve: Serve, mpm: str, debug: str) -> None:
    server = serve(places("soundlog") + f"PythonDebug {debug}\n", mpm=mpm)
    shown = r"a .{1,3}ud800 lone one, caf"
    answer = server.get("/soundlog/lone_surrogate")
    assert answer.status == 500
    assert debug == "Off" or "no such user: a \\ud800 lone one" in answer.text
    server.claim(f"ValueError: no such user: {shown}")
    assert server.ok("/soundlog/lone_in_log").text == "logged"
    for kind in ("request", "server", "connection", "module", "for a server", "printed"):
        server.wait_log(f"{kind}: {shown}")
    assert server.ok("/soundlog/lone_in_clean_up").text == "registered"
    server.claim("Error calling cleanup object .*ValueError: cleaned: a .* lone one")
    server.claims += ["PythonHandler soundlog::lone_surrogate", "printed: a"]


def test_an_exception_does_not_fill_the_log(serve: Serve, mpm: str) -> None:
    server = serve(places("soundlog"), mpm=mpm)
    server.claims.append(r"\[python:error\]")
    assert server.get("/soundlog/large_exception?1000000", timeout=60).status == 500
    line = server.claim("ValueError: it begins")
    text = server.log_text()
    assert len(text) < 200_000, len(text)
    assert "bytes are left out" in text and "it ends" in text and line
    assert server.get("/soundlog/wide_exception", timeout=60).status == 500
    server.claim("ValueError: 599 w")
    server.claim("ValueError: 0 w")
    assert "lines are left out" in server.log_text() and len(server.log_text()) < 1_000_000
