"""The end of an event loop: nobody waits for what will not come any more."""

from __future__ import annotations

import asyncio
from typing import Any

from mod_python import _asgi


class Native:
    """What httpd's threads share with the loop: somebody is woken in the moment in which the loop ends."""

    def __init__(self, woken: list[int]) -> None:
        self.woken = woken
        self.entries: list[str] = []

    def close(self) -> tuple[list[Any], list[int], list[int]]:
        return [], self.woken, []

    def take(self) -> tuple[list[Any], list[int], list[int]]:
        return [], [], []

    def log(self, level: int, text: str, *_: Any) -> None:
        self.entries.append(text)


def test_who_waits_is_told_what_has_come_for_it() -> None:
    """It would be cancelled otherwise, when its time is up: a client's last message would be lost."""
    loop = asyncio.new_event_loop()
    ends: list[str] = []
    server = _asgi.Server(Native([7]), loop)  # type: ignore[arg-type]

    async def waits(number: int) -> None:
        try:
            await server.wait(number)
            ends.append("woken")
        except asyncio.CancelledError:
            ends.append("cancelled")

    async def begin() -> None:
        task = asyncio.ensure_future(waits(7))
        server._tasks.add(task)
        task.add_done_callback(server._tasks.discard)
        await asyncio.sleep(0)
        server._stop()

    begun = loop.create_task(begin())
    loop.run_forever()
    loop.close()
    assert begun.done() and ends == ["woken"]
