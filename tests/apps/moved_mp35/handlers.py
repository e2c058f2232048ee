from mod_python import Session, apache


def inithandler(req):
    req.notes["begun"] = "yes"
    return apache.OK


def handler(req):
    session = Session.Session(req)
    session["visits"] = session.get("visits", 0) + 1
    session.save()
    req.content_type = "text/plain"
    req.write(f"{req.notes.get('begun')} {session['visits']} {len(req.read())}")
    return apache.OK


def authenhandler(req):
    password = req.get_basic_auth_pw()
    return apache.OK if (req.user, password) == ("me", "secret") else apache.HTTP_UNAUTHORIZED


def upper(filter):
    text = filter.read()
    while text:
        filter.write(text.upper())
        text = filter.read()
    if text is None:
        filter.close()
