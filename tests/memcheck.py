"""A run under valgrind's memcheck: requests of every kind, a graceful restart, a stop. Prints what concerns this module.

python tests/memcheck.py
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import leaks
from conftest import Server, places

SUPPRESSIONS = Path("/usr/lib/valgrind/python3.supp")
LOST = ("Leak_DefinitelyLost", "Leak_PossiblyLost", "Leak_IndirectlyLost", "Leak_StillReachable")
REQUESTS = 60


def errors(file: Path) -> list[ElementTree.Element]:
    """The errors of one process; its report may break off where the process was killed."""
    text = file.read_text(errors="replace")
    if "</valgrindoutput>" not in text:
        text = text[: text.rindex("</error>") + 8] + "</valgrindoutput>" if "</error>" in text else "<x/>"
    return list(ElementTree.fromstring(text).iter("error"))


def is_ours(error: ElementTree.Element) -> bool:
    """Is it in the module, or in what that has called directly? Python has some of its own, further up."""
    stack = error.find("stack")
    objects = [Path(frame.findtext("obj") or "").name for frame in (stack.iter("frame") if stack is not None else ())]
    system = ("libc.", "ld-linux", "vgpreload", "libpthread")
    objects = [name for name in objects if not name.startswith(system)]
    near = 6 if error.findtext("kind") in LOST else 3
    return any("mod_python" in name for name in objects[:near])


def shown(error: ElementTree.Element) -> str:
    frames = [
        f"    {frame.findtext('fn')} ({frame.findtext('file')}:{frame.findtext('line')})"
        for frame in error.iter("frame")
    ]
    text = error.findtext("what") or error.findtext("xwhat/text")
    return "\n".join([f"{error.findtext('kind')}: {text}", *frames[:12]])


def run(folder: Path) -> int:
    """Everything once; gives how many requests."""
    os.environ["PYTHONMALLOC"] = "malloc"
    wrapper = [
        "valgrind",
        "--quiet",
        "--leak-check=full",
        "--num-callers=30",
        "--xml=yes",
        f"--xml-file={folder}/%p.xml",
    ]
    if SUPPRESSIONS.exists():
        wrapper.append(f"--suppressions={SUPPRESSIONS}")
    config = places("hello", "leaking", "faulty", "isolated") + leaks.CONFIG
    server = Server(config, threads=8, modules=("include",), level="emerg notice", wrapper=tuple(wrapper))
    server.write("htdocs/index.py", "def index(req, a):\n    return a\n")
    server.write("htdocs/page.psp", "<% for i in range(3): %><%= i %><% # end %><%= form.getfirst('a') %>")
    server.write("htdocs/page.shtml", '<!--#include virtual="/hello/handler" --><!--#python eval="1 + 1" -->')
    (server.root / "run").chmod(0o777)
    server.start()
    count = 0
    with tempfile.NamedTemporaryFile() as form:
        form.write(leaks.FORM)
        form.flush()
        for round_ in range(2):
            for path, client in leaks.kinds(Path(form.name)).values():
                client(server, path, REQUESTS)
                count += REQUESTS
            for path in (
                "/leaking/refused",
                "/isolated/where",
                "/isolated/contexts",
                "/faulty/session",
                "/faulty/flushes",
            ):
                server.ok(path)
                count += 1
            if round_ == 0:
                server.graceful()
    server.stop()
    server.remove()
    return count


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        count = run(folder)
        found = [error for file in sorted(folder.glob("*.xml")) for error in errors(file)]
        processes = len(list(folder.glob("*.xml")))
    kinds = Counter(str(error.findtext("kind")) for error in found)
    ours = [error for error in found if is_ours(error)]
    serious = [
        error for error in ours if error.findtext("kind") not in LOST or "Definitely" in str(error.findtext("kind"))
    ]
    print(
        f"{count} requests, {processes} processes; reports: {dict(kinds)}, of which {len(ours)} lead through the module"
    )
    for text, number in Counter(re.sub(r"\d+", "N", shown(error)) for error in serious).most_common():
        print(f"{number} x {text}")
    print("no error, and nothing definitely lost, in this module" if not serious else f"{len(serious)} in this module")
    return bool(serious)


if __name__ == "__main__":
    sys.exit(main())
