"""Where the package and the files of locks lie: of the right version, and with a way out where they cannot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Serve, Server, places

from httpd import CHILD_USER, PROJECT, RELEASE

VERSION = re.findall(r'^version = "(.*)"', (PROJECT / "python/mod_python/version.py").read_text(), re.M)[0]

# Locks


def directory_of_locks(server: Server) -> Path:
    found = re.search(r":warn\].* cannot create global mutex 0: .*; they lie in (\S+), which goes", server.log_text())
    assert found, server.log_text()
    return Path(found[1])


def test_locks_without_a_runtime_directory(serve: Serve, mpm: str) -> None:
    """On a machine whose httpd never ran, or for somebody who may not write where its files are."""
    server = serve(f"{places('locks')}DefaultRuntimeDir /proc\nPythonOption mod_python.mutex_locks 4\n", mpm=mpm)
    server.claim("AH00023: Couldn't create the mod_python mutex")  # httpd's own word of it
    directory = directory_of_locks(server)
    assert directory.stat().st_mode & 0o777 == 0o711 and len(list(directory.iterdir())) >= 2
    server.ok("/locks/errors")
    server.graceful()
    assert not directory.exists()
    after = re.findall(r"they lie in (\S+), which goes", server.log_text())[-1]
    server.ok("/locks/errors")
    server.stop()
    assert not Path(after).exists()


def test_a_directory_of_locks_that_was_chosen_must_be_there(serve: Serve) -> None:
    server = serve("PythonOption mod_python.mutex_directory @ROOT@/nowhere\n", start=False)
    with pytest.raises(RuntimeError, match=r"cannot create global mutex 0 in .*/nowhere"):
        server.start()
    server._process = None
    while server.unclaimed():
        pass


# The package


def install_by_hand(server: Server, *packages: str) -> Path:
    """The module in a directory of its own, with packages beside it: `python`, or `python/mod_python-VERSION`."""
    modules = server.root / "modules"
    modules.mkdir()
    shutil.copy(RELEASE, modules / "mod_python.so")
    for package in packages:
        shutil.copytree(PROJECT / "python/mod_python", modules / package / "mod_python")
    text = (server.root / "httpd.conf").read_text()
    (server.root / "httpd.conf").write_text(text.replace(str(server.module), str(modules / "mod_python.so")))
    subprocess.run(["chmod", "-R", "a+rX", str(modules)], check=True)
    return modules


def set_version(package: Path, version: str) -> None:
    file = package / "mod_python/version.py"
    file.write_text(file.read_text().replace(f'version = "{VERSION}"', f'version = "{version}"'))


def test_a_module_without_its_package(serve: Serve) -> None:
    """It does not go to where it was built."""
    server = serve(places("hello"), start=False)
    modules = install_by_hand(server)
    done = server.check()
    wanted = (
        f"mod_python.so {VERSION} lacks its Python package, which should be in {modules}/python/mod_python-{VERSION}"
    )
    assert done.returncode != 0 and wanted in done.stderr and "run `make install`" in done.stderr


def test_the_package_of_the_same_version_is_used(serve: Serve, mpm: str) -> None:
    server = serve(f"{places('inside')}", mpm=mpm, start=False)
    modules = install_by_hand(server, "python", f"python/mod_python-{VERSION}", "python/mod_python-9.9.9")
    set_version(modules / "python", "9.9.9")
    set_version(modules / "python/mod_python-9.9.9", "9.9.9")
    server.write("apps/inside.py", WHERE)
    server.start()
    assert server.ok("/inside/where").text == f"{modules}/python/mod_python-{VERSION}/mod_python/apache.py"
    # Installing another version beside it changes nothing for the one that runs.
    (modules / "mod_python.so").unlink()
    server.write("modules/mod_python.so", "")
    server.graceful()
    assert server.ok("/inside/where").text == f"{modules}/python/mod_python-{VERSION}/mod_python/apache.py"
    assert "version" not in server.log_text()


WHERE = "from mod_python import apache\ndef where(req):\n    req.write(apache.__file__)\n    return apache.OK\n"


def test_a_package_of_another_version_is_told_in_one_line(serve: Serve) -> None:
    server = serve(places("hello"), start=False)
    modules = install_by_hand(server, "python")
    set_version(modules / "python", "9.9.9")
    done = server.check()
    lines = [line for line in done.stderr.splitlines() if "9.9.9" in line]
    assert done.returncode == 0 and len(lines) == 1
    assert f"is version {VERSION}, but its Python package in {modules}/python is version 9.9.9" in lines[0]
    assert "stop httpd and start it" in lines[0]
    server.start()
    assert server.ok("/hello/handler").text == "Hello World!"


def test_a_package_that_is_removed_does_not_end_httpd(serve: Serve) -> None:
    """A restart after `make uninstall`: what httpd serves besides goes on."""
    server = serve(places("hello"), start=False)
    modules = install_by_hand(server, "python")
    server.write("htdocs/page.txt", "a page")
    server.start()
    assert server.ok("/hello/handler").text == "Hello World!"
    shutil.rmtree(modules / "python")
    server.graceful()
    assert server.ok("/page.txt").text == "a page"
    assert server.get("/hello/handler").status == 500
    server.claim("Python could not be started: .*mod_python")
    server.claim("no interpreter|Python has not been started")


@pytest.mark.skipif(os.geteuid() != 0, reason="this user is the children's user, too")
def test_a_package_that_the_children_cannot_pass(serve: Serve) -> None:
    server = serve(places("hello"), start=False)
    modules = install_by_hand(server, "python")
    (modules / "python").chmod(0o700)
    done = server.check()
    wanted = f"httpd's user {CHILD_USER} cannot pass {modules}/python (mode 0700); let it, with `chmod o+x"
    assert done.returncode != 0 and wanted in done.stderr
