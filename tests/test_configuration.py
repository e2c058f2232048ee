"""Directives: what is refused at `httpd -t`, how sections merge, .htaccess, extensions, environments."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from conftest import Serve, places

from httpd import PROJECT, query_apxs


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("PythonHandler", "PythonHandler: names no handler; write module or module::function"),
        ("PythonHandler m::", 'PythonHandler: cannot use the handler "m::"'),
        ("PythonHandler m | py", 'cannot use the extension "py"; it must begin with a dot'),
        ("PythonHandler m |", "has a | without an extension"),
        ("PythonTransHandler m | .py", "PythonTransHandler: cannot choose by extension"),
        ("PythonPostReadRequestHandler m | .py", "PythonPostReadRequestHandler: cannot choose by extension"),
        ("PythonDebug maybe", "PythonDebug must be On or Off"),
        ('PythonPath " "', "PythonPath: needs an expression"),
        ("PythonHome relative/path", "PythonHome: .* is not an absolute path"),
        ("PythonHome /nowhere", "PythonHome: there is no directory /nowhere; make one with"),
        ("PythonHome /etc", "PythonHome: /etc is not a virtual environment .*; make one with `.* -m venv /etc`"),
        ("PythonImport m", "PythonImport takes two arguments"),
        ("PythonOption", "PythonOption takes one or two arguments|PythonOption takes 1-2 arguments"),
        ("<Location /x>\nPythonOptimize On\n</Location>", "PythonOptimize not allowed"),
        ("<Location /x>\nPythonTransHandler m\n</Location>", "PythonTransHandler not allowed"),
    ],
)
def test_mistakes_are_told_at_configuration_time(serve: Serve, line: str, complaint: str) -> None:
    checked = serve(line + "\n", start=False).check()
    assert checked.returncode != 0
    assert re.search(complaint, checked.stderr), checked.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("mod_python.asgi.lifspan off", "did you mean mod_python.asgi.lifespan?"),
        ("Mod_Python.WSGI.Trusted_Proxy ::1", "did you mean mod_python.wsgi.trusted_proxies?"),
        ("mod_python.wsgi.detach_after 1", "did you mean mod_python.asgi.detach_after?"),
        ("mod_python.asgi.max_size 1", "did you mean mod_python.asgi.ws_max_size?"),
        ("mod_python.asgi.chunked_buffer 1", "did you mean mod_python.wsgi.chunked_buffer?"),
        ("mod_python.asgi.root_path /x", "did you mean mod_python.asgi.base_uri?"),
        ("mod_python.session.cookie x", "did you mean mod_python.session.cookie_name?"),
        ("mod_python.flsh", "did you mean mod_python.flush?"),
        ("mod_python.something.of.mine 1", "names that begin with mod_python. are this module's own"),
        ("mod_python.%s%n 1", "names that begin with mod_python. are this module's own"),
    ],
)
def test_an_option_that_nobody_knows_is_a_warning(serve: Serve, option: str, said: str) -> None:
    server = serve(
        f"<Location /x>\n<IfModule !nothing>\nPythonOption {option}\n</IfModule>\n</Location>\n", start=False
    )
    line = (server.root / "httpd.conf").read_text().splitlines().index(f"PythonOption {option}") + 1
    checked = server.check()
    key = option.split()[0]
    expected = f"PythonOption {key} on line {line} of {server.root}/httpd.conf is not known"
    assert checked.returncode == 0 and expected in checked.stderr and said in checked.stderr, checked.stderr
    assert checked.stderr.count("is not known") == 1


def test_an_option_that_nobody_knows_is_in_the_log(serve: Serve, mpm: str) -> None:
    host = "<VirtualHost *>\nPythonOption mod_python.asgi.lop uvloop\n</VirtualHost>\n"
    server = serve(f"{host}PythonOption mod_python.forms.charset x\n", mpm=mpm)
    for name, meant in (("asgi.lop", "asgi.loop"), ("forms.charset", "form.charset")):
        found = server.wait_log(rf"PythonOption mod_python\.{name} on line \d+ of .*did you mean mod_python\.{meant}\?")
        assert ":warn]" in found or "warn" in found


def test_options_that_are_known_are_no_warning(serve: Serve) -> None:
    """What the pages tell of, and an application's own."""
    pages = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    pages.remove(PROJECT / "docs/check.md")  # shows what is said of one that is not known
    named = {name for page in pages for name in re.findall(r"\bmod_python\.[a-z_]+\.[a-z_]+\b", page.read_text())}
    named = {name for name in named if not name.startswith(("mod_python.in.", "mod_python.apache."))}
    assert len(named) > 20
    own = ["session_dbm", "mod_pythonic.x", "mod_python", "site.mod_python.asgi.lop"]
    lines = "".join(f"PythonOption {name}\n" for name in [*sorted(named), *own])
    checked = serve(lines, start=False).check()
    assert checked.returncode == 0 and "is not known" not in checked.stderr, checked.stderr


def test_htaccess_files_are_not_told_of_with_each_request(serve: Serve, mpm: str) -> None:
    config = "<Directory @ROOT@/htdocs>\nAllowOverride All\n</Directory>\n"
    server = serve(config, mpm=mpm, start=False)
    server.write("htdocs/.htaccess", "PythonOption mod_python.asgi.lop uvloop\n")
    server.write("htdocs/a.txt", "a")
    assert server.start().get("/a.txt").status == 200
    assert "is not known" not in server.log_text()


def test_an_environment_of_another_version_is_refused(serve: Serve) -> None:
    server = serve("", start=False)
    server.write("env/pyvenv.cfg", "home = /usr/bin\nversion = 2.7.18\n")
    server.configure("PythonHome @ROOT@/env\n")
    checked = server.check()
    assert (
        checked.returncode != 0 and "is an environment of Python 2.7, but mod_python was built with" in checked.stderr
    )


def test_a_good_configuration_passes(serve: Serve) -> None:
    checked = serve("PythonHandler m n::o.p | .py .html\nPythonOption a b\n", start=False).check()
    assert checked.returncode == 0, checked.stderr


HERE = "SetHandler mod_python\nPythonHandler inside::where\n"


def test_python_home_is_a_virtual_environment(serve: Serve, mpm: str) -> None:
    server = serve("", mpm=mpm, start=False)
    python = query_built_python()
    subprocess.run([python, "-m", "venv", "--without-pip", str(server.root / "env")], check=True)
    site = next((server.root / "env/lib").glob("python*/site-packages"))
    (site / "only_there.py").write_text("VALUE = 42\n")
    subprocess.run(["chmod", "-R", "a+rX", str(server.root / "env")], check=True)
    server.write(
        "apps/uses_env.py",
        "import only_there, sys\nfrom mod_python import apache\n"
        "def handler(req):\n    req.write(f'{only_there.VALUE} {sys.prefix}')\n    return apache.OK\n",
    )
    server.configure(
        "PythonHome @ROOT@/env\nPythonPath \"sys.path+['@ROOT@/apps']\"\n"
        "<Location />\nSetHandler mod_python\nPythonHandler uses_env\n</Location>\n"
    )
    server.start()
    assert server.ok("/").text == f"42 {server.root}/env"


def query_built_python() -> str:
    """The Python that the module was built with: as the Makefile's PYTHON."""
    import os

    return os.environ.get("PYO3_PYTHON", "/usr/bin/python3")


def test_the_built_python_runs(serve: Serve, mpm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another python3 on PATH does not matter."""
    server = serve(f"PythonPath \"sys.path+['@ROOT@/apps']\"\n<Location />\n{HERE}</Location>\n", mpm=mpm, start=False)
    fake = server.write("bin/python3", "#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{__import__('os').environ['PATH']}")
    server.start()
    answer = json.loads(server.ok("/").text)
    asked = [query_built_python(), "-c", "import sys; print(sys.base_prefix)"]
    assert answer["prefix"] == subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_optimize(serve: Serve, mpm: str) -> None:
    config = f"PythonOptimize On\nPythonPath \"sys.path+['@ROOT@/apps']\"\n<Location />\n{HERE}</Location>\n"
    assert json.loads(serve(config, mpm=mpm).ok("/").text)["optimize"] == 2


def test_sections_merge(serve: Serve, mpm: str) -> None:
    config = (
        places("hello")
        + """
        <Location /a>
            SetHandler mod_python
            PythonHandler hello
            PythonOption k outer
            PythonOption o outer
        </Location>
        <Location /a/b>
            PythonHandler options_of
            PythonOption k inner
            PythonOption O
        </Location>
        <Directory @ROOT@/htdocs/docs>
            AllowOverride FileInfo
            AddHandler mod_python .py .special
            PythonHandler hello
            PythonHandler options_of | .special
        </Directory>
        """
    )
    server = serve(config, mpm=mpm, start=False)
    server.write(
        "apps/options_of.py",
        "from mod_python import apache\ndef handler(req):\n"
        "    req.write(f'{dict(req.get_options())} {req.extension}')\n    return apache.OK\n",
    )
    server.write("htdocs/docs/x.py", "")
    server.write("htdocs/docs/x.special", "")
    server.write("htdocs/docs/plain.txt", "a file")
    server.write(
        "htdocs/docs/sub/.htaccess", "SetHandler mod_python\nPythonHandler local\nPythonOption from htaccess\n"
    )
    server.write("htdocs/docs/sub/page", "")
    server.write(
        "htdocs/docs/sub/local.py",
        "from mod_python import apache\ndef handler(req):\n"
        "    req.write(f'{dict(req.get_options())} {req.filename.endswith(\"/page\")}')\n    return apache.OK\n",
    )
    for folder in ("docs", "docs/sub"):
        (server.root / "htdocs" / folder).chmod(0o755)
    server.start()
    assert server.ok("/a").text == "Hello World!"
    assert server.ok("/a/b").text == "{'k': 'inner'} None"
    assert server.ok("/docs/x.py").text == "Hello World!"
    assert server.ok("/docs/x.special").text == "{} .special"
    assert server.ok("/docs/plain.txt").text == "a file"
    # The directory of the .htaccess file goes to sys.path only where no PythonPath is in effect.
    assert server.get("/docs/sub/page").status == 500
    server.claim("No module named 'local'")
    server.configure(config.replace("PythonPath \"sys.path+['@ROOT@/apps']\"", ""))
    server.graceful()
    assert server.ok("/docs/sub/page").text == "{'from': 'htaccess'} True"


def test_a_broken_htaccess_is_500(serve: Serve) -> None:
    server = serve("<Directory @ROOT@/htdocs>\nAllowOverride All\n</Directory>\n", start=False)
    server.write("htdocs/.htaccess", "PythonHandler m::\n")
    server.write("htdocs/x", "")
    server.start()
    assert server.get("/x").status == 500
    server.claim("htaccess: PythonHandler: cannot use the handler")
    assert not server.unclaimed()


def test_the_sample_configuration(serve: Serve, mpm: str) -> None:
    """apache/python.conf as it is, and with its examples uncommented."""
    sample = (PROJECT / "apache/python.conf").read_text()
    server = serve(sample, mpm=mpm, start=False, modules=("authz_host",))
    (server.root / "site").mkdir()
    server.write("site/mp.py", (PROJECT / "examples/mp.py").read_text())
    server.start()
    server.stop()
    examples = [line[1:] for line in sample.splitlines() if line.startswith(("#<", "#    ", "#Python"))]
    active = "\n".join(line for line in examples if not line.startswith("PythonHome"))
    server.configure(active.replace("/srv/site", str(server.root / "site")))
    (server.root / "site").chmod(0o755)
    checked = server.check()
    assert checked.returncode == 0, checked.stderr
    server.start()
    assert server.ok("/hello").text == "Hello World!"
    assert "Requests" in server.ok("/python-status").text and "mod_python_requests" in server.ok("/python-metrics").text


def test_the_load_file_names_the_installed_module() -> None:
    text = (PROJECT / "apache/python.load").read_text()
    assert "LoadModule python_module" in text and "mod_python.so" in text
    assert query_apxs("LIBEXECDIR") in text or "/usr/lib/apache2/modules" in text


@pytest.mark.parametrize(
    ("mpm", "lines", "is_told"),
    [
        ("event", "FlushMaxThreshold 16384\nPythonASGI / m:a\n", True),
        ("event", "FlushMaxThreshold 8000\n<VirtualHost *>\nPythonASGI / m:a\n</VirtualHost>\n", True),
        ("event", "FlushMaxThreshold 17408\nPythonASGI / m:a\n", False),
        ("event", "PythonASGI / m:a\n", False),
        ("event", "FlushMaxThreshold 8000\nPythonWSGI / m:a\n", False),
        ("worker", "FlushMaxThreshold 8000\nPythonASGI / m:a\n", False),
    ],
)
def test_streams_that_one_client_could_hold_up_are_a_warning(serve: Serve, mpm: str, lines: str, is_told: bool) -> None:
    checked = serve(lines, mpm=mpm, start=False).check()
    assert checked.returncode == 0
    assert ("FlushMaxThreshold " in checked.stderr and "set 17408 at least" in checked.stderr) == is_told, (
        checked.stderr
    )
