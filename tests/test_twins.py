"""What is native of the Python package does what its twin in Python does outside httpd, on the kept corpora and around them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Serve, Server, places

CORPUS = Path(__file__).parent / "fuzz/corpus"
INPUTS = [path for name in ("query", "cookie", "session") for path in sorted((CORPUS / name).iterdir())]
OPTIONS = """
<Location /twins>
    PythonOption a.one 1
    PythonOption A.two "zwei äö"
    PythonOption a.empty ""
</Location>
<Location /twins/set>
    SetHandler mod_python
    PythonHandler twins::switches
    PythonDebug on
    PythonAutoReload off
</Location>
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    return serve_module(places("twins") + OPTIONS, mpm=mpm)


@pytest.mark.parametrize("path", INPUTS, ids=[f"{path.parent.name}-{path.name[:12]}" for path in INPUTS])
def test_parsers(httpd: Server, path: Path) -> None:
    assert httpd.ok("/twins/handler", method="POST", body=path.read_bytes()).text.endswith(" tried")


@pytest.mark.parametrize("what", ["cookies", "records?1"])
def test_what_is_made_natively(httpd: Server, what: str) -> None:
    assert httpd.ok(f"/twins/{what}").text == "alike"


def test_settings(httpd: Server) -> None:
    assert httpd.ok("/twins/options").text == "('1', 'zwei äö', None, None) (False, True)"
    assert httpd.ok("/twins/set").text == "(True, False) True"


def test_a_session_is_read_whole(httpd: Server) -> None:
    """While others write it without its lock: short and long records, in turn."""
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(httpd.ok, f"/twins/sessions?twins-{httpd.port}") for _ in range(8)]
        assert {one.result().text for one in found} == {"0o40700 0o100600"}
    assert httpd.ok(f"/twins/left?twins-{httpd.port}").text == "1"


def test_a_session_file_that_changes_between_reading_and_writing(httpd: Server) -> None:
    assert httpd.ok(f"/twins/opened?twins-opened-{httpd.port}").text == "cd" + "0" * 30
