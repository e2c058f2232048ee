"""The guide's examples run as printed: each page of docs/guide/ is a site, with its files, its configuration, and what curl shows of it."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Serve, Server, environment

from httpd import PROJECT

GUIDE = PROJECT / "docs/guide"
FILE = re.compile(r"^`([^`]+)`:\n\n```(\w+)\n(.*?)```", re.M | re.S)
BLOCK = re.compile(r"^```(\w+)\n(.*?)```", re.M | re.S)
MODULES = ("alias", "authz_host", "authn_core", "authz_user", "include", "proxy", "proxy_http")
ACCOUNTS = {"shop": "games", "api": "backup"}
"""What stands for the users of the chapter on daemons: accounts that every Debian has."""


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(page.read_text()) if name == language]


def shown(text: str) -> list[tuple[str, str]]:
    """Commands and what they answer."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.M)[1:]
    return [(command, answer.rstrip("\n")) for command, answer in zip(parts[::2], parts[1::2])]


SITES = sorted(page.stem for page in GUIDE.glob("*.md") if blocks(page, "console"))


def test_most_chapters_are_sites() -> None:
    assert len(SITES) >= 10
    for page in GUIDE.glob("*.md"):
        assert bool(blocks(page, "apache")) == (page.stem in SITES), page


@pytest.mark.parametrize("name", SITES)
def test_a_chapter_runs_as_printed(serve: Serve, name: str, tmp_path: Path) -> None:
    page = GUIDE / f"{name}.md"
    config = with_accounts("".join(blocks(page, "apache")).replace("/srv/site", "@ROOT@/site"))
    server: Server = serve(config, modules=MODULES, start=False)
    for path, _, text in FILE.findall(page.read_text()):
        server.write(f"site/{path.removeprefix('/srv/site/')}", text)
    (server.root / "site").mkdir(exist_ok=True)
    kept = server.root / "site/kept"
    kept.mkdir()
    if os.geteuid() == 0:
        shutil.chown(kept, "www-data")
    prepare_daemons(server, config)
    server.start()
    for text in map(with_accounts, blocks(page, "console")):
        for command, answer in shown(text):
            if not command.startswith("curl "):
                continue
            typed = command.replace("curl ", "curl -s -S --max-time 30 ", 1).replace(
                "127.0.0.1:8000", f"127.0.0.1:{server.port}"
            )
            place = tmp_path if "@" not in command else server.root / "site"
            done = subprocess.run(["/bin/sh", "-c", typed], capture_output=True, text=True, cwd=place, timeout=60)
            assert (done.stdout.rstrip("\n"), done.stderr) == (answer, ""), (command, server.log_text()[-2000:])


def with_accounts(text: str) -> str:
    """A text with accounts that there are; where another than root runs the tests, it is everybody."""
    if os.geteuid() != 0:
        text = re.sub(r" (user|group)=\w+", "", text)
    names = ACCOUNTS if os.geteuid() == 0 else dict.fromkeys(ACCOUNTS, getpass.getuser())
    return re.sub(r'((?:user|group)(?:=|":"))(shop|api)\b', lambda found: found[1] + names[found[2]], text)


def prepare_daemons(server: Server, config: str) -> None:
    """Their environments, and their directories as nobody else can read them."""
    for words in re.findall(r"^PythonDaemon (.*)", config, re.M):
        options = dict(word.split("=", 1) for word in words.split() if "=" in word)
        folder, home = (Path(options[key].replace("@ROOT@/", "")) for key in ("python-path", "python-home"))
        environment(server, str(home), "flask" if "shop" in home.parts else "fastapi")
        folder = server.root / folder
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{options['user']}:{options['group']}", str(folder)], check=True)
        folder.chmod(0o700)


def test_the_keys_of_daemons_are_those_of_the_directive(serve: Serve) -> None:
    text = (GUIDE / "daemons.md").read_text()
    section = text[text.index("## The keys") : text.index("## What runs")]
    told = serve("PythonDaemon shop qqqqqqqqqqqqqqqqqqqq=1\n", start=False).check().stderr
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.M) == told.partition("there are ")[2].strip().split(", "), told


@pytest.mark.parametrize("page", sorted(GUIDE.glob("*.md")), ids=lambda page: page.stem)
def test_python_of_the_guide_is_right(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, str(page), "exec")


def test_the_chapter_on_tests_runs() -> None:
    (text,) = blocks(GUIDE / "testing.md", "python")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python")}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["directives", "deployment", "asgi", "operations"])
def test_other_examples_of_configurations_are_right(serve: Serve, name: str) -> None:
    """Each in a virtual host of its own, but for what is the whole server's."""
    server = serve("", start=False, modules=MODULES)
    config = ""
    for number, text in enumerate(blocks(PROJECT / f"docs/{name}.md", "apache")):
        if not text.startswith(("PythonHome", "PythonEnablePdb", "PythonDaemon")):
            host = f"<VirtualHost 127.0.0.1:@PORT@>\nServerName host{number}\n{text}</VirtualHost>\n"
            config += text if "mpm_event" in text else host
    server.configure(config.replace("/srv/site", "@ROOT@/site"))
    checked = server.check()
    assert checked.returncode == 0 and "Syntax OK" in checked.stderr, checked.stderr
