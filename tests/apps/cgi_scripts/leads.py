import io
import os
import sys

if os.environ["QUERY_STRING"] == "inner":
    print("Content-Type: text/plain\n")
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    print("inner")
else:
    import captures

    sys.stdout = kept = io.StringIO()
    captures.current.internal_redirect("/cgi/leads.py?inner")
    assert sys.stdout is kept and os.environ["QUERY_STRING"] == "outer"
    sys.stdout = None
    assert sys.stdout is not kept
