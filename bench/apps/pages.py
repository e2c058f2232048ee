"""Handlers of what mod_python sites are made of; they run on mod_python 3.5, too."""

from mod_python import Cookie, Session, apache, util, version

# In mod_python 3.5 the names in a body are bytes.
NAME, TOWN, TEXT = [name if version.version[0] != "3" else name.encode() for name in ("name", "town", "text")]


def session(req):
    found = Session.FileSession(req)
    found["visits"] = found.get("visits", 0) + 1
    found.save()
    req.content_type = "text/plain"
    req.write("visited", 0)
    return apache.OK


def form(req):
    fields = util.FieldStorage(req)
    req.content_type = "text/plain"
    req.write(f"{len(fields.getfirst(NAME))} {len(fields.getfirst(TOWN))} {len(fields[TEXT])}", 0)
    return apache.OK


def cookies(req):
    found = Cookie.get_cookies(req)
    Cookie.add_cookie(req, "theme", "dark", path="/")
    req.content_type = "text/plain"
    req.write(f"{len(found)} {found['basket'].value}", 0)
    return apache.OK


def headers(req):
    req.content_type = "text/plain"
    req.headers_out["X-One"] = "1"
    req.headers_out["X-Two"] = "2"
    agent = req.headers_in.get("User-Agent", "nobody")
    for number in range(10):
        req.write(f"{number} {agent[:3]}\n", 0)
    return apache.OK


def upload(req):
    fields = util.FieldStorage(req)
    file = fields["file"]
    req.content_type = "text/plain"
    req.write(f"{len(fields['name'])} {file.filename} {len(file.value)}", 0)
    return apache.OK


def flushed(req):
    req.content_type = "text/plain"
    for number in range(20):
        req.write(f"line {number}\n")
    return apache.OK
