"""Handlers for the profiles beside hello: bodies, files, uploads, waiting, computing."""

import os
import time

from mod_python import apache

KILOBYTES_10 = b"x" * 10240
MEGABYTE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "htdocs/megabyte.bin")


def page(req):
    req.content_type = "text/plain"
    req.write(KILOBYTES_10, 0)
    return apache.OK


def file(req):
    req.content_type = "application/octet-stream"
    req.sendfile(MEGABYTE)
    return apache.OK


def upload(req):
    total = 0
    while True:
        block = req.read(65536)
        if not block:
            break
        total += len(block)
    req.write(str(total), 0)
    return apache.OK


def wait(req):
    # What is measured: a handler that waits for something else, a database say.
    time.sleep(0.01)
    req.write("waited", 0)
    return apache.OK


def compute(req):
    req.write(str(sum(range(20000))), 0)
    return apache.OK
