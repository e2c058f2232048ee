"""A Bottle application."""

import bottle

app = application = bottle.Bottle()


@app.get("/hello/<name>")
def hello(name):
    return f"Hello {name}"


@app.post("/login")
def login():
    if bottle.request.forms.password != "eggs":
        bottle.abort(403, "no")
    bottle.response.set_cookie("user", bottle.request.forms.user, secret="s")
    bottle.redirect("/bottle/me")


@app.get("/me")
def me():
    return bottle.request.get_cookie("user", secret="s") or "nobody"


@app.post("/upload")
def upload():
    return f"{bottle.request.files.file.filename} {len(bottle.request.files.file.file.read())}"


@app.get("/file")
def file():
    path = bottle.request.query.path
    directory, _, name = path.rpartition("/")
    return bottle.static_file(name, root=directory, mimetype="text/plain")


@app.get("/error")
def error():
    raise LookupError("in a route")
