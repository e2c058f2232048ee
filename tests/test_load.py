"""Many requests through many handlers: none lost, nothing leaked."""

from __future__ import annotations

import subprocess

from conftest import MEMORY, Serve, places
from leaks import ab, aborts

from httpd import resident

CONFIG = """
PythonPath "sys.path+['@ROOT@/apps']"
PythonOutputFilter everything UPPER
<Location />
    SetHandler mod_python
    PythonAuthenHandler everything
    PythonAuthzHandler everything
    PythonHandler everything
    PythonLogHandler everything
    SetOutputFilter UPPER
    AuthType Basic
    AuthName "a realm"
    Require valid-user
</Location>
"""


def test_every_phase_under_load(serve: Serve) -> None:
    server = serve(CONFIG, threads=64, modules=("auth_basic", "authz_user"))
    base = ["ab", "-q", "-k", "-c", "32", "-A", "spam:eggs"]

    def load(requests: int) -> None:
        report = subprocess.run([*base, "-n", str(requests), server.url()], capture_output=True, text=True, check=True)
        assert "Failed requests:        0" in report.stdout and "Non-2xx" not in report.stdout, report.stdout
        assert f"Complete requests:      {requests}" in report.stdout

    assert server.get(headers={"Authorization": "Basic c3BhbTplZ2dz"}).text == "HELLO"
    load(10_000)
    (pid,) = server.child_pids()
    before = resident(pid)
    load(50_000)
    assert server.child_pids() == [pid], "the child has been replaced"
    assert resident(pid) - before <= 2048 * MEMORY, f"grown from {before} to {resident(pid)} KiB"
    assert not server.unclaimed()


def test_errors_leave_nothing(serve: Serve) -> None:
    """Neither those that this module raises nor clients that go."""
    server = serve(places("leaking"), threads=16, level="crit")
    [pid] = server.child_pids()

    def blocks() -> int:
        return int(server.ok("/leaking/blocks").text)

    assert server.ok("/leaking/refused").text == "True"
    for path, client, count in (("/leaking/refused", ab(), 1000), ("/leaking/large", aborts, 1000)):
        client(server, path, count)
        server.settle()
        before = blocks()
        client(server, path, count)
        # Requests whose clients have gone may still be on their way to their ends.
        server._wait(lambda before=before: blocks() - before <= 300 * MEMORY, path)  # type: ignore[misc]
    assert server.child_pids() == [pid]


APPLICATIONS = [
    "hello",
    "chunks",
    "writes",
    "single",
    "file_through_middleware",
    "raises",
    "raises_later",
    "closes",
    "too_short",
    "environment",
]


def test_nothing_grows(serve: Serve) -> None:
    """WSGI answers of every kind, broken ones too, a PSP page, a published function, a page with tags."""
    config = "PythonPath \"sys.path+['@ROOT@/apps']\"\n" + "".join(
        f"PythonWSGI /{name} wsgi_apps:{name}\n" for name in APPLICATIONS
    )
    config += (
        "<Directory @ROOT@/htdocs>\nOptions +Includes\nAddOutputFilter INCLUDES .shtml\nAddHandler mod_python .psp .py\n"
        "PythonHandler mod_python.psp | .psp\nPythonHandler mod_python.publisher | .py\n</Directory>\n"
    )
    server = serve(config, threads=32, modules=("include",), level="crit", start=False)
    server.write("htdocs/page.psp", "<% for i in range(3): %><%= i %><% # end %><%= form.getfirst('a') %>")
    server.write("htdocs/index.py", "def index(req, a):\n    return a\n")
    server.write("htdocs/page.shtml", '<!--#python eval="1 + 1" -->')
    server.start()
    paths = [*(f"/{name}" for name in APPLICATIONS), "/page.psp?a=b", "/index.py?a=b", "/page.shtml"]

    def load(path: str, requests: int) -> None:
        command = ["ab", "-q", "-c", "8", "-n", str(requests), server.url(path)]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert f"Complete requests:      {requests}" in report, report

    for path in paths:
        load(path, 1000)
    (pid,) = server.child_pids()
    for path in paths:
        before = resident(pid)
        load(path, 3000)
        assert resident(pid) - before <= 1024 * MEMORY, f"{path}: grown from {before} to {resident(pid)} KiB"
    assert server.child_pids() == [pid], "the child has been replaced"
