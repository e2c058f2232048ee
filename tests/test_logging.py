"""What stands in the error log: tracebacks a line an entry, whole; objects of JSON; Python's logging; traces."""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Optional

import pytest
from conftest import Serve, Server, install, places
from mod_python import apache
from test_papers import PROJECT

from httpd import whole_lines

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
JSON = """
LogLevel info python:trace1
ErrorLogFormat "%M"
PythonOption mod_python.log.json on
PythonWSGI /wsgi logged:application
PythonASGI /asgi logged:asgi
"""


def objects(server: Server, wanted: Optional[str] = None) -> list[dict[str, Any]]:
    """The log's lines that are objects: each is parsed. Of a logger, where one is wanted."""
    lines = [line for line in server.log_text().splitlines() if line.startswith("{")]
    found = [json.loads(line) for line in lines]
    return [one for one in found if wanted in (None, one["logger"])]


def only(server: Server, text: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [one for one in objects(server) if text in one["message"]]
        return bool(found)

    server._wait(look, f"the log has no object with {text!r}")
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def plain(serve_module: Serve, mpm: str) -> Server:
    return serve_module(places("logged") + "LogLevel info python:trace1\nPythonASGI /asgi logged:asgi\n", mpm=mpm)


@pytest.fixture(scope="module")
def collected(serve_module: Serve, mpm: str) -> Server:
    return serve_module(places("logged") + JSON, mpm=mpm, modules=("unique_id",))


def messages(text: str) -> list[str]:
    """The entries of this module, without httpd's decoration."""
    return re.findall(r"\[python:\w+\] \[pid [^]]*\] (?:\[client [^]]*\] )?(.*)", text)


def of_its_thread(log: str, text: str) -> list[str]:
    """The entries of the thread that has one with this text: another child may begin meanwhile, and say so."""
    (thread,) = {found[1] for found in re.finditer(r"^.*?(\[pid [^]]*\]).*$", log, re.M) if text in found[0]}
    return messages("".join(line for line in log.splitlines(True) if thread in line))


# httpd's own entries


def test_nothing_of_a_long_line_is_lost(plain: Server) -> None:
    plain.new_log()
    assert plain.get("/logged/long").status == 500
    plain.wait_log("the end of it")
    found = of_its_thread(plain.new_log(), "the end of it")
    plain.claims += ["."]
    begin = next(place for place, line in enumerate(found) if line.startswith("ValueError: "))
    whole = "".join(found[begin:])
    numbers = [int(number) for number in re.findall(r"<(\d+)>", whole)]
    assert numbers == list(range(3000)) and whole.endswith("the end of it")
    # Bytes that httpd escapes, too.
    assert whole.count(r"\xf0\x9f\x90\x8d") == 1000


def test_recursion_is_folded_and_bounded(plain: Server) -> None:
    plain.new_log()
    assert plain.get("/logged/recursive").status == 500
    plain.wait_log("RecursionError")
    found = messages(plain.new_log())
    assert any(re.search(r"\[Previous line repeated \d+ more times\]", line) for line in found)
    assert plain.get("/logged/deep").status == 500
    plain.wait_log("ValueError: at the bottom")
    found = messages(plain.new_log())
    assert len(found) < 450 and any(
        "logged::deep: 10003 frames, of which the last 1000 follow:" in line for line in found
    )
    plain.claims += ["."]


def test_loggers_keep_their_levels(plain: Server) -> None:
    plain.new_log()
    assert plain.ok("/logged/levels")
    plain.claim("shop: at CRITICAL")
    plain.claims.append("shop: at ERROR")
    text = plain.new_log()
    for ours, theirs in (
        ("CRITICAL", "crit"),
        ("ERROR", "error"),
        ("WARNING", "warn"),
        ("INFO", "info"),
        ("DEBUG", "debug"),
        ("LOW", "trace1"),
    ):
        line = next(line for line in text.splitlines() if f"shop: at {ours}" in line)
        assert f"[python:{theirs}]" in line and "[client 127.0.0.1:" in line


def test_loggers_entries_cannot_be_forged(plain: Server) -> None:
    plain.new_log()
    assert plain.ok("/logged/forges")
    plain.claim("shop: forged")
    plain.claims += ["ZeroDivisionError|Traceback|  |Stack|not at all"]
    text = plain.new_log()
    (line,) = (line for line in text.splitlines() if "shop: forged" in line)
    assert r"forged\n[Thu Jan 01 00:00:00 1970] [core:crit] \x1b[31m?\xed" not in line and r"\x1b[31m" in line
    assert not [line for line in text.splitlines() if line.startswith("[Thu Jan 01")]
    found = messages(text)
    assert "ZeroDivisionError: division by zero" in found and any(line.startswith("  File ") for line in found)


def test_a_logger_never_raises(plain: Server) -> None:
    for path in ("unshowable", "wrong_arguments", "ended"):
        assert plain.ok(f"/logged/{path}").text == "went on", path
    plain.claim("logging: a record of 'shop' cannot be shown .SystemExit.: .*logged.py, line")
    plain.claim("logging: a record of 'shop' cannot be shown .TypeError.: ")
    plain.claim("shop: from a thread, later")
    plain.claim("shop: after its request")


def test_records_are_what_they_are(plain: Server) -> None:
    """Of their own classes; from elsewhere, with a traceback that is a text."""
    plain.new_log()
    assert plain.ok("/logged/braced") and plain.ok("/logged/sent")
    plain.wait_log("shop: in braces")
    plain.wait_log("ValueError: of another")
    found = messages(plain.new_log())
    assert "shop: sent 1" in found and not [line for line in found if line.startswith("[core:crit]")]
    assert any(r"ValueError: of another\n[core:crit] process" in line for line in found)


def test_a_trace_is_named(plain: Server) -> None:
    plain.new_log()
    assert plain.get("/logged/fails", headers={"traceparent": TRACEPARENT}).status == 500
    plain.wait_log("LookupError: failed")
    plain.claims += ["."]
    found = of_its_thread(plain.new_log(), "LookupError: failed")
    assert f"trace={TRACE} PythonHandler logged::fails: Traceback (most recent call last):" in found
    assert found[-1] == f"trace={TRACE} LookupError: failed"
    for wrong in ("00-0-0-01", TRACEPARENT.upper(), TRACEPARENT + ", " + TRACEPARENT, "00-" + "0" * 32 + f"-{SPAN}-01"):
        assert plain.get("/logged/fails", headers={"traceparent": wrong}).status == 500
        plain.wait_log("LookupError: failed")
        assert "trace=" not in plain.new_log()
    assert plain.ok("/asgi/x", headers={"traceparent": TRACEPARENT})
    assert f"trace={TRACE} shop: asgi logs" in plain.wait_log("shop: asgi logs")


# Objects


def test_an_exception_is_an_object(collected: Server) -> None:
    headers = {"traceparent": TRACEPARENT, "Host": "shop.example"}
    assert collected.get('/logged/chained/"\\x?password=no', headers=headers).status == 500
    one = only(collected, "LookupError")
    assert one["message"].startswith("PythonHandler logged::chained: LookupError: ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", one["time"])
    assert (one["level"], one["logger"], one["trace_id"], one["span_id"]) == ("error", "mod_python", TRACE, SPAN)
    request = one["request"]
    assert request["method"] == "GET" and request["host"] == "shop.example" and request["remote"] == "127.0.0.1"
    assert request["uri"].startswith("/logged/chained/") and "password" not in json.dumps(one)
    assert len(request["id"]) > 20 and one["interpreter"] and one["pid"] > 1 and one["thread"] > 1
    error = one["exception"]
    # What httpd would escape once more arrives as it was.
    assert error["type"] == "LookupError" and error["message"] == 'a "quoted" back\\slash\r\nline\t\0\x1b é 🐍 \\udc80'
    assert [frame["function"] for frame in error["frames"]] == ["chained"]
    assert error["frames"][0]["file"].endswith("apps/logged.py") and "raise LookupError" in error["frames"][0]["source"]
    assert error["cause"]["type"] == "KeyError" and error["cause"]["frames"]


def test_other_entries_are_objects(collected: Server) -> None:
    assert collected.ok("/logged/prints")
    assert only(collected, "printed é")["logger"] == "print"
    assert only(collected, "by req.log_error")["level"] == "warn"
    assert collected.get("/logged/forgotten").status == 500
    one = only(collected, "a value of type NoneType")
    assert "exception" not in one and one["request"]["uri"] == "/logged/forgotten"
    assert collected.get("/wsgi/x").status == 500 and collected.get("/asgi/fails").status == 500
    assert only(collected, "wsgi fails")["exception"]["frames"][-1]["function"] == "application"
    assert only(collected, "asgi fails")["exception"]["frames"][-1]["function"] == "asgi"


def test_large_and_deep_exceptions_are_one_object(collected: Server) -> None:
    for path, text in (("deep", "at the bottom"), ("long", "<2999>"), ("recursive", "RecursionError")):
        assert collected.get(f"/logged/{path}").status == 500
        one = only(collected, text) if path != "long" else only(collected, "ValueError: <0>")
        assert len(json.dumps(one)) < 300_000 and one["exception"]["frames"]


def test_a_record_with_its_fields(collected: Server) -> None:
    assert collected.ok("/logged/extra")
    one = only(collected, "ordered 3")
    assert (one["logger"], one["level"], one["message"]) == ("shop.orders", "warn", "ordered 3\nbooks")
    fields = one["fields"]
    assert (
        fields["order"] == {"id": 7, "items": ["a", "b"]} and fields["ratio"] == "nan" and fields["half"] == "\\udc80"
    )
    assert fields["fails"] == "<logged.Fails: its repr() fails>" and fields["huge"] == "<int of 10001 bits>"
    assert one["exception"]["type"] == "ZeroDivisionError"
    assert collected.ok("/asgi/x", headers={"traceparent": TRACEPARENT})
    assert only(collected, "asgi logs")["trace_id"] == TRACE


def test_levels_are_kept_for_objects(serve: Serve) -> None:
    server = serve(places("logged") + JSON.replace("python:trace1", "python:warn"), mpm="event")
    assert server.ok("/logged/levels")
    assert only(server, "at WARNING")["level"] == "warn"
    assert [one["level"] for one in objects(server, "shop")] == ["crit", "error", "warn"]


def test_objects_reach_a_program(serve: Serve) -> None:
    """A virtual host's log is a pipe (RotateLogs and the like); the main server's has lines, as ever."""
    host = """
<VirtualHost 127.0.0.1:@PORT@>
    ServerName localhost
    ErrorLog "|/bin/sh -c 'cat >> @ROOT@/piped_log'"
    PythonOption mod_python.log.json on
"""
    server = serve(host + places("logged") + "</VirtualHost>\n")
    assert server.get("/logged/fails").status == 500 and server.get("/logged/chained").status == 500
    piped = server.root / "piped_log"

    def arrived() -> list[str]:
        return [line for line in whole_lines(piped) if line.startswith("{")]

    server._wait(lambda: len(arrived()) == 2, "the objects do not arrive")
    assert [json.loads(line)["exception"]["type"] for line in arrived()] == ["LookupError", "LookupError"]


def test_objects_in_a_pipe_are_whole(serve: Serve) -> None:
    """None is longer than a pipe writes at once, so that those of several children cannot mix; nothing of a long one is lost."""
    config = """
ErrorLog "|/bin/sh -c 'cat >> @ROOT@/piped_log'"
PythonOption mod_python.log.json on
"""
    server = serve(places("logged") + config, start=False, children=2, threads=2)
    # Where the test looks for httpd's own words.
    (server.root / "error_log").symlink_to(server.root / "piped_log")
    server.start()
    for _ in range(8):
        assert server.get("/logged/deep").status == 500
    parts: dict[tuple[str, int, int], dict[int, dict[str, Any]]] = {}

    def arrived() -> bool:
        lines = [line for line in whole_lines(server.root / "piped_log") if line.startswith("{")]
        assert all(len(line.encode()) < 4096 for line in lines), max(map(len, lines))
        for one in (found for found in map(json.loads, lines) if "part" in found):
            parts.setdefault((one["time"], one["pid"], one["thread"]), {})[one["part"]] = one
        return len(parts) == 8 and all(len(one) == next(iter(one.values()))["parts"] for one in parts.values())

    server._wait(arrived, "the objects do not arrive")
    for one in parts.values():
        whole = json.loads("".join(one[number]["object"] for number in range(2, len(one) + 1)))
        assert whole["exception"]["type"] == "ValueError" and whole["message"].endswith("at the bottom")
        assert one[1]["request"] == whole["request"] and one[1]["message"] == whole["message"]


def test_timeouts_name_their_interpreter(serve: Serve) -> None:
    stuck = "<Location /stuck>\nSetHandler mod_python\nPythonHandler stuck\nPythonTimeout 0.2\n</Location>\n"
    server = serve(places("logged") + JSON + "PythonInterpreter shop\n" + stuck, mpm="event")
    assert server.get("/stuck?spin").status == 504
    entries: list[dict[str, Any]] = []

    def look() -> bool:
        # On a busy machine there are more than one: that the lock cannot be had, and then that it could.
        entries[:] = [one for one in objects(server) if "PythonTimeout: GET /stuck has taken" in one["message"]]
        return bool(entries)

    server._wait(look, "nothing is told")
    for one in entries:
        assert (one["interpreter"], one["request"]["uri"], one["level"]) == ("shop", "/stuck", "error")


# Places


def test_what_a_loop_logs_is_the_virtual_hosts(serve: Serve, mpm: str) -> None:
    """Of a request that has been answered already, and of an application's start-up."""
    host = """
PythonPath "sys.path+['@ROOT@/apps']"
<VirtualHost 127.0.0.1:@PORT@>
    ServerName localhost
    ErrorLog "@ROOT@/host_log"
    LogLevel info
    PythonASGI /apps asgi_apps:raises_after
    PythonASGI /fails unfit:application
    <Location /fails>
        PythonOption mod_python.asgi.lifespan on
    </Location>
</VirtualHost>
"""
    server = serve(host, mpm=mpm, start=False)
    server.write(
        "apps/unfit.py", "async def application(scope, receive, send):\n    await receive()\n    await send(7)\n"
    )
    server.start()
    assert server.ok("/apps/x") and server.get("/fails/x").status == 500
    log = server.root / "host_log"
    for text in ("after the answer: Traceback", "the start-up of unfit::application (lifespan)"):
        server._wait(lambda text=text: text in log.read_text(), text)  # type: ignore[misc]
    assert "after the answer" not in server.log_text() and "the start-up" not in server.log_text()


HOSTS = """
PythonPath "sys.path+['@ROOT@/live', '@ROOT@/apps']"
<VirtualHost 127.0.0.1:@PORT@>
    ServerName localhost
    ErrorLog "@ROOT@/host_log"
    PythonImport no_module main_interpreter
    <Location />
        SetHandler mod_python
        PythonHandler changing
    </Location>
</VirtualHost>
"""


def test_errors_of_imports_are_the_virtual_hosts(serve: Serve) -> None:
    server = serve(HOSTS, start=False)
    page = "from mod_python import apache\ndef handler(req):\n    req.write('there')\n    return apache.OK\n"
    server.write("live/changing.py", page)
    server.start()

    def log() -> str:
        return (server.root / "host_log").read_text()

    server._wait(lambda: "PythonImport no_module" in log(), "no error of the import")
    assert server.ok("/").text == "there"
    server.write("live/changing.py", page + "1 / 0\n")

    def is_seen() -> bool:
        assert server.ok("/").text == "there"
        return "the old one stays: ZeroDivisionError" in log()

    server._wait(is_seen, "no error of the reload")
    server._wait(lambda: bool(re.search(r"\] ZeroDivisionError: division by zero$", log(), re.M)), "no traceback")
    assert "ZeroDivisionError" not in server.log_text() and "no_module" not in server.log_text()


def test_options_are_checked(serve: Serve) -> None:
    server = serve("PythonOption mod_python.log.json yes\n", start=False)
    assert "mod_python.log.json must be on or off" in server.check().stderr
    server.configure("PythonOption mod_python.log.jsn on\n")
    assert "did you mean mod_python.log.json?" in server.check().stderr
    server.configure("PythonOption mod_python.log.json On\n")
    assert "log.json" not in server.check().stderr


def test_the_documents_example_runs(serve: Serve, mpm: str) -> None:
    (example,) = re.findall(r"```python\n(.*?dictConfig.*?)```", (PROJECT / "docs/logging.md").read_text(), re.S)
    server = serve(
        places("hello") + "<Location /documented>\nSetHandler mod_python\nPythonHandler documented\n</Location>\n",
        mpm=mpm,
    )
    server.write("apps/documented.py", example)
    assert server.ok("/documented")
    assert "[python:warn]" in server.wait_log("shop.orders: order 7 is late")


def traced_application(server: Server) -> None:
    """What the documents show."""
    text = (PROJECT / "docs/logging.md").read_text()
    wsgi, asgi = re.findall(r"```python\n((?:from opentelemetry).*?)```", text, re.S)
    server.write("apps/traced_wsgi.py", wsgi + SPANS)
    server.write("apps/traced_asgi.py", asgi)


SPANS = """

def inner(environ, start_response):
    if environ["PATH_INFO"] != "/spans":
        return traced(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    spans = exporter.get_finished_spans()
    found = [f"{one.context.trace_id:032x} {one.parent.span_id:016x} {one.kind.name}" for one in spans if one.parent]
    return ["\\n".join(found).encode()]


traced, application = application, inner
"""


def test_opentelemetrys_middleware(serve: Serve) -> None:
    """The documents' examples: the span's trace is the header's, and its parent is the caller's span."""
    config = """
PythonPath "sys.path+['@ROOT@/apps']"
PythonWSGI /wsgi traced_wsgi:application
PythonASGI /asgi traced_asgi:application
<Location /asgi>
    PythonInterpreter other
</Location>
"""
    server = serve(config, start=False)
    install(server, *(f"opentelemetry-{name}" for name in ("sdk", "instrumentation-wsgi", "instrumentation-asgi")))
    traced_application(server)
    server.start()
    for place in ("wsgi", "asgi"):
        assert server.ok(f"/{place}/x", headers={"traceparent": TRACEPARENT}).text == TRACE
        other = server.ok(f"/{place}/x").text
        assert re.fullmatch("[0-9a-f]{32}", other) and other != TRACE
    # The request without a header has begun a trace, which has no parent: it is left out.
    assert f"{TRACE} {SPAN} SERVER" in server.ok("/wsgi/spans").text.splitlines()


def test_a_logger_outside_httpd(capsys: pytest.CaptureFixture[str]) -> None:
    """In an application's own tests the records are on standard error."""
    logger = logging.getLogger("outside")
    logger.propagate = False
    logger.addHandler(apache.LogHandler())
    try:
        raise ValueError("a\nb")
    except ValueError:
        logger.exception("failed")
    shown = capsys.readouterr().err
    assert shown.startswith("outside: failed\nTraceback (most recent call last):\n") and shown.endswith(
        "ValueError: a\nb\n"
    )
