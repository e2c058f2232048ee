"""The same profiles as WSGI: the path chooses."""

import os
import time

KILOBYTES_10 = b"x" * 10240
MEGABYTE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "htdocs/megabyte.bin")


def application(environ, start_response):
    name = environ["PATH_INFO"].rpartition("/")[2]
    kind = "application/octet-stream" if name == "file" else "text/plain"
    if name == "file":
        start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(os.path.getsize(MEGABYTE)))])
        return environ["wsgi.file_wrapper"](open(MEGABYTE, "rb"), 65536)
    if name == "page":
        body = KILOBYTES_10
    elif name == "upload":
        body = str(upload(environ)).encode()
    elif name == "wait":
        # As in profiles.py.
        time.sleep(0.01)
        body = b"waited"
    else:
        body = str(sum(range(20000))).encode()
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def upload(environ):
    total = 0
    while True:
        block = environ["wsgi.input"].read(65536)
        if not block:
            return total
        total += len(block)
