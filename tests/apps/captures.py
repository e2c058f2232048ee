"""Imported by a handler before the first CGI script runs: keeps what it finds, as many modules do."""

import os
import sys
from os import environ, getenv
from sys import stdin, stdout

from mod_python import apache

try:
    import cgi
except ImportError:
    cgi = None
if not hasattr(cgi, "FieldStorage"):
    cgi = None  # Python 3.13 has none; what was found is a directory of this name

buffer = stdin.buffer
binary = stdout.buffer


def query(variables=os.environ):
    return variables["QUERY_STRING"], environ.get("REQUEST_METHOD"), getenv("QUERY_STRING")


def handler(req):
    assert "QUERY_STRING" not in environ and "QUERY_STRING" not in os.environ
    stdout.write("kept by a handler\n")
    assert sys.stdout is stdout and sys.stdin is stdin
    req.write("captured")
    return apache.OK


current = None


def remembers(req):
    """For a script that needs its request."""
    global current
    current = current if req.args == "inner" else req
    return apache.OK
