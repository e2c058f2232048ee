"""Applications that tell what they are told, and answer in many ways; the same ones run inside httpd and in a daemon."""

import asyncio
import json
import os

from mod_python import apache

FIELDS = (
    "the_request protocol proto_num hostname method method_number unparsed_uri uri args user ap_auth_type useragent_ip useragent_addr "
    "header_only assbackwards path_info filename handler status proxyreq parsed_uri range allowed is_https"
)


def shown(value):
    """A value as text; where an object is, its type."""
    if isinstance(value, (str, int, float, bool, bytes, type(None))):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return repr([shown(one) for one in value])
    if isinstance(value, dict):
        return {str(key): shown(one) for key, one in value.items()}
    return type(value).__name__


def told_of(request):
    """What `req` says."""
    found = {name: shown(getattr(request, name)) for name in FIELDS.split() if name != "is_https"}
    found["is_https"] = request.is_https()
    found["construct_url"] = request.construct_url("/x")
    found["document_root"] = request.document_root()
    found["get_remote_host"] = request.get_remote_host(apache.REMOTE_NOLOOKUP)
    found["options"] = sorted(request.get_options())
    found["connection"] = {
        name: shown(getattr(request.connection, name))
        for name in ("client_ip", "client_addr", "remote_addr", "local_ip", "local_addr")
    }
    for name in ("headers_in", "subprocess_env"):
        found[name] = [list(pair) for pair in getattr(request, name).items()]
    return found


def handler(request):
    """PythonHandler: what `req` says."""
    request.content_type = "application/json"
    request.headers_out["X-Pid"] = str(os.getppid())
    request.write(json.dumps({"req": told_of(request)}))
    return apache.OK


def wsgi(environ, start_response):
    """By the path's last part: everything, a stream, an error, …"""
    name = environ["PATH_INFO"].rsplit("/", 1)[-1]
    answer = globals().get(f"answer_{name}", answer_all)
    return answer(environ, start_response)


def answer_all(environ, start_response):
    request = environ["mod_python.request"]
    text = json.dumps({"environ": {key: shown(value) for key, value in environ.items()}, "req": told_of(request)})
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Pid", str(os.getppid()))])
    return [text.encode()]


def answer_echo(environ, start_response):
    """The body, as it comes."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    stream = environ["wsgi.input"]
    return iter(lambda: stream.read(65536), b"")


def answer_lines(environ, start_response):
    """A line of the answer for each line of the body, at once."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"begun\n")
    for line in environ["wsgi.input"]:
        write(b"> " + line)
    return []


def answer_cut(environ, start_response):
    """Breaks off in the middle."""
    length = environ["QUERY_STRING"]
    start_response("200 OK", [("Content-Type", "text/plain"), *([("Content-Length", length)] if length else [])])
    yield b"x" * 1000
    raise RuntimeError("cut on purpose")


def answer_refuse(environ, start_response):
    """Reads no body."""
    start_response("403 Forbidden", [("Content-Type", "text/plain")])
    return [b"refused by the application"]


def answer_deny(environ, start_response):
    """As that, at length."""
    start_response("403 Forbidden", [("Content-Type", "text/plain")])
    return [b"no " * 100_000, b"refused by the application"]


def answer_broken(environ, start_response):
    raise RuntimeError("broken on purpose")


def answer_error(environ, start_response):
    start_response("500 Internal Server Error", [("Content-Type", "text/plain"), ("X-Own", "1")])
    return [b"the application's own page"]


def answer_unchanged(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"one"')])
    return []


def answer_large(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"y" * 65536 for _ in range(64))


async def asgi(scope, receive, send):
    """Everything, or an early hint, or what a WebSocket says."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": f"{scope['path']} {message['text']}"})
    elif scope["path"].endswith("/rest"):
        await asyncio.sleep(float(scope["query_string"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"rested"})
    else:
        if scope["path"].endswith("/hint"):
            link = [b"</style.css>; rel=preload"]
            await send({"type": "http.response.early_hint", "links": link})
        extensions = {name: shown(value) for name, value in scope["extensions"].items()}
        told = {
            **{key: shown(value) for key, value in scope.items()},
            "extensions": extensions,
            "headers": shown(scope["headers"]),
        }
        text = json.dumps({"scope": told}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": text})
