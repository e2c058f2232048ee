"""What lies where others may write: databases and pages that somebody else has prepared are not opened."""

from __future__ import annotations

import dbm
import importlib
import importlib.util
import marshal
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve, Server, places
from mod_python import _private

from httpd import CHILD_USER

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")


def owned(path: Path, mode: int) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        shutil.chown(path, CHILD_USER)


def planted(page: str) -> bytes:
    """Code of somebody else's for a page."""
    code = compile("req.write('planted')", page, "exec")
    status = os.stat(page)
    signature = {page: (status.st_mtime_ns, status.st_size)}
    return importlib.util.MAGIC_NUMBER + marshal.dumps((signature, code))


def plant(kind: str, place: Path, key: bytes, value: bytes) -> None:
    """A database of one backend, which anybody could have made."""
    try:
        module: Any = importlib.import_module(f"dbm.{kind}")
    except ImportError as error:
        pytest.skip(f"no dbm.{kind}: {error}")
    with module.open(str(place), "c", 0o666) as database:
        database[key] = value
    for path in place.parent.glob(place.name + "*"):
        if path.is_file():
            path.chmod(0o666)
            if os.geteuid() == 0:
                shutil.chown(path, "nobody")


@pytest.mark.parametrize("kind", ["dumb", "ndbm", "gnu", "sqlite3"])
@pytest.mark.parametrize("mode", [0o1777, 0o777], ids=["sticky", "open"])
@AS_ROOT
def test_planted_pages(serve: Serve, kind: str, mode: int) -> None:
    shared = "PythonOption mod_python.psp.cache_database_filename @ROOT@/shared/psp\n"
    server = serve(
        f"<Directory @ROOT@/htdocs>\nAddHandler mod_python .psp\nPythonHandler mod_python.psp\n{shared}</Directory>",
        start=False,
    )
    page = server.write("htdocs/page.psp", "<%= 'own' %>")
    (server.root / "shared").mkdir()
    (server.root / "shared").chmod(mode)
    # A file that is ours stands for the name that was looked at; another one is what dbm opens.
    decoy = server.root / "shared/psp"
    plant(kind, decoy, str(page).encode(), planted(str(page)))
    if not decoy.exists():
        decoy.write_bytes(b"")
        owned(decoy, 0o600)
    server.start()
    assert server.ok("/page.psp").text == "own"
    line = server.wait_log("others may write to the directory")
    assert ":warn" in line and "psp-" in line and "name a directory of httpd's user" in line
    server.graceful()
    assert server.ok("/page.psp").text == "own"
    kept = [path for path in (server.root / "shared").glob("psp-*/*") if path.is_file()]
    assert kept and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
    assert stat.S_IMODE(kept[0].parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["dumb", "ndbm", "gnu"])
@AS_ROOT
def test_files_that_were_planted_before(serve: Serve, kind: str) -> None:
    """The directory is ours by now; what lies in it is not."""
    shared = "PythonOption mod_python.psp.cache_database_filename @ROOT@/place/psp\n"
    server = serve(
        f"<Directory @ROOT@/htdocs>\nAddHandler mod_python .psp\nPythonHandler mod_python.psp\n{shared}</Directory>",
        start=False,
    )
    page = server.write("htdocs/page.psp", "<%= 'own' %>")
    place = server.root / "place"
    place.mkdir()
    owned(place, 0o755)
    plant(kind, place / "psp", str(page).encode(), planted(str(page)))
    server.start()
    assert server.ok("/page.psp").text == "own"
    line = server.wait_log("compiled pages are not kept in .*no file of this user's alone")
    assert ":warn" in line and "mode 0600" in line


def sessions(serve: Serve, option: str) -> Server:
    server = serve(places("sessions") + option + "PythonOption mod_python.session.serializer pickle\n", start=False)
    (server.root / "shared").mkdir()
    return server


PICKLED = b"Pcos\nsystem\n(S'touch @ROOT@/shared/ran'\ntR."
SID = "0" * 32


@AS_ROOT
@pytest.mark.parametrize("mode", [0o1777, 0o777], ids=["sticky", "open"])
def test_planted_sessions_in_dbm(serve: Serve, mode: int) -> None:
    option = "PythonOption mod_python.session.session_type DbmSession\n"
    server = sessions(serve, f"{option}PythonOption mod_python.dbm_session.database_filename @ROOT@/shared/own\n")
    (server.root / "shared").chmod(mode)
    plant("dumb", server.root / "shared/own", SID.encode(), PICKLED.replace(b"@ROOT@", str(server.root).encode()))
    server.start()
    assert server.ok("/sessions/count", headers={"Cookie": f"pysid={SID}"}).text.startswith("1 True")
    answer = server.ok("/sessions/count")
    cookie = {"Cookie": str(answer.header("Set-Cookie")).partition(";")[0]}
    assert server.ok("/sessions/count", headers=cookie).text.startswith("2 False")
    assert not (server.root / "shared/ran").exists()
    server.wait_log("others may write to the directory")
    # Somebody was there first.
    private = next((server.root / "shared").glob("own-*"))
    shutil.rmtree(private)
    private.mkdir()
    private.chmod(0o777)
    assert server.get("/sessions/count").status == 500
    server.claim("is not a directory of this user's alone; remove it, or name another place")


@AS_ROOT
def test_planted_sessions_in_sqlite(serve: Serve) -> None:
    option = "PythonOption mod_python.session.session_type SqliteSession\n"
    server = sessions(serve, f"{option}PythonOption mod_python.sqlite_session.database_filename @ROOT@/shared/own\n")
    shared = server.root / "shared"
    shared.chmod(0o1777)
    (shared / "own").write_bytes(b"")
    (shared / "own").chmod(0o666)
    server.start()
    cookie = {"Cookie": str(server.ok("/sessions/count").header("Set-Cookie")).partition(";")[0]}
    assert server.ok("/sessions/count", headers=cookie).text.startswith("2 False")
    assert not (shared / "own").read_bytes()
    (kept,) = [path for path in shared.glob("own-*/own") if path.is_file()]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.chmod(0o666)
    assert server.get("/sessions/count").status == 500
    server.claim("no file of this user's alone.*mode 0600")
    kept.unlink()
    kept.symlink_to(shared / "own")
    assert server.get("/sessions/count").status == 500
    server.claim("no file of this user's alone")
    kept.unlink()
    shared.chmod(0o777)
    assert server.get("/sessions/count").status == 500
    server.claim("others may rename or replace what lies there")


def test_sqlite_leaves_the_umask_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the whole process's: another thread would make its files with it."""

    def umask(mask: int) -> int:
        raise AssertionError("the umask belongs to the process")

    tmp_path.chmod(0o755)
    path = _private.sqlite(str(tmp_path / "base"))
    monkeypatch.setattr(os, "umask", umask)
    for name in ("base", "new"):
        path = _private.sqlite(str(tmp_path / name))
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    for kind in ("dbm", "dbm.dumb"):
        module: Any = importlib.import_module(kind)
        with _private.database(str(tmp_path / kind)) as name:
            database = _private.open_dbm(name, "c", module)
            database[b"a"] = b"b"
            database.close()
            database = _private.open_dbm(name, "c", module)
            assert database[b"a"] == b"b"
            database.close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.is_file()} == {0o600}


def test_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, " * 20)
    (tmp_path / "text").chmod(0o600)
    with _private.database(str(tmp_path / "text")) as name, pytest.raises(dbm.error[0], match="text is no database"):
        _private.open_dbm(name, "c")
    with pytest.raises(FileNotFoundError), _private.database(str(tmp_path / "none/text")):
        pass
