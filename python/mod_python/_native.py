"""Makes ``import _apache`` work: httpd's own module inside it, a stand-in for what needs no server outside."""

import sys

try:
    import _apache as _apache

    INSIDE = True
    """Does this run inside httpd?"""
except ImportError:
    from mod_python import _outside

    sys.modules["_apache"] = _outside
    INSIDE = False
