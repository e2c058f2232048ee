"""Who was here before, by the connection's notes; and, if asked, by which address."""

from mod_python import apache


def handler(req):
    text = req.connection.notes.get("who", "nobody")
    if req.args == "address":
        text += " {}:{}".format(*req.connection.remote_addr)
    req.connection.notes["who"] = "alice"
    req.set_content_length(len(text))
    req.write(text, 0)
    return apache.OK
