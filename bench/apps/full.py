"""Three phases in Python: the user, the content, the log."""

from mod_python import apache


def authenhandler(req):
    req.get_basic_auth_pw()
    return apache.OK if req.user == "user" else apache.HTTP_UNAUTHORIZED


def handler(req):
    req.content_type = "text/plain"
    req.write("Hello World!", 0)
    return apache.OK


def loghandler(req):
    return apache.OK
