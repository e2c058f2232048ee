"""What comes of a request's body: its first four bytes, then the rest or that there is none."""

from __future__ import annotations

from typing import Any, Callable

from asgi_apps import answer, note
from mod_python import apache


def read(read: Callable[[int], bytes]) -> None:
    note("begun", read(4).decode())
    try:
        rest = read(100)
    except OSError:
        note("broken off")
        raise
    note("complete", rest.decode())


async def application(scope: Any, receive: Any, send: Any) -> None:
    note("begun", (await receive())["body"].decode())
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            note("broken off")
            return
        body += message["body"]
        if not message["more_body"]:
            break
    note("complete", body.decode())
    await answer(send)


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    read(environ["wsgi.input"].read)
    start_response("200 OK", [])
    return [b""]


def handler(req: Any) -> int:
    read(req.read)
    return int(apache.OK)
