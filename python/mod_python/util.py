"""Forms, redirects, and calling functions with a form's fields.

Names and simple values of a form are ``str`` (UTF-8; what is not becomes U+FFFD), uploaded content is ``bytes``. What a
client may send is limited, each limit by a PythonOption (0: none):

- ``mod_python.form.max_fields`` (1000): fields, else 413
- ``mod_python.form.max_header_bytes`` (16384): headers of one part, else 400
- ``mod_python.form.max_memory_bytes`` (10485760): everything but uploaded files, else 413
- ``mod_python.form.max_total_bytes`` (0; httpd's LimitRequestBody counts): the whole body, else 413
"""

from __future__ import annotations

import html
import inspect
import io
import re
import tempfile
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional, Union

from _apache import parse_qs as parse_qs
from _apache import parse_qsl as parse_qsl

from mod_python import apache
from mod_python._multipart import MultipartError, MultipartParser, PartEnd, PartHeaders

if TYPE_CHECKING:
    from _apache import mp_request, table

readBlockSize = 65368
"""Bytes that are read from the client at once."""

_SPOOL = 262144
"""Bytes of an uploaded file beyond which it lies on disk."""


class Field:
    """One field of a form. ``value`` reads the whole content (bytes); ``file`` is a file to read it from.

    ``filename`` is the last part of the name that the client gave: no directory, no control character. It is still the
    client's choice; never open a file by it.
    """

    def __init__(
        self,
        name: Optional[str],
        file: Any = None,
        ctype: Optional[str] = None,
        type_options: Optional[dict[str, str]] = None,
        disp: Optional[str] = None,
        disp_options: Optional[dict[str, str]] = None,
        headers: Any = None,
    ) -> None:
        self.name = name
        self.file = file
        self.type = ctype
        self.type_options = type_options or {}
        self.disposition = disp
        self.disposition_options = disp_options or {}
        self.headers = headers if headers is not None else {}
        self.filename: Optional[str] = self.disposition_options.get("filename")

    @property
    def value(self) -> Any:
        """The content; None without a file."""
        if not self.file:
            return None
        self.file.seek(0)
        content = self.file.read()
        self.file.seek(0)
        if not isinstance(content, bytes):
            raise TypeError("the field's file must give bytes")
        return content

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.value!r})"

    def __del__(self) -> None:
        file = getattr(self, "file", None)
        if file is not None:
            file.close()


class StringField(str):
    """A field of a form that is no file: a ``str``, with the attributes of a Field."""

    name: Optional[str] = None
    filename: Optional[str] = None
    type: Optional[str] = "text/plain"
    ctype = "text/plain"
    type_options: dict[str, str] = {}  # noqa: RUF012 # shared, and read only
    disposition: Optional[str] = None
    disposition_options: dict[str, str] = {}  # noqa: RUF012
    headers: Any = {}  # noqa: RUF012

    @property
    def value(self) -> str:
        """The text itself."""
        return str(self)

    @property
    def file(self) -> io.BytesIO:
        """The text in UTF-8, as a file."""
        return io.BytesIO(self.encode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {str(self)!r})"

    __hash__ = str.__hash__


_AnyField = Union[Field, StringField]


class FieldList(list[Any]):
    """The fields in the order in which they were sent."""

    def table(self) -> dict[str, list[_AnyField]]:
        """A list of fields for each name, in order."""
        found: dict[str, list[_AnyField]] = {}
        for field in self:
            found.setdefault(field.name, []).append(field)
        return found


class _Limits:
    """What a form may cost, from PythonOption."""

    def __init__(self, req: mp_request) -> None:
        options = req.get_options()
        self.req = req
        self.fields = self._number(options, "max_fields", 1000)
        self.header = self._number(options, "max_header_bytes", 16384)
        self.memory = self._number(options, "max_memory_bytes", 10 << 20)
        self.total = self._number(options, "max_total_bytes", 0)
        self._seen = self._kept = self._read = 0

    @staticmethod
    def _number(options: table, name: str, default: int) -> int:
        text = options.get(f"mod_python.form.{name}", None)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit():
            raise ValueError(f"PythonOption mod_python.form.{name}: {text!r} is not a number")
        return int(text)

    def count_fields(self, number: int) -> None:
        self._seen += number
        if self.fields and self._seen > self.fields:
            self.refuse(apache.HTTP_REQUEST_ENTITY_TOO_LARGE, f"the form has more than {self.fields} fields")

    def keep(self, size: int) -> None:
        self._kept += size
        if self.memory and self._kept > self.memory:
            self.refuse(apache.HTTP_REQUEST_ENTITY_TOO_LARGE, f"the form has more than {self.memory} bytes of text")

    def read(self) -> bytes:
        data = self.req.read(readBlockSize)
        self._read += len(data)
        if self.total and self._read > self.total:
            self.refuse(apache.HTTP_REQUEST_ENTITY_TOO_LARGE, f"the form has more than {self.total} bytes")
        return data

    def refuse(self, status: int, reason: str) -> NoReturn:
        """Log why, and end the handler."""
        self.req.log_error(f"a form is refused: {reason}", apache.APLOG_INFO)
        raise apache.SERVER_RETURN(status)


class FieldStorage:
    """The fields of a request: those of the query, then those of a POST body.

    ``file_callback(filename)`` and ``field_callback()`` may give file objects (binary, readable, seekable) for uploads and
    for other parts of a multipart form. Raises SERVER_RETURN: 400 for a malformed body, 413 beyond a limit, 501 for a
    content type that is no form's.
    """

    def __init__(
        self,
        req: mp_request,
        keep_blank_values: int = 0,
        strict_parsing: int = 0,
        file_callback: Optional[Callable[[str], Any]] = None,
        field_callback: Optional[Callable[[], Any]] = None,
    ) -> None:
        self.list = FieldList()
        self._limits = _Limits(req)
        self._file_callback, self._field_callback = file_callback, field_callback
        if req.args:
            self._add_encoded(req.args.encode("utf-8", "surrogateescape"), keep_blank_values)
        if req.method == "POST":
            kind, options = parse_header(req.headers_in.get("content-type", "") or "application/x-www-form-urlencoded")
            if kind == "application/x-www-form-urlencoded":
                self._read_encoded(keep_blank_values)
            elif kind.startswith("multipart/"):
                self._read_multipart(options.get("boundary", ""))
            else:
                self._limits.refuse(apache.HTTP_NOT_IMPLEMENTED, f"{kind!r} is not the content type of a form")

    def _add_encoded(self, data: bytes, keep_blank_values: int) -> None:
        self._limits.count_fields(sum(1 for part in data.replace(b";", b"&").split(b"&") if part))
        for name, value in parse_qsl(data, keep_blank_values):
            self.add_field(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))

    def _read_encoded(self, keep_blank_values: int) -> None:
        blocks = []
        while block := self._limits.read():
            self._limits.keep(len(block))
            blocks.append(block)
        self._add_encoded(b"".join(blocks), keep_blank_values)

    def _read_multipart(self, boundary: str) -> None:
        limits = self._limits
        try:
            parser = MultipartParser(boundary.encode("latin-1", "replace"), limits.header or 1 << 30)
            part: Optional[_Part] = None
            ended = False
            while not ended:
                block = limits.read()
                ended = not block
                for event in parser.finish() if ended else parser.feed(block):
                    if isinstance(event, PartHeaders):
                        limits.count_fields(1)
                        part = _Part(event, self._file_callback, self._field_callback)
                    elif isinstance(event, PartEnd):
                        assert part is not None
                        self.list.append(part.field())
                    else:
                        assert part is not None
                        if part.in_memory:
                            limits.keep(len(event))
                        part.file.write(event)
        except MultipartError as error:
            limits.refuse(apache.HTTP_BAD_REQUEST, str(error))

    def add_field(self, key: str, value: str) -> None:
        """Append a field."""
        field = StringField(value)
        field.name = key
        self.list.append(field)

    def __getitem__(self, key: str) -> Any:
        found = self.list.table()[key]
        return found[0] if len(found) == 1 else found

    def __setitem__(self, key: str, value: Union[str, bytes]) -> None:
        """Replace every field of the name."""
        key, value = (part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in (key, value))
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError("a field's name and value must be str")
        self._remove(key)
        self.add_field(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._remove(key)

    def _remove(self, key: str) -> None:
        self.list[:] = [field for field in self.list if field.name != key]

    def get(self, key: str, default: Any = None) -> Any:
        """The field of a name, a list of them if there are several, or the default."""
        found = self.getlist(key)
        return default if not found else found[0] if len(found) == 1 else found

    def getfirst(self, key: str, default: Any = None) -> Any:
        """The first field of a name, or the default."""
        return next((field for field in self.list if field.name == key), default)

    def getlist(self, key: str) -> list[Any]:
        """The fields of a name."""
        return [field for field in self.list if field.name == key]

    def has_key(self, key: str) -> bool:
        """Is there a field of that name?"""
        return key in self

    def __contains__(self, key: object) -> bool:
        return any(field.name == key for field in self.list)

    def keys(self) -> list[str]:
        """The names, each once."""
        return list(self.list.table())

    def items(self) -> list[tuple[str, Any]]:
        """Name and field of each field."""
        return [(field.name, field) for field in self.list]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.list.table())

    def __bool__(self) -> bool:
        return bool(self.list)

    def clear(self) -> None:
        """Remove every field."""
        del self.list[:]

    def __repr__(self) -> str:
        return repr(self.list.table())


class _Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A file in memory that goes to disk when it grows. Complete as a file before Python 3.11, too."""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _Part:
    """A part of a multipart form while it is received."""

    def __init__(
        self,
        headers: PartHeaders,
        file_callback: Optional[Callable[[str], Any]],
        field_callback: Optional[Callable[[], Any]],
    ) -> None:
        self.headers = apache.make_table()
        for name, value in headers:
            try:
                self.headers.add(name.decode("latin-1"), value.decode("latin-1"))
            except ValueError as error:
                raise MultipartError(f"a header of a part cannot be used: {error}") from None
        texts = {name.lower(): value.decode("utf-8", "replace") for name, value in headers}
        self.disposition, self.disposition_options = parse_header(texts.get(b"content-disposition", ""))
        self.name = self.disposition_options.get("name")
        if self.disposition != "form-data" or self.name is None:
            raise MultipartError("a part has no Content-Disposition: form-data; name=…")
        self.type, self.type_options = parse_header(texts.get(b"content-type", "text/plain"))
        if "/" not in self.type:
            self.type = "application/octet-stream"
        given = self.disposition_options.get("filename")
        self.filename = base_name(given) if given else None
        # An empty name is a file input that was left empty.
        self.in_memory = given is None and field_callback is None
        if given is not None:
            self.file = file_callback(self.filename or "") if callable(file_callback) else _Spool(max_size=_SPOOL)
        else:
            self.file = field_callback() if callable(field_callback) else io.BytesIO()

    def field(self) -> _AnyField:
        """The finished field."""
        self.file.seek(0)
        field: _AnyField
        if self.filename:
            field = Field(self.name)
            field.file, field.filename = self.file, self.filename
        else:
            field = StringField(self.file.read().decode("utf-8", "replace"))
            field.name = self.name
        field.type, field.type_options = self.type, self.type_options
        field.disposition, field.disposition_options = self.disposition, self.disposition_options
        field.headers = self.headers
        return field


def base_name(name: str) -> str:
    """The last part of a file name that a client gave, without control characters; never empty, ``.`` or ``..``."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(character for character in last if character.isprintable()).strip()
    return kept if kept.strip(".") else "unnamed"


_OPTION = re.compile(r""";\s*(?:([^=;\s"]+)\s*=\s*("[^"]*"|[^;]*))?[^;]*""")


def parse_header(line: Any) -> Any:
    """Split ``value; option=text; option="text"``: the value in lower case, and a dict of the options.

    A ``str`` gives ``(str, dict of str)``. ``bytes`` give ``(bytes, dict)`` with names in bytes and texts in str, as
    mod_python does. ``option*=utf-8''text`` (RFC 8187) becomes ``option``. Raises TypeError for other types.
    """
    if isinstance(line, (bytes, bytearray)):
        value, options = parse_header(bytes(line).decode("latin-1"))
        return value.encode("latin-1"), {name.encode("latin-1"): text for name, text in options.items()}
    if not isinstance(line, str):
        raise TypeError("a header must be str or bytes")
    value, semicolon, rest = line.partition(";")
    found: dict[str, str] = {}
    extended: dict[str, str] = {}
    place, rest = 0, semicolon + rest
    while match := _OPTION.match(rest, place):
        place = match.end()
        if match[1] is None:
            continue
        name, text = match[1].lower(), match[2].strip()
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
        if name.endswith("*"):
            from urllib.parse import unquote

            charset, _, encoded = text.partition("'")
            encoded = encoded.partition("'")[2]
            if charset.lower() in ("utf-8", "iso-8859-1"):
                extended[name[:-1]] = unquote(encoded, charset, "replace")
        else:
            found.setdefault(name, text)
    return value.strip().lower(), {**found, **extended}


def apply_fs_data(object: Any, fs: FieldStorage, **args: Any) -> Any:
    """Call an object with the fields of a form as keyword arguments: those that it has parameters of the name for.

    Values are text, lists of them where a name occurs several times, and Field objects for files. What the caller gives in
    ``args`` cannot be replaced by a field. Raises what the object raises; TypeError where a field that it needs is missing.
    """
    code, skipped = _code_of(object)
    if code is None:
        inner = _own_call(object)
        return object() if inner is None else apply_fs_data(inner, fs, **args)
    expected = code.co_varnames[skipped : code.co_argcount + code.co_kwonlyargcount]
    takes_any = bool(code.co_flags & inspect.CO_VARKEYWORDS)
    values: dict[str, list[Any]] = {}
    for field in fs.list:
        if field.name not in args:
            values.setdefault(field.name, []).append(field if field.filename else field.value)
    given = {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    given.update(args)
    if not takes_any:
        given = {name: value for name, value in given.items() if name in expected}
    return object(**given)


def _code_of(object: Any) -> tuple[Optional[CodeType], int]:
    """The code that takes the arguments, and how many come by themselves."""
    if isinstance(object, FunctionType):
        return object.__code__, 0
    if isinstance(object, MethodType) and isinstance(object.__func__, FunctionType):
        return object.__func__.__code__, 1
    if isinstance(object, type):
        init = getattr(object, "__init__", None)
        return (init.__code__, 1) if isinstance(init, FunctionType) else (None, 0)
    call = _own_call(object)
    if isinstance(call, MethodType) and isinstance(call.__func__, FunctionType):
        return call.__func__.__code__, 1
    return None, 0


def _own_call(object: Any) -> Any:
    """``__call__`` of an object whose class defines it in Python: a method, or another object that can be called."""
    call = inspect.getattr_static(type(object), "__call__", None)
    if call is None or type(call).__name__ in ("wrapper_descriptor", "method_descriptor"):
        return None
    return getattr(object, "__call__")  # noqa: B004, B009 # the method itself is looked at, not whether there is one


def redirect(req: mp_request, location: str, permanent: int = 0, text: Optional[str] = None) -> NoReturn:
    """Answer with a redirect (302, or 301 if ``permanent``), and end the handler with SERVER_RETURN.

    Raises TypeError for a location that is no str, ValueError for one with a control character, OSError when a part of
    the answer has been sent.
    """
    if not isinstance(location, str):
        raise TypeError("the location of a redirect must be a str")
    if any(ord(character) < 32 or ord(character) == 127 for character in location):
        raise ValueError("the location of a redirect holds a control character")
    if req.sent_bodyct:
        raise OSError("cannot redirect: a part of the answer has been sent")
    req.err_headers_out["Location"] = location
    req.status = apache.HTTP_MOVED_PERMANENTLY if permanent else apache.HTTP_MOVED_TEMPORARILY
    if not req._content_type_set:
        req.content_type = "text/html; charset=utf-8"
    if text is None:
        shown = html.escape(location)
        text = f'<p>The document has moved <a href="{shown}">here</a>.</p>\n'
    req.write(text)
    raise apache.SERVER_RETURN(apache.DONE)
