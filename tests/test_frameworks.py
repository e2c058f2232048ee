"""Real frameworks: Flask, Django, Bottle."""

from __future__ import annotations

import hashlib
import http.client
import http.cookiejar
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, Optional

import pytest
from conftest import Serve, Server, install

from httpd import CHILD_USER

CONFIG = """
PythonPath "sys.path+['@ROOT@/apps']"
<Location /static>
    SetHandler none
</Location>
PythonWSGI /flask flask_app:app
PythonWSGI / shop.wsgi
PythonWSGI /bottle bottle_app
Alias /static @ROOT@/shop/static
"""
BOUNDARY = "frameworks"


@pytest.fixture(scope="module", params=["event", "prefork"])
def httpd(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    server = serve_module(CONFIG, mpm=request.param, modules=("alias",), threads=16, start=False)
    install(server, "flask", "django", "bottle")
    home = server.root / "shop"
    home.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(server.root / "apps"),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "SHOP_DIR": str(home),
        "DJANGO_SUPERUSER_PASSWORD": "eggs",
    }
    for command in ("migrate", "collectstatic --noinput", "createsuperuser --noinput --username spam --email s@x.org"):
        subprocess.run(
            [sys.executable, "-m", "django", *command.split()], env=environment, check=True, capture_output=True
        )
    os.system(f"chmod -R a+rX {home} {server.root}/apps")
    if os.geteuid() == 0:
        for path in (home, home / "db.sqlite3"):
            shutil.chown(path, CHILD_USER)
    server.write("data.txt", "0123456789" * 10_000)
    return server.start()


class Client:
    """Keeps cookies and follows redirects, as a browser does."""

    def __init__(self, server: Server) -> None:
        self.server, self.cookies = server, http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def ask(self, path: str, data: Optional[bytes] = None, **headers: str) -> tuple[int, str, bytes]:
        """Status, the URL where it ended, and the body."""
        request = urllib.request.Request(
            self.server.url(path), data, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        try:
            answer = self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.url, answer.read()

    def post(self, path: str, **fields: str) -> tuple[int, str, bytes]:
        return self.ask(path, urllib.parse.urlencode(fields).encode(), Referer=self.server.url(path))

    def upload(self, path: str, content: bytes, **fields: str) -> bytes:
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n\r\n'.encode())
        body = b"".join(parts) + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        status, _, answer = self.ask(path, body, Content_Type=f"multipart/form-data; boundary={BOUNDARY}")
        assert status == 200, answer
        return answer


@pytest.fixture
def client(httpd: Server) -> Iterator[Client]:
    yield Client(httpd)


def test_flask(httpd: Server, client: Client) -> None:
    assert client.ask("/flask/")[2] == b"Hello, nobody"
    assert client.post("/flask/login", user="spam", password="no")[0] == 403
    status, url, body = client.post("/flask/login", user="spam", password="eggs")
    assert (status, url, body) == (200, httpd.url("/flask/"), b"Hello, spam")
    content = os.urandom(2 << 20)
    answer = json.loads(client.upload("/flask/upload", content, note="é"))
    assert answer == {"name": "f.bin", "digest": hashlib.sha256(content).hexdigest(), "note": "é"}
    assert client.ask("/flask/download")[2] == b"downloaded " * 1000
    assert client.ask(f"/flask/file?path={httpd.root}/data.txt")[2] == b"0123456789" * 10_000
    status, _, body = client.ask(f"/flask/file?path={httpd.root}/data.txt", Range="bytes=10-19")
    assert (status, body) == (206, b"0123456789")
    assert client.ask("/flask/stream")[2] == "".join(f"{number}," for number in range(1000)).encode()
    assert client.ask("/flask/where")[2].decode() == f"/flask /where {httpd.url('/flask/where')} 127.0.0.1"
    assert client.ask("/flask/error")[0] == 500
    httpd.claim(r"\[client .*Exception on /error \[GET\]")
    httpd.claim("LookupError: in a view")
    assert client.ask("/flask/none")[0] == 404
    assert client.ask("/flask/logs")[2] == b"logged"
    httpd.claim(r"\[client 127.0.0.1:\d+\] .*logged by logging")
    httpd.claim("logged by Flask")
    httpd.claims.append(
        r"\] (Traceback| +File | +\S|werkzeug|During|The above)|Exception on|LookupError|ERROR in|WARNING"
    )


def test_bottle(httpd: Server, client: Client) -> None:
    assert client.ask("/bottle/hello/spam")[2] == b"Hello spam"
    assert client.post("/bottle/login", user="spam", password="eggs")[2] == b"spam"
    assert client.post("/bottle/login", user="spam", password="no")[0] == 403
    assert client.upload("/bottle/upload", b"x" * 100_000) == b"f.bin 100000"
    assert client.ask(f"/bottle/file?path={httpd.root}/data.txt")[2] == b"0123456789" * 10_000
    assert client.ask("/bottle/error")[0] == 500
    httpd.claim("LookupError: in a route")
    httpd.claims.append(r"\] (Traceback| +File | +\S)")


def test_django(httpd: Server, client: Client) -> None:
    assert client.ask("/")[2] == b"visit 1 of AnonymousUser" and client.ask("/")[2] == b"visit 2 of AnonymousUser"
    # The admin, with its static files by httpd itself.
    status, url, page = client.ask("/admin/")
    assert status == 200 and "/admin/login/" in url
    style = re.search(r'href="(/static/admin/css/base[^"]*)"', page.decode())
    assert style and client.ask(style[1])[0] == 200
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.decode())
    assert token
    login = {"username": "spam", "password": "eggs", "next": "/admin/", "csrfmiddlewaretoken": token[1]}
    assert client.post("/admin/login/", **{**login, "csrfmiddlewaretoken": "x" * 64})[0] == 403
    status, url, page = client.post("/admin/login/", **login)
    assert (status, url) == (200, httpd.url("/admin/")) and b"Site administration" in page
    assert client.ask("/")[2].endswith(b"of spam")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.ask("/admin/auth/group/add/")[2].decode())
    assert token
    page = client.post("/admin/auth/group/add/", name="A new group", csrfmiddlewaretoken=token[1], _save="Save")[2]
    assert b"A new group" in page and b"was added successfully" in page
    assert client.ask("/stream")[2] == "".join(f"{number}," for number in range(1000)).encode()
    assert client.ask(f"/file?path={httpd.root}/data.txt")[2] == b"0123456789" * 10_000
    assert client.ask("/none")[0] == 404
    assert client.ask("/error")[0] == 500
    httpd.claim("Internal Server Error: /error")
    httpd.claim("LookupError: in a view")
    httpd.claims.append(r"\] (Traceback| +File | +\S)|Forbidden \(CSRF|Not Found: |LookupError")


def test_django_takes_100_mb(httpd: Server) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'.encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    block, digest = bytes(range(256)) * 4096, hashlib.sha256()
    connection = http.client.HTTPConnection("127.0.0.1", httpd.port, timeout=120)
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(len(head) + 100 * len(block) + len(tail)))
    connection.endheaders(head)
    for _ in range(100):
        connection.send(block)
        digest.update(block)
    connection.send(tail)
    answer: Any = connection.getresponse().read().decode()
    assert answer == f"large.bin {100 << 20} {digest.hexdigest()}"


def test_frameworks_under_load(httpd: Server) -> None:
    for path in ("/flask/", "/bottle/hello/x", "/"):
        command = ["ab", "-q", "-n", "300", "-c", "8", httpd.url(path)]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Complete requests:      300" in report and "Non-2xx" not in report, report
