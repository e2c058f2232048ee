#!/bin/sh
# Fuzzes every parser for so many seconds, two at a time: the Rust ones with libFuzzer, the Python ones with atheris.
# Findings are left in target/fuzz/NAME-crash-…; the corpora that are kept are in tests/fuzz/corpus.
# usage: tools/fuzz.sh [seconds [name…]]
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
host=$(rustc -vV | sed -n 's/^host: //p')
rust="query=objects::query header=httpd::request::header handlers=config::handlers mounts=config::mount environ=gateway::wsgi::names
proxies=config::proxies status=gateway::headers directives=directives cookie=library::cookies websocket=gateway::asgi::websocket::frames"
python="psp multipart cookie query session"
wanted=${*:-all}

# What cargo-fuzz tells rustc, without a sanitizer: that would need a nightly toolchain.
# And what the Makefile tells it for tests (STRICT).
flags="--cfg pyo3_disable_reference_pool --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=$flags cargo test --quiet --locked --release --target "$host" --target-dir target/fuzz --no-run
binary=$(find "target/fuzz/$host/release/deps" -name 'mod_python-*' -type f -perm -100 | xargs ls -t | head -1)

options() { # name, work
    mkdir -p "target/fuzz/work/$2"
    echo "-max_total_time=$seconds -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix=target/fuzz/$2- target/fuzz/work/$2 tests/fuzz/corpus/$1"
}

one() { # language, name, module
    log="target/fuzz/$1-$2.log"
    status=0
    if [ "$1" = rust ]; then
        FUZZ_TARGET=$2 FUZZ_ARGS=$(options "$2" "rust-$2") "$binary" "$3::tests::fuzzed" --exact --nocapture >"$log" 2>&1 || status=$?
    else
        # shellcheck disable=SC2046 # options
        target/venv/bin/python tests/fuzz/drive.py "$2" $(options "$2" "python-$2") >"$log" 2>&1 || status=$?
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
    # A target that has been moved away from here would be no test, and pass.
    [ "$status" != 0 ] || [ -n "$runs" ] || status=1
    [ "$status" = 0 ] && result="no finding" || result="FINDING, see $log"
    printf '%-6s %-10s %10s runs in %s s, %s: %s\n' "$1" "$2" "${runs:-?}" "$seconds" "$covered" "$result"
    return "$status"
}

is_wanted() { [ "$wanted" = all ] || case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac; }

failed=0 waiting=""
join() {
    for pid in $waiting; do wait "$pid" || failed=1; done
    waiting=""
}
start() {
    is_wanted "$2" || return 0
    one "$@" &
    waiting="$waiting $!"
    # shellcheck disable=SC2086 # numbers
    set -- $waiting
    [ $# -lt 2 ] || join
}
for target in $rust; do start rust "${target%%=*}" "${target#*=}"; done
for name in $python; do start python "$name"; done
join
exit $failed
