"""Cookies that handlers set and read."""

import json

from mod_python import Cookie, apache


def sets(req):
    Cookie.add_cookie(req, "plain", "value", path="/", httponly=True)
    Cookie.add_cookie(req, Cookie.JsonCookie("data", {"n": 1}, "secret", samesite="Strict"))
    req.write("ok")
    return apache.OK


def sets_and_fails(req):
    Cookie.add_cookie(req, "kept", "yes")
    return apache.HTTP_NOT_FOUND


def gets(req):
    plain = {name: cookie.value for name, cookie in Cookie.get_cookies(req).items()}
    data = Cookie.get_cookie(req, "data", Cookie.JsonCookie, secret="secret", mismatch=Cookie.Cookie.IGNORE)
    req.write(json.dumps([plain, data and data.value]))
    return apache.OK


def returns(req):
    """Sends back the cookie that has come."""
    cookie = Cookie.get_cookie(req, "a")
    Cookie.add_cookie(req, "a", cookie.value)
    req.write(json.dumps(cookie.value))
    return apache.OK
