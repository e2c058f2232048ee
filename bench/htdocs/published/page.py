"""A page of the publisher."""


def hello(req, name="nobody"):
    return f"Hello, {name}!"
