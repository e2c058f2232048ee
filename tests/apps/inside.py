"""Handlers that look at the interpreter they run in."""

import ctypes
import json
import os
import sys
import threading

from mod_python import apache

count = 0


def where(req):
    global count
    count += 1
    req.content_type = "application/json"
    answer = {
        "req": req.interpreter,
        "apache": apache.interpreter,
        "count": count,
        "pid": os.getpid(),
        "prefix": sys.prefix,
        "executable": sys.executable,
        "argv": sys.argv,
        "path": sys.path,
        "optimize": sys.flags.optimize,
        "main_thread": threading.current_thread() is threading.main_thread(),
        "doc": where.__doc__,
    }
    req.write(json.dumps(answer))
    return apache.OK


def callback(req):
    """A C function calls back into Python: it must land in this interpreter."""
    seen = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    def compare(one, other):
        seen.append(apache.interpreter)
        return one[0] - other[0]

    numbers = (ctypes.c_int * 5)(3, 1, 2, 5, 4)
    ctypes.CDLL(None).qsort(numbers, 5, ctypes.sizeof(ctypes.c_int), compare)
    assert list(numbers) == [1, 2, 3, 4, 5] and set(seen) == {apache.interpreter}, seen
    req.write("ok")
    return apache.OK


def python_threads(req):
    """threading.local and thread identity hold in a thread that Python starts."""
    local = threading.local()
    local.value = "mine"
    results = []

    def work():
        results.append((hasattr(local, "value"), apache.interpreter))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [(False, apache.interpreter)] and local.value == "mine"
    req.write("ok")
    return apache.OK
