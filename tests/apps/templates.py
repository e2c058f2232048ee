"""PSP templates that handlers run."""

import os

from mod_python import apache, psp


def from_file(request):
    page = psp.PSP(request, filename="page.tmpl", vars={"title": "a <title>", "items": ["x"]})
    request.content_type = "text/html"
    page.run({"items": [1, 2]})
    return apache.OK


def handler(req):
    return from_file(req) if req.filename.endswith(".file") else generated(req)


def from_string(req):
    psp.PSP(req, string="<%= a %> é <%= __name__ %>", vars={"a": 5}).run(flush=1)
    return apache.OK


def both(req):
    try:
        psp.PSP(req, filename="x", string="y")
    except ValueError as error:
        req.write(str(error))
    return apache.OK


def generated(request):
    request.write(psp.parsestring("a <%= 1 %>"))
    request.write(psp.parse("page.tmpl", os.path.dirname(request.filename) + "/"))
    return apache.OK
