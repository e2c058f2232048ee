"""Beside everything: handlers that do nothing in every phase change no byte of what Debian's httpd answers, with no memory kept."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from beside import DEBIAN, DEBIAN_MODULES, MANY_MODULES, OWN, THIRD_PARTY, cgi_module, is_installed
from beside_many import site_config
from beside_requests import Question, answer_to, comparable, questions
from beside_site import write_site
from conftest import APPS, Serve, alarms

from httpd import CHILD_USER, RELEASE, Httpd, system_httpd

PHASES = [
    "PostReadRequest",
    "Init",
    "Trans",
    "HeaderParser",
    "Access",
    "Authen",
    "Authz",
    "Type",
    "Fixup",
    "Log",
    "Cleanup",
]
NO_MEMORY = "MaxMemFree 1\n"
LIBEXEC = Path(system_httpd().modules)


def handlers(function: str) -> str:
    """A function of beside_app.py in every phase but the content's."""
    lines = [f"Python{phase}Handler beside_app::{function}" for phase in PHASES]
    return "PythonPath \"sys.path+['@ROOT@/apps']\"\n" + "\n".join(lines) + "\n"


class Site:
    """The same site and port, served by one httpd after the other; `answers` are those without the module."""

    def __init__(self, root: Path, mpm: str, kind: str) -> None:
        self.root, self.mpm, self.many = root, mpm, kind == "many"
        modules = (*DEBIAN_MODULES, cgi_module(mpm))
        if self.many:
            modules += tuple(name for name in (*MANY_MODULES, *THIRD_PARTY) if is_installed(LIBEXEC, name))
        self.settings: dict[str, Any] = {"mpm": mpm, "modules": modules, "root": root, "beside": False}
        plain = Httpd("", module=None, **self.settings)
        self.settings["port"] = plain.port
        shutil.copytree(APPS, root / "apps", ignore=shutil.ignore_patterns("__pycache__"))
        write_site(root, plain.port, pwd.getpwnam(CHILD_USER).pw_uid if os.geteuid() == 0 else 0)
        (root / "magic").write_text("0\tstring\t%PDF-\tapplication/pdf\n0\tstring\tGIF8\timage/gif\n")
        self.questions = questions(self.many)
        self.config = OWN + DEBIAN + site_config(self.many)
        self.answers = self.ask(None, "")

    def ask(self, module: Optional[Path], more: str) -> list[tuple[bytes, bytes]]:
        """Start an httpd, ask everything, and everything again; no child may have died meanwhile."""
        for name in ("cache", "dav"):
            for path in (self.root / name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        httpd = Httpd(more + self.config, module=module, **self.settings)
        httpd.log.unlink(missing_ok=True)
        httpd.start()
        try:
            rounds = [self.round(httpd), self.round(httpd)]
        finally:
            httpd.stop()
        watch(httpd)
        return list(zip(*rounds))

    def round(self, httpd: Httpd) -> list[bytes]:
        """Every answer once. It ends soon after a child has died: a new one takes a second each time."""
        answers = []
        for asked in self.questions:
            answers.append(comparable(asked, answer_to(httpd.port, asked)))
            if not len(answers) % 50:
                watch(httpd)
        return answers

    def differences(self, answers: list[tuple[bytes, bytes]]) -> list[str]:
        """Where answers are not those without the module."""
        return [
            next(shown(asked, before, after) for before, after in zip(alone, beside) if before != after)
            for asked, alone, beside in zip(self.questions, self.answers, answers)
            if alone != beside
        ]


def watch(httpd: Httpd) -> None:
    """No child has died, and this module has nothing to complain of; httpd has, of many of the requests."""
    ours = [line for line in alarms(httpd.log_text()) if "[python:" in line or "exit signal" in line]
    if ours:
        pytest.fail(f"{len(ours)} lines:\n" + "\n".join(ours[:5]), pytrace=False)


def shown(asked: Question, before: bytes, after: bytes) -> str:
    """Where two answers begin to differ."""
    place = next((at for at, pair in enumerate(zip(before, after)) if pair[0] != pair[1]), min(len(before), len(after)))
    start = max(0, place - 60)
    return f"{asked.name[:120]}: {before[start : place + 200]!r} became {after[start : place + 200]!r}"


def agree(site: Site, answers: list[tuple[bytes, bytes]], memory: str) -> None:
    """Expect the answers without the module. Where some differ, httpd alone is asked once more: what differs there, too, is its own."""
    differences = site.differences(answers)
    if differences:
        own = site.differences(site.ask(None, memory))
        text = "\n".join([*differences[:40], "", f"httpd alone: {len(own)}", *own[:40]])
        pytest.fail(f"{len(differences)} differ:\n{text}", pytrace=False)


@pytest.fixture(scope="module", params=["debian", "many"])
def site(request: pytest.FixtureRequest, mpm: str) -> Iterator[Site]:
    # Not pytest's own place: httpd's user could not go through that.
    root = Path(tempfile.mkdtemp(prefix="mod_python-"))
    yield Site(root, mpm, request.param)
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize(("function", "memory"), [("noop", ""), ("look", NO_MEMORY)], ids=["noop", "look-no-memory"])
def test_handlers_that_do_nothing_change_nothing(site: Site, function: str, memory: str) -> None:
    assert len(site.questions) > 1000
    agree(site, site.ask(RELEASE, memory + handlers(function)), memory)


AT_ENDS = """
PythonPath "sys.path+['@ROOT@/apps']"
MaxMemFree 1
<Directory @ROOT@/htdocs>
    Options MultiViews
    DirectoryIndex index.py index.html
</Directory>
<Files *.py>
    SetHandler mod_python
    PythonHandler beside_app
</Files>
<Directory @ROOT@/htdocs/static>
    PythonFixupHandler beside_app::look
    PythonLogHandler beside_app::look
    PythonCleanupHandler beside_app::noop
</Directory>
"""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "handler GET /index.py"),
        ("/index", "handler GET /index.py "),
        ("/static/", "static"),
        ("/static/index", "static"),
        ("/static/sub/", "of the folder below"),
        ("/static", ""),
    ],
)
def test_a_request_that_went_through_a_fast_redirect_ends(serve: Serve, mpm: str, path: str, text: str) -> None:
    """Its settings lie in a pool that goes before the request's own clean-ups run."""
    server = serve(AT_ENDS, mpm=mpm, modules=("negotiation",))
    server.write("htdocs/index.py", "")
    server.write("htdocs/static/index.html", "static")
    server.write("htdocs/static/sub/index.html", "of the folder below")
    for _ in range(25):
        answer = server.get(path)
        assert (answer.status, answer.text.startswith(text)) == (200 if text else 301, True), answer
    server.stop()
    died = [line for line in server.log_text().splitlines() if "exit signal" in line]
    assert not died, (len(died), died[0])
