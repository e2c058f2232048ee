"""How session data become bytes: JSON with a few more types, or pickle where the configuration asks for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable, Optional

import _apache

from mod_python._later import later

if TYPE_CHECKING:
    import base64
    import datetime
    import pickle
else:
    base64 = later("base64")
    datetime = later("datetime")
    pickle = later("pickle")

_TAG = "!"
"""The only key of an object that stands for something JSON does not have."""


def dumps(record: dict[str, Any], use_pickle: bool = False) -> bytes:
    """A record as bytes. Raises TypeError for what JSON cannot carry."""
    if use_pickle:
        return b"P" + pickle.dumps(record, 4)
    packed: Optional[bytes] = _apache._record_pack(record)
    return b"J" + _encode(_plain(record)).encode("utf-8", "surrogatepass") if packed is None else packed


def loads(data: bytes, use_pickle: bool = False) -> dict[str, Any]:
    """The record. Raises ValueError for data that are none, and for pickled ones where pickle is not asked for."""
    found: Optional[dict[str, Any]] = _apache._record_unpack(data)
    if found is not None:
        return found
    if data[:1] == b"P":
        if not use_pickle:
            raise ValueError("the session was pickled; PythonOption mod_python.session.serializer says json")
        record = pickle.loads(data[1:])
    elif data[:1] == b"J":
        try:
            record = _decode(data[1:].decode("utf-8", "surrogatepass"))
            if b'"!"' in data or b"\\u0021" in data:
                record = _rich(record)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"these are not the data of a session: {error!r}") from None
    else:
        raise ValueError("these are not the data of a session")
    if not isinstance(record, dict):
        raise ValueError("these are not the data of a session")
    return record


_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _plain(value: Any) -> Any:
    """With JSON's types alone."""
    kind = type(value)
    if value is None or kind in (str, bool, int, float):
        return value
    if kind is list:
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        kind = dict
    if kind is dict:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: _plain(item) for key, item in value.items()}
        return {_TAG: ["dict", [[_plain(key), _plain(item)] for key, item in value.items()]]}
    if kind in (tuple, set, frozenset):
        return {_TAG: [kind.__name__, [_plain(item) for item in value]]}
    if kind in (bytes, bytearray):
        return {_TAG: [kind.__name__, base64.b64encode(value).decode()]}
    if kind.__module__ == "datetime" and kind in (datetime.datetime, datetime.date, datetime.time):
        return {_TAG: [kind.__name__, value.isoformat()]}
    if isinstance(value, str):
        return str(value)
    raise TypeError(
        f"a session cannot hold a value of type {kind.__name__}: store text, numbers, lists, dicts and the like, or set "
        "PythonOption mod_python.session.serializer pickle"
    )


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "dict": lambda items: {_rich(key): _rich(value) for key, value in items},
    "tuple": lambda items: tuple(map(_rich, items)),
    "set": lambda items: set(map(_rich, items)),
    "frozenset": lambda items: frozenset(map(_rich, items)),
    "bytes": lambda text: base64.b64decode(text),
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "datetime": lambda text: datetime.datetime.fromisoformat(text),
    "date": lambda text: datetime.date.fromisoformat(text),
    "time": lambda text: datetime.time.fromisoformat(text),
}


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if isinstance(value, dict):
        if _TAG in value:
            tagged: list[Any] = value[_TAG]
            return _MAKERS[tagged[0]](tagged[1])
        return {key: _rich(item) for key, item in value.items()}
    return value
