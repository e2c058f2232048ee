"""Handlers and applications that answer with a status: with a page of their own, or with none."""

from mod_python import apache


def handler(req):
    """`?404`: as httpd's own page; `?own404`: with a page."""
    text = req.args or "200"
    req.content_type = "text/plain"
    if text.startswith("raise"):
        raise RuntimeError(f"broken on purpose {text[5:]}")
    if text == "length":
        req.write(str(len(req.read())))
        return apache.OK
    if text.startswith("own"):
        req.status = int(text[3:])
        req.write("a page of its own")
        return apache.OK
    if text == "405":
        req.allow_methods(["PUT"], 1)
    req.err_headers_out["X-Own"] = "1"
    return int(text)


def wsgi(environ, start_response):
    text = environ["QUERY_STRING"]
    if text.startswith("raise"):
        raise RuntimeError(f"broken on purpose {text[5:]}")
    if text == "length":
        text = str(len(environ["wsgi.input"].read()))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]
    start_response(f"{text[3:]} Odd", [("Content-Type", "text/plain"), ("X-Own", "1")])
    return [b"a page of its own"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    text = scope["query_string"].decode()
    if text.startswith("raise"):
        raise RuntimeError(f"broken on purpose {text[5:]}")
    body = b"a page of its own"
    if text == "length":
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            length += len(message["body"])
            more = message.get("more_body", False)
        body, text = str(length).encode(), "own200"
    headers = [(b"content-type", b"text/plain"), (b"x-own", b"1")]
    await send({"type": "http.response.start", "status": int(text[3:]), "headers": headers})
    await send({"type": "http.response.body", "body": body})
