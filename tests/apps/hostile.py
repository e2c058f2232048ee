"""A handler that keeps count of what reaches it."""

import json

from mod_python import apache


def handler(req):
    """Notes the request and its body, before and after reading it."""
    note(req, "begun", "")
    body = req.read()
    note(req, "read", body.decode("latin-1"))
    req.content_type = "text/plain"
    req.write(f"{req.method} {len(body)}\n")
    return apache.OK


def note(req, what, body):
    with open(req.get_options()["notes"], "a") as notes:
        notes.write(json.dumps([what, req.method, req.unparsed_uri, body]) + "\n")
