#!/bin/sh
# Tries a wheel on a Debian that has no compiler, no headers and no Rust: installs it there, says what is missing, then serves Flask,
# FastAPI, a handler and pages, as root that drops to www-data. Needs root, debootstrap, and the net.
# usage: tools/try_wheel.sh dist/mod_python-….whl bookworm|trixie|sid     CHROOT=directory: where that Debian is, or is made;
# PYTHON=python3.15: another Python of that Debian; PREFIX=/opt/…: one of this machine's, which is shown there in the same place
set -eu
wheel=$(readlink -f "${1:?which wheel?}")
suite=${2:?which suite?}
cd "$(dirname "$0")/.."
root=${CHROOT:-$PWD/target/wheel/$suite}
prefix=${PREFIX:-}
python=${PYTHON:-${prefix:+$prefix/bin/}python3}
mirror=${MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || { echo "try_wheel.sh needs root, for debootstrap and chroot" >&2; exit 1; }

if [ ! -x "$root/usr/bin/python3" ]; then
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$root" "$mirror" >"$root.log"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
fi
# How this machine reaches its registries.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/apt/apt.conf.d/99* /etc/ssl/certs/ca-certificates.crt; do
    [ ! -f "$file" ] || { mkdir -p "$root$(dirname "$file")"; cp -L "$file" "$root$file"; }
done
rm -rf "$root/srv/try"
mkdir -p "$root/srv/try"
cp "$wheel" tools/try_wheel.py "$root/srv/try/"

case $python in
python3.*) chroot "$root" /bin/sh -c "apt-get update -qq && apt-get install -y -qq --no-install-recommends $python-venv" >/dev/null ;;
esac

# Mounts of this process's own: they go when it ends.
exec unshare --mount --propagation private sh -eu -c '
    root=$1 prefix=$2 python=$3
    if [ -n "$prefix" ]; then
        mkdir -p "$root$prefix"
        mount --bind "$prefix" "$root$prefix"
        # Whoever serves there has to pass what is above it.
        above=$(dirname "$prefix")
        while [ "$above" != / ]; do
            chmod o+x "$root$above"
            above=$(dirname "$above")
        done
    fi
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$python" /srv/try/try_wheel.py
' sh "$root" "$prefix" "$python"
