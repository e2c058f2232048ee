"""A whole module that asks for a password."""

__auth_realm__ = "the module"


def __auth__(req, user, password):
    return (user, password) == ("spam", "eggs")


def index(req):
    return "inside"


value = "a value"
