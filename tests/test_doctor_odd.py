"""`mod_python check` of what no one means to write: numbers that are none, patterns that are none, and files that would take for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mod_python import _doctor
from mod_python._doctor import access, configuration, server
from mod_python._doctor.overrides import _OURS

MOST = (1 << 32) - 2


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    status = _doctor.main([*arguments, "--json", "--no-import", "--no-httpd"])
    findings: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
    return status, findings


@pytest.mark.parametrize(
    "number", ["#abc", "#99999999999999999999", "#", "#-1", f"#{MOST + 1}", "#1_0", "#\u0663", "#" + "9" * 5000]
)
@pytest.mark.parametrize("name", ["User", "Group", "--user"])
def test_numbers_that_nobody_has(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, number: str) -> None:
    config = tmp_path / "httpd.conf"
    before = "" if name == "User" else "User #1\n"
    config.write_text("Listen 127.0.0.1:1\n" + (before if name == "--user" else f"{before}{name} {number}\n"))
    status, findings = told(capsys, str(config), *([f"--user={number}"] if name == "--user" else []))
    found = [one for one in findings if one["text"].startswith(f"{name}: {number[:40]}")]
    assert status == 2 and len(found) == 1 and f"from #0 to #{MOST}" in found[0]["text"], findings
    assert name == "--user" or (found[0]["file"], found[0]["line"]) == (str(config), 3 if before else 2)


def test_numbers_that_somebody_could_have() -> None:
    found = access.identity(f"#{MOST}", f"#{MOST}")
    assert (found.user, found.group) == (MOST, MOST)


@pytest.mark.parametrize("condition", ["~ (", "/(/", "~ [", "~ x{99999999999999999999}", "~ *", "~ " + "(" * 98])
def test_patterns_of_versions_that_are_none(condition: str) -> None:
    assert not configuration.version_holds("2.4.57", condition)
    assert configuration.version_holds("2.4.57", "~ ^2[.]4") and configuration.version_holds("2.4.57", "/5.$/")


def test_long_files_take_their_length_and_no_more(tmp_path: Path) -> None:
    """What looks through them from each line anew takes hours."""
    blank = "\n" * 100_000
    assert _OURS.search(blank) is None
    envvars = tmp_path / "envvars"
    envvars.write_text(blank + "export A=b\nexport B=c \r\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mod_python._doctor.files.is_others", lambda path: True)
        assert server.environment_of(str(tmp_path / "httpd.conf")) == {"A": "b", "B": "c"}
    config = tmp_path / "site.conf"
    config.write_text("<VirtualHost *>\n" * 50_000)
    assert not configuration.is_whole(str(config))


def test_what_is_ours_is_told_of_its_own_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/.htaccess").write_text("# x\n\n\n  PythonHandler x\n")
    config = tmp_path / "httpd.conf"
    config.write_text(f"Listen 127.0.0.1:1\nDocumentRoot {tmp_path}/docs\n")
    found = [(one["code"], one["line"]) for one in told(capsys, str(config))[1]]
    assert ("MP0030", 4) in found


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        ("<VirtualHost *>\nInclude x\n</VirtualHost>\n", False),
        ("<VirtualHost *>\nInclude x\n</VirtualHost>\nInclude y\n", True),
        ("  listen 80\n<VirtualHost *>\n", True),
        ("<virtualhost *>\nInclude x\n</virtualhost>\n<VirtualHost *>\nListen 1\n</VirtualHost>\n", False),
    ],
)
def test_what_is_whole(tmp_path: Path, text: str, is_whole: bool) -> None:
    (tmp_path / "site.conf").write_text(text)
    assert configuration.is_whole(str(tmp_path / "site.conf")) == is_whole


@pytest.mark.parametrize("mark", ["!", "~ ", "~"])
@pytest.mark.parametrize("section", ["IfDefine", "IfVersion", "IfModule", "Directory", "Location"])
def test_marks_without_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], section: str, mark: str) -> None:
    config = tmp_path / "httpd.conf"
    config.write_text(f"Listen 127.0.0.1:1\n<{section} {mark * 3000}x>\n</{section}>\nPythonHandlr x\n")
    assert ("MP0011", 4) in [(one["code"], one["line"]) for one in told(capsys, str(config))[1]]


@pytest.mark.parametrize(
    ("condition", "holds"), [("!A", False), ("!B", True), ("A", True), ("B", False), ('!"A"', False)]
)
def test_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str], condition: str, holds: bool) -> None:
    config = tmp_path / "httpd.conf"
    config.write_text(f"Listen 127.0.0.1:1\nDefine A\n<IfDefine {condition}>\nPythonHandlr x\n</IfDefine>\n")
    assert ("MP0011" in [one["code"] for one in told(capsys, str(config))[1]]) == holds
