"""Handlers for interpreters with locks of their own, and for pools."""

import json
import os
import sys
import time

from mod_python import apache

loaded_in = apache.interpreter
seen = []


def where(req):
    seen.append(req.args)
    answer = {"req": req.interpreter, "apache": apache.interpreter, "loaded_in": loaded_in, "count": len(seen)}
    req.write(json.dumps(answer))
    return apache.OK


def authenhandler(req):
    req.user = apache.interpreter
    return apache.OK


def fixuphandler(req):
    req.notes["fixup"] = apache.interpreter
    return apache.OK


def handler(req):
    """All phases are in the same interpreter, whoever else is in it."""
    req.write(f"{req.user} {req.notes['fixup']} {apache.interpreter}")
    return apache.OK


def meets(req):
    """Leaves a mark, and goes on when another request has left one, too."""
    place = os.path.join(req.document_root(), "marks")
    with open(os.path.join(place, req.args), "w"):
        pass
    limit = time.monotonic() + 10
    while len(os.listdir(place)) < 2:
        if time.monotonic() > limit:
            req.write("alone")
            return apache.OK
        time.sleep(0.005)
    req.write(apache.interpreter)
    return apache.OK


def extension(req):
    """Imports an extension module, and works with it."""
    if req.args == "numpy":
        import numpy

        req.write(str(numpy.arange(10).sum()))
    elif req.args == "cryptography":
        from cryptography.fernet import Fernet

        key = Fernet.generate_key()
        req.write(Fernet(key).decrypt(Fernet(key).encrypt(b"45")).decode())
    else:
        import pydantic

        class Model(pydantic.BaseModel):
            value: int

        req.write(str(Model(value="45").value))
    return apache.OK


def processes(req):
    """Children of a handler's: fork, subprocess, multiprocessing."""
    import subprocess

    if req.args == "fork":
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            import signal

            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            os.write(write, b"blocked" if blocked else b"forked")
            os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        req.write(os.read(read, 100).decode())
    elif req.args in ("terminate", "spawned"):
        # The second way is os.posix_spawn().
        with subprocess.Popen(["/bin/sleep", "100"], close_fds=req.args == "terminate") as process:
            process.terminate()
            req.write(str(process.wait(10)))
    elif req.args in ("subprocess", "prepared"):
        prepare = int if req.args == "prepared" else None  # something that can be called
        run = subprocess.run(["echo", "-n", "run"], capture_output=True, text=True, check=True, preexec_fn=prepare)
        req.write(run.stdout)
    else:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            req.write(str(pool.apply(abs, (-45,))))
    return apache.OK


def aborts(req):
    """Imports a module that does not bear a second interpreter."""
    import aborting

    req.write(aborting.__name__)
    return apache.OK


def contexts(req):
    """A context variable holds in one request, and in nobody else's."""
    import contextvars

    global variable
    variable = globals().get("variable") or contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()
    assert context.run(lambda: (variable.set(req.args), variable.get())[1]) == req.args
    req.write(variable.get())
    return apache.OK


def signals(req):
    import signal

    before = signal.getsignal(signal.SIGTERM)
    assert signal.signal(signal.SIGTERM, signal.SIG_IGN) == before
    assert signal.getsignal(signal.SIGTERM) == before
    req.write("kept")
    return apache.OK


def fails(req):
    raise ValueError(f"in {sys.version_info[0]}")
