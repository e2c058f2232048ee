#!/bin/sh
# The suite on the event MPM with AddressSanitizer in the module: reports are in target/asan/reports. Not where memory is measured.
# The stable toolchain can do it (RUSTC_BOOTSTRAP); its runtime is made into a library that httpd can preload.
set -eu
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo build --quiet --locked --features test-faults --target "$host" --target-dir target/asan
archive=target/asan/runtime.a
cp "$(rustc --print sysroot)/lib/rustlib/$host/lib/"librustc-*stable_rt.asan.a $archive
ar d $archive asan_preinit.cpp.o
gcc -shared -o target/asan/libruntime.so -Wl,--whole-archive $archive -Wl,--no-whole-archive -lpthread -ldl -lm -lrt -lstdc++
reports=target/asan/reports
rm -rf $reports
mkdir -m 777 -p $reports
chmod 777 $reports
status=0
MOD_PYTHON_MODULE=$PWD/target/asan/$host/debug/libmod_python.so MOD_PYTHON_PRELOAD=$PWD/target/asan/libruntime.so PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:abort_on_error=1:log_path=$PWD/$reports/report \
    target/venv/bin/pytest -q tests --ignore tests/test_load.py --ignore tests/test_soak.py --ignore tests/test_papers.py \
    -k "not worker and not prefork and not 100_mb and not large_upload" "$@" || status=$?
echo "$(find $reports -type f | wc -l) reports of AddressSanitizer"
exit $status
