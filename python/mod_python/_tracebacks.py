"""Exceptions as text for the error log: the application's own frames, and what an operator can do about it."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Optional

import _apache

from mod_python import _path

INNER = (
    os.path.dirname(__file__) + os.sep,
    os.path.dirname(importlib.__file__) + os.sep,
    "<frozen importlib",
    "<frozen zipimport",
)
"""How the files of frames begin that tell nothing about the application."""

# What extension modules, CPython, Cython and PyO3 say of interpreters that they cannot be loaded in: all but the main one, or
# all but the one that came first.
_REFUSALS = (
    "subinterpreter",
    "sub-interpreter",
    "more than once per process",
    "once per interpreter process",
    "one interpreter per process",
)

_PLACE = "_mod_python_place"
"""The attribute of an exception that ``place`` sets."""

_DEEP = 1000
"""A traceback of more frames is that of a recursion which somebody has allowed to be deep: so many of its last ones are looked at."""

_CHAIN = 50
"""So many exceptions of a chain are looked at."""

_MEMBERS = 10_000
"""So many members of groups, and of their groups, are shown: one that is a member twice counts twice, and so do its own."""


class Own(NamedTuple):
    """What an exception has of ``BaseException`` itself: a class of an application's may have put anything in its place."""

    traceback: Optional[TracebackType]
    cause: Optional[BaseException]
    context: Optional[BaseException]
    """None where it is not to be shown, too."""
    notes: list[str]
    members: tuple[BaseException, ...]
    """Those of a group."""


def own(error: BaseException) -> Own:
    """What an exception is, whatever its class says. No code of that runs."""

    def get(name: str) -> Any:
        return BaseException.__dict__[name].__get__(error)

    notes = get("__dict__").get("__notes__")
    group: Any = getattr(builtins, "BaseExceptionGroup", None)
    if group is not None:
        members = group.exceptions.__get__(error) if issubclass(type(error), group) else ()
    else:
        # That of the package exceptiongroup.
        members = get("__dict__").get("_exceptions", ())
    return Own(
        get("__traceback__"),
        get("__cause__"),
        None if get("__suppress_context__") else get("__context__"),
        [note for note in notes if type(note) is str] if type(notes) is list else [],
        tuple(member for member in members if issubclass(type(member), BaseException)),
    )


def describe(error: BaseException) -> str:
    """The traceback as text, several lines; hints stand at its end.

    A line of it is an entry of the log. The line ends of an exception's own text, in which there may be what a client has
    sent, are CR LF instead: the log escapes them.
    """
    try:
        text, has_frames = _formatted(error)
    except BaseException:  # exceptions of applications may raise what they like when they are shown
        # Formatting imports and reads files: neither need work.
        text, has_frames = _plain(error)
    try:
        hints = list(dict.fromkeys([*_placed(error, has_frames), *_hints(error)]))
    except BaseException:
        hints = []
    return "\n".join([text, *(f"mod_python: {in_line(hint)}" for hint in hints)])


def source_line(filename: str, line: int) -> str:
    """A line of a file; "" where there is none, also where no file can have that name."""
    try:
        return linecache.getline(filename, line)
    except Exception:
        return ""


def is_inner(filename: str) -> bool:
    """Does a frame of this file tell nothing about the application?"""
    return filename.startswith(INNER)


def place(error: BaseException, name: Optional[str]) -> None:
    """Remember what of the application's was served when it was raised: a page's file. It is shown where no frame says so."""
    with contextlib.suppress(Exception):  # classes of applications may refuse attributes
        setattr(error, _PLACE, name)


def log(text: str, error: Optional[BaseException] = None) -> None:
    """Write lines to the error log of the request that this thread serves, or of the main server.

    Not by way of ``sys.stderr``, which an application may have replaced.
    """
    try:
        _apache._stream_flush(1)
        exception = None
        if error is not None and _apache._logs_objects():
            from mod_python import _log_objects

            exception = _log_objects.exception(error)[1]
        message = lines(text)[0].replace("\r\n", "\n") if exception is not None else None
        _apache._log(3, text, None, message, exception)
    except RuntimeError:  # outside httpd
        _apache.log_error(text)


def _formatted(error: BaseException) -> tuple[str, bool]:
    """The text, and whether it says where in the application it comes from."""
    if _has_too_many_members(error):
        return _plain(error)
    depth, step = _depth(error), own(error).traceback
    for _ in range(depth - _DEEP):
        step = step.tb_next if step is not None else None
    is_deep = any(_depth(other) > _DEEP for other in _chain(error) if other is not error)
    shown = traceback.TracebackException(type(error), error, step, limit=-_DEEP if is_deep else None)
    _trim(shown)
    text = "".join(shown.format()).rstrip()
    if depth > _DEEP:
        text = f"{depth} frames, of which the last {_DEEP} follow:\n{text}"
    return text, bool(shown.stack) or getattr(shown, "lineno", None) is not None


def lines(text: str) -> list[str]:
    """The lines of a text that ``describe`` has made."""
    return re.split(r"(?<!\r)\n", text)


def in_line(text: str) -> str:
    """Text inside a line."""
    return text.rstrip("\r").replace("\r\n", "\n").replace("\n", "\r\n")


def _keep_in_line(one: traceback.TracebackException) -> None:
    """What an exception says of itself must not look like a line of the traceback."""
    # `_str` is what is shown behind the class's name; a SyntaxError shows the others.
    for name in ("_str", "msg", "text", "filename"):
        text = getattr(one, name, None)
        if isinstance(text, str):
            end = "\n" if name == "text" and text.endswith("\n") else ""
            setattr(one, name, in_line(text[: len(text) - len(end)]) + end)
    notes = getattr(one, "__notes__", None)
    if isinstance(notes, (list, tuple)):
        # The exception's own list stays as it is.
        vars(one)["__notes__"] = [in_line(note) if isinstance(note, str) else note for note in notes]
    for frame in one.stack:
        frame.filename, frame.name = in_line(frame.filename), in_line(frame.name)


def _keep_in_text(one: traceback.TracebackException) -> None:
    """A SyntaxError's carets stand below its text, however far off it says: ``traceback`` would fill all that lies between."""
    text = getattr(one, "text", None)
    most = len(text) + 1 if isinstance(text, str) else 1
    for name in ("offset", "end_offset"):
        offset = getattr(one, name, None)
        # Not one of the exception's, but what is shown of it.
        if isinstance(offset, int):
            setattr(one, name, max(-1, min(offset, most)))


def _trim(shown: traceback.TracebackException) -> None:
    """Leave out frames of importlib and of this package, in the whole chain. A line stays one.

    Where no others are, what the exception says is all: the application has not been entered.
    """
    pending, seen = [shown], set()
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.stack[:] = [frame for frame in one.stack if not frame.filename.startswith(INNER)]
        _keep_in_line(one)
        _keep_in_text(one)
        related = [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]
        pending += [other for other in related if other is not None]


def _plain(error: BaseException) -> tuple[str, bool]:
    """The same without source lines, for which nothing has to be imported."""
    frames: list[str] = []
    step = own(error).traceback
    while step is not None and len(frames) < _CHAIN:
        code = step.tb_frame.f_code
        if not code.co_filename.startswith(INNER):
            frames.append(in_line(f'  File "{code.co_filename}", line {step.tb_lineno}, in {code.co_name}'))
        step = step.tb_next
    lines = ["Traceback (most recent call last):", *frames] if frames else []
    kind = type.__dict__["__name__"].__get__(type(error))
    try:
        lines.append(in_line(f"{kind}: {error}"))
    except BaseException:
        lines.append(f"{kind}: <exception str() failed>")
    return "\n".join(lines), bool(frames)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that led to it."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending and len(seen) < _CHAIN:
        one = pending.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            pending += [other for other in (own(one).context, own(one).cause) if other is not None]


def _has_too_many_members(error: BaseException) -> bool:
    """Would it take for ever to format its groups? ``traceback`` shows of a group's members a few, but looks at all, as often as they occur."""
    pending, left = [error], _MEMBERS
    seen: set[int] = set()
    while pending:
        one = own(pending.pop())
        left -= len(one.members)
        if left < 0:
            return True
        pending += one.members
        for other in (one.cause, one.context):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                pending.append(other)
    return False


def _depth(error: BaseException) -> int:
    """How many frames its traceback has."""
    count, step = 0, own(error).traceback
    while step is not None:
        count, step = count + 1, step.tb_next
    return count


def _placed(error: BaseException, has_frames: bool) -> Iterator[str]:
    name = getattr(error, _PLACE, None)
    if type(name) is str and not has_frames:
        yield f"raised for {name}"


def _refused(interpreter: str) -> str:
    """What to do about an extension module that this interpreter cannot load."""
    if interpreter != "main_interpreter":
        return (
            f"this extension module cannot be used in the interpreter {interpreter!r}; "
            "run what needs it in the first one: PythonInterpreter main_interpreter"
        )
    # It is the process's first one: a refusal can only mean that another was quicker.
    pid = os.getpid()
    names = sorted({str(row[1]) for row in _apache._interpreters() if row[0] == pid} - {interpreter})
    others = (
        f" (there are {', '.join(map(repr, names))})" if len(names) > 1 else "".join(f" ({name!r})" for name in names)
    )
    return (
        f"another interpreter of this process{others} has loaded this extension module before {interpreter!r}; let every "
        "virtual host and section that needs it name the same one: PythonInterpreter main_interpreter"
    )


def _hints(error: BaseException) -> Iterator[str]:
    # Lower files than that one use this.
    interpreter = getattr(sys.modules.get("mod_python.apache"), "interpreter", "")
    for one in _chain(error):
        if isinstance(one, ImportError):
            text = str(one)
            if any(word in text for word in _REFUSALS):
                yield _refused(interpreter)
        yield from _path.explain(one)
