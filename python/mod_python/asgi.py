"""ASGI 3.0: ``PythonHandler mod_python.asgi`` with ``PythonOption mod_python.asgi.application package.module:application``.

``handler`` gives a request to the interpreter's event loop (``_asgi``), and sends what the application answers.
"""

from __future__ import annotations

import _apache

handler = _apache.asgi
