"""The fields of a form, and the list that they are in."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable
from typing import Any, Callable, Optional, Union

from mod_python import _charsets


class _Named:
    """What has a name, by which tables of fields know it."""

    renamed = 0
    """How often a name has been changed: a table that was made before may be wrong."""

    _name: Optional[str] = None

    @property
    def name(self) -> Optional[str]:
        """The field's name; None for a part of a multipart form that came without one."""
        return self._name

    @name.setter
    def name(self, name: Optional[str]) -> None:
        if "_name" in vars(self):
            _Named.renamed += 1
        self._name = name


class Field(_Named):
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


class StringField(_Named, str):
    """A field of a form that is no file: a ``str``, with the attributes of a Field."""

    filename: Optional[str] = None
    type: Optional[str] = "text/plain"
    ctype = "text/plain"
    type_options: dict[str, str] = {}  # noqa: RUF012 # shared, and read only
    disposition: Optional[str] = None
    disposition_options: dict[str, str] = {}  # noqa: RUF012
    headers: Any = {}  # noqa: RUF012
    _sent: Any = None  # the charset that it was in, or a file with what was sent

    @property
    def value(self) -> str:
        """The text itself."""
        return str(self)

    @property
    def file(self) -> Any:
        """The bytes that were sent, as a file: UTF-8, unless the form was in another charset, or in none."""
        if self._sent is None:
            return io.BytesIO(self.encode("utf-8", "surrogatepass"))
        if isinstance(self._sent, str):
            return io.BytesIO(self.encode(self._sent))
        self._sent.seek(0)
        return self._sent

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {str(self)!r})"

    __hash__ = str.__hash__


AnyField = Union[Field, StringField]


def sent_field(name: str, text: str) -> StringField:
    """A field of text that came in UTF-8."""
    field = StringField(text)
    field._name = name
    return field


def text_field(
    name: Optional[str], data: Union[bytes, bytearray], charset: str, keep: Callable[[int], None]
) -> StringField:
    """A field of text that came as these bytes. Those of a long one are let go of: a bytearray is empty afterwards.

    What the charset cannot decode becomes U+FFFD. Where the text alone would lose bytes, they are kept beside it, and
    ``keep`` is told how many.
    """
    sent: Any = None
    try:
        if len(data) > _LONG:
            _check(data, charset)
        text = data.decode(charset)
        if charset != _charsets.UTF_8:
            sent = charset if _encodes(text, charset, data) else data
    except UnicodeError:
        sent, text = data, ""
    if sent is data:
        keep(len(data))
        text = data.decode(charset, "replace")
    elif isinstance(data, bytearray):
        data.clear()
    field = StringField(text)
    field._name = name
    if sent is not None:
        field._sent = io.BytesIO(data) if sent is data else sent
    return field


_LONG = 1 << 20
"""Bytes from which on an error that has all of them in it is avoided: Python copies them several times for it (3.14)."""


def _check(data: Union[bytes, bytearray], charset: str) -> None:
    """Raises UnicodeError where the charset cannot decode the bytes."""
    make = codecs.lookup(charset).incrementaldecoder
    if make is None:
        return
    decoder = make()
    with memoryview(data) as view:
        for start in range(0, len(view), 65536):
            decoder.decode(bytes(view[start : start + 65536]))
    decoder.decode(b"", True)


def _encodes(text: str, charset: str, data: Union[bytes, bytearray]) -> bool:
    try:
        return text.encode(charset) == data
    except UnicodeError:
        return False


class FieldList(list[Any]):
    """The fields in the order in which they were sent."""

    _known: Optional[dict[Optional[str], list[AnyField]]] = None
    _known_at = (0, 0)

    def take(self, texts: Iterable[tuple[str, str]], made: dict[str, list[StringField]]) -> None:
        """Add fields of names and texts that came in UTF-8; those of some names have been made already."""
        self._known = None
        add = super().append
        ready = {name: iter(fields) for name, fields in made.items()}
        for name, text in texts:
            add(next(ready[name]) if name in ready else sent_field(name, text))

    def table(self) -> dict[Optional[str], list[AnyField]]:
        """A list of fields for each name, in order."""
        return {name: list(fields) for name, fields in self._by_name().items()}

    def _by_name(self) -> dict[Optional[str], list[AnyField]]:
        """The same, made once for as long as nothing changes; not to be given away."""
        now = (len(self), _Named.renamed)
        known = self._known
        if known is None or self._known_at != now:
            known = {}
            for field in self:
                known.setdefault(field.name, []).append(field)
            self._known, self._known_at = known, now
        return known

    # Whatever can change the list without changing its length.

    def __setitem__(self, place: Any, value: Any) -> None:
        self._known = None
        super().__setitem__(place, value)

    def __delitem__(self, place: Any) -> None:
        self._known = None
        super().__delitem__(place)

    def __iadd__(self, fields: Iterable[Any]) -> FieldList:  # type: ignore[misc]
        self._known = None
        self.extend(fields)
        return self

    def insert(self, place: Any, field: Any) -> None:
        """Put a field in front of that place."""
        self._known = None
        super().insert(place, field)

    def append(self, field: Any) -> None:
        """Add a field."""
        self._known = None
        super().append(field)

    def pop(self, place: Any = -1) -> Any:
        """Take a field away."""
        self._known = None
        return super().pop(place)

    def remove(self, field: Any) -> None:
        """Remove the first field that is equal."""
        self._known = None
        super().remove(field)

    def extend(self, fields: Iterable[Any]) -> None:
        """Add fields."""
        self._known = None
        super().extend(fields)

    def clear(self) -> None:
        """Remove every field."""
        self._known = None
        super().clear()

    def reverse(self) -> None:
        """The last one first."""
        self._known = None
        super().reverse()

    def sort(self, **arguments: Any) -> None:
        """Sort the fields."""
        self._known = None
        super().sort(**arguments)
