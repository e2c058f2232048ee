"""The clients of `make hostile` that WebSockets and event streams have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Serve, alarms
from hostile_streams import CONFIG, MODULES, SOCKET, TRICKS, Trial, over_http2


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    trial = Trial()
    yield trial
    trial.stop()


@pytest.mark.parametrize("name", TRICKS)
def test_a_client(trial: Trial, name: str) -> None:
    assert not trial.run(name)
    assert not [line for line in alarms(trial.server.new_log()) if "[python:" in line]


def test_websockets_that_mod_http2_offers(serve: Serve) -> None:
    """RFC 8441, `H2WebSockets on` (test_asgi_websocket_http2.py has more of it)."""
    server = serve(
        f"{CONFIG}<IfDirective H2WebSockets>\nH2WebSockets on\n</IfDirective>\n", mpm="event", modules=MODULES
    )
    found = over_http2(server, [(":method", "CONNECT"), (":protocol", "websocket"), *SOCKET])
    if found != "the stream is reset (PROTOCOL_ERROR)":  # this mod_http2 does not know it
        assert found == "200"
