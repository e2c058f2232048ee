"""`mod_python check` of daemons: as their users, and with their modules."""

from __future__ import annotations

import shutil

import pytest
from conftest import Serve
from test_doctor import APPLICATION, IS_ROOT, checked, made


@pytest.mark.skipif(not IS_ROOT, reason="only root can ask as another user")
def test_a_daemon_is_looked_at_as_its_user(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """What it alone can read is imported, with its path; what it cannot reach is said of it."""
    config = (
        "PythonDaemon shop user=games python-path=@ROOT@/shop\nPythonWSGI / only_its daemon=shop\n"
        "PythonDaemon other user=backup python-path=@ROOT@/shop:@ROOT@/nowhere\nPythonWSGI /x only_its daemon=other\n"
        "PythonDaemon gone user=nobody_of_this_name\n"
    )
    tested = made(serve, config, modules=("proxy", "proxy_http"))
    tested.write("shop/only_its.py", "import getpass\nassert getpass.getuser() == 'games'\n" + APPLICATION)
    shutil.chown(tested.root / "shop", "games")
    (tested.root / "shop").chmod(0o700)
    findings = [
        one for one in checked(capsys, str(tested.root / "httpd.conf"), "--no-httpd")[1] if one["level"] != "advice"
    ]
    said = {(one["code"], one["text"]) for one in findings}
    assert {code for code, _ in said} == {"MP0001", "MP0003", "MP0005"}, said
    texts = " ".join(text for _, text in said)
    assert "the daemon's user backup cannot pass" in texts and "no user nobody_of_this_name" in texts
    assert "only_its: ModuleNotFoundError" in texts and "games" not in texts


def test_the_module_of_a_daemon_is_looked_into(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    config = "".join(
        f"PythonDaemon {name} module={path}\nPythonWSGI /{name} only_its daemon={name}\n"
        for name, path in (("gone", "/nowhere.so"), ("none", "@ROOT@/httpd.conf"))
    )
    tested = made(serve, config, modules=("proxy", "proxy_http"))
    findings = checked(capsys, str(tested.root / "httpd.conf"), "--no-httpd")[1]
    said = {(one["code"], one["text"]) for one in findings if one["level"] != "advice"}
    assert said == {
        ("MP0002", "PythonDaemon gone names /nowhere.so, which is not there, or cannot be read"),
        (
            "MP0019",
            f"{tested.root}/httpd.conf is not this project's mod_python.so: another mod_python, such as Debian's 3",
        ),
    }


def test_all_misspelt_keys_are_named(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of all lines; of the first, at which httpd ends, all that is wrong with it."""
    config = "PythonDaemon first thread=2 proceses=3 umask=9\nPythonDaemon second thread=2 memory-limt=1G\nPythonDaemon third threads=2\n"
    tested = made(serve, config, modules=("proxy", "proxy_http"))
    wrong = "PythonDaemon: thread= is not known: did you mean threads=?; "
    second = wrong + "memory-limt= is not known: did you mean memory-limit=?"
    for arguments, first in (
        (["--no-httpd"], wrong + "proceses= is not known: did you mean processes=?"),
        ([], 'umask= needs an octal number from 0 to 077, such as 0027, not "9"'),
    ):
        findings = checked(capsys, str(tested.root / "httpd.conf"), *arguments)[1]
        said = sorted((one["line"], one["text"]) for one in findings if one["code"] == "MP0012")
        assert len(said) == 2 and said[0][1].endswith(first), said
        assert "proceses= is not known: did you mean processes=?" in said[0][1] and said[1][1] == second
