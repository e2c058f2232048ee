"""What an event loop and httpd's threads share, as Python sees it; and the dict that makes a request's object when it is asked for."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any, Optional, Protocol


class Native(Protocol):
    """What httpd's threads and this one share."""

    def fileno(self) -> int: ...
    def kind(self) -> str: ...
    def take(self) -> tuple[list[Any], list[int], list[int]]: ...
    def begun(self) -> None: ...
    def make_requests_by(self, later: type[Later], /) -> None: ...
    def close(self) -> tuple[list[Any], list[int], list[int]]: ...
    def begin_step(self, due: int, limit: int, /) -> None: ...
    def end_step(self) -> None: ...
    def log(
        self,
        level: int,
        text: str,
        server: int = 0,
        traceparent: Optional[str] = None,
        message: Optional[str] = None,
        exception: Optional[str] = None,
        /,
    ) -> None: ...


class Exchange(Protocol):
    """What the application's side of one request, or of one WebSocket, can do."""

    def receive(self) -> Optional[dict[str, Any]]: ...
    def send(self, message: Any, /) -> int: ...
    def flush(self) -> None: ...
    def has_room(self) -> bool: ...
    def end(self, error: Optional[BaseException], /) -> bool: ...
    def number(self) -> int: ...
    def waited(self) -> int: ...
    def server(self) -> int: ...
    def refused(self) -> Optional[int]: ...
    def is_gone(self) -> bool: ...
    def request(self) -> Any: ...


class Later(dict[str, Any]):
    """A dict that makes a request's object when anybody looks for it: most applications never do."""

    __slots__ = ("exchange",)
    exchange: Exchange

    def _fill(self) -> Later:
        if not dict.__len__(self):
            dict.__setitem__(self, "request", self.exchange.request())
        return self

    def __missing__(self, key: str) -> Any:
        if key != "request" or dict.__len__(self):
            raise KeyError(key)
        return dict.__getitem__(self._fill(), key)

    def get(self, key: str, default: Any = None) -> Any:
        return dict.get(self._fill(), key, default)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self._fill(), key)

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self._fill())

    def __len__(self) -> int:
        return dict.__len__(self._fill())

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return dict.keys(self._fill())

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return dict.values(self._fill())

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return dict.items(self._fill())

    def copy(self) -> dict[str, Any]:
        return dict(self._fill())

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self._fill(), other)

    def __ne__(self, other: object) -> bool:
        return dict.__ne__(self._fill(), other)

    __hash__ = None

    def __repr__(self) -> str:
        return dict.__repr__(self._fill())
