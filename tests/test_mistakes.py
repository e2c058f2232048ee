"""The ten typical mistakes of an operator: what `httpd -t`, `mod_python check` and the error log say. Writes the table of docs/check.md."""

from __future__ import annotations

import os
import re
import subprocess
from typing import NamedTuple, Optional

import pytest
from conftest import Serve, Server
from mod_python import _doctor

from httpd import MODE, PROJECT, entries

GOOD = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n"
HANDLER = "def handler(req):\n    return 0\n"
PATH = "PythonPath \"sys.path+['@ROOT@']\"\n"


class Mistake(NamedTuple):
    """A configuration with a mistake in it, and what becomes of a request."""

    title: str
    config: str
    code: str
    status: Optional[int] = None
    """None: httpd does not start."""
    shop: str = GOOD
    mode: int = 0o755
    path: str = "/shop"


MISTAKES = [
    Mistake(
        "The application lies where httpd's user cannot go",
        "PythonWSGI /shop @ROOT@/home/shop.py\n",
        "MP0001",
        500,
        mode=0o700,
    ),
    Mistake("The directory is missing in PythonPath", "PythonWSGI /shop shop:application\n", "MP0005", 500),
    Mistake("The application has another name", PATH + "PythonWSGI /shop shop:app\n", "MP0006", 500),
    Mistake("A package is not installed", PATH + "PythonWSGI /shop shop\n", "MP0005", 500, "import flaskk\n" + GOOD),
    Mistake(
        "PythonHome is no virtual environment", "PythonHome /usr/share\n" + PATH + "PythonWSGI /shop shop\n", "MP0004"
    ),
    Mistake(
        "SetHandler without a PythonHandler",
        "<Location /shop>\n    SetHandler mod_python\n</Location>\n",
        "MP0014",
        404,
    ),
    Mistake(
        "PythonHandler without a SetHandler",
        PATH + "<Location /shop>\n    PythonHandler shop\n</Location>\n",
        "MP0015",
        404,
        HANDLER,
    ),
    Mistake(
        "A misspelt option",
        PATH + "PythonOption mod_python.wsgi.trusted_proxy ::1\nPythonWSGI /shop shop\n",
        "MP0010",
        200,
    ),
    Mistake("A misspelt directive", PATH + "PythonWGSI /shop shop\n", "MP0011"),
    Mistake(
        "Something else has the application's path",
        PATH + "PythonWSGI /shop shop\nAlias /shop @ROOT@/htdocs\n",
        "MP0017",
        301,
    ),
]
START, END = "<!-- the ten mistakes -->\n", "<!-- the end of the ten mistakes -->\n"
_said: dict[str, tuple[str, str, str]] = {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has children that are somebody else")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.code)
def test_a_mistake(serve: Serve, capsys: pytest.CaptureFixture[str], mistake: Mistake) -> None:
    server = serve(
        "Include @ROOT@/site.conf\n", start=False, modules=("alias",), beside=False, interpreter=None, level="warn"
    )
    server.write("site.conf", mistake.config.replace("@ROOT@", str(server.root)))
    server.write("home/shop.py" if "/home/" in mistake.config else "shop.py", mistake.shop)
    if (server.root / "home").exists():
        (server.root / "home").chmod(mistake.mode)
    tested = server.check()
    _doctor.main([str(server.root / "httpd.conf")])
    checked = capsys.readouterr().out
    assert f" {mistake.code} " in checked, checked
    log = "httpd does not start"
    if mistake.status is None:
        assert tested.returncode != 0
    else:
        assert tested.returncode == 0, tested.stderr
        log = logged(server, mistake)
    found = [line for line in checked.splitlines() if re.search(r" MP\d{4} (error|warning): ", line)]
    said = [line for line in tested.stderr.splitlines() if line and not re.match(r"Syntax OK|AH00558|AH00014", line)]
    texts = ("\n".join(said), "\n".join(found), log)
    _said[mistake.title] = tuple(plain(text, server) for text in texts)  # type: ignore[assignment]


def logged(server: Server, mistake: Mistake) -> str:
    server.start()
    answer = server.get(mistake.path)
    assert answer.status == mistake.status, (answer.status, server.log_text())
    if mistake.status == 500:
        server.claim("mod_python|shop")
    lines = [line for line in entries(server.log_text()) if re.search(r"\[\w+:(warn|error|crit)\]", line)]
    server.claims.append(".")
    found = []
    for line in lines:
        parts = re.sub(r"^\[.*?\] \[(\w+:\w+)\] (?:\[pid [^]]*\] )?(?:\[client [^]]*\] )?", r"[\1] ", line).split("\\n")
        shown = [part for part in parts if not re.match(r"\s|Traceback", part)]
        found.append(" ".join(shown))
    return "\n".join(dict.fromkeys(found)) or "nothing"


def plain(text: str, server: Server) -> str:
    text = text.replace(str(server.root), "/srv/site")
    text = re.sub(r"^\[.*?\] \[(\w+:\w+)\] \[pid \d+[^]]*\] ", r"[\1] ", text, flags=re.M)
    text = re.sub(r"/usr/(?:local/)?bin/python3[.\d]*", "/usr/bin/python3", text)
    return re.sub(r"Python 3\.\d+\b", "Python 3.11", text)


def test_the_page_shows_them() -> None:
    """MOD_PYTHON_WRITE=1 has its table written anew instead."""
    if len(_said) < len(MISTAKES) or MODE or os.geteuid() != 0:
        pytest.skip("some of them were not run, or not as the page has them")
    made = "\n| mistake | `httpd -t` | `mod_python check` | the error log |\n| --- | --- | --- | --- |\n"
    for mistake in MISTAKES:
        cells = [cell(text) for text in _said[mistake.title]]
        made += f"| {mistake.title} ([{mistake.code}](codes.md#{mistake.code.lower()})) | {' | '.join(cells)} |\n"
    path = PROJECT / "docs/check.md"
    page = path.read_text()
    before, rest = page.split(START)
    shown, after = rest.split(END)
    if os.environ.get("MOD_PYTHON_WRITE"):
        path.write_text(f"{before}{START}{made}\n{END}{after}")
    else:
        assert shown == f"{made}\n"


def cell(text: str) -> str:
    lines = ["`" + line.replace("`", "'").replace("|", "\\|") + "`" for line in text.splitlines() if line]
    return "<br>".join(lines) if text not in ("", "nothing", "httpd does not start") else text or "nothing"


def test_apachectl_is_not_needed() -> None:
    """The page's commands are there."""
    page = (PROJECT / "docs/check.md").read_text()
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "mod_python", "check", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "python")},
    )
    options = set(re.findall(r"(?<!\S)(--[a-z-]+)", done.stdout)) - {"--help"}
    assert options == set(re.findall(r"`(--[a-z-]+)", page))
