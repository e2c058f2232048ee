"""An httpd of one's own: what ``mod_python start``, ``setup`` and ``create`` describe, write, start and watch.

From the top down: ``command`` (the command line), ``foreground`` and ``process`` (starting, watching, stopping), ``root`` (what is
written), ``configuration`` (the text of httpd.conf), ``options`` and ``targets`` (what is wanted), ``programs`` (what this machine
has), ``problems``. Inside httpd only ``preload`` is used, and ``probe`` in a process of its own.
"""
