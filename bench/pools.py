"""What a pool of interpreters with locks of their own gains, beside one interpreter, in one child.

    python bench/pools.py    (Python 3.12 or newer; the module built for it)

Prints ratios of one run: requests a second of handlers that compute for a short and for a long time and of one that does nothing,
beside what two processes reach on the same machine, and the child's memory.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import load

from httpd import Httpd, resident

ROUNDS = 5
HANDLERS = """
from mod_python import apache

def compute(req, count):
    total = 0
    for number in range(count):
        total += number * number
    req.write(str(total))
    return apache.OK

def short(req):
    return compute(req, 500000)

def long(req):
    return compute(req, 5000000)

def hello(req):
    req.content_type = "text/plain"
    req.write("Hello World!")
    return apache.OK
"""
CONFIG = """
PythonPath "sys.path+['@ROOT@']"
PythonInterpreterPool pool size=2
""" + "".join(
    f"<Location /{name}/{handler}>\nSetHandler mod_python\nPythonHandler pooled::{handler}\nPythonInterpreter {name}\n</Location>\n"
    for name in ("one", "pool")
    for handler in ("short", "long", "hello")
)
LOADS = (
    # Handler, connections, requests: so many that the last ones, which one interpreter may serve alone, do not count.
    ("short", 8, 400),
    ("long", 2, 40),
    ("hello", 8, 20000),
)


def rate(httpd: Httpd, path: str, connections: int, requests: int) -> float:
    """Requests a second."""
    result = load.ab(httpd.url(path), connections=connections, requests=requests)
    if result.errors:
        raise RuntimeError(f"{path}: {result.errors} requests failed: {httpd.log_text()[-1000:]}")
    return result.rate


def machine() -> float:
    """How many times as much two processes compute as one."""
    code = "total = 0\nfor number in range(20_000_000):\n    total += number * number"

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
        for process in processes:
            process.wait()
        return time.perf_counter() - begun

    return statistics.median(2 * seconds(1) / seconds(2) for _ in range(ROUNDS))


def main() -> int:
    print(f"two processes of Python compute {machine():.2f} times as much as one here")
    httpd = Httpd(CONFIG, threads=16, level="warn")
    httpd.write("pooled.py", HANDLERS)
    httpd.start()
    try:
        for handler, connections, requests in LOADS:
            for name in ("one", "pool"):
                rate(httpd, f"/{name}/{handler}", connections, requests // 10)
            ratios = []
            for _ in range(ROUNDS):
                one = rate(httpd, f"/one/{handler}", connections, requests)
                ratios.append(rate(httpd, f"/pool/{handler}", connections, requests) / one)
            shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(
                f"{handler}, {connections} connections: a pool of two serves {statistics.median(ratios):.2f} times as much "
                f"as one interpreter ({shown})"
            )
        [pid] = httpd.child_pids()
        print(f"the child with the main interpreter, one more and the pool of two: {resident(pid)} KiB")
    finally:
        httpd.stop()
        httpd.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
