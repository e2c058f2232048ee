"""Many requests through many handlers: none lost, nothing leaked."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conftest import Serve

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


def resident(pid: int) -> int:
    """Resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


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
    load(100_000)
    assert server.child_pids() == [pid], "the child has been replaced"
    assert resident(pid) - before <= 2048, f"grown from {before} to {resident(pid)} KiB"
    assert not server.unclaimed()
