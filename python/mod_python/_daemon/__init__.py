"""A daemon: an httpd of an application's own, and its keeper, which writes its configuration, starts and watches it.

The keeper is a process of the daemon's user that the operator's httpd starts (``PythonDaemon``). ``keeper`` is its loop, ``served`` one
generation of httpd, ``task`` what it is told, ``configuration`` what it writes.
"""
