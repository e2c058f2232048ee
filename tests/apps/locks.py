"""Global locks."""

import os
import signal
import time

import _apache
from checks import raises
from mod_python import apache


def errors(req):
    server = req.server
    assert raises(TypeError, _apache._global_lock, None, "x") == "First argument must be a server object"
    out_of_range = "Lock index is out of range for number of global mutex locks"
    for index in (4, -2, 10**6):
        assert raises(ValueError, _apache._global_lock, server, "x", index) == out_of_range
    assert raises(ValueError, _apache._global_unlock, server, "x") == "Failed to release global mutex lock"
    for key in ("text", b"bytes", 5, None, ("a", 1)):
        _apache._global_lock(server, key)
        assert _apache._global_trylock(server, key) is False
        _apache._global_unlock(server, key)
        assert _apache._global_trylock(server, key) is True
        _apache._global_unlock(server, key)
    _apache._global_lock(server, None, 0)
    assert _apache._global_trylock(server, "a key never stands for the first lock") is True
    _apache._global_unlock(server, "a key never stands for the first lock")
    _apache._global_unlock(server, None, 0)
    req.write("ok")
    return apache.OK


def count(req):
    """Adds one to a number in a file, with the lock held."""
    path = req.get_options()["file"]
    _apache._global_lock(req.server, "counter")
    try:
        with open(path) as file:
            number = int(file.read())
        time.sleep(0)
        with open(path, "w") as file:
            file.write(str(number + 1))
    finally:
        _apache._global_unlock(req.server, "counter")
    req.write(f"{os.getpid()}")
    return apache.OK


def die(req):
    """Dies with the lock held."""
    _apache._global_lock(req.server, "counter")
    os.kill(os.getpid(), signal.SIGKILL)
    return apache.OK


def keep(req):
    """Keeps the lock until the request ends, which may be in another thread."""
    _apache._global_lock(req.server, "kept")
    req.register_cleanup(lambda server: _apache._global_unlock(server, "kept"), req.server)
    req.write("x" * 100_000)
    return apache.OK
