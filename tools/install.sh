#!/bin/sh
# Installs what `make build` has made into the system's httpd, or below DESTDIR for a package; or removes it again. Builds nothing:
# root may have no Rust. Each version's Python package has a directory of its own, so that an httpd which still has another version
# loaded goes on with it.
# usage: DESTDIR=… PREFIX=/usr/local PYTHON=… tools/install.sh install|uninstall|built-for
set -eu
cd "$(dirname "$0")/.."
destination=${DESTDIR:-}
prefix=${PREFIX:-/usr/local}
python=${PYTHON:-/usr/bin/python3}
built=target/release/libmod_python.so

fail() {
    for line; do printf 'make %s: %s\n' "$action" "$line" >&2; done
    exit 1
}
tell() { printf '%s\n' "$*"; }

# The Python that the module was built for, such as 3.11 or 3.13t; nothing where it does not say so.
built_for() { LC_ALL=C grep -aoE 'libpython3\.[0-9]+[dt]*\.so' "$built" | sed -n '1s/libpython\(.*\)\.so/\1/p'; }

action=${1:?install or uninstall?}
if [ "$action" = built-for ]; then
    built_for
    exit
fi
apxs=$(command -v apxs || command -v apxs2) || fail "there is no apxs, which knows where httpd's modules are: install apache2-dev (Debian) or httpd-devel (Fedora)"
modules=$("$apxs" -q LIBEXECDIR)
settings=$("$apxs" -q SYSCONFDIR)/mods-available
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' python/mod_python/version.py)
package=$modules/python/mod_python-$version
program=$prefix/bin/mod_python
manual=$prefix/share/man/man1/mod_python.1

owner() { # file: the Debian package that it belongs to
    [ -z "$destination" ] && command -v dpkg >/dev/null || return 0
    # Where /lib is a link, dpkg may know a file by its other name. A diverted one (dpkg-divert) is the package's no more.
    known=$(dpkg -S "$1" 2>/dev/null || dpkg -S "$(readlink -f "$1")" 2>/dev/null || true)
    case $known in diversion*) ;; *) printf '%s\n' "$known" | sed -n '1s/: .*//p' ;; esac
}

refuse_packaged() {
    for file in "$modules/mod_python.so" "$program" "$manual"; do
        found=$(owner "$file")
        [ -z "$found" ] || fail "$file belongs to the Debian package $found, which would get it back with its next upgrade." \
            "Remove that first (apt-get remove $found); its settings in /etc/apache2 stay."
    done
}

# What is installed has to belong together: a mod_python.so looks for the package of its own version, and the command mod_python
# runs on the Python that the module embeds.
refuse_mixed() {
    found=$(LC_ALL=C grep -aoE 'mod_python/[0-9]+\.[0-9]+\.[0-9]+' "$built" | sed -n '1s|.*/||p')
    [ -z "$found" ] || [ "$found" = "$version" ] ||
        fail "$built is version $found, but its Python package, python/mod_python, is version $version: run \`make build\` again"
    embedded=$(built_for)
    here=$("$python" -I -c 'import sys, sysconfig; print("%d.%d%s" % (*sys.version_info[:2], sysconfig.get_config_var("abiflags") or ""))') ||
        fail "PYTHON=$python does not run"
    [ -z "$embedded" ] || [ "$embedded" = "$here" ] ||
        fail "$built was built for Python $embedded, but $python is Python $here: give \`make install\` the same PYTHON=… as \`make build\`"
}

# Whether a setting is as one of the versions that are installed has brought it.
untouched() { # file
    for shipped in "target/install/$1" target/install/shipped-*/"$1"; do
        ! cmp -s "$shipped" "$destination$settings/$1" || return 0
    done
    return 1
}

# A setting that somebody has edited, or that is a package's, stays; the new one lies beside it.
settle() { # file
    target=$destination$settings/$1
    new=target/install/$1
    if [ ! -e "$target" ]; then
        install -m 644 "$new" "$target"
    elif ! cmp -s "$new" "$target" && [ -z "$(owner "$settings/$1")" ] && untouched "$1"; then
        install -m 644 "$new" "$target"
        rm -f "$target.new"
    elif ! cmp -s "$new" "$target"; then
        install -m 644 "$new" "$target.new"
        tell "$target stays as it is; the new one is $target.new"
    else
        rm -f "$target.new"
    fi
}

prepare() {
    rm -rf target/install
    mkdir -p target/install
    sed "s|^\(LoadModule python_module\) .*|\1 $modules/mod_python.so|" apache/python.load >target/install/python.load
    cp apache/python.conf target/install/python.conf
    sed "s|@PYTHON@|$python|; s|@PACKAGE@|$package|" tools/mod_python.in >target/install/mod_python
    for shipped in "$destination$modules"/python/mod_python-*/settings; do
        [ ! -d "$shipped" ] || cp -r "$shipped" "target/install/shipped-$(basename "${shipped%/settings}")"
    done
}

case $action in
install)
    [ -f "$built" ] || fail "there is no $built yet: run \`make build\` first, as the user who has Rust, then \`make install\` as root"
    stale=$(find Cargo.toml Cargo.lock build.rs src apache -newer "$built" -type f | head -1)
    [ -z "$stale" ] || tell "$stale is newer than $built: what was built last is installed; \`make build\` builds anew"
    [ -n "$destination" ] || [ -w "$modules" ] || fail "$modules is not yours to write to: run it as root, or with DESTDIR=…"
    refuse_packaged
    refuse_mixed
    prepare
    # A file that is replaced, not overwritten: an httpd that runs has the old one mapped.
    install -D -m 644 "$built" "$destination$modules/mod_python.so.new"
    rm -rf "$destination$package"
    (cd python && find mod_python -name '*.py' -o -name py.typed) | while IFS= read -r file; do
        install -d -m 755 "$(dirname "$destination$package/$file")"
        install -m 644 "python/$file" "$destination$package/$file"
    done
    # What the next version compares with.
    install -d -m 755 "$destination$package/settings"
    install -m 644 target/install/python.load target/install/python.conf "$destination$package/settings"
    mv -f "$destination$modules/mod_python.so.new" "$destination$modules/mod_python.so"
    install -D -m 755 target/install/mod_python "$destination$program"
    install -d -m 755 "$destination${manual%/*}"
    install -m 644 docs/mod_python.1 "$destination$manual"
    if [ -n "$destination" ] || [ -d "$settings" ]; then
        install -d -m 755 "$destination$settings"
        settle python.load
        settle python.conf
    fi
    [ -z "$destination" ] || exit 0
    tell "mod_python $version is in $modules/mod_python.so"
    [ ! -d "$settings" ] || [ -e "${settings%available}enabled/python.load" ] || tell "Switch it on: a2enmod python"
    tell "Stop httpd and start it: a graceful restart keeps the mod_python.so that is loaded."
    for other in "$modules"/python/mod_python "$modules"/python/mod_python-*; do
        [ ! -d "$other" ] || [ "$other" = "$package" ] || tell "After that nobody needs $other any more."
    done
    ;;
uninstall)
    refuse_packaged
    enabled=$destination${settings%available}enabled/python.load
    if [ -e "$enabled" ] || [ -L "$enabled" ]; then
        fail "$enabled still loads it: a2dismod python, and restart httpd, first"
    fi
    [ -n "$destination" ] || [ -w "$modules" ] || fail "$modules is not yours to write to: run it as root"
    prepare
    rm -f "$destination$modules/mod_python.so" "$destination$program" "$destination$manual"
    rm -rf "$destination$modules/python/mod_python" "$destination$modules"/python/mod_python-*
    rmdir "$destination$modules/python" 2>/dev/null || true
    for name in python.load python.conf; do
        target=$destination$settings/$name
        rm -f "$target.new"
        if [ -z "$(owner "$settings/$name")" ] && untouched "$name"; then
            rm "$target"
        elif [ -e "$target" ]; then
            tell "$target stays: it is not as it was installed"
        fi
    done
    ;;
*) fail "only install, uninstall and built-for are known" ;;
esac
