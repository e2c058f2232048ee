"""Imports applications in a process of its own, as httpd's user, and tells what they are, or what is wrong with them.

``python -m mod_python._own.probe`` reads its task from standard input and writes the result to the descriptor that the task names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Optional

from mod_python._own import itself
from mod_python._own.options import Options
from mod_python._own.problems import Problem
from mod_python._own.targets import Target

PATIENCE = 600.0
"""Seconds that the import of all applications may take: some load large models."""
IMPATIENT = 10.0
"""Seconds after which somebody who waits is told what for."""

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_ROUND = 0.01
"""Seconds between two looks at whether the process has ended."""

_MAIN = f"""{itself.LOAD}sys.path[:] = [path for path in sys.path if path]
from mod_python._own.probe import main
main()
"""


def probed(
    targets: Sequence[Target], options: Options, environment: dict[str, str], user: Optional[tuple[int, int, list[int]]]
) -> list[Target]:
    """The targets, with what an import tells of them. Raises Problem for the first that cannot be imported, or is nothing to serve.

    ``user`` is whom the process shall be: user, group, further groups; None for whom this one is.
    """
    task = {"path": sys_path(targets), "targets": [dataclasses.asdict(target) for target in targets]}
    result, writes = os.pipe()
    identity: dict[str, Any] = {}
    if user:
        identity = {"user": user[0], "group": user[1], "extra_groups": user[2]}
    python = os.path.join(options.venv, "bin/python3") if options.venv else sys.executable
    # Without the current directory, for now: files of the application could hide what this process itself needs.
    command = [python, "-c", _MAIN, itself.PLACE, str(writes)]
    with open(result, "rb", buffering=0) as answer:
        try:
            # A session of its own: whatever the application starts when it is imported ends with it.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                pass_fds=(writes,),
                cwd=options.working,
                env=environment,
                start_new_session=True,
                **identity,
            )
        except OSError as error:
            raise Problem(f"{python} cannot be run in {options.working}: {error}") from None
        finally:
            os.close(writes)
        with process, _signals_passed_on(process.pid):
            try:
                text = _answer(process, answer.fileno(), json.dumps(task).encode(), targets)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
    if not text:
        raise Problem(f"the import of {targets[0].text} ended Python ({_status(process.returncode)})")
    return [_made(target, found) for target, found in zip(targets, json.loads(text))]


@contextlib.contextmanager
def _signals_passed_on(group: int) -> Iterator[None]:
    """What ends this process, such as Ctrl-C, reaches a session of its own as well, as a terminal would have it."""
    before = {number: signal.getsignal(number) for number in _ENDS}

    def pass_on(number: int, frame: Optional[FrameType]) -> None:
        usual = before[signal.Signals(number)]
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number if callable(usual) else signal.SIGKILL)
        if callable(usual):
            usual(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    heard = [number for number, usual in before.items() if callable(usual) or usual == signal.SIG_DFL]
    is_main = threading.current_thread() is threading.main_thread()
    for number in heard if is_main else ():
        signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number in heard if is_main else ():
            signal.signal(number, before[number])


def _answer(process: subprocess.Popen[bytes], answer: int, task: bytes, targets: Sequence[Target]) -> bytes:
    """The line that the process writes; nothing where it ends without. Raises Problem where it takes too long.

    The pipe's end is not waited for: what the application has forked holds it as well, for as long as it likes.
    """
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(task)
        process.stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    os.set_blocking(answer, False)
    began = time.monotonic()
    found, is_over, is_told = bytearray(), False, False
    with selectors.DefaultSelector() as selector:
        selector.register(answer, selectors.EVENT_READ)
        while not found.endswith(b"\n") and not is_over:
            # Looked at first: what has been written before the end is taken in the round behind it. It is not waited for here,
            # so that its number stays its own until its group has been ended by that.
            is_over = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            passed = time.monotonic() - began
            if passed > PATIENCE:
                raise Problem(f"the import of {targets[0].text} has not ended after {PATIENCE:.0f} seconds")
            if passed > IMPATIENT and not is_told:
                is_told = True
                told = " ".join(target.text for target in targets)
                print(f"{told}: the import goes on, after {IMPATIENT:.0f} seconds", file=sys.stderr, flush=True)
            while selector.get_map() and selector.select(0 if is_over else _ROUND):
                data = os.read(answer, 1 << 16)
                found += data
                if not data:
                    selector.unregister(answer)
                if not data or data.endswith(b"\n"):
                    break
            if not selector.get_map() and not is_over:
                # It has closed what it answers with, and goes on.
                time.sleep(_ROUND)
    return bytes(found) if found.endswith(b"\n") else b""


def _status(number: int) -> str:
    try:
        return f"status {number}" if number >= 0 else f"killed by {signal.Signals(-number).name}"
    except ValueError:
        return f"killed by signal {-number}"


def sys_path(targets: Sequence[Target]) -> list[str]:
    """The directories that the targets are imported from, each once."""
    return list(dict.fromkeys(target.path for target in targets if target.path))


def _made(target: Target, found: dict[str, str]) -> Target:
    if "error" in found:
        raise Problem(f"{target.text} cannot be imported", found["error"])
    return dataclasses.replace(target, kind=found["kind"], name=found["name"], is_factory=bool(found["factory"]))


def main() -> None:
    """The process's own part."""
    descriptor = int(sys.argv[1])
    # What the application runs has nothing to do with the answer, nor has what it forks.
    os.set_inheritable(descriptor, False)
    own = os.getpid()
    task = json.load(sys.stdin)
    sys.argv[:] = ["mod_python"]
    # As PythonPath has it inside httpd.
    sys.path[:] = [*task["path"], *(path for path in sys.path if path)]
    results = [_look(Target(**fields)) for fields in task["targets"]]
    sys.stdout.flush()
    if os.getpid() == own:
        with open(descriptor, "wb", closefd=False) as answer:
            answer.write(json.dumps(results).encode() + b"\n")
    # Threads of an application may never end.
    os._exit(0)


def _look(target: Target) -> dict[str, str]:
    try:
        module = import_target(target.module)
        try:
            return _told(target, module)
        except (AttributeError, LookupError):
            other = _other_than(target, module)
            if not other:
                raise
            return {"error": other}
    except ModuleNotFoundError as error:
        if error.name and (target.module == error.name or target.module.startswith(f"{error.name}.")):
            return {
                "error": f"there is no module {error.name}: neither {error.name.replace('.', '/')}.py in {target.path}, nor in what is installed for {sys.executable}"
            }
        return {"error": explained(error)}
    except BaseException as error:
        return {"error": explained(error)}


def _other_than(target: Target, module: Any) -> str:
    """What to say where a module is not the file that somebody has meant, but one that Python had before; or nothing."""
    source, found = target.source(), getattr(module, "__file__", None)
    if not source or (found and os.path.realpath(found) == os.path.realpath(source)):
        return ""
    return f"Python has a module of its own that is called {target.module} ({found or 'built in'}): rename {source}"


def import_target(name: str) -> Any:
    """The module of a target: by its name, or a file's."""
    if name.startswith("/"):
        from importlib.machinery import SourceFileLoader
        from importlib.util import module_from_spec, spec_from_loader

        spec = spec_from_loader("_mod_python_application", SourceFileLoader("_mod_python_application", name))
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    __import__(name)
    return sys.modules[name]


def _told(target: Target, module: Any) -> dict[str, str]:
    name, is_factory = target.name, target.is_factory
    if not name:
        candidates = ("application", "app", "handler") if target.kind != "handler" else ("handler",)
        name = next((word for word in candidates if hasattr(module, word)), "")
        if not name and callable(getattr(module, "create_app", None)):
            name, is_factory = "create_app", True
        if not name:
            raise LookupError(
                f"there is neither application nor app in {target.module}: name what is to be served, {target.text}:name"
            )
        if name == "handler":
            return {"kind": "handler", "name": "", "factory": ""}
    found = resolved(module, name)
    if is_factory:
        found = found()
    kind = target.kind or kind_of(found)
    if not kind:
        said = "a module" if inspect.ismodule(found) else f"an object of type {type(found).__name__}"
        raise TypeError(
            f"{name} of {target.module} is {said}: that is no application that can be told to be WSGI or ASGI; "
            "say --wsgi or --asgi, or --handler for a handler of mod_python"
            + (f"\nIf it makes the application: {target.text}()" if _may_be_factory(found, target) else "")
        )
    return {"kind": kind, "name": name, "factory": "yes" if is_factory else ""}


def _may_be_factory(found: Any, target: Target) -> bool:
    """Can it be called without arguments, as it was not?"""
    if (
        target.is_factory
        or not target.text.endswith(target.name)
        or not (inspect.isroutine(found) or inspect.isclass(found))
    ):
        return False
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError):
        return False
    return True


def resolved(module: Any, name: str) -> Any:
    """What a dotted name is in a module. Raises AttributeError, with the nearest name."""
    found = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            import difflib

            near = difflib.get_close_matches(part, [word for word in dir(found) if not word.startswith("_")], 1)
            where = getattr(module, "__file__", None) or getattr(module, "__name__", "the module")
            raise AttributeError(
                f"there is no {name} in {where}" + (f"; did you mean {near[0]}?" if near else "")
            ) from None
    return found


def kind_of(application: Any) -> str:
    """``asgi`` for what takes scope, receive and send; ``wsgi`` for what takes environ and start_response; else nothing."""
    if inspect.ismodule(application) or not callable(application):
        return ""
    if isinstance(application, type):
        # PEP 3333's second example: its instances are iterables. Those of an ASGI class are awaited.
        found = _by_parameters(application)
        return found if hasattr(application, "__iter__" if found == "wsgi" else "__await__") else ""
    call = application if inspect.isroutine(application) else type(application).__call__
    if inspect.iscoroutinefunction(inspect.unwrap(call)):
        return "asgi"
    return _by_parameters(application)


def _by_parameters(application: Any) -> str:
    try:
        parameters = inspect.signature(application).parameters.values()
    except (TypeError, ValueError):
        return ""
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one for one in positional if one.default is one.empty]
    if len(needed) == 3 or [one.name for one in positional][:3] == ["scope", "receive", "send"]:
        return "asgi"
    if len(needed) == 2 or any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return "wsgi"
    return ""


def explained(error: BaseException) -> str:
    """An exception for the operator: where in the application, the line, and a remedy where there is a usual one."""
    lines = []
    if isinstance(error, SyntaxError) and error.filename:
        lines += [f"{error.filename}, line {error.lineno}:"]
        lines += [f"    {error.text.strip()}"] if error.text else []
    else:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith("<frozen")]
        frames = [one for one in frames if one.filename != os.path.abspath(__file__)]
        # The application's own line, rather than one of what it uses.
        own = [one for one in frames if not one.filename.startswith(_installed())] or frames
        if own:
            lines += [f"{own[-1].filename}, line {own[-1].lineno}, in {own[-1].name}:", f"    {own[-1].line}"]
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)
    except Exception:
        text = "(what it says could not be made)"
    lines.append(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    if isinstance(error, ModuleNotFoundError) and error.name:
        lines.append(_missing(error.name))
    if isinstance(error, PermissionError):
        from mod_python import _users

        lines.append(f"It is {_users.name_of(os.geteuid())} who imports it, and who may not do that.")
    return "\n".join(lines)


def _installed() -> tuple[str, ...]:
    import sysconfig

    paths = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return tuple(os.path.join(path, "") for path in paths if path)


def _missing(name: str) -> str:
    python = sys.executable
    first = name.partition(".")[0]
    if os.path.exists(f"{first}.py") or os.path.isdir(first):
        return f"(searched in {os.pathsep.join(path for path in sys.path if path)})"
    return f"Is its package installed for {python}? If not: {shlex.quote(python)} -m pip install {first}"
