"""The part that is whole."""

from mod_python import apache

__all__ = ["handler"]


def handler(req):
    req.content_type = "text/plain"
    req.write("whole")
    return apache.OK
