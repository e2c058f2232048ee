def index(req, name="nobody"):
    return f"published for {name}"
