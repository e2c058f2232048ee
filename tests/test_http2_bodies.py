"""A body over HTTP/2 that its client breaks off (RST_STREAM) is not taken for a complete one, by whatever interface it is read."""

from __future__ import annotations

import socket
from typing import Any, Optional

import h2.config
import h2.connection
import pytest
from asgi_site import heard, site
from conftest import Serve, Server

from httpd import PATIENCE

CONFIG = """
Protocols h2c http/1.1
PythonASGI /asgi http2_bodies:application
PythonWSGI /wsgi http2_bodies:wsgi
PythonOption mod_python.wsgi.chunked_buffer 0
<Location /handler>
    SetHandler mod_python
    PythonHandler http2_bodies
</Location>
"""


@pytest.fixture(scope="module", params=["event", "prefork"])
def httpd(request: Any, serve_module: Serve) -> Server:
    return site(serve_module, CONFIG, mpm=request.param, modules=("http2",))


class Upload:
    """A connection, and a request whose body has begun."""

    def __init__(self, server: Server, path: str, length: Optional[int] = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration())
        self.http.initiate_connection()
        more = [("content-length", str(length))] if length is not None else []
        self.http.send_headers(
            1, [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "h"), *more]
        )
        self.http.send_data(1, b"spam")
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.http.data_to_send())


@pytest.mark.parametrize("length", [None, 8])
@pytest.mark.parametrize("path", ["/asgi", "/wsgi", "/handler"])
def test_a_body_that_is_broken_off(httpd: Server, path: str, length: Optional[int]) -> None:
    for _ in range(8):
        upload = Upload(httpd, path, length)
        assert heard(httpd) == ["begun", "spam"]
        upload.http.reset_stream(1)
        upload.flush()
        assert heard(httpd) == ["broken off"]
        upload.socket.close()


@pytest.mark.parametrize("length", [None, 8])
@pytest.mark.parametrize("path", ["/asgi", "/wsgi", "/handler"])
def test_a_body_that_is_complete(httpd: Server, path: str, length: Optional[int]) -> None:
    upload = Upload(httpd, path, length)
    assert heard(httpd) == ["begun", "spam"]
    upload.http.send_data(1, b"eggs", end_stream=True)
    upload.flush()
    assert heard(httpd) == ["complete", "eggs"]
    upload.socket.close()
