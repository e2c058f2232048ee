"""What httpd's own directives say holds for an application in a daemon as for one inside: error pages, limits, who answers for the server."""

from __future__ import annotations

import contextlib
import json
import pwd
import re
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from client import Answer, raw
from conftest import Serve, Server
from kept_daemons import PROXY, ROOT, USERS, Daemon, lives, of, owner, until, user

from httpd import PATIENCE

PLACES = """
PythonWSGI {place}w statuses:wsgi {daemon}
PythonASGI {place}a statuses:asgi {daemon}
<Location {place}h>
    SetHandler mod_python
    PythonHandler statuses
    {option}
</Location>
PythonWSGI {place}e daemons_app:wsgi {daemon}
<Location {place}v>
    SetHandler mod_python
    PythonHandler daemons_app
    {option}
</Location>
"""
CONFIG = (
    f"PythonPath \"['@ROOT@/apps']+sys.path\"\nPythonDaemon shop {user()} threads=8\n"
    + PLACES.format(place="/here/", daemon="", option="")
    + PLACES.format(place="/away/", daemon="daemon=shop", option="PythonOption mod_python.daemon shop")
    + """
ServerAdmin somebody@example.com
ServerSignature Email
LimitRequestBody 5000
ErrorDocument 404 /page.txt
ErrorDocument 403 "a line for 403"
ErrorDocument 500 /here/e/error
ErrorDocument 410 /away/w?own200
# For other servers.
ProxyErrorOverride On
ProxyRemote * http://127.0.0.1:9
<Proxy *>
    Require all denied
</Proxy>
<Location /page.txt>
    SetHandler none
</Location>
"""
)
HERE, AWAY = "/here/", "/away/"
REFUSED = (
    "AH01587|AH01588|AH01591|AH01097|LimitRequestBody|PythonHandler|Request Entity Too Large|request body failed to"
)
"""What httpd, this module and mod_proxy say of a body that is too large."""


@pytest.fixture(scope="module")
def front(serve_module: Serve) -> Iterator[Server]:
    server = serve_module(CONFIG, modules=(*PROXY, "env"), start=False)
    server.write("htdocs/page.txt", "the page for 404")
    server.start()
    Daemon(server).serves()
    yield server


def settle(front: Server) -> None:
    """Wait until all that the daemon has written before is in the log: its keeper passes that on, in order."""
    Daemon(front).until(lambda state: not state["in_flight"])
    token = time.monotonic_ns()
    front.get(f"{AWAY}w?raise{token}")
    front.wait_log(f"RuntimeError: broken on purpose {token}")
    front.claims.append("RuntimeError: broken on purpose")


def shown(answer: Answer) -> tuple[int, str, bytes, dict[str, str]]:
    """What a client sees of an answer, without what differs between two places."""
    headers = {name.lower(): value for name, value in answer.headers}
    for name in ("date", "connection", "keep-alive", "content-length", "transfer-encoding", "etag", "last-modified"):
        headers.pop(name, None)
    return answer.status, answer.reason, answer.body.replace(b"/away/", b"/here/"), headers


def both(front: Server, path: str, method: str = "GET", **more: object) -> tuple[Answer, Answer]:
    here, away = (front.get(place + path, method, **more) for place in (HERE, AWAY))
    return here, away


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path", ["h?404", "h?403", "h?500", "h?410", "h?405", "h?502", "h?304", "h?302", "h?own404", "h?own500", "w?own404", "w?own403", "a?own404"]
)  # fmt: skip
def test_error_pages(front: Server, method: str, path: str) -> None:
    here, away = both(front, path, method)
    assert shown(here) == shown(away)
    if path == "h?404" and method == "GET":
        assert away.text == "the page for 404"


@pytest.mark.parametrize("kind", ["h", "w", "a"])
def test_what_fails(front: Server, kind: str) -> None:
    here, away = both(front, f"{kind}?raise")
    assert shown(here) == shown(away) and away.status == 500 and away.text == "the application's own page"
    settle(front)


def test_kept_connections_go_on_after_an_error(front: Server) -> None:
    requests = b"".join(
        b"GET /away/%s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (path, more)
        for path, more in ((b"h?404", b""), (b"h?403", b""), (b"w?own200", b""), (b"h?410", b"Connection: close\r\n"))
    )
    answer = raw(front.port, requests)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"404", b"403", b"200", b"200"], answer


@pytest.mark.parametrize("kind", ["h", "w", "a"])
def test_large_bodies_are_refused(front: Server, kind: str) -> None:
    here, away = both(front, f"{kind}?length", "POST", body=b"x" * 5000)
    assert (here.text, away.text) == ("5000", "5000")
    here, away = both(front, f"{kind}?length", "POST", body=b"x" * 5001)
    assert shown(here) == shown(away) and away.status == 413
    front.claims.append(REFUSED)
    settle(front)


@pytest.mark.parametrize("kind", ["h", "w", "a"])
def test_large_bodies_of_chunks_are_refused(front: Server, kind: str) -> None:
    statuses = []
    for place in (HERE, AWAY):
        with socket.create_connection(("127.0.0.1", front.port), PATIENCE) as peer:
            head = f"POST {place}{kind}?length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            peer.sendall(
                head.encode() + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n"
            )
            received = b""
            while part := peer.recv(65536):
                received += part
        statuses.append(received[9:12])
    assert statuses[0] == statuses[1] == b"413"
    front.claims.append(REFUSED)
    settle(front)


def test_who_answers_for_the_server(front: Server) -> None:
    for kind, part in (("e", "environ"), ("v", "req")):
        here, away = (json.loads(front.ok(f"{place}{kind}/x").text)[part] for place in (HERE, AWAY))
        if kind == "v":
            here, away = (dict(map(tuple, one["subprocess_env"])) for one in (here, away))
        for name in ("SERVER_ADMIN", "SERVER_SIGNATURE"):
            assert here.get(name) == away.get(name), (kind, name)
        assert kind == "v" or "somebody@example.com" in away["SERVER_SIGNATURE"]


def test_what_is_said_of_other_servers_changes_nothing(front: Server) -> None:
    for path in ("v", "e/all"):
        found = [json.loads(answer.body.replace(b"/away/", b"/here/"))["req"] for answer in both(front, path)]
        here, away = (
            {name: one[name] for name in ("parsed_uri", "the_request", "hostname", "construct_url")} for one in found
        )
        assert here == away


def test_the_keepers_entries_are_objects(serve: Serve) -> None:
    server = serve(
        f"PythonOption mod_python.log.json on\nPythonDaemon shop {user()} working-directory=@ROOT@/apps\n"
        "PythonWSGI /shop kept:application daemon=shop\nPythonASGI /a daemons_app:asgi daemon=shop\n",
        modules=PROXY,
    )
    Daemon(server).serves()
    found = json.loads(server.wait_log("serves"))
    assert re.match(r"daemon shop: serves \(process \d+", found["message"])
    assert (found["level"], found["logger"], found["pid"]) == ("notice", "mod_python", Daemon(server).state()["keeper"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["time"])


def test_changes_at_a_graceful_restart(serve: Serve) -> None:
    """Another user, a daemon more, one less, other options: each without touching the others, and nothing is left of what has gone."""
    base = (
        f"PythonDaemon stays {user()} working-directory=@ROOT@/apps\nPythonWSGI /stays kept:application daemon=stays\n"
    )
    line = "PythonDaemon {name} {user} {more} working-directory=@ROOT@/apps\nPythonWSGI /{name} kept:application daemon={name}\n"
    server = serve(base + line.format(name="shop", user=user(), more=""), modules=PROXY)
    stays, shop = Daemon(server, "stays"), Daemon(server)
    before, old = stays.serves(), shop.serves()
    here = stays.pids()
    # Other options, and one more.
    server.configure(base + line.format(name="shop", user=user(), more="threads=3 umask=077 log=@ROOT@/shop_log") + line.format(name="more", user=user(), more=""))  # fmt: skip
    server.graceful()
    until(lambda: server.ok("/shop/").text.endswith(" 077"), server.log_text)
    assert len(server.ok("/more/").text.split()) == 5
    Daemon(server, "more").serves()
    until(lambda: not lives(old["httpd"]), lambda: str(of(server)))
    # One less, and another user.
    other = user(1) if ROOT else user()
    server.configure(base + line.format(name="shop", user=other, more=""))
    gone, second = Daemon(server, "more").pids(), shop.serves()
    server.graceful()
    if ROOT:
        wanted = pwd.getpwnam(USERS[1]).pw_uid
        until(lambda: server.ok("/shop/").text.split()[2] == str(wanted), server.log_text)
        until(lambda: not lives(second["keeper"]), lambda: str(of(server)))
        shop.serves()
        assert {owner(pid) for pid in shop.pids()} == {wanted}
    assert server.get("/more/").status == 404
    until(lambda: not any(map(lives, gone)), lambda: str(of(server)))
    until(lambda: not list(stays.directory.glob("more.*")), lambda: str(list(stays.directory.iterdir())))
    assert stays.pids() == here and stays.state()["httpd"] == before["httpd"]
    server.stop()
    assert of(server) == [] and list((server.root / "run").glob("mod_python.*")) == []


def test_one_process(serve: Serve) -> None:
    """`httpd -X`: the daemon serves, and goes with it."""
    server = serve(f"PythonDaemon shop {user()} working-directory=@ROOT@/apps\nPythonWSGI /shop kept:application daemon=shop\n", start=False, modules=PROXY)  # fmt: skip
    with subprocess.Popen(
        [*server._command(), "-X"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=server.root,
    ) as process:
        until(lambda: answers(server), server.log_text)
        # httpd's own: it closes the socket that a worker is about to wait for.
        server.claims.append("AH03093")
        process.terminate()
        process.wait(PATIENCE)
    # It goes with its parent.
    until(lambda: of(server) == [], lambda: str(of(server)))


def answers(server: Server) -> bool:
    """Does its daemon answer?"""
    with contextlib.suppress(OSError):
        return len(server.get("/shop/").text.split()) == 5
    return False


def test_only_a_websocket_may_be_silent_for_long(serve: Serve) -> None:
    """A request has the front's patience, whatever a client says that it wants to become."""
    server = serve(
        f"ProxyTimeout 1\nPythonDaemon shop {user()} working-directory=@ROOT@/apps\nPythonWSGI /shop kept:application daemon=shop\n",
        modules=PROXY,
        beside=False,
    )
    Daemon(server).serves()
    for fields in ("", "Upgrade: websocket\r\n", "Connection: upgrade\r\nUpgrade: websocket\r\n"):
        answer = raw(server.port, f"GET /shop/hang HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
        # mod_proxy_http's, where no head has come in time.
        assert answer.startswith(b"HTTP/1.1 502 "), answer
        server.claim("AH01102|AH00898|daemon shop has ended")
