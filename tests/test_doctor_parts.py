"""`mod_python check` of what is no whole configuration: a site's file, one that is not enabled, a directory with nothing in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mod_python import _doctor
from mod_python._doctor import configuration

from httpd import PROJECT

WHOLE = "Listen 127.0.0.1:1\nServerName whole\nPythonOption mod_python.lgo x\nIncludeOptional sites-enabled/*.conf\n"
SITE = "<VirtualHost *>\nServerName site\nInclude tls.conf\nPythonHandlr x\n</VirtualHost>\n"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[tuple[str, str, int]], str]:
    _doctor.main([*arguments, "--json", "--no-import", "--no-httpd", "--user", "root"])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    found = [(one["code"], str(one["file"]).rpartition("/")[2], one["line"]) for one in said["findings"]]
    return found, " ".join(said["notes"])


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_sites_file_is_checked_with_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_enabled: bool
) -> None:
    for name in ("sites-available", "sites-enabled"):
        (tmp_path / name).mkdir()
    (tmp_path / "apache2.conf").write_text(WHOLE)
    (tmp_path / "tls.conf").write_text("")
    site = tmp_path / "sites-available/shop.conf"
    site.write_text(SITE)
    if is_enabled:
        (tmp_path / "sites-enabled/shop.conf").symlink_to("../sites-available/shop.conf")
    found, notes = told(capsys, str(site))
    assert ("MP0011", "shop.conf", 4) in found and ("MP0010", "apache2.conf", 3) in found
    assert ("is a part of" if is_enabled else "does not include") in notes


def test_a_file_whose_whole_is_not_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mod_python._doctor.server.Httpd.config", str(tmp_path / "nowhere.conf"))
    monkeypatch.setattr("mod_python.version.HTTPD", "")
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    site = tmp_path / "a/b/c/d/shop.conf"
    site.write_text("PythonWSGI / nowhere:app\nPythonHandlr x\n")
    found, notes = told(capsys, str(site))
    assert [code for code, _, _ in found] == ["MP0011"] and "is not known" in notes
    # One that says what it loads is as whole as it gets.
    site.write_text("LoadModule alias_module mod_alias.so\nPythonWSGI / nowhere:app\n")
    assert [code for code, _, _ in told(capsys, str(site))[0]] == ["MP0028"]


def test_a_module_that_hides_behind_the_librarys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "httpd.conf"
    conf.write_text("PythonWSGI / json:app\n")
    _doctor.main([str(conf), "--json", "--no-httpd", "--user", "nobody"])
    found = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["code"] == "MP0006"]
    assert [one["line"] for one in found] == [1] and "of Python's own library" in found[0]["remedy"]


def test_a_directory_with_nothing_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.conf").write_text(SITE)
    assert [code for code, _, _ in told(capsys, str(tmp_path))[0]] == ["MP0013"]
    (tmp_path / "a.py").write_text("x = 1\n")
    assert told(capsys, str(tmp_path))[0] == []


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [(WHOLE, True), ("Listen 80\n", True), (SITE, False), ("# Listen 80\n", False), ("Include x\n", True), ("", False),
     ("<VirtualHost a>\nListen 1\n", True), ("<VirtualHost a>\nListen 1\n</VirtualHost>\n<VirtualHost b>\n", False)],
)  # fmt: skip
def test_what_is_whole(tmp_path: Path, text: str, is_whole: bool) -> None:
    (tmp_path / "x.conf").write_text(text)
    assert configuration.is_whole(str(tmp_path / "x.conf")) is is_whole


def growth(job: Callable[[int], object], count: int) -> float:
    """How many times as long it takes for four times as much: four where it is linear, sixteen where it grows with the square."""

    def taken(count: int) -> float:
        before = time.process_time()
        job(count)
        return time.process_time() - before

    return min(taken(4 * count) for _ in range(2)) / max(min(taken(count) for _ in range(3)), 0.0001)


def test_virtual_hosts_that_are_not_closed(tmp_path: Path) -> None:
    def job(count: int) -> None:
        (tmp_path / "x.conf").write_text("<VirtualHost x>\n" * count)
        assert not configuration.is_whole(str(tmp_path / "x.conf"))

    assert growth(job, 3000) < 9


COMMAND = [sys.executable, "-m", "mod_python", "check", "--no-import", "--no-httpd", "--user", "root"]


def test_whoever_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    """As `| head` does: no traceback, and nothing of Python's own at its end."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python")}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, str(tmp_path)], stdout=writer, stderr=subprocess.PIPE, env=environment, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    """What is read or written takes none of their places; the exit status is what it would be."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python")}
    script = f'exec "$@" {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *COMMAND, str(tmp_path)],
        capture_output=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, b"")
