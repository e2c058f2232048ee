#!/bin/sh
# Lets lintian look at the Debian package, and tries it where there is no compiler and no Rust: installs it in place of Debian's own
# mod_python, serves a handler and a WSGI application, upgrades, removes and purges it. Needs root, debootstrap, and the net for
# Debian's packages.
# usage: tools/try_deb.sh dist/libapache2-mod-python-ng_….deb bookworm|trixie     CHROOT=directory: where that Debian is, or is made
set -eu
package=$(readlink -f "${1:?which package?}")
suite=${2:?which suite?}
cd "$(dirname "$0")/.."
root=${CHROOT:-$PWD/target/deb/$suite}
mirror=${MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || { echo "try_deb.sh needs root, for debootstrap and chroot" >&2; exit 1; }

command -v lintian >/dev/null || apt-get install -y -qq --no-install-recommends lintian >/dev/null
lintian --fail-on error,warning "$package"

if [ ! -x "$root/usr/bin/python3" ]; then
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates,python3 "$suite" "$root" "$mirror" >"$root.log"
fi
# How this machine reaches its registries.
for file in /etc/resolv.conf /etc/hosts /etc/apt/apt.conf.d/99* /etc/ssl/certs/ca-certificates.crt; do
    [ ! -f "$file" ] || { mkdir -p "$root$(dirname "$file")"; cp -L "$file" "$root$file"; }
done
rm -rf "$root/srv/try"
mkdir -p "$root/srv/try"
cp "$package" "$root/srv/try/first.deb"
cp tools/try_deb.py "$root/srv/try/"

# The next version, with another python.conf.
next=$root/srv/try/next
dpkg-deb -R "$package" "$next"
sed -i 's/^\(Version: .*\)/\1+next/' "$next/DEBIAN/control"
echo "# Of the next version." >>"$next/etc/apache2/mods-available/python.conf"
dpkg-deb --root-owner-group --build "$next" "$next.deb" >/dev/null
rm -rf "$next"

# Processes and mounts of its own: nothing outside is seen or stopped, and they go when it ends.
exec unshare --mount --propagation private --pid --fork --kill-child sh -eu -c '
    root=$1
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    # Not exec: this shell is process 1, and waits for the daemons that have lost their parents.
    status=0
    chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin python3 /srv/try/try_deb.py || status=$?
    exit $status
' sh "$root"
