"""PythonOptions between ``configuration``, which writes them, and ``preload``, which reads them inside httpd."""

OPTION = "start.application"
"""With a number behind it, from 0 on: what is to be imported, ``module::name``, ``module::factory()`` or ``module::``."""
REPORTS = "start.reports"
"""The directory where children list the files that they have imported: lines of modification time (ns), size, path."""
