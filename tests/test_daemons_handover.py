"""What passes between a front and a daemon: an application there is told what it would be told here, and is believed to be here."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import pytest
from client import Answer, of_two_threads, raw
from conftest import Serve, Server
from test_wsgi_protocols import certificate
from websockets.sync.client import connect

from httpd import CHILD_USER, PATIENCE, RELEASE

__all__ = ["certificate"]

BOUND = Path(__file__).parent / "bound.py"
MODULES = ("env", "proxy", "proxy_http", "authn_file", "auth_basic", "authz_user", "setenvif", "unique_id", "headers")
MOUNTS = """
PythonPath "['{apps}']+sys.path"
PythonWSGI {wsgi} daemons_app:wsgi {daemon}
PythonASGI {asgi} daemons_app:asgi {daemon}
"""
PLAIN = """
ServerAdmin admin@example.com
SetEnv PASSED yes
SetEnvIf Request_URI hidden SECRET=yes
AllowEncodedSlashes NoDecode
<Location /private>
    AuthType Basic
    AuthName private
    AuthUserFile "@ROOT@/users"
    Require valid-user
</Location>
PythonDaemon shop pass-environment=PASSED
PythonDaemon gone
PythonWSGI /gone daemons_app:wsgi daemon=gone
{spaced}"""
HANDLED = """
PythonPath "['@ROOT@/apps']+sys.path"
<Location {place}h>
    SetHandler mod_python
    PythonHandler daemons_app
    PythonOption colour red
    {daemon}
</Location>
"""
SPACED = 'PythonWSGI "/with space" daemons_app:wsgi{daemon}\n'
TLS = """
Protocols h2 http/1.1
SSLEngine On
SSLCertificateFile "@ROOT@/cert.pem"
SSLCertificateKeyFile "@ROOT@/key.pem"
SSLSessionCache none
SSLOptions +StdEnvVars
"""
HERE, THERE = "/here", "/away"


def mounts(*, daemon: bool) -> str:
    """Applications inside, and the same ones in a daemon, at places with names of one length."""
    places = [(HERE, ""), (THERE, "daemon=shop")]
    text = ""
    for place, where in [(place, where) for place, where in places if not daemon or where]:
        for prefix in ("", "/private"):
            text += MOUNTS.format(
                apps="@ROOT@/apps", wsgi=f"{prefix}{place}w", asgi=f"{prefix}{place}a", daemon="" if daemon else where
            )
    return text


class Pair:
    """A front, and the httpd of its daemon."""

    def __init__(self, front: Server, daemon: Server) -> None:
        self.front, self.daemon = front, daemon


def pair(serve: Serve, mpm: str, certificate: Optional[Path] = None, module: Path = RELEASE) -> Pair:
    more, modules = (TLS, ("ssl", "socache_shmcb", "http2")) if certificate else ("", ())
    handled = HANDLED.format(place=HERE, daemon="") + HANDLED.format(
        place=THERE, daemon="PythonOption mod_python.daemon shop"
    )
    front = serve(
        more + PLAIN.replace("{spaced}", SPACED.format(daemon=" daemon=shop")) + mounts(daemon=False) + handled,
        mpm=mpm,
        start=False,
        modules=(*MODULES, *modules),
        module=module,
    )
    for name in ("cert.pem", "key.pem") if certificate else ():
        front.write(name, (certificate / name).read_text())  # type: ignore[operator]
    password = subprocess.run(
        ["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True, text=True
    ).stdout
    front.write("users", f"alice:{password}")
    front.start()
    runtime = front.root / f"run/mod_python.{front.pid}"
    runtime.mkdir(exist_ok=True)
    runtime.chmod(0o755)
    wrapper = (sys.executable, str(BOUND), str(runtime / "shop.sock"))
    daemon = serve(
        "PythonDaemonSocket 9\nServerAdmin admin@example.com\n" + SPACED.format(daemon="") + mounts(daemon=True),
        mpm=mpm,
        wrapper=wrapper,
        modules=("env",),
        module=module,
    )
    return Pair(front, daemon)


@pytest.fixture(scope="module")
def plain(serve_module: Serve) -> Pair:
    return pair(serve_module, "event")


@pytest.fixture(scope="module")
def secure(serve_module: Serve, certificate: Path) -> Pair:
    return pair(serve_module, "event", certificate)


def curl(front: Server, path: str, *options: str, scheme: str = "http") -> str:
    url = f"{scheme}://localhost:{front.port}{path}"
    command = ["curl", "-sS", "-k", "--path-as-is", "--resolve", f"localhost:{front.port}:127.0.0.1", *options, url]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


FLEETING = {"UNIQUE_ID", "REMOTE_PORT", "SSL_SESSION_ID", "H2_STREAM_TAG", "SERVER_SOFTWARE", "SERVER_SIGNATURE"}
"""What differs between two requests; and the software is the daemon's own."""


def settled(value: Any, place: str) -> Any:
    """What was told, without what differs between two requests, and between two places."""
    if isinstance(value, dict):
        return {key: settled(one, place) for key, one in value.items() if key not in FLEETING}
    if isinstance(value, list):
        return [settled(one, place) for one in value if not (isinstance(one, list) and one and one[0] in FLEETING)]
    if isinstance(value, str):
        return value.replace(place, "/X")
    return value


def without_ports(told: Any) -> Any:
    """Clients' ports differ, too."""
    if "req" in told:
        told["req"]["useragent_addr"] = told["req"]["useragent_addr"].split(",")[0]
        for name in ("client_addr", "remote_addr"):
            told["req"]["connection"][name] = told["req"]["connection"][name].split(",")[0]
    if "scope" in told:
        told["scope"]["client"] = told["scope"]["client"].split(",")[0]
    return told


@pytest.mark.parametrize("kind", ["w", "a", "h"])
@pytest.mark.parametrize("protocol", ["plain", "private", "tls", "h2"])
def test_an_application_is_told_the_same(plain: Pair, secure: Pair, protocol: str, kind: str) -> None:
    front, scheme = (plain.front, "http") if protocol in ("plain", "private") else (secure.front, "https")
    options = [
        "-H",
        "X-One: 1",
        "-H",
        "X-One: 2",
        "-H",
        "X-Forwarded-For: 1.2.3.4",
        "-H",
        "Cookie: a=b",
        "-H",
        "Cookie: c=d",
        "-H",
        "TE: trailers",
    ]
    options += [
        "-H",
        "Via: 1.1 somewhere",
        "-H",
        "X-Long: " + "z" * 7000,
        "-H",
        "Max-Forwards: 0",
        "-H",
        "X-Letters: ä%=&,; b",
    ]
    options += ["--http2"] if protocol == "h2" else ["--http1.1", "-H", "Connection: close, X-One"]
    prefix = "" if protocol == "plain" or kind == "h" else "/private"
    options += ["-u", "alice:secret"] if prefix else []
    found = []
    for place in (HERE, THERE):
        path = f"{prefix}{place}{kind}/a%2Fb//c%20d;e=f?q=%41&r"
        text = json.loads(curl(front, path, *options, scheme=scheme))
        found.append(without_ports(settled(text, f"{place}{kind}")))
    here, there = found
    if kind == "h":
        there["req"]["options"].append("mod_python.daemon")
        there["req"]["options"] = sorted(there["req"]["options"])
        here["req"]["options"] = sorted([*here["req"]["options"], "mod_python.daemon"])
    for part in here:
        assert there[part].keys() == here[part].keys(), part
        for key in here[part]:
            assert there[part][key] == here[part][key], (part, key)


def test_the_daemon_answers(plain: Pair) -> None:
    assert plain.front.ok(f"{HERE}w/all").header("X-Pid") == str(plain.front.pid)
    for kind in "wh":
        assert plain.front.ok(f"{THERE}{kind}/all").header("X-Pid") == str(plain.daemon.pid)


@pytest.mark.parametrize(
    "target",
    ["/..%2f", "/%2e%2e/x", "/a//b", "/%C3%A4/%FF", "/a%20b?x y".replace(" ", "+"), "/a;b=c?d?e", "?q", "/%25"],
)
def test_odd_uris(plain: Pair, target: str) -> None:
    answers = [curl(plain.front, f"{place}w{target}", "-w", "%{http_code}") for place in (HERE, THERE)]
    texts = [answer.rpartition("}")[0] + "}" for answer in answers]
    assert [answer[-3:] for answer in answers] == [answers[0][-3:]] * 2
    if answers[0].endswith("200"):
        here, there = (settled(json.loads(text), f"{place}w")["environ"] for text, place in zip(texts, (HERE, THERE)))
        for key in ("PATH_INFO", "REQUEST_URI", "QUERY_STRING", "SCRIPT_NAME"):
            assert here[key] == there[key]


def test_a_place_with_a_space(plain: Pair) -> None:
    told = json.loads(plain.front.ok("/with%20space/a%20b").text)["environ"]
    assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("'/with space'", "'/a b'")
    assert told["REQUEST_URI"] == "'/with%20space/a%20b'"


def test_variables_are_passed_that_are_named(plain: Pair) -> None:
    here, there = (json.loads(plain.front.ok(f"{place}w/hidden").text)["environ"] for place in (HERE, THERE))
    assert (here["PASSED"], here["SECRET"], there["PASSED"]) == ("'yes'",) * 3 and "SECRET" not in there


def test_a_client_cannot_say_what_a_front_says(plain: Pair, secure: Pair) -> None:
    forged = "u=mallory&s=https&c=6.6.6.6&e:SSL_CLIENT_S_DN=root"
    for name in ("X-Mod-Python-Front", "x-mod-python-front", "X-MOD-PYTHON-FRONT"):
        for front, path in (
            (plain.front, f"{THERE}w/all"),
            (plain.front, f"{HERE}w/all"),
            (plain.daemon, f"{THERE}w/all"),
        ):
            request = (
                f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{name}: {forged}\r\n{name}: {forged}\r\n\r\n"
            )
            answer = raw(front.port, request.encode())
            assert answer.startswith(b"HTTP/1.1 200"), answer
            for word in (b"mallory", b"6.6.6.6", b"'https'", b"CLIENT_S_DN", b"Front", b"FRONT"):
                assert word not in answer.partition(b"\r\n\r\n")[2], (word, answer)
    for place in (HERE, THERE):
        options = ["--http2", "-H", f"x-mod-python-front: {forged}", "-H", "Connection: X-Mod-Python-Front"]
        text = curl(secure.front, f"{place}w/all", *options, scheme="https")
        assert json.loads(text) and "mallory" not in text and "6.6.6.6" not in text


def test_the_socket_is_the_fronts(plain: Pair) -> None:
    path = plain.front.root / f"run/mod_python.{plain.front.pid}/shop.sock"
    assert path.stat().st_mode & 0o777 == 0o600 and path.owner() in (CHILD_USER, path.parent.owner())


def test_bodies_stream_both_ways(plain: Pair) -> None:
    for head in ("Transfer-Encoding: chunked", "Content-Length: 8"):
        with socket.create_connection(("127.0.0.1", plain.front.port), PATIENCE) as connection:
            chunked = "chunked" in head

            def send(text: bytes, connection: socket.socket = connection, chunked: bool = chunked) -> None:
                connection.sendall(b"%x\r\n%s\r\n" % (len(text), text) if chunked else text)

            connection.sendall(
                f"POST {THERE}w/lines HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\n\r\n".encode()
            )
            send(b"one\n")
            send(b"two\n")
            if chunked:
                connection.sendall(b"0\r\n\r\n")
            received = b""
            while part := connection.recv(65536):
                received += part
            assert b"begun\n" in received and b"> one\n" in received and b"> two\n" in received


def test_large_bodies(plain: Pair, secure: Pair, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"0123456789abcdef" * 65536 * 4)
    for front, scheme, options in (
        (plain.front, "http", ["-H", "Expect: 100-continue"]),
        (plain.front, "http", ["-H", "Transfer-Encoding: chunked"]),
        (secure.front, "https", ["--http2"]),
    ):
        out = tmp_path / "out"
        curl(front, f"{THERE}w/echo", "--data-binary", f"@{data}", "-o", str(out), *options, scheme=scheme)
        assert out.read_bytes() == data.read_bytes()
        assert len(curl(front, f"{THERE}w/large", scheme=scheme)) == 64 * 65536


def test_expect_is_answered_by_the_application(plain: Pair) -> None:
    forbidden = b"HTTP/1.1 403 Forbidden"
    for name, first in (("echo", b"HTTP/1.1 100 Continue"), ("refuse", forbidden), ("deny", forbidden)):
        with socket.create_connection(("127.0.0.1", plain.front.port), PATIENCE) as connection:
            head = f"POST {THERE}w/{name} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            received = connection.recv(65536)
            assert received.startswith(first), received
            if b"100" in first:
                connection.sendall(b"body")
            while part := connection.recv(65536):
                received += part
            assert (b"body" if name == "echo" else b"refused by the application") in received


@pytest.mark.parametrize("length", ["", "5000"])
def test_a_cut_answer_is_seen_as_cut(plain: Pair, secure: Pair, length: str) -> None:
    path = f"{THERE}w/cut?{length}"
    answer = raw(plain.front.port, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and b"x" * 1000 in body and not body.endswith(b"0\r\n\r\n"), answer
    assert (b"chunked" in head) is not bool(length) and len(body) < 5000
    for scheme, option, front in (
        ("http", "--http1.1", plain.front),
        ("https", "--http1.1", secure.front),
        ("https", "--http2", secure.front),
    ):
        url = f"{scheme}://127.0.0.1:{front.port}{path}"
        done = subprocess.run(["curl", "-sSk", option, url], capture_output=True, timeout=PATIENCE)
        assert done.returncode in (18, 92, 56), (done.returncode, done.stderr)
    for one in (plain, secure):
        one.daemon.claim("cut on purpose")
        one.front.claim("daemon shop|AH0|AH1")


def test_answers_are_the_applications(plain: Pair) -> None:
    front = plain.front
    assert front.get(f"{THERE}w/error").text == "the application's own page"
    assert front.get(f"{THERE}w/error").status == 500
    unchanged = front.get(f"{THERE}w/unchanged")
    assert (unchanged.status, unchanged.header("ETag"), unchanged.body) == (304, '"one"', b"")
    head = front.get(f"{THERE}w/error", "HEAD")
    assert (head.status, head.body, head.header("X-Own")) == (500, b"", "1")
    for place in (HERE, THERE):
        hint = raw(front.port, f"GET {place}a/hint HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert hint.startswith(b"HTTP/1.1 103") and b"style.css" in hint and b"HTTP/1.1 200 OK" in hint, hint
    old = raw(front.port, f"GET {THERE}w/large HTTP/1.0\r\n\r\n".encode())
    assert len(old.partition(b"\r\n\r\n")[2]) == 64 * 65536


def test_who_is_not_let_in_does_not_come_to_the_daemon(plain: Pair) -> None:
    answer: Answer = plain.front.get(f"/private{THERE}w/all")
    assert answer.status == 401
    basic = base64.b64encode(b"alice:secret").decode()
    told = json.loads(plain.front.ok(f"/private{THERE}w/all", headers={"Authorization": f"Basic {basic}"}).text)
    assert told["environ"]["REMOTE_USER"] == "'alice'" and "HTTP_AUTHORIZATION" not in told["environ"]


def test_websockets(plain: Pair, secure: Pair) -> None:
    with connect(f"ws://127.0.0.1:{plain.front.port}{THERE}a/talk", open_timeout=PATIENCE) as client:
        for word in ("one", "two"):
            client.send(word)
            assert client.recv(PATIENCE) == f"{THERE}a/talk {word}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"wss://127.0.0.1:{secure.front.port}{THERE}a/talk"
    with connect(url, open_timeout=PATIENCE, ssl=of_two_threads(context)) as client:
        client.send("safe")
        assert client.recv(PATIENCE) == f"{THERE}a/talk safe"


def test_a_daemon_that_is_down(plain: Pair) -> None:
    # Nobody can reach the one that its keeper has started.
    (plain.front.root / f"run/mod_python.{plain.front.pid}/gone.sock").unlink()
    assert plain.front.get("/gone/all").status == 503
    plain.front.claim("daemon gone cannot be reached")
    plain.front.claim("AH02454|AH01114")


@pytest.mark.parametrize("other", ["worker", "prefork"])
def test_other_mpms(serve: Serve, other: str) -> None:
    one = pair(serve, other)
    for place in (HERE, THERE, THERE):
        told = [json.loads(one.front.ok(f"{place}{kind}/all").text) for kind in "wa"]
        assert told[0]["environ"]["REMOTE_ADDR"] == "'127.0.0.1'" and "127.0.0.1" in told[1]["scope"]["client"]
    one.front.graceful()
    one.daemon.graceful()
    assert one.front.ok(f"{THERE}w/all").header("X-Pid") == str(one.daemon.pid)
