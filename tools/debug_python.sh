#!/bin/sh
# Builds the module against a debug build of the same CPython (Debian's python3-dbg), whose assertions end the child that breaks
# one, and runs tests with it on the event MPM: a selection, or what is named.
# usage: tools/debug_python.sh [pytest's arguments]
set -eu
cd "$(dirname "$0")/.."
venv=target/venv
python=$($venv/bin/python -c 'import os, sys; print(os.path.realpath(sys._base_executable))')-dbg
[ -x "$python" ] || { echo "There is no debug build of Python at $python: nothing was run with one"; exit 0; }
# The crates that only build, bindgen above all, are the same for both.
[ -d target/debug-python ] || [ ! -d target/debug ] || { mkdir target/debug-python && cp -a target/debug target/debug-python/; }
RUSTFLAGS="--cfg pyo3_disable_reference_pool" PYO3_PYTHON="$python" \
    cargo build --locked --features test-faults --target-dir target/debug-python
[ $# -gt 0 ] || set -- tests/test_faults.py tests/test_filters.py tests/test_forms.py tests/test_interpreters.py tests/test_phases.py \
    tests/test_request.py tests/test_sessions.py tests/test_soundness.py tests/test_wsgi.py
# Such a Python tells of every file that was not closed: handlers of the tests leave that to the end.
MOD_PYTHON_MODULE=$PWD/target/debug-python/debug/libmod_python.so PYO3_PYTHON="$python" PYTHONWARNINGS=ignore::ResourceWarning \
    $venv/bin/pytest -q -k event "$@"
