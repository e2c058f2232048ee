"""Inside the Debian of try_deb.sh: what an operator types there who has the package, and what has to be so afterwards."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "libapache2-mod-python-ng"
CONF = Path("/etc/apache2/mods-available/python.conf")
LOAD = Path("/etc/apache2/mods-available/python.load")
POLICY = Path("/usr/sbin/policy-rc.d")
PIDFILE = Path("/run/apache2/apache2.pid")
SITE = f"""
ServerName localhost
PythonPath "sys.path+['{HERE}']"
<Location /hello>
    SetHandler mod_python
    PythonHandler mp
</Location>
PythonWSGI /wsgi hello_wsgi:application
"""
FILES = {
    "mp.py": "from mod_python import apache, version\ndef handler(req):\n    req.content_type = 'text/plain'\n    req.write('a handler')\n    return apache.OK\n",
    "hello_wsgi.py": "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'a WSGI application']\n",
}


def run(*command: str, fails: bool = False) -> str:
    # Not a pipe: a daemon that keeps it open would be waited for.
    with open("/tmp/try-output", "w+") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=HERE, check=False)
        output.seek(0)
        text = output.read()
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{text}")
    return text


def apt(verb: str, *arguments: str) -> str:
    return run(
        "apt-get", verb, "-y", "-q", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", *arguments
    )


def services(may_start: bool) -> None:
    POLICY.write_text(f"#!/bin/sh\nexit {0 if may_start else 101}\n")
    POLICY.chmod(0o755)


def expect(what: str, is_so: object) -> None:
    print(f"  {'ok  ' if is_so else 'NOT '}{what}", flush=True)
    if not is_so:
        log = Path("/var/log/apache2/error.log")
        raise SystemExit(log.read_text()[-3000:] if log.exists() else "there is no error log")


def ask(port: int, path: str) -> str:
    """The answer, once httpd is there."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return f"{error.code}"
        except OSError:
            if time.monotonic() > deadline:
                return "no answer"
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def is_enabled() -> bool:
    return subprocess.run(["a2query", "-q", "-m", "python"], check=False).returncode == 0


def serves(port: int, when: str) -> None:
    expect(f"{when}: a handler answers", ask(port, "/hello") == "a handler")
    expect(f"{when}: a WSGI application answers", ask(port, "/wsgi/x") == "a WSGI application")


def everything() -> set[str]:
    """Every file but what apt, dpkg and httpd keep for themselves."""
    top = [Path(name) for name in ("/etc", "/usr", "/opt", "/srv", "/var/lib", "/var/cache", "/var/log")]
    own = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/", "/var/log/apt", "/var/log/dpkg", "/srv/try/__pycache__")
    files = {str(path) for place in top for path in place.rglob("*") if not str(path).startswith(own)}
    return {name for name in files if not name.startswith(("/usr/lib/python3", "/usr/share/python3"))} | {
        name for name in files if "mod_python" in name
    }


def leftovers() -> set[str]:
    names = ("mod_python", "mod-python", "python.load", "python.conf")
    info = {str(path) for path in Path("/var/lib/dpkg/info").iterdir()}
    return {
        name for name in everything() | info if any(part in name for part in names) and not name.startswith("/srv/")
    }


def main() -> None:
    services(False)
    for name, text in FILES.items():
        (HERE / name).write_text(text)
    run("apt-get", "update", "-q")
    version = sys.version.split()[0]
    print(f"{Path('/etc/os-release').read_text().splitlines()[0].split('=')[1]}, Python {version}", flush=True)

    print("In place of Debian's own package:", flush=True)
    apt("install", "apache2")
    theirs = "apt-cache policy libapache2-mod-python"
    there_is_one = "Candidate: (none)" not in run(*theirs.split()) and run(*theirs.split()).strip()
    if there_is_one:
        apt("install", "libapache2-mod-python")
    said = apt("install", "./first.deb")
    if there_is_one:
        expect("what a purge of the old one would do is said", "purge will switch this module off, too" in said)
        state = run("dpkg-query", "-W", "-f", "${db:Status-Status}", "libapache2-mod-python")
        expect("Debian's libapache2-mod-python is removed", state in ("config-files", "not-installed"))
    expect("the module is switched on", is_enabled())
    expect(
        "python.load and python.conf are there, once", LOAD.is_file() and not list(CONF.parent.glob("python.*.dpkg-*"))
    )
    expect("the Python package is compiled", list(Path("/usr/lib/apache2/modules/python").rglob("*.pyc")))
    expect("configtest has no objection", "Syntax OK" in run("apache2ctl", "configtest"))
    if there_is_one:
        apt("purge", "libapache2-mod-python")
        expect("its purge leaves the files", LOAD.is_file() and CONF.is_file())
        print(f"       and the module is {'on' if is_enabled() else 'off (README.Debian says so)'}", flush=True)

    print("Serving:", flush=True)
    port = free_port()
    Path("/etc/apache2/ports.conf").write_text(f"Listen 127.0.0.1:{port}\n")
    Path("/etc/apache2/conf-available/try.conf").write_text(f"<IfModule python_module>{SITE}</IfModule>\n")
    run("a2enconf", "-q", "try")
    run("a2enmod", "-q", "python")
    services(True)
    run("service", "apache2", "start")
    serves(port, "a2enmod")
    expect("`mod_python check` has no objection", "error" not in run("mod_python", "check").lower())
    expect("`mod_python --version` runs", "mod_python" in run("mod_python", "--version"))
    lines = run("mod_python", "module-config")
    expect("`mod_python module-config` is python.load", lines == LOAD.read_text())
    own = free_port()
    run("mod_python", "start", "mp.py", "--user", "www-data", "--port", str(own), "--background")
    expect("`mod_python start` serves beside it", ask(own, "/") == "a handler")
    run("mod_python", "stop", "--port", str(own))
    run("a2dismod", "-q", "python")
    run("service", "apache2", "restart")
    expect("a2dismod: nobody answers there", ask(port, "/hello") == "404")
    run("a2enmod", "-q", "python")
    run("service", "apache2", "restart")
    serves(port, "a2enmod again")

    print("Upgrading:", flush=True)
    edited = CONF.read_text() + "PythonOption mine yes\n"
    CONF.write_text(edited)
    before = PIDFILE.read_text()
    apt("install", "./next.deb")
    expect("it is the next version", run("dpkg-query", "-W", "-f", "${Version}", NAME).endswith("+next"))
    expect("the edited python.conf stays", CONF.read_text() == edited)
    expect("the new one lies beside it", "next version" in Path(f"{CONF}.dpkg-dist").read_text())
    serves(port, "upgraded")
    expect("httpd was restarted", PIDFILE.read_text() != before)
    run("a2dismod", "-q", "python")
    apt("install", "--reinstall", "--allow-downgrades", "./first.deb")
    expect("a module that was switched off stays off, whatever is installed", not is_enabled())
    run("a2enmod", "-q", "python")
    run("service", "apache2", "restart")
    serves(port, "the version before")

    print("Removing:", flush=True)
    apt("remove", NAME)
    expect("the settings stay", CONF.read_text() == edited)
    expect("the module is off, and httpd serves on", not is_enabled() and ask(port, "/hello") == "404")
    rest = {name for name in leftovers() if "/mods-available/" not in name and "/dpkg/" not in name}
    expect(f"the rest is gone: {sorted(rest)}", not rest)
    apt("install", "./first.deb")
    expect("installed again, it is on, with the same settings", is_enabled() and CONF.read_text() == edited)
    serves(port, "installed again")
    apt("purge", NAME)
    expect(f"purged, nothing is left: {sorted(leftovers())}", not leftovers())

    print("Nothing else comes or goes:", flush=True)
    before_all = everything()
    apt("install", "./first.deb")
    serves(port, "anew")
    apt("purge", NAME)
    expect(f"purged, every file is as before: {sorted(everything() ^ before_all)}", everything() == before_all)

    if there_is_one:
        print("Back to Debian's own:", flush=True)
        # PythonWSGI is unknown there.
        run("a2disconf", "-q", "try")
        apt("install", "./first.deb")
        apt("install", "libapache2-mod-python")
        state = run("dpkg-query", "-W", "-f", "${db:Status-Status}", NAME)
        expect("this one is removed", state == "config-files" and "Syntax OK" in run("apache2ctl", "configtest"))
        expect("the other is on", is_enabled())
        apt("purge", NAME, "libapache2-mod-python")
        expect(f"both purged, nothing is left: {sorted(leftovers())}", not leftovers())
    run("service", "apache2", "stop")


if __name__ == "__main__":
    main()
