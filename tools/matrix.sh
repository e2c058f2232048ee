#!/bin/sh
# Builds the module and runs the suite against other Pythons, each in a Debian of its own below target/matrix (debootstrap):
# trixie has Python 3.13, sid the newest. The Rust toolchain is this machine's. Needs root.
# usage: tools/matrix.sh suite… [-- command]
set -eu
cd "$(dirname "$0")/.."
project=$PWD
mirror=${MIRROR:-http://deb.debian.org/debian}
cargo=${CARGO_HOME:-$HOME/.cargo}
rustup=${RUSTUP_HOME:-$HOME/.rustup}
suites=""
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    suites="$suites $1"
    shift
done
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- make test

[ "$(id -u)" = 0 ] || { echo "test-matrix needs root, for debootstrap and chroot" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null

prepare() { # suite, root
    [ ! -e "$2/ready" ] || return 0
    rm -rf "$2"
    mkdir -p "$2"
    echo "$1: debootstrap"
    debootstrap --variant=minbase --include=ca-certificates,make,procps,python3,util-linux "$1" "$2" "$mirror" >"$2.log"
    # No package starts a service there.
    printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
    chmod 755 "$2/usr/sbin/policy-rc.d"
    mkdir -p "$2/src" "$2/rust/cargo" "$2/rust/rustup"
    touch "$2/ready"
}

# How this machine reaches its registries.
settings() { # root
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/apt/apt.conf.d/99* /etc/ssl/certs/ca-certificates.crt; do
        [ ! -f "$file" ] || { mkdir -p "$1$(dirname "$file")"; cp -L "$file" "$1$file"; }
    done
}

inside() { # suite, root, command…
    suite=$1 root=$2
    shift 2
    mkdir -p "$project/target/matrix/$suite.target"
    # Mounts of this process's own: they go when it ends.
    unshare --mount --propagation private sh -eu -c '
        root=$1 project=$2 target=$3 cargo=$4 rustup=$5
        shift 5
        mount --bind "$project" "$root/src"
        mount --bind "$target" "$root/src/target"
        mount --bind "$cargo" "$root/rust/cargo"
        mount --bind "$rustup" "$root/rust/rustup"
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM=dumb \
            PATH=/rust/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            CARGO_HOME=/rust/cargo RUSTUP_HOME=/rust/rustup sh -euc "cd /src; exec \"\$@\"" sh "$@"
    ' sh "$root" "$project" "$project/target/matrix/$suite.target" "$cargo" "$rustup" "$@"
}

failed=""
summary=""
for suite in $suites; do
    root=$project/target/matrix/$suite
    prepare "$suite" "$root"
    settings "$root"
    version=$(chroot "$root" /usr/bin/python3 --version)
    log=$project/target/matrix/$suite.test.log
    echo "$suite: $version: $* (log: $log)"
    if inside "$suite" "$root" "$@" >"$log" 2>&1; then
        result=passed
    else
        result=FAILED failed=1
    fi
    summary="$summary
$suite, $version: $result: $(grep -E '^[0-9]+ (passed|failed)|passed|failed' "$log" | tail -1)"
done
echo "$summary"
[ -z "$failed" ]
