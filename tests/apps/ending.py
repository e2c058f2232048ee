"""Modules that have something to do when the child ends."""

import atexit
import contextlib
import os
import threading
import time

from mod_python import apache

DIRECTORY = os.path.dirname(__file__)


def note(text):
    apache.log_error(f"ending: {text} in {apache.interpreter}", apache.APLOG_NOTICE)


def register(req):
    atexit.register(note, "atexit")
    stop = threading.Event()

    def worker():
        while not stop.wait(0.01) and threading.main_thread().is_alive():
            pass
        note("thread")

    # A thread of httpd's counts as a daemon, and what it starts inherits that.
    thread = threading.Thread(target=worker, daemon=False)
    thread.start()
    atexit.register(stop.set)
    threading._register_atexit(stop.set)
    threading.Thread(target=lambda: threading.Event().wait(), daemon=True).start()
    req.write("ok")
    return apache.OK


def never(req):
    atexit.register(threading.Event().wait)
    req.write("ok")
    return apache.OK


def at_start():
    apache.log_error(
        f"imported into {apache.interpreter}, server {apache.main_server.server_hostname}", apache.APLOG_NOTICE
    )


class Explosion:
    def __call__(self):
        raise LookupError("at import")


explode = Explosion()


def left_behind(req):
    """Threads that nobody waits for, at work when the child goes."""
    import _apache

    server = apache.main_server

    def works(number):
        # What is refused when the child ends is no matter here.
        with contextlib.suppress(Exception):
            works_on(number)

    def works_on(number):
        while True:
            if _apache._global_trylock(server, f"key {number}"):
                _apache._global_unlock(server, f"key {number}")
            server.get_options()
            apache.stat("/", apache.APR_FINFO_NORM)

    for number in range(4):
        threading.Thread(target=works, args=(number,), daemon=True).start()
    req.write("ok")
    return apache.OK


def stays(req):
    req.log_error("stays", apache.APLOG_NOTICE)
    time.sleep(60)
    return apache.OK
