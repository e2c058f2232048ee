#!/bin/sh
# Builds a free-threaded CPython (PEP 703) from Debian's source package below PREFIX, and the module against it, and runs the suite.
# usage: tools/free_threaded.sh [pytest's arguments]    SOURCE=url of another .orig.tar.xz; PREFIX where httpd's user can read
set -eu
cd "$(dirname "$0")/.."
pool=http://deb.debian.org/debian/pool/main/p/python3.14
source=${SOURCE:-$pool/python3.14_3.14.7.orig.tar.xz}
prefix=${PREFIX:-/opt/mod_python/python3.14t}
if [ ! -x "$prefix/bin/python3" ]; then
    apt-get install -y -qq --no-install-recommends xz-utils gcc libc6-dev libssl-dev zlib1g-dev libffi-dev libsqlite3-dev libbz2-dev liblzma-dev uuid-dev >/dev/null
    work=target/free-threaded/python
    rm -rf $work
    mkdir -p $work
    curl -fsS "$source" | tar -xJ --strip-components=1 -C $work
    (
        cd $work
        ./configure -q --prefix="$prefix" --disable-gil --enable-shared --disable-test-modules "LDFLAGS=-Wl,-rpath,$prefix/lib"
        make -s -j"$(nproc)"
        make -s install
    ) >target/free-threaded/build.log 2>&1
fi
"$prefix/bin/python3" -c 'import sys; assert not sys._is_gil_enabled(); print(sys.version)'
# A copy of the tree: its target/ is another Python's.
copy=${COPY:-/tmp/mod_python-free-threaded}
mkdir -p "$copy"
git ls-files -z | tar -c --null -T - | tar -x -C "$copy"
cd "$copy"
PYTHON=$prefix/bin/python3 make test ARGS="$*"
