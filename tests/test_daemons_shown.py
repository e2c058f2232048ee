"""What daemons are for, as a whole: three applications under three users behind one front with TLS and a password."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pwd
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from client import Answer
from conftest import Serve, Server, environment

from httpd import CHILD_USER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave to other users")

USERS = {"flask": "games", "fast": "backup", "third": "list"}
"""By daemon: accounts that every Debian has, and that own nothing here."""
CONFIG = """
SSLEngine On
SSLCertificateFile @ROOT@/cert.pem
SSLCertificateKeyFile @ROOT@/key.pem
SSLSessionCache none
PythonDaemon flask user=games python-home=@ROOT@/env python-path=@ROOT@/flask
PythonDaemon fast user=backup python-home=@ROOT@/env python-path=@ROOT@/fast
PythonDaemon third user=list python-home=@ROOT@/third/env python-path=@ROOT@/third
PythonWSGI /flask shown_flask:app daemon=flask
PythonASGI /fast shown_fast:app daemon=fast
PythonWSGI /third shown_third daemon=third
<Location />
    AuthType Basic
    AuthName daemons
    AuthUserFile @ROOT@/passwords
    Require valid-user
</Location>
"""
TELLS = """
import os, sys
from pathlib import Path

def about(user, kind, scheme, mount):
    return {"pid": os.getpid(), "ids": [*os.getresuid(), *os.getresgid(), *os.getgroups()], "prefix": sys.prefix,
            "user": user, "kind": kind, "scheme": scheme, "mount": mount}

def content(path):
    try:
        return str(sorted(os.listdir(path))) if os.path.isdir(path) else Path(path).read_text()
    except OSError as error:
        return type(error).__name__
"""
APPS = {
    "flask": TELLS
    + """
from flask import Flask, jsonify, request

app = Flask(__name__)

@app.get("/about")
def tell():
    return jsonify(about(request.remote_user, request.environ["AUTH_TYPE"], request.scheme, request.script_root))

@app.get("/read")
def read():
    return content(request.args["path"])
""",
    "fast": TELLS
    + """
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

app = FastAPI()

@app.get("/about")
def tell(request: Request):
    return about(None, None, request.scope["scheme"], request.scope["root_path"])

@app.get("/read", response_class=PlainTextResponse)
def read(path: str):
    return content(path)
""",
    "third": TELLS
    + """
import json
from urllib.parse import parse_qs
import only_here

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/read":
        return [content(parse_qs(environ["QUERY_STRING"])["path"][0]).encode()]
    found = about(environ["REMOTE_USER"], environ["AUTH_TYPE"], environ["wsgi.url_scheme"], environ["SCRIPT_NAME"])
    return [json.dumps(found).encode()]
""",
}
SECRET = "what nobody else may read"


@pytest.fixture(scope="module")
def front(serve_module: Serve) -> Server:
    modules = ("ssl", "socache_shmcb", "auth_basic", "authn_file", "authz_user", "proxy", "proxy_http")
    server = serve_module(CONFIG, modules=modules, start=False)
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(made.split(), cwd=server.root, check=True, capture_output=True)
    hashed = subprocess.run(["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True, text=True)
    server.write("passwords", f"me:{hashed.stdout}")
    environment(server, "env", "flask", "fastapi")
    environment(server, "third/env")
    [site] = (server.root / "third/env/lib").glob("python3*/site-packages")
    (site / "only_here.py").touch()
    for name, user in USERS.items():
        folder = server.root / name
        server.write(f"{name}/shown_{name}.py", APPS[name])
        server.write(f"{name}/secret", SECRET)
        for path in (folder, *folder.rglob("*")):
            os.lchown(path, *ids(user))
        folder.chmod(0o700)
    server.start()
    return server


def ids(user: str) -> tuple[int, int]:
    found = pwd.getpwnam(user)
    return found.pw_uid, found.pw_gid


def ask(server: Server, path: str, password: str = "secret") -> Answer:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)
    try:
        word = base64.b64encode(f"me:{password}".encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {word}"} if password else {})
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.getheaders(), response.read())
    finally:
        connection.close()


def about(server: Server, name: str) -> dict[str, Any]:
    answer = ask(server, f"/{name}/about")
    assert answer.status == 200, (answer, server.log_text()[-3000:])
    found: dict[str, Any] = json.loads(answer.text)
    return found


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def below(pid: int) -> list[int]:
    """A process's children, and theirs."""
    found = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(one for child in found for one in below(child))]


def test_each_runs_as_its_user_and_knows_who_asks(front: Server) -> None:
    for name, user in USERS.items():
        uid, gid = ids(user)
        found = about(front, name)
        assert found["ids"][:3] == [uid] * 3 and found["ids"][3:6] == [gid] * 3, found
        assert set(found["ids"][6:]) <= {gid} and (found["scheme"], found["mount"]) == ("https", f"/{name}"), found
        if name != "fast":
            assert (found["user"], found["kind"]) == ("me", "Basic")
        home = "third/env" if name == "third" else "env"
        assert found["prefix"] == str(front.root / home)


def test_the_front_asks_for_the_password(front: Server) -> None:
    for name in USERS:
        assert ask(front, f"/{name}/about", "").status == 401
    assert ask(front, "/flask/about", "wrong").status == 401
    front.claim("AH01617|Password Mismatch")


def test_proc_shows_the_users(front: Server) -> None:
    """Of a daemon the keeper, httpd and its children, as the daemon's user with all four of its ids; nothing but the parent is root's."""
    users: dict[str, list[str]] = {user: [] for user in (CHILD_USER, *USERS.values())}
    for pid in below(front.pid):
        all_four = status(pid)["Uid"].split()
        assert len(set(all_four)) == 1, (pid, all_four)
        users[pwd.getpwuid(int(all_four[0])).pw_name].append(Path(f"/proc/{pid}/cmdline").read_text())
    for name, user in USERS.items():
        pid = about(front, name)["pid"]
        assert status(pid)["Uid"].split() == [str(ids(user)[0])] * 4 and pid in below(front.pid)
        keepers = [line for line in users[user] if f"/mod_python/_daemon/__main__.py\0{name}\0" in line]
        assert len(keepers) == 1 and len(users[user]) >= 3, users
        assert status(pid)["CapEff"] == "0" * 16
    assert users[CHILD_USER] and status(front.pid)["Uid"].split()[0] == "0"


def test_none_can_read_what_is_another_s(front: Server) -> None:
    pids = {name: about(front, name)["pid"] for name in USERS}
    # Of the private httpd: what stands behind -f.
    commands = {
        name: Path(f"/proc/{status(pid)['PPid']}/cmdline").read_text().split("\0") for name, pid in pids.items()
    }
    configurations = {name: words[words.index("-f") + 1] for name, words in commands.items()}
    for name in USERS:
        for other in USERS:
            seen = ask(front, f"/{name}/read?path={quote(str(front.root / other / 'secret'))}").text
            assert seen == (SECRET if name == other else "PermissionError"), (name, other)
            conf = ask(front, f"/{name}/read?path={quote(configurations[other])}").text
            assert ("PythonDaemonSocket" in conf) if name == other else conf == "PermissionError", (name, other, conf)
            memory = f"/proc/{pids[other]}/environ"
            assert name == other or ask(front, f"/{name}/read?path={memory}").text == "PermissionError"
        for path in (front.root / "run").glob("mod_python.*"):
            if path.name.count(".") == 1:
                # The sockets of all daemons: httpd's user's.
                assert ask(front, f"/{name}/read?path={path}").text == "PermissionError"
