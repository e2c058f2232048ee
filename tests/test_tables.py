"""Tables and attributes: nothing of httpd's is held while Python objects are made; what tables cost."""

from __future__ import annotations

import pytest
from conftest import MEMORY, Serve, Server, places


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    return serve_module(places("collected"), mpm=mpm, children=1)


@pytest.mark.parametrize("of", ["own", "servers", "headers_in", "notes", "of_connection", "attributes"])
def test_what_the_collector_runs_may_wait_for_another_thread(httpd: Server, of: str) -> None:
    assert httpd.ok(f"/collected/{of}", timeout=60).text == "none waited"


def test_what_is_replaced_goes(httpd: Server) -> None:
    growth = [int(text) for text in httpd.ok("/collected/replaced", timeout=60).text.split()]
    assert max(growth) < (20 << 10) * MEMORY, growth


def test_a_large_table_is_made_in_linear_time(httpd: Server) -> None:
    small, large = (float(text) for text in httpd.ok("/collected/filled", timeout=60).text.split())
    assert large < 9 * small, (small, large)


def test_methods_have_a_bound(httpd: Server) -> None:
    assert httpd.ok("/collected/methods").text == "more than 1000 methods; 0; 1001"


def test_two_errors_of_an_update(httpd: Server) -> None:
    # A child of prefork has to be met twice; with threads, the first request may end behind its client's next one.
    seen = [httpd.ok("/collected/kept").text for _ in range(40)]
    assert any(
        "the first error; table update sequence element #1 has length 1; 2 is required; request object has expired"
        in text
        for text in seen
    )
    assert "exit signal" not in httpd.log_text()
