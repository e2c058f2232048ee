"""The security review, line by line (SECURITY.md has the promises)."""

from __future__ import annotations

import ast
import hmac
import json
import os
import re
import stat
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from client import raw
from conftest import Serve, Server, places

from httpd import PROJECT

SPLIT = "a\r\nSet-Cookie: injected=1\r\n\r\ninjected"
CONFIG = """
PythonWSGI /wsgi secure:application
PythonImport secure::at_start main_interpreter
PythonOption mod_python.file_session.database_directory @ROOT@/run/sessions
<Location /debug>
    SetHandler mod_python
    PythonHandler secure::raises
    PythonDebug On
</Location>
<Directory @ROOT@/htdocs>
    AddHandler mod_python .psp .py
    PythonHandler mod_python.psp | .psp
    PythonHandler mod_python.publisher | .py
</Directory>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    server = serve_module(places("secure") + CONFIG, start=False)
    server.write(
        "htdocs/index.py",
        "import os\n_hidden = 'secret'\nclass Shown:\n    visible = 'x'\ndef index(req):\n    return 'index'\n",
    )
    server.write("htdocs/page.psp", "page <%= form.getfirst('a') %>")
    server.write("secret.py", "def index(req):\n    return 'secret'\n")
    server.write("secret.psp", "secret")
    folder = server.root / "run/sessions"
    folder.mkdir()
    folder.chmod(0o777)
    return server.start()  # type: ignore[return-value]


def asked(server: Server, path: str, text: str = "", headers: str = "") -> bytes:
    query = "?" + urllib.parse.quote(text, safe="") if text else ""
    return raw(server.port, f"GET {path}{query} HTTP/1.0\r\nHost: x\r\n{headers}\r\n".encode("latin-1"))


# CR and LF


@pytest.mark.parametrize(
    "place",
    [
        *("header", "header_name", "error_header", "content_type", "status_line", "cookie", "cookie_path"),
        *("redirect", "location", "authenticate"),
    ],
)
@pytest.mark.parametrize(
    "text", [SPLIT, SPLIT.replace("\r", ""), SPLIT.replace("\n", ""), "a\0b"], ids=["CRLF", "LF", "CR", "NUL"]
)
def test_a_handler_cannot_split_a_response(httpd: Server, place: str, text: str) -> None:
    answer = asked(httpd, f"/secure/{place}", text)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ") and b"finished" not in body
    assert b"njected=1" not in head and b"\0" not in head
    httpd.claim("ValueError|CookieError")


@pytest.mark.parametrize("place", ["header", "name", "status"])
@pytest.mark.parametrize(
    "text", [SPLIT, SPLIT.replace("\r", ""), SPLIT.replace("\n", ""), "a\0b"], ids=["CRLF", "LF", "CR", "NUL"]
)
def test_an_application_cannot_split_a_response(httpd: Server, place: str, text: str) -> None:
    answer = asked(httpd, f"/wsgi/{place}", text)
    assert answer.startswith(b"HTTP/1.1 500 ") and b"injected=1" not in answer
    httpd.claim("ValueError")


# What a client's headers become


def environ(server: Server, headers: str) -> dict[str, str]:
    body = asked(server, "/wsgi", headers=headers).partition(b"\r\n\r\n")[2]
    found: dict[str, str] = json.loads(body)
    return found


def test_httpoxy(httpd: Server) -> None:
    assert "HTTP_PROXY" not in environ(httpd, "Proxy: http://evil\r\npRoXy: http://evil\r\n")
    answer = asked(httpd, "/secure/process", headers="Proxy: http://evil\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])[2] == {}


def test_underscores_stand_for_nothing(httpd: Server) -> None:
    found = environ(
        httpd, "X_Forwarded_For: spoofed\r\nX-Real: 1\r\nX_Real: 2\r\nCONTENT_LENGTH: 9\r\nREMOTE_USER: root\r\n"
    )
    assert found["HTTP_X_REAL"] == "1"
    assert not {
        "HTTP_X_FORWARDED_FOR",
        "CONTENT_LENGTH",
        "HTTP_CONTENT_LENGTH",
        "REMOTE_USER",
        "HTTP_REMOTE_USER",
    } & set(found)


FORWARDED = (
    "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\n"
)


def test_forwarded_headers_are_only_headers(httpd: Server) -> None:
    found = environ(httpd, FORWARDED)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTP_HOST"]) == ("127.0.0.1", "http", "x")
    assert found["HTTP_X_FORWARDED_FOR"] == "1.2.3.4" and "HTTPS" not in found and found["SERVER_NAME"] != "evil"


def test_mod_remoteip_is_believed(serve: Serve) -> None:
    config = places("secure") + CONFIG + "RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n"
    server = serve(config, modules=("remoteip",))
    assert environ(server, FORWARDED)["REMOTE_ADDR"] == "1.2.3.4"


def test_authorization_stays_with_httpd(httpd: Server) -> None:
    assert "HTTP_AUTHORIZATION" not in environ(httpd, "Authorization: Basic dTpw\r\n")


# Paths


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/index.py/_hidden",
            "/index.py/os",
            "/index.py/os/system",
            "/index.py/Shown/__init__",
            "/index.py/index/__globals__",
        ),
        *(
            "/index.py/index/__code__/co_code",
            "/index.py/Shown/__class__/__mro__",
            "/index.py/..%2f..%2fsecret.py/index",
        ),
        *(
            "/..%2fsecret.py",
            "/%2e%2e/secret.py",
            "/..%2fsecret.psp",
            "/%2e%2e%2fsecret.psp",
            "/page.psp%00.html",
            "/secret",
        ),
    ],
)
def test_no_path_leads_out(httpd: Server, path: str) -> None:
    answer = asked(httpd, path)
    status = int(answer.split()[1])
    assert status in (400, 403, 404) and b"secret'" not in answer and answer.partition(b"\r\n\r\n")[2] != b"secret"
    httpd.claims += ["AH00026", "AH10244", "AH00127"]  # httpd's own refusals


@pytest.mark.parametrize(
    "sid", ["../../../../etc/passwd", "..%2f..%2fx", "/etc/passwd", "a" * 32 + "/..", "A" * 32, "'; DROP"]
)
def test_a_session_is_no_path(httpd: Server, sid: str) -> None:
    body = asked(httpd, "/secure/session", headers=f"Cookie: pysid={sid}\r\n").partition(b"\r\n\r\n")[2].decode()
    assert re.fullmatch("[0-9a-f]{32}", body) and body != sid
    files = [path for path in (httpd.root / "run/sessions").rglob("*") if path.is_file()]
    assert files and all(re.search("[0-9a-f]{32}", str(path)) for path in files if path.suffix != ".lock")


def test_a_session_cannot_be_chosen_by_its_client(httpd: Server) -> None:
    wanted = "0123456789abcdef" * 2
    body = asked(httpd, "/secure/session", headers=f"Cookie: pysid={wanted}\r\n").partition(b"\r\n\r\n")[2].decode()
    assert body != wanted


@pytest.mark.parametrize("path", ["/", "/dev/zero", "/dev/stdin", "/proc/self", "/none\0/x"])
def test_what_is_no_file_is_not_sent(httpd: Server, path: str) -> None:
    answer = asked(httpd, "/secure/sends", path)
    assert len(answer) < 2000 and (b"refused" in answer or b" 500 " in answer), answer[:300]
    if b" 500 " in answer:
        httpd.claim("ValueError")


# What is unpacked


def test_nothing_of_a_client_is_unmarshalled(httpd: Server) -> None:
    for value in ("v1.0123.AAAA", "e30=", "v1..", "v1." + "0" * 64 + ".AAAA"):
        answer = asked(httpd, "/secure/marshalled", headers=f"Cookie: data={value}\r\n")
        assert answer.endswith(b"\r\n\r\nCookie"), answer


def test_unpacking_stands_where_it_may() -> None:
    """pickle, marshal, eval, exec and compile: the places that have them, each with its reason."""
    allowed = {
        ("_serializer", "pickle.loads"),  # PythonOption mod_python.session.serializer pickle
        ("Cookie", "marshal.loads"),  # MarshalCookie, behind a signature
        ("psp", "marshal.loads"),  # compiled templates, in files of httpd's own user
        ("_psp", "compile"),
        ("psp", "exec"),
        ("apache", "compile"),  # tags of pages
        ("apache", "eval"),
        ("apache", "exec"),
        ("_path", "eval"),  # PythonPath
        ("_reloading", "exec"),  # changed modules
        ("cache", "compile"),
        ("cache", "exec"),
        ("cgihandler", "compile"),  # scripts
        ("cgihandler", "exec"),
        ("publisher", "compile"),  # modules
        ("publisher", "exec"),
        ("httpdconf", "eval"),  # configurations, by their author
    }
    found = set()
    for file in (PROJECT / "python/mod_python").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in (
                    "eval",
                    "exec",
                    "compile",
                    "pickle.loads",
                    "pickle.load",
                    "marshal.loads",
                    "marshal.load",
                    "shelve.open",
                ):
                    found.add((file.stem, name))
    assert found <= allowed, found - allowed


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from mod_python import Cookie

    seen: list[Any] = []
    compare = hmac.compare_digest
    monkeypatch.setattr(Cookie.hmac, "compare_digest", lambda a, b: seen.append((a, b)) or compare(a, b))
    signed = str(Cookie.SignedCookie("a", "b", secret="s")).partition(";")[0]
    Cookie.SignedCookie.parse(signed, "s")
    Cookie.SignedCookie.parse("a=" + "0" * 32 + "b", "s", legacy=True)
    assert len(seen) == 2


# The log


@pytest.mark.parametrize("place", ["raises", "logs"])
def test_a_client_cannot_write_lines_of_the_log(httpd: Server, place: str) -> None:
    httpd.new_log()
    asked(httpd, f"/secure/{place}", "x\n[Mon Jan 01 00:00:00 2026] [core:crit] [pid 1] forged\r\x1b[2J\0y")
    httpd.claim("x.*forged")
    httpd.claims += ["forged", r"\] x$"]  # what is printed is logged line by line
    lines = [line for line in httpd.log_text().splitlines() if "forged" in line]
    assert lines and not any(line.startswith("[Mon Jan 01 00:00:00 2026]") for line in lines)
    assert "\x1b" not in httpd.log_text()


def test_a_client_is_no_format(httpd: Server) -> None:
    text = "%s%n%d%999999s%p"
    for place in ("logs", "header", "content_type", "raises"):
        asked(httpd, f"/secure/{place}", text)
    httpd.claim(re.escape(text))
    httpd.claims.append(re.escape(text))
    assert httpd.ok("/secure/process")
    assert asked(httpd, "/wsgi/status", text).startswith(f"HTTP/1.1 200 {text}".encode())


# Pages of errors


def test_errors_are_for_the_operator(httpd: Server) -> None:
    page = asked(httpd, "/secure/raises", "<script>a secret</script>")
    assert page.startswith(b"HTTP/1.1 500 ") and b"secret</script>" not in page and b"Traceback" not in page
    httpd.claim("ValueError: <script>")


def test_a_debug_page_is_escaped(httpd: Server) -> None:
    page = asked(httpd, "/debug", "<script>alert(1)</script>", "Accept: text/html\r\n")
    assert b"&lt;script&gt;alert(1)" in page and b"<script>" not in page
    httpd.claim("ValueError: <script>")
    page = asked(httpd, "/debug", "<script>alert(1)</script>")
    assert (
        b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in page
        and b"\r\nX-Content-Type-Options: nosniff\r\n" in page
    )
    httpd.claim("ValueError: <script>")


# Processes and files


def test_nothing_of_python_runs_in_the_parent(httpd: Server) -> None:
    """Whatever it runs as: the parent has one thread, and modules are imported by children, which are httpd's user."""
    pid, uid, _ = json.loads(asked(httpd, "/secure/process").partition(b"\r\n\r\n")[2])
    found = re.findall(r"imported by (\d+) as (\d+)", httpd.log_text())
    assert found and {int(pid) for pid, _ in found} <= set(httpd.child_pids())
    assert pid in httpd.child_pids() and str(uid) == found[0][1]
    if os.getuid() == 0:
        assert uid != 0
    assert len(os.listdir(f"/proc/{httpd.pid}/task")) == 1


def test_files_are_for_their_owner(httpd: Server) -> None:
    asked(httpd, "/secure/session")
    _, uid, _ = json.loads(asked(httpd, "/secure/process").partition(b"\r\n\r\n")[2])
    paths = [path for path in (httpd.root / "run/sessions").rglob("*") if path.is_file()]
    assert paths
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.stat().st_uid == uid, path
    for path in {path.parent for path in paths} - {httpd.root / "run/sessions"}:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_the_promises_have_their_page() -> None:
    text = Path(PROJECT / "SECURITY.md").read_text()
    for word in ("report", "trusted", "threat model"):
        assert word in text.lower()
