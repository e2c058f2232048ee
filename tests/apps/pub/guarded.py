"""Authentication at every level."""

import functools

ran = []


def open_to_all(req):
    return "open"


def by_function(req):
    def __auth__(req, user, password):
        return user == "spam" and password == "eggs"

    def __access__(req, user):
        return user == "spam"

    __auth_realm__ = 'a "realm"'
    ran.append(1)
    return f"secret {len(ran)}"


def by_dict(req):
    """A docstring, too."""
    __auth__ = {"spam": "eggs", "ham": "eggs"}
    __access__ = ["spam"]
    return "secret"


def by_constants(req):
    __auth__ = True
    __access__ = ("spam",)
    return "secret"


def never(req):
    __auth__ = 0
    return "secret"


def nobody(req):
    __access__ = 0
    return "secret"


def access_only(req):
    __access__ = ["spam"]
    return "secret"


users = {"spam": "eggs"}


def by_name(req):
    __auth__ = users
    return "secret"


def late(req):
    if req:
        __auth__ = {"spam": "eggs"}
    return "secret"


class Guarded:
    __auth__ = {"spam": "eggs"}
    __auth_realm__ = "the class"

    def method(self, req):
        return "the method"

    def inner(self, req):
        def __access__(req, user):
            return user == "ham"

        return "the inner"


guarded = Guarded()


class Called:
    def __call__(self, req):
        __auth__ = {"spam": "eggs"}
        return "secret"


in_partial = functools.partial(by_dict)
in_partials = functools.partial(functools.partial(by_name))
in_cache = functools.lru_cache(maxsize=1)(by_dict)
in_call = Called()
in_called = functools.partial(in_call)
