"""PythonHome: of a virtual host, of two in one httpd; what its user cannot reach."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Serve, Server

from httpd import CHILD_USER

PYTHON = os.environ.get("PYO3_PYTHON", "/usr/bin/python3")
HANDLER = "SetHandler mod_python\nPythonHandler homes\nPythonPath \"sys.path+['@ROOT@/apps']\"\n"


def environment(server: Server, name: str, *options: str) -> Path:
    """A virtual environment whose packages tell its name."""
    home = server.root / name
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", *options, str(home)], check=True)
    site = next((home / "lib").glob("python*/site-packages"))
    name = home.name
    for module in ("shared", f"only_{name}"):
        (site / f"{module}.py").write_text(f"VALUE = {name!r}\n")
    # As `pip install --editable` leaves it, and what setuptools has done.
    extra = home / "extra"
    extra.mkdir()
    (extra / f"extra_{name}.py").write_text(f"VALUE = 'extra {name}'\n")
    (site / "extra.pth").write_text(f"{extra}\nimport sys, json; sys.run_by_pth = {name!r}\n")
    subprocess.run(["chmod", "-R", "a+rX", str(home)], check=True)
    return home


def host(name: str, *lines: str) -> str:
    inner = "".join(f"{line}\n" for line in lines)
    return f"<VirtualHost 127.0.0.1:@PORT@>\nServerName {name}\n<Location />\n{HANDLER}</Location>\n{inner}</VirtualHost>\n"


def seen(server: Server, name: str, path: str) -> str:
    return server.ok(path, headers={"Host": name}).text


def checked(server: Server, config: str) -> tuple[int, str]:
    server.configure(config)
    done = server.check()
    return done.returncode, done.stderr


@pytest.fixture
def server(serve: Serve, mpm: str) -> Server:
    return serve("", mpm=mpm, start=False, interpreter=None)


def test_two_environments_in_one_httpd(server: Server) -> None:
    homes = {name: environment(server, name) for name in ("main", "one", "two")}
    server.configure(
        "PythonHome @ROOT@/main\n"
        + host("first")
        + host("one", "PythonHome @ROOT@/one")
        + host("two", "PythonHome @ROOT@/two", "PythonInterpreter named")
    )
    server.start()
    for _ in range(2):
        assert seen(server, "first", "/?shared,only_main,only_one") == f"main main none {homes['main']}"
        assert seen(server, "one", "/?shared,only_one,extra_one,only_main,only_two") == (
            f"one one extra one none none {homes['one']}"
        )
        assert seen(server, "two", "/?shared,only_two,extra_two,only_one") == f"two two extra two none {homes['two']}"


def test_what_an_interpreter_of_a_host_is_like(server: Server) -> None:
    one, seeing = environment(server, "one"), environment(server, "seeing", "--system-site-packages")
    functions = "<Location /path>\nPythonHandler homes::path\n</Location>"
    server.configure(
        host("main", functions)
        + host("one", f"PythonHome {one}", functions)
        + host("seeing", f"PythonHome {seeing}", functions)
    )
    server.start()

    def paths(name: str) -> list[str]:
        executable, *found = seen(server, name, "/path").splitlines()
        assert executable == (PYTHON if name == "main" else f"{server.root}/{name}/bin/python3")
        return found

    [package, site, extra, *library] = paths("one")
    assert package.endswith("python") and site.endswith("/site-packages") and extra == str(one / "extra")
    assert all(os.path.basename(os.path.dirname(path)) != "site-packages" for path in library)
    system = [path for path in paths("main") if path.endswith("-packages")]
    assert [path for path in paths("seeing") if path in system] == system
    assert not set(system) & set(paths("one"))


def test_interpreters_of_sections_and_pools(server: Server) -> None:
    for name in ("one", "two"):
        environment(server, name)
    section = f"<Location /section>\n{HANDLER}PythonInterpreter %s-section\n</Location>"
    directory = f"<Directory @ROOT@/htdocs/%s>\n{HANDLER}PythonInterpPerDirectory On\n</Directory>"
    pool = f"<Location /pool>\n{HANDLER}PythonInterpreter %s-pool\n</Location>\nPythonInterpreterPool %s-pool size=2"
    hosts = ""
    for name in ("one", "two"):
        (server.root / "htdocs" / name).mkdir()
        lines = (f"PythonHome @ROOT@/{name}", "DocumentRoot @ROOT@/htdocs", section % name, directory % name)
        text = host(name, *lines, pool % (name, name), f"PythonImport shared {name}-early")
        # Files, not a location.
        hosts += text.replace("<Location />", "<Location /all>")
    server.configure(hosts)
    server.start()
    for name in ("one", "two"):
        for path in ("section", "pool", "all"):
            assert seen(server, name, f"/{path}?shared") == f"{name} {server.root}/{name}"
        server.write(f"htdocs/{name}/page", "")
        assert seen(server, name, f"/{name}/page?shared") == f"{name} {server.root}/{name}"


def test_an_interpreter_of_another_host_is_refused(server: Server) -> None:
    """Where the configuration does not tell: a name that an .htaccess file chooses."""
    environment(server, "one")
    directory = "<Directory @ROOT@/htdocs>\nAllowOverride All\n</Directory>"
    text = host("one", "PythonHome @ROOT@/one", "DocumentRoot @ROOT@/htdocs", directory)
    server.configure(host("main") + text.replace("<Location />", "<Location /all>"))
    (server.root / "htdocs").chmod(0o755)
    server.write("htdocs/.htaccess", f"{HANDLER}PythonInterpreter main\n".replace("@ROOT@", str(server.root)))
    server.write("htdocs/page", "")
    server.start()
    assert seen(server, "main", "/?shared").startswith("none")
    for _ in range(2):
        assert server.get("/page", headers={"Host": "one"}).status == 500
        server.claim(
            f'interpreter "main" has the main server\'s, not the PythonHome {server.root}/one of this virtual host'
        )


def test_one_interpreter_has_one_home(serve: Serve) -> None:
    server = serve("", start=False, interpreter=None)
    for name in ("one", "two"):
        environment(server, name)
    one, two = "PythonHome @ROOT@/one", "PythonHome @ROOT@/two"
    contradictory = [
        host("a", one, "PythonInterpreter x") + host("b", two, "PythonInterpreter x"),
        host("a", one) + host("a", two),
        host("a", one) + host("b", two, f"<Location /x>\n{HANDLER}PythonInterpreter a\n</Location>"),
        host("a", one, "PythonImport m b") + host("b", two),
        "ServerName a\n" + host("a", one),
        host("a", one, "PythonInterpreter main_interpreter"),
        "PythonHome @ROOT@/two\n" + host("a", one, "PythonImport m main_interpreter"),
    ]
    for config in contradictory:
        status, text = checked(server, config)
        assert status != 0 and re.search(
            r"PythonHome \S+ of the virtual host \S+: its interpreter \S+ is .*'s, too, which has ", text
        ), text
        assert "give one of them another one with PythonInterpreter" in text
    fine = [
        host("a", one) + host("a", one),
        # The same host without TLS, which only redirects.
        host("a") + host("a", one),
        "PythonHome @ROOT@/one\n" + host("a", one, "PythonInterpreter main_interpreter"),
        host("a", one) + host("b", two),
    ]
    for config in fine:
        status, text = checked(server, config)
        assert status == 0 and "PythonHome" not in text, text
    status, text = checked(server, host("a", one, "PythonInterpreter x") + host("b", "PythonInterpreter x"))
    assert status == 0 and "the interpreter x, which the virtual host b uses, has the PythonHome" in text, text


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        ("", "there is no directory"),
        ("version = 2.7.18", "is an environment of Python 2.7, but mod_python was built with"),
        ("version = ", "has no working bin/python3"),
    ],
)
def test_a_hosts_environment_is_checked(serve: Serve, made: str, complaint: str) -> None:
    server = serve("", start=False)
    if made:
        server.write("env/pyvenv.cfg", f"home = /usr/bin\n{made}\n")
    status, text = checked(server, host("a", "PythonHome @ROOT@/env"))
    assert status != 0 and "PythonHome: " in text and complaint in text and "-m venv" in text, text


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="this user is the children's user, too")


@needs_root
@pytest.mark.parametrize("place", ["main", "host"])
@pytest.mark.parametrize("closed", ["closed", "closed/env", "closed/env/bin", "closed/env/pyvenv.cfg"])
def test_what_the_children_cannot_pass(serve: Serve, place: str, closed: str) -> None:
    server = serve("", start=False, interpreter=None)
    (server.root / "closed").mkdir()
    environment(server, "closed/env")
    line = "PythonHome @ROOT@/closed/env\n"
    config = line if place == "main" else host("a", line)
    status, text = checked(server, config)
    assert status == 0, text
    kept = (server.root / closed).stat().st_mode
    (server.root / closed).chmod(0o700)
    status, text = checked(server, config)
    verb, letter = ("read", "r") if closed.endswith(".cfg") else ("pass", "x")
    full = server.root / closed
    assert status != 0 and "there is no directory" not in text and "-m venv" not in text
    assert f"is there, but httpd's user {CHILD_USER} cannot {verb} {full} (mode 0700)" in text, text
    assert f"chmod o+{letter} {full}" in text and "PythonHome" in text
    # The remedy is one.
    subprocess.run(["chmod", f"o+{letter}", str(full)], check=True)
    status, text = checked(server, config)
    assert status == 0, text
    full.chmod(kept)


@needs_root
def test_a_link_into_what_the_children_cannot_pass(serve: Serve) -> None:
    server = serve("", start=False)
    (server.root / "closed").mkdir(mode=0o700)
    environment(server, "closed/env")
    (server.root / "link").symlink_to(server.root / "closed/env")
    status, text = checked(server, "PythonHome @ROOT@/link\n")
    assert status != 0 and f"cannot pass {server.root}/closed (mode 0700)" in text, text


@needs_root
def test_groups_and_owners_count(serve: Serve) -> None:
    server = serve("", start=False)
    environment(server, "env")
    home = server.root / "env"
    home.chmod(0o710)
    assert checked(server, "PythonHome @ROOT@/env\n")[0] != 0
    shutil.chown(home, group=CHILD_USER)
    status, text = checked(server, "PythonHome @ROOT@/env\n")
    assert status == 0, text
    home.chmod(0o700)
    shutil.chown(home, user=CHILD_USER)
    assert checked(server, "PythonHome @ROOT@/env\n")[0] == 0


@needs_root
def test_a_user_who_cannot_pass_is_told_so(serve: Serve) -> None:
    """httpd started by somebody who is not root: what cannot be seen is not missing."""
    server = serve("", start=False)
    environment(server, "env")
    shutil.chown(server.root, CHILD_USER)
    server.root.joinpath("env").chmod(0o700)
    server.configure("PythonHome @ROOT@/env\n")
    text = (server.root / "httpd.conf").read_text().replace(f"User {CHILD_USER}\nGroup {CHILD_USER}\n", "")
    (server.root / "httpd.conf").write_text(text)
    done = subprocess.run(
        ["runuser", "-u", CHILD_USER, "--", *server._command(), "-t"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and f"httpd's user {CHILD_USER} cannot pass {server.root}/env" in done.stderr, (
        done.stderr
    )
