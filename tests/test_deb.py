"""`make deb`: what is in the package, and what it says of itself. tools/try_deb.sh installs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from checkout import VERSION, Tree

from httpd import PROJECT, RELEASE

NAME = "libapache2-mod-python-ng"
MODULES = "/usr/lib/apache2/modules"
EMBEDDED = re.findall(rb"libpython(3\.[0-9]+[dt]*)\.so", RELEASE.read_bytes())[0].decode()
DEBIAN = subprocess.run(
    ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
    capture_output=True,
    text=True,
    check=True,
).stdout.strip()
ours = pytest.mark.skipif(EMBEDDED != DEBIAN, reason="a package is for Debian's own Python")


class Package:
    """A package, and what dpkg-deb says of it."""

    def __init__(self, file: Path, root: Path) -> None:
        self.file, self.root = file, root
        subprocess.run(["dpkg-deb", "--raw-extract", file, root], check=True)
        self.listing = self.ask("--contents").splitlines()

    def ask(self, what: str, *fields: str) -> str:
        return subprocess.run(
            ["dpkg-deb", what, self.file, *fields], capture_output=True, text=True, check=True
        ).stdout.strip()

    def field(self, name: str) -> str:
        return self.ask("--field", name)

    def list(self, name: str) -> set[str]:
        """Packages of a field, without blanks."""
        return {re.sub(r"\s", "", part) for part in self.field(name).split(",")}

    def control(self, name: str) -> str:
        return (self.root / "DEBIAN" / name).read_text()

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def files(self) -> set[str]:
        found = {f"/{path.relative_to(self.root)}" for path in self.root.rglob("*") if not path.is_dir()}
        return {name for name in found if not name.startswith("/DEBIAN/")}


def ran(tree: Tree, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{tree.programs}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nowhere", **settings}
    command = ["tools/deb.sh", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tree.project, env=environment, timeout=120
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    tree = Tree(tmp_path_factory.mktemp("deb"))
    for name in ("cargo", "apt-get", "curl", "pip"):
        tree.program(name, f"touch {tree.programs}/called; exit 1")
    build = {"DEB_BUILD_OPTIONS": "noautodbgsym", "DEBFULLNAME": "A Packer", "DEBEMAIL": "packer@debian.org"}
    done = ran(tree, **build)
    assert done.returncode == 0, done.stderr
    assert not (tree.programs / "called").exists()
    (line,) = done.stdout.splitlines()
    return Package(tree.project / line, tree.project / "unpacked")


@ours
def test_what_it_needs_and_replaces(package: Package) -> None:
    assert package.field("Package") == NAME and package.field("Maintainer") == "A Packer <packer@debian.org>"
    minor = int(EMBEDDED.split(".")[1])
    needed = package.list("Depends")
    assert {"apache2-api-20120211", f"python3(>=3.{minor}~)", f"python3(<<3.{minor + 1})"} <= needed
    assert [name for name in needed if name.startswith(f"libpython{EMBEDDED}(>=")], needed
    assert [name for name in needed if name.startswith("apache2-bin")], needed
    for name in ("Conflicts", "Replaces", "Provides"):
        assert package.list(name) == {"libapache2-mod-python"}


@ours
def test_what_is_in_it(package: Package) -> None:
    files = package.files()
    top = PROJECT / "python/mod_python"
    sources = {str(path.relative_to(top)) for path in top.rglob("*") if path.suffix in (".py", ".typed")}
    beside = f"{MODULES}/python/mod_python-{VERSION}/mod_python/"
    assert {name[len(beside) :] for name in files if name.startswith(beside)} == sources
    documents = f"/usr/share/doc/{NAME}"
    rest = {name for name in files if not name.startswith((beside, f"{documents}/docs/"))}
    assert rest == {
        f"{MODULES}/mod_python.so",
        "/etc/apache2/mods-available/python.load",
        "/etc/apache2/mods-available/python.conf",
        "/usr/bin/mod_python",
        "/usr/share/man/man1/mod_python.1.gz",
        f"/usr/share/lintian/overrides/{NAME}",
        f"/usr/share/python3/runtime.d/{NAME}.rtupdate",
        *(
            f"{documents}/{name}"
            for name in ("copyright", "README.md", "README.Debian", "changelog.gz", "changelog.Debian.gz")
        ),
    }
    # root's, and nobody else's to write to.
    assert all(line.split()[1] == "root/root" and line[5] == line[8] == "-" for line in package.listing)
    command = package.path("/usr/bin/mod_python")
    assert f'"{MODULES}/python/mod_python-{VERSION}"' in command.read_text()
    assert command.read_text().startswith("#!/usr/bin/python3\n") and command.stat().st_mode & 0o777 == 0o755
    load = package.path("/etc/apache2/mods-available/python.load").read_text()
    assert load == f"LoadModule python_module {MODULES}/mod_python.so\n"
    dynamic = subprocess.run(
        ["readelf", "-d", package.path(f"{MODULES}/mod_python.so")], capture_output=True, text=True, check=True
    ).stdout
    assert "RUNPATH" not in dynamic and "RPATH" not in dynamic and f"libpython{EMBEDDED}.so" in dynamic


@ours
def test_settings_and_scripts_are_as_debian_has_them(package: Package) -> None:
    kept = {f"/etc/apache2/mods-available/python.{kind}" for kind in ("load", "conf")}
    assert set(package.control("conffiles").split()) == kept
    assert "for conf in python  ; do\n\t\t\tapache2_invoke enmod $conf" in package.control("postinst")
    assert "apache2_invoke dismod $conf" in package.control("prerm")
    assert f"py3compile -p {NAME}:" in package.control("postinst") and "py3clean" in package.control("prerm")


@ours
def test_each_crate_that_is_compiled_in_is_named(package: Package) -> None:
    said = package.path(f"/usr/share/doc/{NAME}/copyright").read_text()
    named = {name for line in re.findall(r"^Files: (.*)", said, re.M) for name in line.split()}
    tree = subprocess.run(
        ["cargo", "tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    ).stdout
    crates = {line.split()[0] for line in tree.splitlines() if line} - {"mod_python"}
    assert named - {"*", "std", "core", "alloc"} == crates


def compare(one: str, relation: str, other: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False).returncode == 0


def test_versions_follow_each_other(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    changes = tree.project / "CHANGELOG.md"

    def version(heading: str, seconds: int) -> str:
        changes.write_text(f"# Changes\n\n## {VERSION} ({heading})\n")
        return ran(tree, "--version", SOURCE_DATE_EPOCH=str(seconds)).stdout.strip()

    versions = [version("unreleased", 1700000000), version("unreleased", 1700000001), version("2023-11-15", 1700000000)]
    assert versions[0] == f"{VERSION}~20231114.221320" and versions[-1] == VERSION
    assert compare(versions[0], "lt", versions[1]) and compare(versions[1], "lt", versions[2])


def test_without_a_build_it_says_so(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.built.unlink()
    done = ran(tree)
    assert done.returncode != 0 and "run `make build` first" in done.stderr
    tree.built.write_bytes(re.sub(rb"libpython3\.\d+[dt]*", b"libpython3.8", RELEASE.read_bytes()))
    done = ran(tree)
    assert done.returncode != 0 and f"built for Python 3.8, but python3 of this Debian is {DEBIAN}" in done.stderr
