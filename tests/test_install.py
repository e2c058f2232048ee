"""`make install` and `make uninstall`, into a directory that stands for the system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import VERSION, Tree
from conftest import Serve, places

from httpd import PROJECT, query_apxs

LIBEXEC = query_apxs("LIBEXECDIR")
AVAILABLE = query_apxs("SYSCONFDIR") + "/mods-available"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_what_is_installed_is_what_uninstall_removes(tree: Tree) -> None:
    old = os.umask(0o077)
    try:
        tree.ok("install")
    finally:
        os.umask(old)
    package = f"{LIBEXEC}/python/mod_python-{VERSION}/mod_python"
    expected = {
        f"{LIBEXEC}/mod_python.so",
        "/usr/local/bin/mod_python",
        "/usr/local/share/man/man1/mod_python.1",
        f"{AVAILABLE}/python.load",
        f"{AVAILABLE}/python.conf",
    }
    top = PROJECT / "python/mod_python"
    sources = {path.relative_to(top) for path in top.rglob("*") if path.suffix in (".py", ".typed")}
    shipped = {f"{Path(package).parent}/settings/python.{kind}" for kind in ("load", "conf")}
    assert tree.files() == expected | shipped | {f"{package}/{name}" for name in sources}
    # Everybody can read it, whatever root's umask is.
    for path in tree.system.rglob("*"):
        assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004), path
    load = tree.path(f"{AVAILABLE}/python.load").read_text()
    assert load == f"LoadModule python_module {LIBEXEC}/mod_python.so\n"
    assert f'"{LIBEXEC}/python/mod_python-{VERSION}"' in tree.path("/usr/local/bin/mod_python").read_text()
    tree.ok("install", "PREFIX=/opt/x")
    assert "/opt/x/bin/mod_python" in tree.files()
    tree.ok("uninstall", "PREFIX=/opt/x")
    tree.ok("uninstall")
    assert tree.files() == set() and not tree.path(f"{LIBEXEC}/python").exists()


def test_it_runs_as_installed(tree: Tree, serve: Serve) -> None:
    tree.ok("install")
    server = serve(places("hello"), start=False)
    shutil.copytree(tree.path(LIBEXEC), server.root / "installed")
    subprocess.run(["chmod", "-R", "a+rX", str(server.root / "installed")], check=True)
    text = (server.root / "httpd.conf").read_text()
    (server.root / "httpd.conf").write_text(text.replace(str(server.module), f"{server.root}/installed/mod_python.so"))
    server.start()
    assert server.ok("/hello/handler").text == "Hello World!"


def test_it_never_builds(tree: Tree) -> None:
    tree.program("cargo", f"touch {tree.programs}/called")
    tree.program("apt-get", f"touch {tree.programs}/called")
    tree.ok("install")
    tree.built.unlink()
    done = tree.make("install")
    assert (
        done.returncode != 0
        and "there is no target/release/libmod_python.so yet: run `make build` first" in done.stderr
    )
    assert not (tree.programs / "called").exists()


@pytest.mark.parametrize("name", ["python.conf", "python.load"])
def test_an_edited_setting_stays(tree: Tree, name: str) -> None:
    tree.ok("install")
    target = tree.path(f"{AVAILABLE}/{name}")
    shipped = target.read_text()
    target.write_text("# mine\n" + shipped)
    said = tree.ok("install")
    assert (
        target.read_text() == "# mine\n" + shipped and f"{target} stays as it is; the new one is {target}.new" in said
    )
    assert Path(f"{target}.new").read_text() == shipped
    said = tree.ok("uninstall")
    assert f"{target} stays: it is not as it was installed" in said
    assert tree.files() == {f"{AVAILABLE}/{name}"}


def test_another_version_stays_for_the_httpd_that_runs(tree: Tree) -> None:
    tree.ok("install")
    tree.become("9.9.9")
    tree.ok("install")
    packages = {path.name for path in tree.path(f"{LIBEXEC}/python").iterdir()}
    assert packages == {f"mod_python-{VERSION}", "mod_python-9.9.9"}
    assert 'version = "9.9.9"' in tree.path(f"{LIBEXEC}/python/mod_python-9.9.9/mod_python/version.py").read_text()
    tree.ok("uninstall")
    assert tree.files() == set()


@pytest.mark.parametrize("name", ["python.conf", "python.load"])
def test_a_setting_that_nobody_has_edited_follows(tree: Tree, name: str) -> None:
    tree.ok("install")
    source, target = tree.project / "apache" / name, tree.path(f"{AVAILABLE}/{name}")
    source.write_text("# New.\n" + source.read_text())
    # The same version, built anew, and the next one.
    assert "stays" not in tree.ok("install") and target.read_text().startswith("# New.\n")
    tree.become("9.9.9")
    source.write_text("# Newer.\n" + source.read_text())
    assert "stays" not in tree.ok("install") and target.read_text().startswith("# Newer.\n")
    source.write_text("# Not installed.\n")
    assert "stays" not in tree.ok("uninstall")
    assert tree.files() == set()


def test_module_and_package_are_of_one_version(tree: Tree) -> None:
    source = tree.project / "python/mod_python/version.py"
    source.write_text(source.read_text().replace(f'"{VERSION}"', '"9.9.9"'))
    done = tree.make("install")
    assert done.returncode != 0 and tree.files() == set()
    said = f"libmod_python.so is version {VERSION}, but its Python package, python/mod_python, is version 9.9.9"
    assert said in done.stderr and "run `make build` again" in done.stderr


def test_the_python_is_the_one_that_it_was_built_for(tree: Tree) -> None:
    module = tree.built.read_bytes()
    tree.built.unlink()
    tree.built.write_bytes(re.sub(rb"libpython3\.\d+", b"libpython3.8", module))
    done = tree.make("install")
    assert done.returncode != 0 and tree.files() == set()
    assert "was built for Python 3.8" in done.stderr and "the same PYTHON=… as `make build`" in done.stderr
    assert "PYTHON=/nowhere/python3 does not run" in tree.make("install", "PYTHON=/nowhere/python3").stderr


def system_in(tree: Tree) -> None:
    """An apxs that says that the system is below the directory."""
    for name in (LIBEXEC, AVAILABLE):
        tree.path(name).mkdir(parents=True)
    tree.program(
        "apxs",
        f"case $2 in LIBEXECDIR) echo {tree.path(LIBEXEC)};; SYSCONFDIR) echo {tree.path(AVAILABLE).parent};; esac",
    )


@pytest.mark.parametrize("file", ["mod_python.so", "bin/mod_python"])
@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_file_of_a_debian_package_is_left_alone(tree: Tree, file: str, verb: str) -> None:
    system_in(tree)
    place = tree.path(f"{LIBEXEC}/{file}") if file == "mod_python.so" else tree.system / "usr/local" / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("the package's")
    tree.program("dpkg", f'[ "$2" = "{place}" ] && echo "libapache2-mod-python: $2"')
    prefix = f"PREFIX={tree.system}/usr/local"
    before = tree.files()
    done = tree.make(verb, prefix, destination=False)
    assert done.returncode != 0 and place.read_text() == "the package's" and tree.files() == before
    assert f"{place} belongs to the Debian package libapache2-mod-python" in done.stderr
    assert "apt-get remove libapache2-mod-python" in done.stderr
    # Diverted, it is the package's no more.
    tree.program("dpkg", 'echo "diversion by local from: $2"; echo "libapache2-mod-python: $2"')
    tree.ok(verb, prefix, destination=False)


def test_what_is_switched_on_is_not_removed(tree: Tree) -> None:
    system_in(tree)
    tree.program("dpkg", "exit 1")
    prefix = f"PREFIX={tree.system}/usr/local"
    said = tree.ok("install", prefix, destination=False)
    assert "a2enmod python" in said and "Stop httpd and start it" in said
    enabled = tree.path(AVAILABLE).parent / "mods-enabled/python.load"
    enabled.parent.mkdir()
    enabled.symlink_to("../mods-available/python.load")
    assert "a2enmod" not in tree.ok("install", prefix, destination=False)
    done = tree.make("uninstall", prefix, destination=False)
    assert done.returncode != 0 and "a2dismod python" in done.stderr
    assert tree.path(f"{LIBEXEC}/mod_python.so").exists()
    enabled.unlink()
    tree.ok("uninstall", prefix, destination=False)
    assert tree.files() == set()


def test_the_guide_quotes_what_is_said() -> None:
    guide = (PROJECT / "docs/install.md").read_text()
    tables = [guide[guide.index("| it says |") : guide.index("In the error log")], guide[guide.rindex("| it says |") :]]
    sources = [["tools/install.sh"], ["src/embed/package.rs", "src/embed/lifecycle.rs"]]
    for table, names in zip(tables, sources):
        text = "".join((PROJECT / name).read_text() for name in names)
        rows = re.findall(r"^\| `(.+?)`(?: \(uninstall\))? \|", table, re.M)
        assert len(rows) >= 3
        for row in rows:
            for part in re.split(r"…|\b[XY]\b", row):
                # What stands for a name of a file or a package is a variable there.
                assert part.replace("target/release/libmod_python.so", "$built").strip() in text, part
