"""The page that PythonDebug shows in place of an answer: what was raised, where, with which values, for which request.

Imported when the first error is to be shown. All of it is escaped, bounded, and without anything that a browser would have to fetch.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from html import escape
from types import FunctionType
from typing import Any, NamedTuple, Optional

from mod_python._debug_frames import frames, source
from mod_python._debug_style import STYLE
from mod_python._debug_values import (
    HIDDEN,
    Values,
    cut,
    request_header,
    type_name,
    uri_without_secrets,
    visible,
    without_secrets,
    without_secrets_cut,
)
from mod_python._tracebacks import own

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-{_DIGEST}'"
)
"""Content-Security-Policy (CSP Level 3): this style, and nothing else. What might get past the escaping could do nothing."""

_MOST = 1 << 20
"""How long a page may become, in characters: what would come behind is left out."""
_TEXT = 100_000
"""So many characters of the traceback's text are shown."""
_HINT = "mod_python: "
"""How a line of a traceback begins that says what an operator can do."""
_LINE_END = re.compile(r"(?<!\r)\n")
"""A line end inside of an exception's own text is CR LF."""
_FRAME = re.compile(r"(?:  )*(?:\| )?  File \"[^\r\n]{0,4096}\", line \d{1,9}(?:, in [^\r\n]{0,1000})?\Z")
"""The line of a traceback, or of a group in it, behind which a line of source stands."""
_EXCEPTIONS = 20
"""How many exceptions of a chain, or of a group, are shown."""


class Request(NamedTuple):
    """What the page says of a request."""

    method: str
    uri: str
    protocol: str
    remote: str
    interpreter: str
    headers: list[tuple[str, str]]


def page(error: Optional[BaseException], place: str, text: str, request: Request) -> tuple[str, str, str]:
    """Content type, Content-Security-Policy and text of the answer.

    ``text`` is the traceback as the log has it, or what is wrong with a handler's result; there is no ``error`` then. HTML is for
    clients that ask for it (RFC 9110, section 12.5.1), all others get plain text.
    """
    hints = re.findall(rf"(?<!\r)\n{_HINT}([^\n]*)", text) if error is not None else []
    text = _shown(text)
    accepted = ",".join(value for name, value in request.headers if name.lower() == "accept")
    if not _asks_for_html(accepted):
        advice = "" if error is not None else f"\n{_advice(text)[0]}\n"
        return "text/plain; charset=utf-8", _POLICY, f'Mod_python error: "{_plain(place)}"\n\n{_plain(text)}\n{advice}'
    parts = _of_error(error, place, hints, request) if error is not None else _of_result(place, text)
    parts += [_request(request), _as_text(place, text), "</main>", _footer(request)]
    body, room = [], _MOST
    for part in parts:
        # Elements are closed at their part's end.
        if len(part) <= room:
            body.append(part)
            room -= len(part)
    title = escape(visible(cut(text.rstrip().rpartition("\n")[2], 120)))
    return (
        "text/html; charset=utf-8",
        _POLICY,
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="robots" content="noindex">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n",
    )


def _shown(text: str) -> str:
    """A traceback's text without secrets, and not too long."""
    if len(text) > _TEXT:
        # The end begins with a whole line: what stands before a value tells that it is a secret.
        end = text[-_TEXT // 4 :]
        line_end = _LINE_END.search(end)
        end = end[line_end.end() :] if line_end else ""
        head = text[: _TEXT - _TEXT // 4]
        text = f"{head} … {len(text) - len(head) - len(end)} characters …\n{end}"
    lines, is_source = [], False
    for line in _LINE_END.split(text):
        lines.append(without_secrets(line.replace("\r\n", "\n"), only_quoted=is_source))
        # No other line is source, however it is indented: notes, and all that stands in a group.
        is_source = _FRAME.match(line) is not None
    return "\n".join(lines)


def _asks_for_html(accepted: str) -> bool:
    """Does an Accept header name HTML? ``*/*`` is what programs send."""
    for one in accepted.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if kind in ("text/html", "application/xhtml+xml"):
            weights = [part[2:] for part in parameters if part.startswith("q=")]
            return not (weights and not weights[0].strip("0."))
    return False


def _plain(text: str) -> str:
    return visible(text).encode("utf-8", "backslashreplace").decode()


def _of_error(error: BaseException, place: str, hints: list[str], request: Request) -> list[str]:
    values = Values()
    shown_hints = "".join(f'<p class="hint">{_cut(hint)}</p>' for hint in hints)
    head = (
        f'<header><div><p class="over">500 Internal Server Error · {_cut(place)} · {_cut(request.method)} '
        f"{_cut(uri_without_secrets(request.uri))}</p><h1>{escape(type_name(error))}</h1>"
        f'<p class="message">{_message(error, values)}</p>{shown_hints}</div></header><main>'
    )
    parts = [head]
    for number, (one, why, depth) in enumerate(_chain(error)):
        if number == _EXCEPTIONS:
            parts.append('<p class="left">… more exceptions are left out …</p>')
            break
        title = ""
        if number:
            title = f"<h2>{why} <b>{escape(type_name(one))}</b>: {_message(one, values)}</h2>"
        shown = frames(own(one).traceback, values) or '<p class="left">No frame: it was raised by native code.</p>'
        inside = f"{title}{_syntax(one)}{shown}"
        parts.append(f'<div class="group">{inside}</div>' if depth else f"<section>{inside}</section>")
    return parts


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str, int]]:
    """The exception, those in its group, and those that led to it; how each is introduced, and how deep in groups."""
    pending: list[tuple[BaseException, str, int]] = [(error, "", 0)]
    seen: set[int] = set()
    while pending:
        one, why, depth = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, why, depth
        related = own(one)
        if related.cause is not None:
            pending.append((related.cause, "caused by", depth))
        elif related.context is not None:
            pending.append((related.context, "raised while handling", depth))
        pending += [(member, "in the group:", depth + 1) for member in reversed(related.members[: _EXCEPTIONS + 1])]


def _message(error: BaseException, values: Values) -> str:
    text = escape(values.message(error))
    return text + "".join(f"\n{escape(visible(without_secrets_cut(note, 1000)))}" for note in own(error).notes[:10])


def _syntax(error: BaseException) -> str:
    """The line that a SyntaxError is about."""
    if not issubclass(type(error), SyntaxError):
        return ""
    # Not what a subclass shows of them.
    parts = SyntaxError.__dict__
    file, line, offset = (parts[name].__get__(error) for name in ("filename", "lineno", "offset"))
    if type(file) is not str or type(line) is not int:
        return ""
    offset = offset if type(offset) is int else 0
    columns = (max(offset - 1, 0), max(offset, 1)) if offset > 0 else None
    shown = source(file, line, columns)
    return (
        f'<details class="frame user" open><summary><span class="name">cannot be compiled</span> '
        f'<span class="file">{_cut(file)}:{line}</span></summary>{shown}</details>'
    )


def _of_result(place: str, text: str) -> list[str]:
    what, code = _advice(text)
    sample = f"<pre>{escape(code)}</pre>" if code else ""
    head = (
        f'<header><div><p class="over">500 Internal Server Error · {_cut(place)}</p><h1>The handler\'s result is wrong</h1>'
        f'<p class="message">{_cut(text)}</p><div class="hint">{escape(what)}{sample}</div></div></header><main>'
    )
    return [head, _handler(place)]


def _advice(text: str) -> tuple[str, str]:
    """What to do about a result, and how that looks."""
    if "NoneType" in text:
        return (
            "The handler has ended without a result: return apache.OK where it has answered.",
            'def handler(req):\n    req.content_type = "text/plain"\n    req.write("Hello")\n    return apache.OK',
        )
    if "coroutine" in text or "generator" in text:
        return "A handler is a plain function: for async def use ASGI (PythonASGI), for yield WSGI (PythonWSGI).", ""
    if "type str" in text or "type bytes" in text:
        return "A handler writes its text with req.write(), and returns apache.OK.", "req.write(text)\nreturn apache.OK"
    return (
        "Return apache.OK where the handler has answered, apache.DECLINED where another one shall, or an HTTP status.",
        "return apache.OK\nreturn apache.HTTP_NOT_FOUND",
    )


def _handler(place: str) -> str:
    """The source of the handler that a place names, where that is a function of a module that is there."""
    directive, _, name = place.partition(" ")
    module, _, path = name.partition("::")
    if module.startswith("mod_python."):
        return ""
    found: Any = sys.modules.get(module)
    for part in (path or directive.lower().replace("python", "", 1)).split("."):
        # Not getattr(): a class or a module may run code there.
        try:
            found = object.__getattribute__(found, "__dict__").get(part)
        except (AttributeError, TypeError):
            return ""
    if type(found) is not FunctionType:
        return ""
    code = found.__code__
    lines = [line for _, _, line in code.co_lines() if line] if hasattr(code, "co_lines") else [code.co_firstlineno]
    shown = source(code.co_filename, code.co_firstlineno, around=(0, min(max(lines) - code.co_firstlineno, 40)))
    return (
        f'<details class="frame user" open><summary><span class="name">{_cut(code.co_name)}</span> '
        f'<span class="file">{_cut(code.co_filename)}:{code.co_firstlineno}</span></summary>{shown}</details>'
    )


def _request(request: Request) -> str:
    headers = [(visible(cut(name, 100)), request_header(name, value)) for name, value in request.headers[:100]]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{f'<em>{HIDDEN}</em>' if value is None else escape(value)}</td></tr>"
        for name, value in headers
    )
    line = f"{request.method} {uri_without_secrets(request.uri)} {request.protocol}"
    return (
        f'<h2>Request</h2><div class="card"><p><code>{_cut(line)}</code></p><p class="over">from {_cut(request.remote)}, '
        f"in the interpreter {_cut(request.interpreter)}</p><table>{rows}</table></div>"
    )


def _as_text(place: str, text: str) -> str:
    whole = f'Mod_python error: "{visible(place)}"\n\n{visible(text)}'
    return f'<h2>As text</h2><details class="text"><summary>what the error log has</summary><pre>{escape(whole)}</pre></details>'


def _footer(request: Request) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        f"<footer>Python {version}, process {os.getpid()}. Everybody who asks for this page sees it: PythonDebug is for "
        "development, and off where it is not set.</footer>"
    )


def _cut(text: str) -> str:
    return escape(visible(cut(text, 1000)))
