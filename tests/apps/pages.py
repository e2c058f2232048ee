"""Handlers for pages with #python tags."""

from mod_python import apache


def fixuphandler(req):
    req.ssi_globals = {"prepared": "by a fixup"}
    return apache.OK


def dynamic(req):
    req.add_output_filter("INCLUDES")
    req.content_type = "text/html"
    req.write('a <!--#python eval="6 * 7" --> b')
    return apache.OK


def again(req):
    req.write("the child lives")
    return apache.OK
