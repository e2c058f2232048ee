#!/bin/sh
# Runs some of the suite beside what Debian's httpd loads and sets by default, on the event MPM: what others' modules expect of a
# request, and do to it.
# usage: tools/test_beside.sh virtual-environment [pytest's arguments]
set -eu
cd "$(dirname "$0")/.."
venv=$1
shift
[ $# -gt 0 ] || set -- tests/test_hello.py tests/test_request.py tests/test_wsgi.py tests/test_publisher.py tests/test_sessions.py \
    tests/test_phases.py tests/test_places.py tests/test_suspended.py
MOD_PYTHON_TEST_BESIDE=debian "$venv/bin/pytest" -q -k "not worker and not prefork" "$@"
