#!/bin/sh
# Looks for known vulnerabilities in the crates and the Python packages that are used. Needs their databases, from the net.
# usage: tools/audit.sh virtual-environment
set -eu
venv=$1
status=0
[ -x target/tools/bin/cargo-audit ] || cargo install --locked --quiet --root target/tools cargo-audit
target/tools/bin/cargo-audit audit || status=1
"$venv/bin/pip" install -q --disable-pip-version-check pip-audit
"$venv/bin/pip-audit" -r tests/requirements.txt || status=1
exit $status
