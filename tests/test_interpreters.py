"""Which interpreter a handler runs in, and that interpreters share nothing."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from conftest import Serve, Server

HANDLER = "SetHandler mod_python\nPythonHandler inside::where\n"
CONFIG = f"""
PythonPath "sys.path+['@ROOT@/apps']"
<Location /default>
    {HANDLER}
</Location>
<Location /main>
    {HANDLER}
    PythonInterpreter main_interpreter
</Location>
<Location /named>
    {HANDLER}
    PythonInterpreter a_name
</Location>
<Location /named/too>
    PythonInterpreter another
</Location>
<Location /per_directive>
    {HANDLER}
    PythonInterpPerDirective On
</Location>
<Location /callback>
    SetHandler mod_python
    PythonHandler inside::callback
</Location>
<Location /callback/named>
    PythonInterpreter a_name
</Location>
<Location /threads>
    SetHandler mod_python
    PythonHandler inside::python_threads
    PythonInterpreter a_name
</Location>
<Directory @ROOT@/htdocs/one>
    SetHandler mod_python
    PythonHandler inside::where
    PythonInterpPerDirectory On
</Directory>
<Directory @ROOT@/htdocs/two>
    SetHandler mod_python
    PythonHandler inside::where
    PythonInterpPerDirective On
</Directory>
Listen 127.0.0.1:@PORT@
<VirtualHost 127.0.0.1:@PORT@>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
    ServerName first.example
    PythonPath "sys.path+['@ROOT@/first']"
    <Location />
        SetHandler mod_python
        PythonHandler twin
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
    ServerName second.example
    PythonPath "sys.path+['@ROOT@/second']"
    <Location />
        SetHandler mod_python
        PythonHandler twin
    </Location>
</VirtualHost>
"""
TWIN = """
from mod_python import apache
NAME = {name!r}
calls = 0
def handler(req):
    global calls
    calls += 1
    if req.hostname != NAME or apache.interpreter != NAME or req.interpreter != NAME:
        return apache.HTTP_INTERNAL_SERVER_ERROR
    req.content_type = 'text/plain'
    req.write(NAME, 0)
    return apache.OK
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    server = serve_module(
        CONFIG.replace("Listen 127.0.0.1:@PORT@\n", ""), mpm=mpm, threads=64, start=False, interpreter=None
    )
    for name in ("first", "second"):
        server.write(f"{name}/twin.py", TWIN.format(name=f"{name}.example"))
        (server.root / name).chmod(0o755)
    for path in ("one/x", "two/sub/x"):
        server.write(f"htdocs/{path}", "")
    return server.start()


def where(httpd: Server, path: str) -> dict[str, Any]:
    answer = json.loads(httpd.ok(path).text)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize(
    ("path", "name", "own"),
    [
        ("/default", "localhost", "main_interpreter"),
        ("/main", "main_interpreter", "main_interpreter"),
        ("/named", "a_name", "a_name"),
        ("/named/too", "another", "another"),
        ("/per_directive", "/per_directive", "/per_directive"),
        ("/one/x", "@ROOT@/htdocs/one/", "@ROOT@/htdocs/one/"),
        ("/two/sub/x", "@ROOT@/htdocs/two/", "@ROOT@/htdocs/two/"),
    ],
)
def test_names(httpd: Server, path: str, name: str, own: str) -> None:
    answer = where(httpd, path)
    assert answer["req"] == name.replace("@ROOT@", str(httpd.root))
    assert answer["apache"] == own.replace("@ROOT@", str(httpd.root))
    assert answer["argv"] == ["mod_python"]


def test_the_base_server_is_the_main_interpreter(httpd: Server) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", httpd.port)
    counts = []
    for path in ("/default", "/main", "/named", "/default"):
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
        counts.append((answer["apache"], answer["count"]))
    connection.close()
    assert counts[1][1] == counts[0][1] + 1 and counts[3][1] == counts[1][1] + 1
    assert counts[2][0] == "a_name"


def test_creation_is_logged(httpd: Server) -> None:
    where(httpd, "/named")
    assert "Python 3." in next(line for line in httpd.log_text().splitlines() if 'interpreter "a_name" created' in line)


def test_callbacks_land_in_their_interpreter(httpd: Server) -> None:
    for path in ("/callback", "/callback/named", "/threads"):
        assert httpd.ok(path).text == "ok"


def test_twins_under_load(httpd: Server) -> None:
    """Two virtual hosts with a module of the same name: each sees its own globals."""
    processes = [
        subprocess.Popen(
            ["ab", "-q", "-k", "-c", "8", "-n", "10000", "-H", f"Host: {name}.example", httpd.url("/")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    for process in processes:
        report, _ = process.communicate()
        assert "Failed requests:        0" in report and "Non-2xx" not in report, report
        assert "Complete requests:      10000" in report
