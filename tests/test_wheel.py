"""The wheel: what setup.py puts together, as pip would lay it out, without running setuptools."""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from started import ROOT, Command

from httpd import PROJECT, free_port, system_httpd

APP = """
import sys
def app(environ, start_response):
    import mod_python, json
    from mod_python import apache
    start_response("200 OK", [])
    said = [sys.path, mod_python.__file__, apache.__file__, mod_python.__path__, sys.prefix]
    return [json.dumps(said).encode()]
"""


def parts() -> dict[str, Any]:
    """Constants and functions of setup.py, which only setuptools could import."""
    tree = ast.parse((PROJECT / "setup.py").read_text())
    kept = [
        node
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.FunctionDef, ast.Import))
        or (isinstance(node, ast.ImportFrom) and node.module in ("__future__", "pathlib"))
    ]
    names: dict[str, Any] = {"__file__": str(PROJECT / "setup.py")}
    exec(compile(ast.Module(kept, []), "setup.py", "exec"), names)
    return names


@pytest.fixture(scope="module")
def installed(serve_module: Serve) -> Iterator[Command]:
    """A virtual environment with the wheel in it."""
    command = Command(serve_module("", start=False))
    environment = command.place.parent / "environment"
    subprocess.run([sys._base_executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    shutil.copytree(PROJECT / "python/mod_python", site / "mod_python", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(command.module, site / "mod_python/mod_python.so")
    beside = site / "mod_python/python/mod_python/__init__.py"
    beside.parent.mkdir(parents=True)
    beside.write_text(parts()["BESIDE"])
    # What would hide a module of the standard library.
    (site / "typing.py").write_text("raise ImportError('of site-packages')\n")
    subprocess.run(["chmod", "-R", "a+rX", str(environment)], check=True)
    command.python, command.variables = str(environment / "bin/python3"), {"PYTHONPATH": "", "MOD_PYTHON_MODULE": ""}
    yield command
    command.close()


def test_it_serves_as_installed(installed: Command) -> None:
    import json

    installed.write("told.py", APP)
    server = installed.start("told:app")
    path, package, apache, inside, prefix = json.loads(server.ok())
    home = installed.place.parent / "environment"
    assert prefix == str(home)
    own = f"{home}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/mod_python"
    assert (package, apache, inside) == (f"{own}/__init__.py", f"{own}/apache.py", [own])
    # Behind the standard library.
    assert path.index(os.path.dirname(own)) > path.index(os.path.dirname(os.__file__))
    server.stop()
    shown = installed("module-config")
    lines = shown.stdout.splitlines()
    assert shown.returncode == 0 and [line.split()[0] for line in lines] == ["LoadFile", "LoadModule", "PythonHome"]
    assert re.search(r"/libpython3\.\d+t?\.so", lines[0]) and Path(lines[0].split()[1]).is_file()
    assert lines[1] == f"LoadModule python_module {own}/mod_python.so" and lines[2] == f"PythonHome {home}"


def test_check_and_migrate_as_installed(installed: Command) -> None:
    """The configuration is one that somebody has pasted what `module-config` prints into, and a wheel's module has its own in the package."""
    loading = installed("module-config").stdout
    installed.write("told.py", APP)
    libexec = system_httpd().modules
    loads = [f"LoadModule {name}_module {libexec}/mod_{name}.so" for name in ("mpm_event", "authz_core")]
    own = ["ServerName x", f"Listen {free_port()}", f"PidFile {installed.place}/pid", f"ErrorLog {installed.place}/log"]
    own += [f"PythonPath \"['{installed.place}']+sys.path\"", "PythonWSGI / told:app"]
    conf = installed.write("existing.conf", "\n".join([*loads, loading, *own, ""]))
    checked = installed("check", str(conf))
    assert checked.returncode == 0 and "error" not in checked.stdout, checked
    # Handlers of its own, too, which lie in the package.
    conf.write_text(
        f"{conf.read_text()}<Location /p>\nSetHandler mod_python\nPythonHandler mod_python.publisher\n</Location>\n"
    )
    checked = installed("check", str(conf))
    assert "mod_python.publisher" not in checked.stdout and checked.returncode == 0, checked
    old = installed.write("old.conf", "LoadModule wsgi_module modules/mod_wsgi.so\nWSGIScriptAlias / /x.wsgi\n")
    assert installed("migrate", str(old), "--write").returncode in (0, 1)
    made = old.with_name("old.conf.new").read_text()
    assert loading in made, made
    # One that has an environment of its own keeps that.
    old.write_text(f"{old.read_text()}WSGIPythonHome /srv/venv\n")
    old.with_name("old.conf.new").unlink()
    installed("migrate", str(old), "--write")
    made = old.with_name("old.conf.new").read_text()
    assert made.count("\nPythonHome ") == 1 and "\nPythonHome /srv/venv\n" in made
    assert loading.splitlines()[0] in made


@pytest.mark.skipif(not ROOT, reason="needs a second user")
def test_an_environment_that_the_user_cannot_reach(installed: Command) -> None:
    installed.write("told.py", APP)
    (installed.place.parent / "environment").chmod(0o700)
    # The last test of it.
    said = installed.refused("start", "told:app", "--user", "daemon", "--port", "0", user=None)
    assert f"daemon cannot pass {installed.place.parent}/environment, which is on the way to" in said


def test_the_tag_is_that_of_the_newest_symbol(tmp_path: Path) -> None:
    tag = parts()["platform_tag"]
    built = tmp_path / "m.so"
    built.write_bytes(b"\0GLIBC_2.2.5\0GLIBC_2.17\0GLIBC_2.34\0GLIBC_2.9\0xGLIBC_2.99\0")
    assert tag(built) == f"manylinux_2_34_{platform.machine()}"
    built.write_bytes(b"")
    assert tag(built).startswith("linux_")


def test_what_the_archive_needs_is_in_the_manifest() -> None:
    """build.rs and src/ read nothing that is not in it."""
    manifest = (PROJECT / "MANIFEST.in").read_text()
    for name in (
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "recursive-include src",
        "recursive-include apache",
        "recursive-include .cargo",
    ):
        assert name in manifest
    included = re.findall(
        r'include_(?:str|bytes)!\("([^"]+)"\)', "".join(path.read_text() for path in (PROJECT / "src").rglob("*.rs"))
    )
    for name in included:
        assert Path(name).suffix in (".md", ".py", ".rs"), name


def test_each_python_has_its_own_environment_to_build_in() -> None:
    """One of another Python that is there already would make another wheel of that one's."""
    done = subprocess.run(
        ["make", "-n", "wheel", "PYTHON=/opt/python3"], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert "/opt/python3 -m venv --clear target/wheel/venv && target/wheel/venv/bin/pip wheel" in done.stdout
