"""Shows what a request is made of: http://127.0.0.1:8888/environ"""

from mod_python import apache


def handler(req):
    req.content_type = "text/plain; charset=utf-8"
    req.write(f"{req.the_request}\n\n", 0)
    for name, value in req.headers_in.items():
        req.write(f"{name}: {value}\n", 0)
    req.write(f"\nfrom {req.useragent_ip}, in interpreter {req.interpreter}\n", 0)
    return apache.OK
