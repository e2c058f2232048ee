"""What runs in a process of its own: imports a module as httpd would, and writes what became of it, a line of JSON each, to a pipe.

Its text is handed to the interpreter that is asked about, whatever its version, as an argument: that interpreter's user need not be
able to read this file. It uses nothing of the package.
"""

import contextlib
import json
import os
import sys
from typing import Any

_FRAMES = 12


def answer(job: "dict[str, Any]", found: "dict[str, Any]") -> None:
    """Write a result."""
    data = (json.dumps(found) + "\n").encode()
    while data:
        data = data[os.write(job["pipe"], data) :]


def attempt(job: "dict[str, Any]") -> "dict[str, Any]":
    """Import the job's module, and find its object; what became of it."""
    sys.argv = ["mod_python"]
    # This package, not one of the same name that is installed for this Python (Debian's).
    sys.path[:0] = [job["package"]] if job["package"] else []
    with contextlib.suppress(ImportError):
        import mod_python  # noqa: F401  makes `import _apache` work
    if job["package"]:
        sys.path.append(sys.path.pop(0))
    stage = "path"
    try:
        sys.path[:0] = job["directories"]
        if job["path"]:
            result = eval(job["path"], {"sys": sys})
            if not isinstance(result, (list, tuple)) or not all(isinstance(item, str) for item in result):
                raise TypeError("it must be a list of str, such as sys.path+['/srv/site']")
            entries = list(result)
            sys.path[:] = entries + [item for item in sys.path if item not in entries]
        stage = "import"
        module = imported(job["module"])
        stage = "object"
        found = module
        for name in job["object"].split(".") if job["object"] else []:
            found = getattr(found, name)
        if job["object"] and not callable(found):
            raise TypeError(f"{job['object']} of {job['module']} is a {type(found).__name__}, which cannot be called")
    except BaseException as error:
        return failure(stage, error)
    return {"ok": True}


def imported(name: str) -> Any:
    """A module by its name, or by its file."""
    import importlib

    if not name.startswith("/"):
        return importlib.import_module(name)
    import importlib.machinery
    import importlib.util

    loader = importlib.machinery.SourceFileLoader("_mod_python_checked", name)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    if spec is None:
        raise ImportError(f"{name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def failure(stage: str, error: BaseException) -> "dict[str, Any]":
    """An exception, with the line that it comes from. What its own code raises when it is shown does not matter."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<") and "importlib" not in code.co_filename:
            frames.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    try:
        text = str(error)[:2000]
    except BaseException:
        text = ""
    place = frames[-1][:2] if frames else ("", 0)
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        place = (error.filename, error.lineno or 0)
        text = str(error.msg)
    return {
        "ok": False,
        "stage": stage,
        "type": type(error).__name__,
        "text": text,
        "file": str(place[0]),
        "line": int(place[1]),
        "frames": frames[-_FRAMES:],
    }


def limit() -> None:
    """Bound what the process may take: no core, no more processor time than is waited for."""
    import resource

    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, 1 << 34)):
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY or hard > most:
            resource.setrlimit(kind, (most, most))


def beside(job: "dict[str, Any]", source: str) -> None:
    """Do the job in two sub-interpreters, one after the other, as two virtual hosts would."""
    text = source + f"\njob = json.loads({json.dumps({**job, 'beside': 0})!r})\nanswer(job, attempt(job))\n"
    import importlib

    for _ in range(2):
        if sys.version_info >= (3, 13):
            made = importlib.import_module("_interpreters")
            made.exec(made.create("isolated" if job["beside"] == 2 else "legacy"), text)
        else:
            made = importlib.import_module("_xxsubinterpreters")
            made.run_string(made.create(isolated=False), text)


def main(source: str, job: "dict[str, Any]") -> None:
    """Do a job, and go without what the module may want to do at the end."""
    limit()
    try:
        if job["beside"]:
            beside(job, source)
        else:
            answer(job, attempt(job))
    except ImportError:
        answer(job, {"ok": True, "unknown": "this Python cannot make sub-interpreters"})
    finally:
        os._exit(0)
