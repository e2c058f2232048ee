#!/bin/sh
# Builds the module with AddressSanitizer and runs a command with it, without one the suite on the event MPM. Not where memory is
# measured. The reports are in target/asan/reports: one is a failure. The stable toolchain can do it (RUSTC_BOOTSTRAP); its
# runtime is made into a library that httpd can preload.
# usage: tools/asan.sh [pytest's arguments | -- command…]
set -eu
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
# As the Makefile builds what is tested: what pyo3 would have to defer aborts.
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg pyo3_disable_reference_pool" \
    cargo build --quiet --locked --features test-faults --target "$host" --target-dir target/asan
built=target/asan/$host/debug
archive=target/asan/runtime.a
cp "$(rustc --print sysroot)/lib/rustlib/$host/lib/"librustc-*stable_rt.asan.a $archive
ar d $archive asan_preinit.cpp.o
gcc -shared -o target/asan/libruntime.so -Wl,--whole-archive $archive -Wl,--no-whole-archive -lpthread -ldl -lm -lrt -lstdc++
reports=target/asan/reports
rm -rf $reports
mkdir -m 777 -p $reports
chmod 777 $reports

if [ "${1:-}" = -- ]; then
    shift
else
    # Without files among the arguments: all tests but those of load, and of commands, which start httpd without the runtime.
    case " $* " in *" tests"*) ;; *) set -- tests --ignore tests/test_load.py --ignore tests/test_soak.py --ignore tests/test_papers.py --ignore tests/test_commands.py "$@" ;; esac
    set -- target/venv/bin/pytest -q -k "not worker and not prefork and not 100_mb and not large_upload" "$@"
fi
status=0
MOD_PYTHON_MODULE=$PWD/$built/libmod_python.so MOD_PYTHON_PRELOAD=$PWD/target/asan/libruntime.so PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:abort_on_error=1:log_path=$PWD/$reports/report \
    "$@" || status=$?
found=$(find $reports -type f | wc -l)
echo "$found reports of AddressSanitizer"
[ "$found" = 0 ] || [ "$status" != 0 ] || status=1
exit "$status"
