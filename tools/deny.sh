#!/bin/sh
# cargo deny: licences, duplicates and sources of the crates, by deny.toml. Builds it once, below target/. What has been found good
# (deny.sum) is so until one of the two files changes.
set -eu
cd "$(dirname "$0")/.."
sha256sum --check --status deny.sum && exit
tools=target/tools
[ -x $tools/bin/cargo-deny ] || cargo install --debug --quiet --locked --version 0.20.2 --root $tools cargo-deny
$tools/bin/cargo-deny --all-features check bans licenses sources
sha256sum Cargo.lock deny.toml >deny.sum
