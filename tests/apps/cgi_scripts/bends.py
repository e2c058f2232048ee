import codecs
import contextlib
import io
import os
import sys

way = os.environ["QUERY_STRING"]
print("Content-Type: text/plain\n")
print("first", way)
if way == "wrapped":
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
elif way == "detached":
    sys.stdout = codecs.getwriter("utf-8")(sys.stdout.detach())
elif way == "closed":
    sys.stdout.close()
    sys.exit(0)
elif way == "none":
    sys.stdout = None
elif way == "deleted":
    del sys.stdout
elif way == "buffer":
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.buffer.raw), encoding="utf-8")
elif way == "redirected":
    contextlib.redirect_stdout(io.TextIOWrapper(sys.stdout.buffer)).__enter__()
elif way == "reconfigured":
    sys.stdout.reconfigure(encoding="latin-1", line_buffering=False, write_through=False)
elif way == "environ":
    os.environ.clear()
    os.environ = {}  # noqa: B003
print("second")
