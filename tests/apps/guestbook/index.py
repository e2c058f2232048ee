"""An application of the old style: publisher, PSP, Session, Cookie, FieldStorage, as mod_python's manual describes them."""

import os

from mod_python import Cookie, Session, apache, psp, util

USERS = {"spam": "eggs"}


def _page(req, name, **vars):
    req.content_type = "text/html; charset=utf-8"
    return psp.PSP(req, filename=name, vars=vars)


def _session(req):
    if not hasattr(req, "session"):
        req.session = Session.Session(req)
    return req.session


def _uploads(req):
    return req.get_options()["uploads"]


def index(req):
    session = _session(req)
    if "user" not in session:
        last = Cookie.get_cookie(req, "last_user")
        return _page(req, "templates/login.html", error=None, last=last.value if last else "")
    files = sorted(os.listdir(_uploads(req)))
    session["visits"] = session.get("visits", 0) + 1
    session.save()
    return _page(req, "templates/home.html", user=session["user"], visits=session["visits"], files=files)


def login(req, user="", password=""):
    session = _session(req)
    if USERS.get(user) != password:
        req.status = apache.HTTP_FORBIDDEN
        return _page(req, "templates/login.html", error=f"{user}, that was wrong", last=user)
    session["user"] = user
    session.save()
    Cookie.add_cookie(req, "last_user", user, path="/", max_age=3600)
    util.redirect(req, "./")


def upload(req, file, note=""):
    session = _session(req)
    if "user" not in session:
        raise apache.SERVER_RETURN(apache.HTTP_FORBIDDEN)
    if not getattr(file, "filename", None):
        return _page(req, "templates/home.html", user=session["user"], visits=0, files=["(no file chosen)"])
    with open(os.path.join(_uploads(req), file.filename), "wb") as target:
        while block := file.file.read(65536):
            target.write(block)
    if note:
        with open(os.path.join(_uploads(req), file.filename + ".note"), "w") as target:
            target.write(note)
    util.redirect(req, "./")


def download(req, name):
    path = os.path.join(_uploads(req), os.path.basename(name))
    if not os.path.isfile(path):
        raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND)
    req.content_type = "application/octet-stream"
    req.headers_out["Content-Disposition"] = "attachment"
    req.sendfile(path)


def logout(req):
    _session(req).invalidate()
    util.redirect(req, "./")


class _Admin:
    def __auth__(self, req, user, password):
        return USERS.get(user) == password

    def count(self, req):
        return f"{len(os.listdir(_uploads(req)))} files"


admin = _Admin()
