"""An event stream and a WebSocket in a real browser: plainly, compressed by mod_deflate, and over HTTPS with HTTP/2 beside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from asgi_site import site
from browser import Browser
from conftest import Serve, Server
from test_wsgi_protocols import certificate

from httpd import whole_lines

__all__ = ["certificate"]

CONFIG = """
<Location /deflated>
    SetOutputFilter DEFLATE
</Location>
PythonOption mod_python.asgi.detach_after 0.01
PythonASGI /plain live_page:application
PythonASGI /deflated live_page:application
LogFormat "%U %>s %{Last-Event-ID}i %{Content-Encoding}o %H" live
CustomLog @ROOT@/access_log live
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    return site(serve_module, CONFIG, mpm="event", modules=("deflate", "filter"))


@pytest.fixture(scope="module")
def secure(serve_module: Serve, certificate: Path) -> Server:
    config = f"{CONFIG}SSLEngine On\nSSLCertificateFile {certificate}/cert.pem\nSSLCertificateKeyFile {certificate}/key.pem\n"
    config += "SSLSessionCache none\nProtocols h2 http/1.1\n"
    return site(serve_module, config, mpm="event", modules=("deflate", "filter", "ssl", "socache_shmcb", "http2"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"), insecure=True)
    yield browser
    browser.close()


def see(server: Server, browser: Browser, url: str) -> list[str]:
    """Open the page, and wait for what it shows; gives the access log's lines of its event stream."""
    path = url.split("/", 3)[3].rsplit("/", 1)[0]
    browser.open(url)
    server._wait(lambda: browser.has("#end") and browser.has("#closed"), "the page does not come to its end")
    events = browser.text("#events").splitlines()
    assert events == [
        *("begun behind None", "2", "3"),
        *("begun behind 3", "5", "6"),
        *("begun behind 6", "8", "9", "all"),
    ]
    messages = browser.text("#messages").splitlines()
    assert messages[0].startswith("second permessage-deflate")
    assert messages[1:] == ["spam", "é 😀", "200000", "0,255,128", "4321 as you wish true"]

    def logged() -> list[str]:
        lines = whole_lines(server.root / "access_log")
        return [line for line in lines if line.startswith(f"/{path}/events ")]

    server._wait(lambda: len(logged()) == 3, "the access log has not all of it")
    return logged()


def test_events_and_messages(httpd: Server, browser: Browser) -> None:
    lines = see(httpd, browser, httpd.url("/plain/page"))
    assert sorted(lines) == [f"/plain/events 200 {last} - HTTP/1.1" for last in ("-", "3", "6")]


def test_events_that_are_compressed(httpd: Server, browser: Browser) -> None:
    lines = see(httpd, browser, httpd.url("/deflated/page"))
    assert sorted(lines) == [f"/deflated/events 200 {last} gzip HTTP/1.1" for last in ("-", "3", "6")]


def test_over_https(secure: Server, browser: Browser) -> None:
    """The page and its events by HTTP/2; the WebSocket by a connection of its own (docs/asgi.md)."""
    lines = see(secure, browser, secure.url("/deflated/page").replace("http:", "https:"))
    assert sorted(lines) == [f"/deflated/events 200 {last} gzip HTTP/2.0" for last in ("-", "3", "6")]
    log = secure.root / "access_log"
    secure._wait(lambda: "/deflated/socket 101 - - HTTP/1.1" in log.read_text(), "the WebSocket is not logged")
