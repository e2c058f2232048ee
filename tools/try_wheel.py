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


if __name__ == "__main__":
    main()
