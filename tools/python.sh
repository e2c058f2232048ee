#!/bin/sh
# Runs the suite, or a command, with another Python than this machine's, in a copy of the tree; PYTHON names it there. One that is
# installed (on the PATH, with pyenv, below /opt) is taken, copied where httpd's user could not read it. Where there is none, it
# is built from CPython's source: the newest of that version that Debian has, or SOURCE. A version with a t is free-threaded (PEP 703).
# usage: tools/python.sh 3.12|3.13|3.14t… [command…]    SOURCE=archive or its URL; PREFIX, COPY: where Python and the tree go
set -eu
cd "$(dirname "$0")/.."
version=${1:?which version? such as 3.13 or 3.14t}
shift
[ $# -gt 0 ] || set -- make test
prefix=${PREFIX:-/opt/mod_python/python$version}
copy=${COPY:-/tmp/mod_python-python$version}

need() { # program, package…
    command -v "$1" >/dev/null && return
    shift
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

fits() { # python: of this version, and with a library to embed
    "$1" -c 'import sys, sysconfig
found = "%d.%d" % sys.version_info[:2] + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
sys.exit(found != sys.argv[1] or not sysconfig.get_config_var("Py_ENABLE_SHARED"))' "$version" 2>/dev/null
}

installed() {
    for candidate in "$prefix/bin/python3" "$(command -v "python$version" || true)" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/${version%t}".*/bin/python3 /opt/*/bin/"python$version"; do
        ! fits "$candidate" || { echo "$candidate"; return; }
    done
}

everybody_can_run() { # python
    [ "$(id -u)" != 0 ] || runuser -u nobody -- "$1" -c 'import os' 2>/dev/null
}

relocate() { # python: its installation, as if it had been made for the prefix
    from=$("$1" -c 'import sys; print(sys.base_prefix)')
    need patchelf patchelf
    mkdir -p "$(dirname "$prefix")"
    cp -a "$from" "$prefix"
    chmod -R a+rX "$prefix"
    find "$prefix/bin" "$prefix/lib" -maxdepth 1 -type f \( -name "python$version" -o -name 'libpython*.so*' \) \
        -exec patchelf --set-rpath "$prefix/lib" {} \;
    grep -rlI "$from" "$prefix/bin" "$prefix/lib/pkgconfig" "$prefix/lib/python$version/"_sysconfigdata* "$prefix/lib/python$version/"config-* |
        xargs sed -i "s|$from|$prefix|g"
}

debians_source() { # folder: the URL of the newest that Debian has; a mirror may lack what the lists of its development branch name
    for suite in sid testing stable; do
        mkdir -p "$1/$suite/partial"
        echo "deb-src ${MIRROR:-http://deb.debian.org/debian} $suite main" >"$1/$suite.list"
        set -- "$1" -qq -o "Dir::Etc::SourceList=$1/$suite.list" -o Dir::Etc::SourceParts=/dev/null \
            -o "Dir::State::Lists=$1/$suite" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
        found=$(uris "$@") || found=""
        set -- "$1"
        [ -z "$found" ] || ! curl -fsSI "$found" >/dev/null 2>&1 || { echo "$found"; return; }
    done
}

uris() { # folder, options…
    shift
    apt-get update "$@" && apt-get source "$@" --print-uris "python${version%t}" 2>/dev/null | grep -o "http[^']*orig.tar.xz" | tail -1
}

build() {
    work=$copy.source
    rm -rf "$work"
    mkdir -p "$work"
    source=${SOURCE:-$(debians_source "$work/apt" || true)}
    [ -n "$source" ] || {
        echo "There is no Python $version here, and no source of it could be had from Debian: name an archive of CPython's, SOURCE=…" >&2
        exit 1
    }
    apt-get install -y -qq --no-install-recommends xz-utils gcc libc6-dev libssl-dev zlib1g-dev libffi-dev libsqlite3-dev libbz2-dev liblzma-dev uuid-dev >/dev/null
    case $source in *://*) curl -fsS -o "$work/archive" "$source" ;; *) cp "$source" "$work/archive" ;; esac
    tar -xf "$work/archive" --strip-components=1 -C "$work"
    (
        cd "$work"
        case $version in *t) gil=--disable-gil ;; *) gil="" ;; esac
        # shellcheck disable=SC2086 # an option or none
        ./configure -q --prefix="$prefix" $gil --enable-shared --disable-test-modules "LDFLAGS=-Wl,-rpath,$prefix/lib"
        make -s -j"$(nproc)"
        make -s install
    ) >"$work.log" 2>&1 || { echo "Python $version could not be built: see $work.log" >&2; exit 1; }
    rm -rf "$work"
}

python=$(installed)
if [ -z "$python" ]; then
    build
elif ! everybody_can_run "$python"; then
    relocate "$python"
fi
[ -n "$python" ] && everybody_can_run "$python" || python=$prefix/bin/python3
fits "$python" || { echo "$python is no Python $version with a shared library" >&2; exit 1; }
"$python" -c 'import sys; print(sys.executable, sys.version)'

# A copy of the tree: its target/ is another Python's.
mkdir -p "$copy"
git ls-files -z | tar -c --null -T - | tar -x -C "$copy"
cd "$copy"
export PYTHON="$python" PYO3_PYTHON="$python"
exec "$@"
