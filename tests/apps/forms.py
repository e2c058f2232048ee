"""Handlers that read forms."""

import hashlib
import json
import os
import tempfile

from mod_python import apache, util


def shown(value):
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, util.Field):
        return ["file", value.filename, value.type, len(value.value)]
    return str(value)


def everything(req):
    form = util.FieldStorage(req, keep_blank_values=1)
    answer = {"items": [[name, shown(field)] for name, field in form.items()], "keys": form.keys(), "len": len(form)}
    req.content_type = "application/json"
    req.write(json.dumps(answer))
    return apache.OK


def upload(req):
    """A file as it lies on disk, and how much memory this took."""
    form = util.FieldStorage(req)
    field = form["file"]
    digest = hashlib.sha256()
    while block := field.file.read(65536):
        digest.update(block)
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    req.write(f"{field.filename} {digest.hexdigest()} {peak}")
    return apache.OK


def callbacks(req):
    made = []

    def file_callback(filename):
        made.append(tempfile.NamedTemporaryFile(prefix="kept-", delete=False))
        return made[-1]

    def field_callback():
        import io

        return io.BytesIO()

    form = util.FieldStorage(req, file_callback=file_callback, field_callback=field_callback)
    with open(made[0].name, "rb") as file:
        req.write(f"{form['file'].filename} {file.read()!r} {form['text']}")
    os.unlink(made[0].name)
    return apache.OK


class Target:
    def __call__(self, name, other="default"):
        return f"{name} {other}"


def applied(req):
    form = util.FieldStorage(req)
    results = [
        util.apply_fs_data(lambda req, name: f"{req.uri} {name}", form, req=req),
        util.apply_fs_data(Target(), form, req=req),
        util.apply_fs_data(lambda **kw: sorted(kw), form, own=1),
        util.apply_fs_data(lambda *, name: f"keyword {name}", form),
    ]
    req.write(json.dumps(results))
    return apache.OK


def redirects(req):
    util.redirect(req, req.args or "/elsewhere", permanent=req.uri.endswith("permanent"))


def late_redirect(req):
    req.write("sent")
    try:
        util.redirect(req, "/elsewhere")
    except OSError as error:
        req.write(f" {error}")
    return apache.OK


def bad_redirect(req):
    try:
        util.redirect(req, "/a\r\nSet-Cookie: b=c")
    except ValueError as error:
        req.write(str(error))
    return apache.OK
