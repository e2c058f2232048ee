#!/bin/sh
# Installs what building needs and this machine lacks, and what else is needed to run, to test … Says what and why; quick when nothing
# is missing.
# usage: tools/setup.sh [python [run|venv|deb|tests|fuzz|apifuzz|soak|leaks|hostile|memcheck|bench]]
set -eu
python=${1:-/usr/bin/python3}
purpose=${2:-}
missing=""

need() { # package, why, test command…
    package=$1 why=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing="$missing $package"
        printf 'mod_python needs %s: %s\n' "$package" "$why"
    fi
}

has() { command -v "$1"; }
has_httpd() { has apache2 || [ -x /usr/sbin/apache2 ] || has httpd || [ -x /usr/sbin/httpd ]; }
# Not libclang-cpp, which other packages bring along.
has_libclang() { ls /usr/lib/llvm-*/lib/libclang[.-]*.so* /usr/lib*/libclang.so* /usr/lib/*/libclang[.-]*.so* 2>/dev/null | grep -v cpp | grep -q .; }
has_postgres() { has initdb || ls /usr/lib/postgresql/*/bin/initdb; }
has_haproxy() { has haproxy || [ -x /usr/sbin/haproxy ]; }
has_python_h() { "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; }

# PyO3's oldest, and pyproject.toml's; cargo would say it in the middle of forty lines.
if has "$python" >/dev/null && ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    echo "mod_python needs Python 3.9 or newer, and $python is $("$python" -V 2>&1): PYTHON=… make names another one" >&2
    exit 1
fi

need apache2-dev "apxs and the headers to build a module with" has apxs
need gcc "the C compiler that links the module" has cc
need libc6-dev "the C library's headers" test -e /usr/include/stdlib.h
need libclang-dev "bindgen reads httpd's headers with it" has_libclang
need python3 "the Python to embed" has "$python"
need python3-dev "Python's headers and shared library" has_python_h

# Names of purposes that the Makefile uses; without one: what building needs.
runs_httpd() { case $purpose in "" | venv | deb) return 1 ;; esac; }
is_for_tests() { runs_httpd && [ "$purpose" != run ]; }

if runs_httpd; then
    # apache2-bin is httpd without the system's service: nothing is started, no port is taken.
    need apache2-bin "the web server itself (its service is neither installed nor touched)" has_httpd
fi

if is_for_tests; then
    need apache2-utils "ab, the load generator" has ab
    need curl "an HTTP client" has curl
fi

if [ "$purpose" = venv ] || is_for_tests; then
    need python3-venv "virtual environments: PythonHome, and the tests' own" "$python" -c 'import ensurepip, venv'
fi

if [ "$purpose" = deb ] || [ "$purpose" = tests ]; then
    need dpkg-dev "what makes Debian packages" has dpkg-buildpackage
    need debhelper "the conventions of Debian packages" has dh
    need dh-python "Python in Debian packages" has dh_python3
    need chrpath "a search path that a package must not have" has chrpath
fi

if [ "$purpose" = tests ]; then
    modules=$(apxs -q LIBEXECDIR 2>/dev/null || echo /usr/lib/apache2/modules)
    need redis-server "sessions in Redis" has redis-server
    need postgresql "sessions in PostgreSQL" has_postgres
    need haproxy "a load balancer in front of two servers" has_haproxy
    need chromium "a browser" has chromium
    need chromium-driver "what drives the browser" has chromedriver
    need prometheus "what reads the metrics" has prometheus
    need libapache2-mod-xsendfile "a module to run beside" test -e "$modules/mod_xsendfile.so"
    need libapache2-mod-security2 "a module to run beside" test -e "$modules/mod_security2.so"
    # Another Python than Debian's has no debug build of the same version there.
    case $(readlink -f "$(command -v "$python")") in
    /usr/bin/*) need python3-dbg "a debug build of the same Python, whose assertions tests run against" has "$(readlink -f "$(command -v "$python")")-dbg" ;;
    esac
fi

if [ "$purpose" = fuzz ]; then
    need g++ "libFuzzer is written in C++" has g++
fi

if [ "$purpose" = apifuzz ]; then
    need gdb "where a child that hangs or has crashed is" has gdb
fi

if [ "$purpose" = hostile ]; then
    need slowhttptest "clients that take their time" has slowhttptest
fi

if [ "$purpose" = memcheck ]; then
    need valgrind "memcheck" has valgrind
fi

if [ "$purpose" = bench ]; then
    modules=$(apxs -q LIBEXECDIR 2>/dev/null || echo /usr/lib/apache2/modules)
    need libapache2-mod-python "the original, to compare with" test -e "$modules/mod_python.so"
    need libapache2-mod-wsgi-py3 "mod_wsgi as Debian has it" test -e "$modules/mod_wsgi.so"
    need nginx-light "a web server to compare with" test -x /usr/sbin/nginx
    need uwsgi-core "uWSGI, to compare with" has uwsgi
    need uwsgi-plugin-python3 "Python for uWSGI" test -e /usr/lib/uwsgi/plugins/python3_plugin.so
    need valgrind "callgrind, which counts instructions" has valgrind
    need wrk "a load generator" has wrk
    need util-linux "taskset, which keeps server and load apart" has taskset
fi

if ! has cargo >/dev/null; then
    oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
    echo "mod_python needs Rust $oldest or newer: install it with rustup, https://rustup.rs" >&2
    exit 1
fi
[ -n "$missing" ] || exit 0

if ! has apt-get >/dev/null; then
    echo "Install what corresponds to these Debian packages on this system, then try again:$missing" >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    as_root=""
elif has sudo >/dev/null; then
    as_root="sudo"
else
    echo "Type this as root, then try again: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
# No package starts a service here: a web server would take the system's port.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '$as_root rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
fi
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $missing >/dev/null
