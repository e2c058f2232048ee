#!/bin/sh
# cargo deny: licences, duplicates and sources of the crates, by deny.toml. Builds it once, below target/.
set -eu
cd "$(dirname "$0")/.."
tools=target/tools
[ -x $tools/bin/cargo-deny ] || cargo install --debug --quiet --locked --version 0.20.2 --root $tools cargo-deny
$tools/bin/cargo-deny --all-features check bans licenses sources
