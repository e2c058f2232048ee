"""A Flask application: log in, post, upload, download, stream."""

import hashlib
import io
import logging

from flask import Flask, Response, abort, redirect, request, send_file, session, stream_with_context, url_for

app = Flask(__name__)
app.secret_key = "only a test"


@app.route("/")
def index():
    return f"Hello, {session.get('user', 'nobody')}"


@app.post("/login")
def login():
    if request.form["password"] != "eggs":
        abort(403)
    session["user"] = request.form["user"]
    return redirect(url_for("index"))


@app.post("/upload")
def upload():
    file, digest = request.files["file"], hashlib.sha256()
    while block := file.stream.read(65536):
        digest.update(block)
    return {"name": file.filename, "digest": digest.hexdigest(), "note": request.form.get("note")}


@app.get("/download")
def download():
    return send_file(io.BytesIO(b"downloaded " * 1000), download_name="file.txt", mimetype="text/plain")


@app.get("/file")
def real_file():
    return send_file(request.args["path"], conditional=True)


@app.get("/stream")
def stream():
    return Response(stream_with_context(f"{number}," for number in range(1000)), mimetype="text/plain")


@app.get("/error")
def error():
    raise LookupError("in a view")


@app.get("/logs")
def logs():
    logging.getLogger("flask_app").warning("logged by logging")
    app.logger.error("logged by Flask")
    return "logged"


@app.get("/where")
def where():
    return f"{request.script_root} {request.path} {url_for('where', _external=True)} {request.remote_addr}"
