"""Errors of every kind of Python code that httpd calls, for test_errors_counted.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mod_python import apache


def raises(req: Any) -> int:
    raise LookupError("counted")


def forgets(req: Any) -> None:
    return None


def says_not_found(req: Any) -> int:
    raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND)


def page(req: Any) -> int:
    req.content_type = "text/html"
    req.write('<!--#python eval="undefined" -->' if req.args == "tag" else "page")
    return apache.OK


def reads(req: Any) -> int:
    req.write(str(len(req.read())))
    return apache.OK


def broken_filter(filter: Any) -> None:
    raise LookupError("counted")


def debugged_filter(filter: Any) -> None:
    filter.pass_on()


def registers(req: Any) -> int:
    req.register_cleanup(raises, req)
    req.write("page")
    return apache.OK


def fine(req: Any) -> int:
    req.write("page", 0)
    return apache.OK


def talks(conn: Any) -> int:
    raise LookupError("counted")


def returns(conn: Any) -> int:
    conn.write(b"bye\n")
    raise apache.SERVER_RETURN(apache.OK)


def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    kind = environ["PATH_INFO"].strip("/")
    if kind == "before":
        raise LookupError("counted")
    length = {"short": "10", "long": "2"}.get(kind)
    start_response("200 OK", [("Content-Length", length)] if length else [])
    return Closing(kind)


class Closing:
    def __init__(self, kind: str) -> None:
        self.kind, self.blocks = kind, iter([b"one", b"two"] if kind != "short" else [b"one"])

    def __iter__(self) -> Closing:
        return self

    def __next__(self) -> bytes:
        block = next(self.blocks)
        if self.kind == "after" and block == b"two":
            raise LookupError("counted")
        return block

    def close(self) -> None:
        if self.kind == "close":
            raise LookupError("counted")
