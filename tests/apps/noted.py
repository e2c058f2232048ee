"""Who was here before, by the connection's notes."""

from mod_python import apache


def handler(req):
    req.write(req.connection.notes.get("who", "nobody"))
    req.connection.notes["who"] = "alice"
    return apache.OK
