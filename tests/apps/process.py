"""What a handler sees while CGI scripts run."""

import os
import sys

from mod_python import apache


def handler(req):
    here = os.getcwd()
    req.write(f"{here} {'QUERY_STRING' in os.environ} {'LEFT_BEHIND' in os.environ} {len(sys.argv)}")
    return apache.OK
