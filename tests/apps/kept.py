"""An application for daemons: says where it runs, and misbehaves on demand."""

import os
import signal
import subprocess
import sys
import time


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    if path == "/parts":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one ", b"two"])
    answer = ACTIONS.get(path, where)(query)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer).encode()]


def where(_):
    return f"{os.getpid()} {os.getppid()} {os.getuid()} {os.getcwd()} {os.umask(0o77):03o}"


def variables(_):
    return "\n".join(f"{key}={value}" for key, value in os.environ.items())


def descriptors(_):
    """Those that a process has which the application starts."""
    code = "import os; print(*sorted(int(name) for name in os.listdir('/proc/self/fd')))"
    return subprocess.run(
        [sys.executable, "-c", code], close_fds=False, capture_output=True, text=True, check=True
    ).stdout


def read(query):
    try:
        with open(query) as file:
            return file.read()
    except OSError as error:
        return type(error).__name__


def ends(query):
    os._exit(int(query or 3))


def crashes(_):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(1000)


def hangs(query):
    time.sleep(float(query or 1000))
    return "woken"


def eats(query):
    found = []
    for _ in range(int(query or 100000)):
        found.append(bytes(1 << 20) + os.urandom(1))
        time.sleep(0.002)
    return len(found)


KEPT = []


def keeps(query):
    """Takes so many megabytes, and keeps them."""
    KEPT.append(b"x" * (int(query) << 20))
    return os.getpid()


def forks(_):
    """A child that outlives its parent, in the same group."""
    if os.fork() == 0:
        time.sleep(1000)
        os._exit(0)
    return "forked"


def large(_):
    return "x" * 250_000


def returns(query):
    """The forked process comes back when somebody writes to a FIFO."""
    pid = os.fork()
    return pid or read(query)


ACTIONS = {
    "/large": large,
    "/returns": returns,
    "/variables": variables,
    "/descriptors": descriptors,
    "/read": read,
    "/exit": ends,
    "/crash": crashes,
    "/hang": hangs,
    "/eat": eats,
    "/fork": forks,
    "/keep": keeps,
}
