"""WSGI (PEP 3333): ``PythonHandler mod_python.wsgi`` with ``PythonOption mod_python.wsgi.application package.module``.

The whole exchange is native; ``handler`` is its beginning.
"""

from __future__ import annotations

import _apache

handler = _apache.wsgi
