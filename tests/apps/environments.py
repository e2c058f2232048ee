"""What an interpreter's environment is, and what its children get."""

import os
import subprocess
import sys
import tempfile

import _apache
from mod_python import apache

kept_environ, kept_environb, kept_getenv = os.environ, os.environb, os.getenv


def sets(req):
    """As Django's manage.py and wsgi.py do it, and in every other way."""
    site = req.args
    os.environ.setdefault("SITE_SETTINGS", site)
    os.environb[b"SITE_BYTES"] = site.encode()
    os.environ.update({"SITE_UPDATED": site})
    os.putenv("SITE_PUT", site)
    os.environ.pop("SITE_POPPED", None)
    os.unsetenv("SITE_UNSET")
    req.write(apache.interpreter)
    return apache.OK


NAMES = ("SITE_SETTINGS", "SITE_BYTES", "SITE_UPDATED", "SITE_PUT", "SITE_POPPED", "SITE_UNSET")
SHELL = " ".join(f"${{{name}-none}}" for name in NAMES)


def _output(start):
    with tempfile.TemporaryFile() as file:
        start(file.fileno())
        file.seek(0)
        return file.read().decode().strip()


def _spawn(spawn, *environment):
    def start(descriptor):
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, 1)]
        program = ["/bin/sh", "-c", f"echo {SHELL}"]
        os.waitpid(spawn(program[0], program, *environment, file_actions=actions), 0)

    return start


def _system(descriptor):
    os.set_inheritable(descriptor, True)
    assert os.system(f"exec >/dev/fd/{descriptor}; echo {SHELL}; exit 3") == 3 << 8


def sees(req):
    """A line for each way to look."""
    lines = [" ".join(os.environ.get(name, "none") for name in NAMES)]
    lines.append(" ".join(kept_environb.get(name.encode(), b"none").decode() for name in NAMES))
    lines.append(" ".join(kept_getenv(name) or "none" for name in NAMES))
    children = [
        subprocess.run(["sh", "-c", f"echo {SHELL}"], capture_output=True, text=True, check=True).stdout.strip(),
        subprocess.run(f"echo {SHELL}", shell=True, capture_output=True, text=True, check=True).stdout.strip(),
        os.popen(f"echo {SHELL}").read().strip(),
        _output(_system),
        subprocess.run(
            [sys.executable, "-c", f"import os; os.execv('/bin/sh', ['sh', '-c', 'echo {SHELL}'])"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip(),
    ]
    if sys.version_info >= (3, 13):
        children.append(_output(_spawn(os.posix_spawn, None)))
    assert len(set(children)) == 1, children
    lines.append(children[0])
    lines.append(_output(_spawn(os.posix_spawn, os.environ)))
    kept = os.environ is kept_environ and os.environb is kept_environb and isinstance(os.environ, os._Environ)
    lines.append(
        f"{kept} {'PATH' in os.environ} {len(dict(os.environ)) == len(os.environ)} {os.environ.copy() == os.environ}"
    )
    # Can a new interpreter know what httpd was started with?
    lines.append(str(hasattr(_apache, "_initial_environment") or os.access("/proc/self/environ", os.R_OK)))
    req.write("\n".join(lines))
    return apache.OK


def mistakes(req):
    """What the process's environment does not take, no other takes either."""
    found = []
    for action in (
        lambda: os.environ.__setitem__("A=B", "x"),
        lambda: os.environ.__setitem__("A", "x\0y"),
        lambda: os.environ.__setitem__("A", 1),
        lambda: os.environ.__delitem__("NOT_THERE"),
        lambda: os.putenv("A"),
    ):
        try:
            action()
        except Exception as error:
            found.append(type(error).__name__)
    req.write(" ".join(found))
    return apache.OK


def zone(req):
    import time

    os.environ["TZ"] = "XYZ-5"
    time.tzset()
    shown = time.strftime("%Z", time.localtime(0))
    os.environ["TZ"] = "UTC"
    time.tzset()
    req.write(shown)
    return apache.OK
