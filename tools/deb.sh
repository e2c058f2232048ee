#!/bin/sh
# Packs what `make build` has made for Debian: dist/libapache2-mod-python-ng_….deb, and one with debugging symbols. Compiles nothing,
# takes nothing from the net, and needs no root. Its files are the same for the same build and commit.
# usage: tools/deb.sh [--version: says which it would be]
#   DEB_VERSION=…           another version than the one of version.py (with the commit's date, while CHANGELOG.md calls that unreleased)
#   DEBFULLNAME, DEBEMAIL   who packs it, as Debian's own tools take it
set -eu
cd "$(dirname "$0")/.."
project=$PWD
built=$project/target/release/libmod_python.so
output=dist
work=$project/target/deb/source

fail() {
    for line; do printf 'make deb: %s\n' "$line" >&2; done
    exit 1
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' python/mod_python/version.py)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH
if [ -z "${DEB_VERSION:-}" ]; then
    DEB_VERSION=$version
    # Older than the release, whatever comes behind the tilde.
    ! grep -q "^## $version (unreleased)" CHANGELOG.md || DEB_VERSION=$version~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S)
fi
if [ "${1:-}" = --version ]; then
    echo "$DEB_VERSION"
    exit
fi

[ -f "$built" ] || fail "there is no target/release/libmod_python.so yet: run \`make build\` first"
minor=$(tools/install.sh built-for | sed -n 's/^3\.\([0-9]*\)$/\1/p')
[ -n "$minor" ] || fail "the module was built for Python $(tools/install.sh built-for), which no Debian package is made for: PYTHON=/usr/bin/python3 make build"
debian=$(/usr/bin/python3 -c 'import sys; print(sys.version_info[1])')
[ "$minor" = "$debian" ] || fail "the module was built for Python 3.$minor, but python3 of this Debian is 3.$debian: PYTHON=/usr/bin/python3 make build"

maintainer="${DEBFULLNAME:-The mod_python developers} <${DEBEMAIL:-mod_python@localhost}>"

rm -rf "$work"
mkdir -p "$work" "$output"
ln -s "$project" "$work/upstream"
cp -r tools/debian "$work/debian"
sed -i "s|@MAINTAINER@|$maintainer|" "$work/debian/control"
cat >"$work/debian/changelog" <<END
libapache2-mod-python-ng ($DEB_VERSION) unstable; urgency=medium

  * mod_python $version; changelog.gz says what is new.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
log=$project/target/deb/build.log
# tools/setup.sh has seen to what is needed: not to a compiler, which all of Debian's own packages depend on.
(cd "$work" && MINOR=$minor LC_ALL=C.UTF-8 dpkg-buildpackage --build=binary --no-check-builddeps --no-sign >"$log" 2>&1) || {
    tail -20 "$log" >&2
    fail "that did not go well; all of it is in target/deb/build.log"
}
for file in target/deb/libapache2-mod-python-ng*_"${DEB_VERSION#*:}"_*.deb; do
    mv "$file" "$output/"
    echo "$output/${file##*/}"
done
