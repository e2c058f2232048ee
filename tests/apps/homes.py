"""What an interpreter sees of virtual environments."""

import sys

from mod_python import apache


def handler(req):
    names = req.args.split(",") if req.args else []
    found = []
    for name in names:
        try:
            found.append(str(__import__(name).VALUE))
        except ImportError:
            found.append("none")
    req.write(" ".join([*found, sys.prefix]))
    return apache.OK


def path(req):
    req.write("\n".join([sys.executable, *sys.path]))
    return apache.OK
