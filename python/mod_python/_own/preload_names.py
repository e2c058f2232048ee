"""PythonOptions between ``configuration``, which writes them, and ``preload``, which reads them inside httpd."""

OPTION = "start.applications"
"""What is to be imported: JSON, a list of [module, name, is a factory]."""
REPORTS = "start.reports"
"""The directory where children list the files that they have imported."""
