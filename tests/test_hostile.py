"""The cases of `make hostile`, and rapid resets of HTTP/2."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import h2.config
import h2.connection
import pytest
from conftest import MEMORY, Serve, places
from hostile import CASES, Trial, exchange, objections, resets

from httpd import resident


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    trial = Trial()
    yield trial
    trial.stop()


@pytest.mark.parametrize("name", CASES)
def test_a_case(trial: Trial, name: str) -> None:
    pids = trial.ours.child_pids()
    assert not objections(name, trial.run(name))
    assert trial.ours.child_pids() == pids


def test_resets_at_every_byte(trial: Trial) -> None:
    pids = trial.ours.child_pids()
    count, whole = resets(trial)
    assert whole <= count and trial.ours.child_pids() == pids


def test_http2_streams_that_are_reset_at_once(serve: Serve) -> None:
    """Rapid reset: others are served, and memory comes to a level, which threads and their allocators have to reach first."""
    server = serve(f"{places('hello')}Protocols h2c http/1.1\n", threads=32, modules=("http2",))
    [pid] = server.child_pids()

    def burst() -> None:
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            client.initiate_connection()
            headers = [(":method", "GET"), (":path", "/hello/handler"), (":scheme", "http"), (":authority", "x")]
            try:
                for _ in range(200):
                    stream = client.get_next_available_stream_id()
                    client.send_headers(stream, headers, end_stream=True)
                    client.reset_stream(stream)
                    connection.sendall(client.data_to_send())
            except OSError:
                pass  # httpd has had enough of it

    grown = [resident(pid)]
    while len(grown) < 12 and (len(grown) < 3 or grown[-1] - grown[-2] >= 512 * MEMORY):
        for _ in range(10):
            burst()
        assert server.ok("/hello/handler").text == "Hello World!"
        grown.append(resident(pid))
    assert server.child_pids() == [pid]
    assert grown[-1] - grown[-2] < 512 * MEMORY, grown


def test_the_answers_are_compared(trial: Trial) -> None:
    """The comparison can fail: another file's answer is another one."""
    data = CASES["a plain request"]
    assert exchange(trial.plain.port, data.replace(b"@", b"/file")) != exchange(
        trial.plain.port, data.replace(b"@", b"/other")
    )
