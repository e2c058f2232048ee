"""Reading a request's form: what it may cost, and the mapping of its fields."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional, Union

import _apache

from mod_python import _charsets, apache
from mod_python._encoded import EncodedParser
from mod_python._fields import AnyField, Field, FieldList, StringField, _Named, text_field
from mod_python._later import later
from mod_python._mime import base_name, parse_header, split
from mod_python._multipart import MultipartError, MultipartParser, PartEnd, PartHeaders

if TYPE_CHECKING:
    from _apache import mp_request

    from mod_python import _spool
else:
    _spool = later("mod_python._spool")

readBlockSize = 65368
"""Bytes that are read from the client at once."""

_SPOOL = 262144
"""Bytes of an uploaded file beyond which it lies on disk."""

_SPOOLED = 16 * _SPOOL
"""Bytes of all the files of a form that lie in memory."""

_HEADER_OPTIONS = 16
"""Options of one header of a part."""

_ENCODED = "application/x-www-form-urlencoded"
_NO_OPTIONS: dict[str, str] = {}

_CHARSET_FIELD = "_charset_"
"""The field in which browsers say what charset a form is in (HTML, "constructing the entry list")."""


_PREFIX = "mod_python.form."
_DEFAULTS = {"max_fields": 1000, "max_header_bytes": 16384, "max_memory_bytes": 10 << 20, "max_total_bytes": 0}
_MOST = _DEFAULTS["max_fields"]
_OPTIONS = tuple(_PREFIX + name for name in (*_DEFAULTS, "charset"))


@functools.lru_cache(maxsize=64)
def _said(values: tuple[Optional[str], ...]) -> tuple[int, int, int, int, str, Optional[str]]:
    """The limits, the charset and a complaint that options make. Raises ValueError."""
    numbers = []
    for (name, default), text in zip(_DEFAULTS.items(), values):
        if text is not None and not (text.isascii() and text.isdigit()):
            raise ValueError(f"PythonOption {_PREFIX}{name}: {text!r} is not a number")
        numbers.append(default if text is None else int(text))
    named = values[-1]
    charset, complaint = _charsets.form_charset(named), None
    if named and charset is None:
        complaint = f"PythonOption {_PREFIX}charset: {named!r} is no charset for forms; they are read as UTF-8"
    fields, header, memory, total = numbers
    return fields, header, memory, total, charset or _charsets.UTF_8, complaint


class Limits:
    """What a form may cost, from PythonOption, and what it has cost. The docstring of ``util`` says which there are."""

    def __init__(self, req: mp_request, first: Optional[bytes] = None) -> None:
        self.req, self._first = req, first
        self.fields, self.header, self.memory, self.total, self.charset, complaint = _said(
            _apache._options(req, _OPTIONS)
        )
        if complaint:
            req.log_error(complaint, apache.APLOG_WARNING)
        self.seen = self._kept = self._read = self._spooled = 0

    def charset_of(self, *named: Union[str, bytes, bytearray, None]) -> str:
        """The charset that a form is in: the first of these names that is one, or what the option says."""
        return next(filter(None, map(_charsets.form_charset, named)), self.charset)

    def count_fields(self, number: int) -> None:
        """That many fields more."""
        self.seen += number
        if self.fields and self.seen > self.fields:
            self.refuse(apache.HTTP_REQUEST_ENTITY_TOO_LARGE, f"the form has more than {self.fields} fields")

    def keep(self, size: int) -> None:
        """That many bytes more that are no file's."""
        self._kept += size
        if self.memory and self._kept > self.memory:
            self.refuse(apache.HTTP_REQUEST_ENTITY_TOO_LARGE, f"the form has more than {self.memory} bytes of text")

    def spool(self, file: _spool.Spool, size: int) -> None:
        """That many bytes more of a file that may lie in memory: it goes to disk where all of them take too much."""
        if file.on_disk:
            return
        self._spooled += size
        file.held += size
        if self._spooled > _SPOOLED or file.held > _SPOOL:
            file.rollover()
            file.on_disk = True
            self._spooled -= file.held

    def read(self) -> bytes:
        """The next block of the body."""
        data, self._first = self.req.read(readBlockSize) if self._first is None else self._first, None
        self._read += len(data)
        if self.total and self._read > self.total:
            self.refuse(apache.HTTP_REQUEST_ENTITY_TOO_LARGE, f"the form has more than {self.total} bytes")
        return data

    def refuse(self, status: int, reason: str) -> NoReturn:
        """Log why, and end the handler. httpd closes the connection, since the rest of the body may be anything."""
        self.req.log_error(f"a form is refused: {reason}", apache.APLOG_INFO)
        raise apache.SERVER_RETURN(status)


_FEW = 16
"""So many fields may be looked through for each name that is asked for."""

# Inside the class, `list` is the fields.
_Fields = list[Any]
_Items = list[tuple[Any, Any]]


class FieldStorage:
    """The fields of a request: those of the query, then those of a POST body.

    ``file_callback(filename)`` and ``field_callback()`` may give file objects (binary, readable, seekable) for uploads and
    for other parts of a multipart form. Raises SERVER_RETURN: 400 for a malformed body, 413 beyond a limit, 501 for a
    content type that is no form's.
    """

    _list: Optional[FieldList] = None

    def __init__(
        self,
        req: mp_request,
        keep_blank_values: int = 0,
        strict_parsing: int = 0,
        file_callback: Optional[Callable[[str], Any]] = None,
        field_callback: Optional[Callable[[], Any]] = None,
    ) -> None:
        # What is text in UTF-8 becomes fields when somebody asks for them.
        self._made: dict[str, _Fields] = {}
        self._texts: Optional[_Items] = []
        self._renamed = _Named.renamed
        found = _apache._query_texts(req, keep_blank_values, _MOST, readBlockSize)
        if isinstance(found, list):
            self._texts = found
            return
        # What has been read of the body, if anything.
        limits = Limits(req, found)
        query = req.args
        if query:
            self._add_whole(limits, query, keep_blank_values)
        if req.method == "POST":
            sent = req.headers_in.get("content-type", "") or _ENCODED
            kind, options = (_ENCODED, _NO_OPTIONS) if sent == _ENCODED else parse_header(sent)
            if kind == _ENCODED:
                self._add_body(limits, keep_blank_values, options.get("charset"))
            elif kind.startswith("multipart/"):
                self._add_multipart(limits, options, file_callback, field_callback)
            else:
                limits.refuse(apache.HTTP_NOT_IMPLEMENTED, f"{kind[:100]!r} is not the content type of a form")

    @property
    def list(self) -> FieldList:
        """The fields, in the order in which they were sent."""
        if self._list is None:
            fields = FieldList()
            fields.take(self._texts or (), self._made)
            # Another thread may have been quicker.
            self._list = vars(self).setdefault("_first", fields)
            self._texts = None
        return self._list

    @list.setter
    def list(self, fields: Any) -> None:
        self._list, self._texts = fields, None

    def _named(self, key: Any) -> Any:
        """The fields of a name. Where there are few, and the list has not been asked for, they alone are made."""
        texts = self._texts
        if texts is None or len(texts) > _FEW or _Named.renamed != self._renamed:
            return self.list._by_name().get(key, ())
        found = self._made.get(key)
        if found is not None:
            return found
        made: _Fields = _apache._text_fields(texts, key, StringField, "_name")
        return self._made.setdefault(key, made) if made else ()

    def _add_body(self, limits: Limits, keep_blank_values: int, declared: Optional[str]) -> None:
        block = limits.read()
        if len(block) < readBlockSize:
            # There is no more of it.
            self._add_whole(limits, block, keep_blank_values, declared)
            return
        parser = EncodedParser(limits.count_fields, keep_blank_values)
        while block:
            limits.keep(len(block))
            parser.feed(block)
            block = limits.read()
        parser.finish()
        self._add_pairs(limits, parser.pairs, declared)

    def _add_whole(
        self, limits: Limits, data: Union[bytes, str], keep_blank_values: int, declared: Optional[str] = None
    ) -> None:
        """A query, or a body that is there as a whole."""
        if type(data) is str and not data.isascii():
            data = data.encode("utf-8", "surrogateescape")
        limits.keep(len(data))
        charset = limits.charset_of(declared) if declared else limits.charset
        most = max(limits.fields - limits.seen, 0) if limits.fields else -1
        count, pairs, is_text = _apache._form_fields(data, keep_blank_values, most, charset == _charsets.UTF_8)
        limits.count_fields(count)
        if not pairs:
            return
        if not is_text:
            self._add_pairs(limits, pairs, declared)
        elif self._texts is None:
            self.list.take(pairs, {})
        else:
            self._texts += pairs

    def _add_pairs(self, limits: Limits, pairs: Any, declared: Optional[str]) -> None:
        named = next((value for name, value in pairs if name == _CHARSET_FIELD.encode()), None)
        charset = limits.charset_of(named, declared)
        # What has become text is let go of at once.
        pairs.reverse()
        while pairs:
            name, value = pairs.pop()
            if type(name) is bytes:
                name = name.decode(charset, "replace")
            data = value.encode() if type(value) is str else value
            self.list.append(text_field(name, data, charset, limits.keep))

    def _add_multipart(
        self,
        limits: Limits,
        options: dict[str, str],
        file_callback: Optional[Callable[[str], Any]],
        field_callback: Optional[Callable[[], Any]],
    ) -> None:
        boundary, declared = options.get("boundary", ""), options.get("charset")
        # Callbacks are told names of files before the form can say itself what it is in.
        expected = limits.charset_of(declared)
        parts: list[Part] = []
        try:
            parser = MultipartParser(boundary.encode("latin-1", "replace"), limits.header or 1 << 30)
            ended = False
            while not ended:
                block = limits.read()
                ended = not block
                of_files = 0
                for event in parser.finish() if ended else parser.feed(block):
                    if isinstance(event, PartHeaders):
                        limits.count_fields(1)
                        parts.append(Part(event, limits, expected, file_callback, field_callback))
                    elif not isinstance(event, PartEnd):
                        of_files += parts[-1].write(event)
                # Headers, boundaries, what stands before and behind them: everything but files.
                limits.keep(len(block) - of_files)
        except MultipartError as error:
            limits.refuse(apache.HTTP_BAD_REQUEST, str(error))
        named = next(filter(None, (part.names_charset() for part in parts)), None)
        charset = limits.charset_of(named, declared)
        parts.reverse()
        while parts:
            self.list.append(parts.pop().field(charset))

    def add_field(self, key: str, value: str) -> None:
        """Append a field."""
        field = StringField(value)
        field.name = key
        self.list.append(field)

    def __getitem__(self, key: str) -> Any:
        found = self._named(key)
        if not found:
            raise KeyError(key)
        return found[0] if len(found) == 1 else list(found)

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
        if key in self:
            self.list[:] = [field for field in self.list if field.name != key]

    def get(self, key: str, default: Any = None) -> Any:
        """The field of a name, a list of them if there are several, or the default."""
        found = self.getlist(key)
        return default if not found else found[0] if len(found) == 1 else found

    def getfirst(self, key: str, default: Any = None) -> Any:
        """The first field of a name, or the default."""
        found = self._named(key)
        return found[0] if found else default

    def getlist(self, key: str) -> _Fields:
        """The fields of a name."""
        return list(self._named(key))

    def has_key(self, key: str) -> bool:
        """Is there a field of that name?"""
        return key in self

    def __contains__(self, key: object) -> bool:
        return bool(self._named(key))

    def keys(self) -> _Fields:
        """The names, each once; None stands for the parts of a multipart form that came without one."""
        return list(self.list._by_name())

    def items(self) -> _Items:
        """Name and field of each field."""
        return [(field.name, field) for field in self.list]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.list._by_name())

    def __bool__(self) -> bool:
        return bool(self.list)

    def clear(self) -> None:
        """Remove every field."""
        self.list.clear()

    def __repr__(self) -> str:
        return repr(self.list.table())


class Part:
    """A part of a multipart form while it is received."""

    def __init__(
        self,
        headers: PartHeaders,
        limits: Limits,
        charset: str,
        file_callback: Optional[Callable[[str], Any]],
        field_callback: Optional[Callable[[], Any]],
    ) -> None:
        self._limits = limits
        self._file: Any
        self._read_headers(headers)
        self._describe(charset)
        self._text = bytearray()
        given = self._disposition[1].get("filename")
        self._is_file = given is not None
        if given is not None:
            self._file = file_callback(self._filename or "") if callable(file_callback) else _spool.Spool()
        else:
            self._file = field_callback() if callable(field_callback) else None

    def _read_headers(self, headers: PartHeaders) -> None:
        self._headers = apache.make_table()
        for name, value in headers:
            try:
                self._headers.add(name.decode("latin-1"), value.decode("latin-1"))
            except ValueError as error:
                raise MultipartError(f"a header of a part cannot be used: {error}") from None
        values = {name.lower(): value for name, value in headers}
        # Both may be missing, as mod_python has it.
        self._sent = values.get(b"content-disposition"), values.get(b"content-type", b"text/plain")

    def _describe(self, charset: str) -> None:
        """What the headers say, in a charset: browsers write names in that of the form."""
        self._charset = charset
        disposition, kind = self._sent
        self._disposition: tuple[Optional[str], dict[str, str]] = (None, {})
        try:
            if disposition is not None:
                self._disposition = split(disposition.decode(charset, "replace"), _HEADER_OPTIONS)
            self._type = split(kind.decode(charset, "replace"), _HEADER_OPTIONS)
        except ValueError as error:
            raise MultipartError(str(error)) from None
        self.name = self._disposition[1].get("name")
        if "/" not in self._type[0]:
            self._type = "application/octet-stream", self._type[1]
        given = self._disposition[1].get("filename")
        # An empty name is a file input that was left empty.
        self._filename = base_name(given) if given else None

    def write(self, data: bytes) -> int:
        """Take some content; the number of its bytes that are a file's."""
        if self._file is None:
            self._text += data
            return 0
        self._file.write(data)
        if isinstance(self._file, _spool.Spool):
            self._limits.spool(self._file, len(data))
        return len(data)

    def names_charset(self) -> Optional[bytes]:
        """The text of the field that names the form's charset, if this is it."""
        return bytes(self._text[:100]) if self.name == _CHARSET_FIELD and self._file is None else None

    def field(self, charset: str) -> AnyField:
        """The finished field of a form in that charset."""
        if charset != self._charset:
            self._describe(charset)
        if self._file is not None:
            self._file.seek(0)
        field: AnyField
        if self._is_file and self._filename:
            field = Field(self.name)
            field.file, field.filename = self._file, self._filename
        else:
            charset = _charsets.charset(self._type[1].get("charset")) or charset
            data = self._text if self._file is None else bytearray(self._file.read())
            field = text_field(self.name, data, charset, self._limits.keep)
            if self._file is not None:
                field._sent = self._file
        field.type, field.type_options = self._type
        field.disposition, field.disposition_options = self._disposition
        field.headers = self._headers
        return field
