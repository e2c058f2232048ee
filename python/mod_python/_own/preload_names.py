"""PythonOptions between ``configuration``, which writes them, and ``preload``, which reads them inside httpd."""

OPTION = "start.application"
"""With a number behind it, from 0 on: what is to be imported, its kind in front: ``wsgi module::name``, ``asgi module::factory()`` or
``handler module::``."""
DIRECTORY = "start.directory"
"""The working directory of the application, by the codec unicode_escape."""
REPORTS = "start.reports"
"""The directory where children list the files that they have imported: lines of modification time (ns), size, path."""
NEW = ".new"
"""The end of such a list's name while it is being written."""
LIFESPAN = "mod_python.asgi.lifespan"
LOOP = "mod_python.asgi.loop"
"""Options of ASGI's, in small letters."""
