"""mod_python: Python handlers for every phase of an Apache httpd request.

Inside httpd, ``from mod_python import apache`` gives handlers their constants, exceptions and
functions. Outside httpd the package can be imported too, for the parts that need no server.
"""

from mod_python import _native as _native  # first: makes `import _apache` work
from mod_python import version as version
from mod_python.version import version as mp_version

__all__ = ["apache", "cgihandler", "psp", "publisher", "python22", "util", "version"]

__version__ = mp_version
