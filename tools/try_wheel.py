"""Inside the Debian of try_wheel.sh: what somebody types there who has a wheel, and how long the first answer takes."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND = f"{HERE}/venv/bin/mod_python"
PORT = 8000
SITE = "/etc/apache2/sites-available/000-default.conf"
FILES = {
    "flask_app.py": "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef index():\n    import os\n    return f'flask, uid {os.geteuid()}'\n",
    "fastapi_app.py": "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def index():\n    return 'fastapi'\n",
    "mp.py": "def handler(req):\n    req.write('a handler')\n    return 0\n",
    "pages/index.py": "def index():\n    return 'a published page'\n",
}


def run(*command: str, fails: bool = False) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def install(*packages: str) -> None:
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)


def first_answer(*target: str) -> None:
    """Start a server, and wait for its first answer."""
    begun = time.monotonic()
    command = [COMMAND, "start", *target, "--port", str(PORT), "--user", "www-data"]
    server = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=5) as answer:
                    text = answer.read().decode()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() - begun > 30:
                    raise SystemExit(f"{' '.join(command)}: no answer") from None
                time.sleep(0.002)
        print(f"  {' '.join(target):24} {time.monotonic() - begun:.2f} s  {text}")
    finally:
        server.send_signal(signal.SIGINT)
        if server.wait(30) != 0:
            raise SystemExit(f"{' '.join(command)}: status {server.returncode} after Ctrl-C")


def answer(port: int = PORT) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as found:
        text: str = found.read().decode()
    return text


def said(*command: str) -> None:
    """Run a command, and show its first line."""
    print(f"  {' '.join(command).removeprefix(HERE + '/venv/bin/'):60} {run(*command).splitlines()[0]}")


def verbs() -> None:
    """What stops a server, and has it started by others."""
    print("The verbs:")
    said(COMMAND, "start", "flask_app:app", "--user", "www-data", "--background")
    for verb in ("status", "reload", "restart", "status"):
        said(COMMAND, verb)
        answer()
    said(COMMAND, "stop")
    root = f"{HERE}/server"
    said(COMMAND, "setup", "flask_app:app", "--server-root", root, "--user", "www-data", "--port", "8001", "--systemd")
    for verb in ("configtest", "start"):
        run(f"{root}/apachectl", verb)
    limit = time.monotonic() + 30
    while "answers" not in run(f"{root}/apachectl", "status") and time.monotonic() < limit:
        time.sleep(0.01)
    print(f"  {root}/apachectl start: {answer(8001)}")
    for verb in ("reload", "stop"):
        said(f"{root}/apachectl", verb)


def existing_httpd() -> None:
    """The lines of module-config in the system's own Apache; check and migrate there."""
    print("In the Apache that is there:")
    install("apache2")
    with open("/etc/apache2/mods-available/python.load", "w") as load:
        load.write(run(COMMAND, "module-config"))
    with open(SITE) as site:
        # Without what a run that failed has left.
        before = "".join(line for line in site if not line.startswith(("PythonPath", "PythonWSGI", "WSGIScriptAlias")))
    lines = "PythonPath \"['/srv/try']+sys.path\"\nPythonWSGI / flask_app:app\n"
    with open(SITE, "w") as site:
        site.write(before.replace("</VirtualHost>", f"{lines}</VirtualHost>"))
    run("a2enmod", "python")
    said("apachectl", "configtest")
    said(COMMAND, "check")
    run("apachectl", "start")
    print(f"  {answer(80)}")
    run("apachectl", "stop")
    with open(SITE, "w") as site:
        site.write(before.replace("</VirtualHost>", f"WSGIScriptAlias / {HERE}/flask_app.py\n</VirtualHost>"))
    done = subprocess.run([COMMAND, "migrate", SITE, "--write", f"{HERE}/moved"], capture_output=True, text=True)
    print(f"  migrate: {done.stdout.splitlines()[0]}")
    with open(f"{HERE}/moved/000-default.conf") as moved:
        print("".join(f"    {line}" for line in moved if "Python" in line or "WSGI" in line), end="")
    with open(SITE, "w") as site:
        site.write(before)
    run("a2dismod", "python")


def uninstalled() -> None:
    """pip takes all of it away."""
    run(f"{HERE}/venv/bin/pip", "uninstall", "-y", "-q", "mod_python")
    left = [place for place, _, names in os.walk(f"{HERE}/venv") for name in names if "mod_python" in place + name]
    if left:
        raise SystemExit(f"pip uninstall leaves {left}")
    print("Nothing is left after pip uninstall.")


def main() -> None:
    version = sysconfig.get_python_version()
    print(
        f"Python {sys.version.split()[0]}; {', '.join(name for name in ('gcc', 'rustc', 'apxs') if shutil.which(name)) or 'no compiler'}"
    )
    for name, text in FILES.items():
        os.makedirs(os.path.dirname(f"{HERE}/{name}"), exist_ok=True)
        with open(f"{HERE}/{name}", "w") as file:
            file.write(text)
    run("apt-get", "update", "-qq")
    run(sys.executable, "-m", "venv", f"{HERE}/venv")
    run(f"{HERE}/venv/bin/pip", "install", "-q", *glob.glob(f"{HERE}/*.whl"), "flask", "fastapi")
    if not shutil.which("apache2"):
        print(run(COMMAND, "start", "flask_app:app", "--user", "www-data", fails=True), end="")
        install("apache2-bin")
    if not any(
        glob.glob(f"{place}/libpython{version}.so*") for place in ("/usr/lib/*", sysconfig.get_config_var("LIBDIR"))
    ):
        print(run(COMMAND, "start", "flask_app:app", "--user", "www-data", fails=True), end="")
        install(f"libpython{version}")
    print(run(COMMAND, "start", "flask_app:app", fails=True), end="")
    print(run(COMMAND, "module-config"), end="")
    print("From the command to the first answer:")
    for target in (["flask_app:app"], ["fastapi_app:app"], ["--handler", "mp"], ["pages"]):
        first_answer(*target)
    verbs()
    existing_httpd()
    uninstalled()


if __name__ == "__main__":
    main()
