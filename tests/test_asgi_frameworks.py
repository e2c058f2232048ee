"""Real frameworks on ASGI: Starlette, FastAPI, Quart, Litestar, Django with Channels, Socket.IO, and a2wsgi."""

from __future__ import annotations

import json

import pytest
from asgi_site import heard
from conftest import APPS, FREE_THREADED, Serve, Server, install
from websockets.exceptions import InvalidStatus

from httpd import MODE, PATIENCE

pytestmark = pytest.mark.skipif(FREE_THREADED, reason="not all of them have been built for it")
pytest.importorskip("starlette")

CONFIG = """
# The system may have other versions of what they need.
PythonPath "['@ROOT@/apps']+sys.path"
PythonASGI /starlette asgi_frameworks:starlette
PythonASGI /fastapi asgi_frameworks:fastapi
PythonASGI /quart asgi_frameworks:quart
PythonASGI /django asgi_frameworks:django_app
PythonASGI /channels asgi_frameworks:channels_app
PythonASGI /socketio asgi_frameworks:socketio_app
PythonASGI /litestar asgi_frameworks:litestar
<IfModule mpm_prefork_module>
    # A group of Channels is in the memory of one process.
    StartServers 1
    MaxSpareServers 1
</IfModule>
"""
if MODE in ("own", "pool"):
    # What some of them stand on (pydantic, msgspec) refuses any other.
    CONFIG += "PythonInterpreter main_interpreter\n"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module", params=["event", "prefork"])
def httpd(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    server = serve_module(CONFIG, mpm=request.param, start=False)
    install(
        server,
        *("starlette", "fastapi", "quart", "litestar", "django", "channels", "python-socketio", "a2wsgi"),
        "python-multipart",
    )
    notes = server.root / "notes"
    notes.mkdir()
    notes.chmod(0o777)
    return server.start()


def test_starlette(httpd: Server) -> None:
    assert httpd.ok("/starlette/home").text == "/starlette/home a pool 127.0.0.1"
    posted = json.loads(httpd.ok("/starlette/posted", "POST", body="a=b&c=d", headers=FORM).text)
    assert posted == {"url": f"http://127.0.0.1:{httpd.port}/starlette/posted", "form": {"a": "b", "c": "d"}}
    assert httpd.ok("/starlette/stream").text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert httpd.get("/starlette/nowhere").status == 404
    for name in ("file", "relative"):
        answer = httpd.ok(f"/starlette/{name}")
        assert answer.body == (APPS / "asgi_frameworks.py").read_bytes() and answer.header("ETag")
        assert httpd.get(f"/starlette/{name}", headers={"Range": "bytes=0-2"}).body == answer.body[:3]
    assert httpd.get("/starlette/breaks").status == 500
    httpd.claim("LookupError: starlette breaks|after the answer")


def test_wsgi_inside_of_it(httpd: Server) -> None:
    assert httpd.ok("/starlette/wsgi/x", "POST", body="spam").text == "/starlette/wsgi /xspam"


def test_fastapi(httpd: Server) -> None:
    headers = {"Content-Type": "application/json"}
    found = httpd.ok("/fastapi/items/3?q=x", "POST", body='{"name": "spam", "price": 1.5}', headers=headers)
    assert json.loads(found.text) == {"number": 3, "q": "x", "name": "spam", "price": 1.5}
    assert heard(httpd) == ["in the background"]
    assert httpd.get("/fastapi/items/3", "POST", body="{}", headers=headers).status == 422
    assert json.loads(httpd.ok("/fastapi/sync").text) == {"sync": "yes"}
    assert httpd.get("/fastapi/absent").status == 404
    assert '"/fastapi"' in httpd.ok("/fastapi/openapi.json").text


def test_an_upload(httpd: Server) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 300_000 + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert json.loads(httpd.ok("/fastapi/upload", "POST", body=body, headers=headers).text) == {
        "name": "f",
        "size": 300_000,
    }


def test_quart(httpd: Server) -> None:
    assert json.loads(httpd.ok("/quart/hello").text)["method"] == "GET"
    assert json.loads(httpd.ok("/quart/hello", "POST", body="a=b", headers=FORM).text)["form"] == {"a": "b"}


def test_django(httpd: Server) -> None:
    assert httpd.ok("/django/view", "POST", body="a=b", headers=FORM).text == "POST /django/view /django b"
    assert httpd.ok("/django/stream").text == "012"


def test_websockets(httpd: Server) -> None:
    connect = pytest.importorskip("websockets.sync.client").connect
    with connect(f"ws://127.0.0.1:{httpd.port}/fastapi/ws/den", open_timeout=PATIENCE) as client:
        client.send("spam")
        assert json.loads(client.recv(PATIENCE)) == {"room": "den", "text": "spam"}
    with connect(f"ws://127.0.0.1:{httpd.port}/quart/ws", open_timeout=PATIENCE) as client:
        client.send("eggs")
        assert client.recv(PATIENCE) == "quart eggs"


def test_litestar(httpd: Server) -> None:
    connect = pytest.importorskip("websockets.sync.client").connect
    headers = {"Content-Type": "application/json"}
    found = httpd.get("/litestar/items/3?q=x", "POST", body='{"name": "spam"}', headers=headers)
    assert (found.status, json.loads(found.text)) == (201, {"number": 3, "name": "spam", "q": "x"})
    assert httpd.get("/litestar/items/3", "POST", body="{}", headers=headers).status == 400
    assert httpd.ok("/litestar/events").text.replace("\r\n", "\n") == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    with connect(f"ws://127.0.0.1:{httpd.port}/litestar/ws", open_timeout=PATIENCE) as client:
        client.send("spam")
        assert client.recv(PATIENCE) == "spamspam"
    # It refuses before it has received websocket.connect.
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{httpd.port}/litestar/absent", open_timeout=PATIENCE).__enter__()


def test_channels(httpd: Server) -> None:
    connect = pytest.importorskip("websockets.sync.client").connect
    assert httpd.ok("/channels/view", "POST", body="a=b", headers=FORM).text == "POST /channels/view /channels b"
    with connect(f"ws://127.0.0.1:{httpd.port}/channels/loud", open_timeout=PATIENCE) as client:
        client.send("spam")
        assert client.recv(PATIENCE) == "SPAM"
    if httpd.mpm == "event":
        with connect(f"ws://127.0.0.1:{httpd.port}/channels/grouped", open_timeout=PATIENCE) as first:
            assert first.recv(PATIENCE) == "one more"
            with connect(f"ws://127.0.0.1:{httpd.port}/channels/grouped", open_timeout=PATIENCE):
                assert first.recv(PATIENCE) == "one more"


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_socketio(httpd: Server, transport: str) -> None:
    """Long polls, or a WebSocket, by its own client; a client's requests need one process."""
    socketio = pytest.importorskip("socketio")
    if httpd.mpm != "event":
        return
    told: list[str] = []
    client = socketio.SimpleClient(request_timeout=PATIENCE)
    client.connect(
        f"http://127.0.0.1:{httpd.port}",
        socketio_path="/socketio/socket.io",
        transports=[transport],
        wait_timeout=PATIENCE,
    )
    assert client.call("ask", "spam", timeout=PATIENCE) == "heard"
    told += client.receive(timeout=PATIENCE)
    if transport == "websocket":
        client.disconnect()
    else:
        # Not in good order: its own poll would have half a minute to end, with any server.
        client.client.eio.disconnect(abort=True)
    assert told == ["told", "spam?"]
