"""What stands beside this module: the modules and settings of a fresh Debian httpd, and many more of httpd's modules.

Configuration alone, below httpd.py, which puts it beside every server of the suite where MOD_PYTHON_TEST_BESIDE says so.
"""

from __future__ import annotations

from pathlib import Path

_DEBIAN = (
    "access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user autoindex deflate dir env "
    "filter mime negotiation reqtimeout setenvif status"
)
DEBIAN_MODULES = _DEBIAN.split()
"""What Debian's apache2 package enables, the MPM apart."""

_MANY = (
    # Before modules that ask for them when their directives are read.
    "socache_shmcb session request slotmem_shm xml2enc include rewrite proxy proxy_http proxy_balancer "
    "lbmethod_byrequests proxy_html dav dav_fs dav_lock actions mime_magic speling userdir vhost_alias cache cache_disk "
    "ext_filter substitute headers expires ratelimit buffer sed session_cookie session_crypto auth_digest auth_form "
    "authn_anon authn_dbm authn_socache authz_dbm authz_groupfile authz_owner usertrack unique_id info lua asis "
    "cern_meta imagemap log_debug log_forensic dumpio data allowmethods macro http2 ssl brotli charset_lite remoteip "
    "reflector file_cache dialup"
)
MANY_MODULES = _MANY.split()
"""Modules that httpd and Debian ship and that take part in requests, in the order in which they are loaded."""

THIRD_PARTY = ("xsendfile", "security2")
"""Modules of other packages: libapache2-mod-xsendfile, libapache2-mod-security2."""


def cgi_module(mpm: str) -> str:
    """What `a2enmod cgi` enables for an MPM."""
    return "cgi" if mpm == "prefork" else "cgid"


def is_installed(libexec: Path, name: str) -> bool:
    """Whether a module's file is there."""
    return (libexec / f"mod_{name}.so").exists()


def _icons() -> str:
    by_ending = {
        "binary.gif": ".bin .exe",
        "binhex.gif": ".hqx",
        "tar.gif": ".tar",
        "world2.gif": ".wrl .wrl.gz .vrml .vrm .iv",
        "compressed.gif": ".Z .z .tgz .gz .zip",
        "a.gif": ".ps .ai .eps",
        "layout.gif": ".html .shtml .htm .pdf",
        "text.gif": ".txt",
        "c.gif": ".c",
        "p.gif": ".pl .py",
        "f.gif": ".for",
        "dvi.gif": ".dvi",
        "uuencoded.gif": ".uu",
        "script.gif": ".conf .sh .shar .csh .ksh .tcl",
        "tex.gif": ".tex",
        "bomb.gif": "/core",
        "back.gif": "..",
        "hand.right.gif": "README",
        "folder.gif": "^^DIRECTORY^^",
        "blank.gif": "^^BLANKICON^^",
    }
    lines = [f"AddIcon /icons/{icon} {endings}" for icon, endings in by_ending.items()]
    lines += [
        f"AddIcon /icons/odf6{kind}-20x22.png .{kind}"
        for kind in ("odt", "ods", "odp", "odg", "ott", "ots", "otp", "otg")
    ]
    by_type = {
        "TXT,text.gif": "text/*",
        "IMG,image2.gif": "image/*",
        "SND,sound2.gif": "audio/*",
        "VID,movie.gif": "video/*",
    }
    for icon, types in by_type.items():
        label, _, file = icon.partition(",")
        lines.append(f"AddIconByType ({label},/icons/{file}) {types}")
    lines.append("AddIconByEncoding (CMP,/icons/compressed.gif) x-compress x-gzip x-bzip2")
    lines.append(
        "AddIcon (SND,/icons/sound2.gif) .ogg\nAddIcon (VID,/icons/movie.gif) .ogm\nDefaultIcon /icons/unknown.gif"
    )
    return "\n".join(lines) + "\n"


def _languages() -> str:
    own = (
        "am:amh ar:ara be bg bn br bs ca cs:cz cy da:dk de dz el en eo es et eu fa fi fr ga gl:glg gu he hi hr hu hy id "
        "is it ja ka kk km kn ko ku lo lt ltz lv mg mk ml mr ms:msa nb:nob ne nl nn no pa pl:po pt-BR:pt-br pt ro ru sa "
        "se si sk sl sq sr sv ta te th tl tr uk ur vi wo xh zh-CN:zh-cn zh-TW:zh-tw"
    )
    lines = ["RemoveType es", "RemoveType tr"]
    for language in own.split():
        name, _, ending = language.partition(":")
        lines.append(f"AddLanguage {name} .{ending or name}")
    charsets = {"us-ascii": ".ascii .us-ascii", "Big5": ".Big5 .big5 .b5", "WINDOWS-1251": ".cp-1251 .win-1251"}
    charsets.update({"CP866": ".cp866", "KOI8-r": ".koi8-r .koi8-ru", "KOI8-ru": ".koi8-uk .ua", "EUC-TW": ".euc-tw"})
    charsets.update({"UTF-8": ".utf8", "UTF-16": ".utf16", "gb2312": ".gb2312 .gb", "shift_jis": ".shift_jis .sjis"})
    charsets.update(
        {f"ISO-8859-{part}": f".iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)}
    )
    charsets["ISO-8859-1"] += " .latin1"
    charsets["ISO-8859-2"] += " .latin2 .cen"
    lines += [f"AddCharset {name} {endings}" for name, endings in charsets.items()]
    return "\n".join(lines) + "\n"


def _browsers() -> str:
    downgraded = ["RealPlayer 4\\.0", "Java/1\\.0", "JDK/1\\.0"]
    careful = ["Microsoft Data Access Internet Publishing Provider", "MS FrontPage", "^WebDrive", "^WebDAVFS/1\\.[012]"]
    careful += ["^gnome-vfs/1\\.0", "^gvfs/1", "^XML Spy", "^Dreamweaver-WebDAV-SCM1", " Konqueror/4"]
    lines = ['BrowserMatch "Mozilla/2" nokeepalive']
    lines.append('BrowserMatch "MSIE 4\\.0b2;" nokeepalive downgrade-1.0 force-response-1.0')
    lines += [f'BrowserMatch "{name}" force-response-1.0' for name in downgraded]
    lines += [f'BrowserMatch "{name}" redirect-carefully' for name in careful]
    return "\n".join(lines) + "\n"


DEBIAN = (
    """
AccessFileName .htaccess
<FilesMatch "^\\.ht">
    Require all denied
</FilesMatch>
KeepAlive On
HostnameLookups Off
ServerSignature On
TraceEnable Off
Alias /icons/ "@ROOT@/icons/"
<Directory "@ROOT@/icons">
    Options FollowSymlinks
    AllowOverride None
    Require all granted
</Directory>
<IfModule mod_filter.c>
    AddOutputFilterByType DEFLATE text/html text/plain text/xml text/css text/javascript
    AddOutputFilterByType DEFLATE application/x-javascript application/javascript application/ecmascript
    AddOutputFilterByType DEFLATE application/rss+xml application/wasm application/xml
</IfModule>
DirectoryIndex index.html index.cgi index.pl index.php index.xhtml index.htm
IndexOptions FancyIndexing VersionSort HTMLTable NameWidth=* DescriptionWidth=* Charset=UTF-8
ReadmeName README.html
HeaderName HEADER.html
IndexIgnore .??* *~ *# RCS CVS *,v *,t
LanguagePriority en ca cs da de el eo es et fr he hr it ja ko ltz nl nn no pl pt pt-BR ru sv tr zh-CN zh-TW
ForceLanguagePriority Prefer Fallback
AddType application/x-compress .Z
AddType application/x-gzip .gz .tgz
AddType application/x-bzip2 .bz2
AddHandler type-map var
AddType text/html .shtml
<IfModule mod_include.c>
    AddOutputFilter INCLUDES .shtml
</IfModule>
RequestReadTimeout header=20-40,minrate=500
RequestReadTimeout body=10,minrate=500
ExtendedStatus On
<IfModule mod_proxy.c>
    ProxyStatus On
</IfModule>
"""
    + _icons()
    + _languages()
    + _browsers()
)
"""What Debian's mods-enabled and conf-enabled say of requests, with `@ROOT@` for the place of the icons."""

OWN = """
Timeout 300
ServerTokens OS
<Location /server-status>
    SetHandler server-status
    Require local
</Location>
"""
"""What Debian says, too. Tests of the suite ask what httpd says of itself, and how long it waits, where nobody has set it, and for
the first section."""

OPTIONS = "Options Indexes FollowSymLinks\n"
"""What Debian says of /var/www, for whatever has no directory as well."""


def beside_suite(kind: str) -> tuple[list[str], str]:
    """Modules and settings for every server of the suite.

    Args:
        kind: `debian`, or `multiviews`: the same, and content negotiation for every request.
    Raises:
        ValueError: another kind.
    """
    if kind not in ("debian", "multiviews"):
        raise ValueError(f"MOD_PYTHON_TEST_BESIDE={kind}: debian or multiviews")
    options = OPTIONS.replace("\n", " MultiViews\n") if kind == "multiviews" else OPTIONS
    return DEBIAN_MODULES, f"{options}MaxMemFree 1\n{DEBIAN}"
