#!/bin/sh
# Looks for known vulnerabilities in the crates and the Python packages that are used. Needs their databases, from the net.
# usage: tools/audit.sh virtual-environment
set -eu
venv=$1
command -v cargo-audit >/dev/null || cargo install --locked --quiet cargo-audit
cargo audit
"$venv/bin/pip" install -q --disable-pip-version-check pip-audit
"$venv/bin/pip-audit" -r tests/requirements.txt
