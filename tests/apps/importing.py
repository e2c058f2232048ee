"""What tests of importing ask for; the modules themselves are written by the tests."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from mod_python import apache

LIVE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "live")
_barriers: dict[str, threading.Barrier] = {}
_lock = threading.Lock()


def meet(name: str, parties: int) -> None:
    """Wait until all modules of a circle have begun."""
    with _lock:
        barrier = _barriers.setdefault(name, threading.Barrier(parties))
    barrier.wait(30)


def wait_for(name: str) -> None:
    """Wait until a file is there, but not for ever."""
    limit = time.monotonic() + 30
    while not os.path.exists(os.path.join(LIVE, name)) and time.monotonic() < limit:
        time.sleep(0.01)


def together(req: object) -> int:
    """Import several modules, each in a thread of its own; says what became of each."""
    names = json.loads(req.args.replace("%22", '"'))
    results: dict[str, str] = {}

    def load(name: str) -> None:
        try:
            results[name] = apache.import_module(os.path.join(LIVE, name) if "/" in name else name).DONE
        except BaseException as error:
            results[name] = repr(error)

    threads = [threading.Thread(target=load, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    req.write(json.dumps({name: results.get(name, "hangs") for name in names}))
    return apache.OK


def searched(req: object) -> int:
    """Import modules from certain directories: what each says, and what it is called."""
    found = []
    for name, *path in json.loads(req.args.replace("%22", '"')):
        try:
            module = apache.import_module(name, path=[os.path.join(LIVE, place) for place in path])
            found.append([module.WHAT, module.__name__, id(module)])
        except ImportError as error:
            found.append([str(error), type(error).__name__, 0])
    req.write(json.dumps(found))
    return apache.OK


def kept(req: object) -> int:
    """What a module shows that is loaded again; looks at its file each time."""
    module = apache.import_module("keeping")
    before = getattr(sys, "keeping_before", module)
    sys.keeping_before = module
    shown = module.show()
    shown["same"] = module is before is sys.modules["keeping"]
    shown["one"] = module.show.__globals__ is module.__dict__ is vars(module)
    shown["names"] = sorted(name for name in dir(module) if name[0] != "_")
    req.write(json.dumps(shown))
    return apache.OK


def standard(req: object) -> int:
    """A module of the standard library that nothing has loaded yet."""
    import wave

    req.write(wave.__name__)
    return apache.OK
