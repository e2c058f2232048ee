"""A page with an event stream and a WebSocket, for a browser."""

from __future__ import annotations

import asyncio
from typing import Any

from asgi_apps import answer

PAGE = b"""<!doctype html>
<title>live</title>
<ul id=events></ul>
<ul id=messages></ul>
<script>
const here = location.pathname.replace(/page$/, "");
const say = (list, id, text) => {
    const line = document.createElement("li");
    line.id = id;
    line.textContent = text;
    document.getElementById(list).append(line);
};

const source = new EventSource(here + "events");
source.onmessage = event => say("events", "e" + event.lastEventId, event.data);
source.addEventListener("end", event => { source.close(); say("events", "end", event.data); });

const socket = new WebSocket(location.origin.replace(/^http/, "ws") + here + "socket", ["first", "second"]);
socket.binaryType = "arraybuffer";
const sent = ["spam", "\xc3\xa9 \xf0\x9f\x98\x80", "x".repeat(200000), new Uint8Array([0, 255, 128]), "end"];
let count = 0;
socket.onopen = () => { say("messages", "open", socket.protocol + " " + socket.extensions); socket.send(sent[0]); };
socket.onmessage = event => {
    const got = typeof event.data === "string" ? event.data : [...new Uint8Array(event.data)].join();
    say("messages", "m" + count, got.length > 100 ? got.length : got);
    count += 1;
    socket.send(sent[count]);
};
socket.onclose = event => say("messages", "closed", [event.code, event.reason, event.wasClean].join(" "));
</script>
"""


async def application(scope: Any, receive: Any, send: Any) -> None:
    kind = scope["path"].rsplit("/", 1)[1]
    if scope["type"] == "websocket":
        await socket(receive, send)
    elif kind == "events":
        await events(dict(scope["headers"]).get(b"last-event-id"), send)
    else:
        await answer(send, PAGE, headers=[(b"content-type", b"text/html; charset=utf-8")])


async def events(last: Any, send: Any) -> None:
    """Three events a connection, which ends behind them; a browser comes again, and says which it has had."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    first = int(last or 0) + 1
    text = f"retry: 1\nid: {first}\ndata: begun behind {last and last.decode()}\n\n"
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
    for number in (first + 1, first + 2):
        await asyncio.sleep(0.02)
        await send(
            {"type": "http.response.body", "body": b"id: %d\ndata: %d\n\n" % (number, number), "more_body": True}
        )
    if first > 6:
        await send({"type": "http.response.body", "body": b"event: end\ndata: all\n\n", "more_body": True})
    await send({"type": "http.response.body"})


async def socket(receive: Any, send: Any) -> None:
    """Echoes, until it is told to end."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "second"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "end":
            await send({"type": "websocket.close", "code": 4321, "reason": "as you wish"})
            return
        await send({**message, "type": "websocket.send"})
