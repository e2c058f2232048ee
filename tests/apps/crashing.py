"""A handler whose thread crashes, for test_lifecycle.py."""

import ctypes
import signal
import threading


def handler(req):
    threading.Thread(target=crash).start()
    threading.Event().wait(20)


def crash():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    ctypes.string_at(0)
