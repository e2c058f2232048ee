"""A site of all kinds: files, languages, directories, `.htaccess` files, SSI pages, scripts. It says nothing of Python."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from pathlib import Path
from typing import Union

TIME = 1_000_000_000
"""When every file was written."""

SCRIPT = "#!/bin/sh\n"
TEXT = "Nothing of what stands here matters, as long as there is enough of it to be worth compressing.\n"
VARIABLES = "REQUEST_METHOD QUERY_STRING PATH_INFO PATH_TRANSLATED SCRIPT_NAME SCRIPT_FILENAME REQUEST_URI SERVER_PORT "
VARIABLES += "REDIRECT_STATUS REDIRECT_URL REDIRECT_QUERY_STRING REDIRECT_HANDLER REMOTE_USER AUTH_TYPE CONTENT_LENGTH "
VARIABLES += "CONTENT_TYPE HTTP_HOST HTTP_ACCEPT DOCUMENT_ROOT CONTEXT_PREFIX GATEWAY_INTERFACE MARK HTTPS"
# It reads what it is sent: a script that has gone before its request is there may break the answer off.
ENVIRONMENT = f"""{SCRIPT}
cat >/dev/null
all=$(for name in {VARIABLES}; do eval "echo $name=\\$$name"; done)
printf 'Content-Type: application/x-variables\\nContent-Length: %s\\nX-Script: yes\\n\\n%s' "${{#all}}" "$all"
"""
TYPE_MAP = """URI: doc

URI: doc.en.html
Content-type: text/html; level=2
Content-language: en

URI: doc.de.html
Content-type: text/html; qs=0.8
Content-language: de

URI: doc.txt
Content-type: text/plain; qs=0.3
"""
SSI = """<html><!--#config timefmt="%Y" sizefmt="bytes" errmsg="[error]" -->
<!--#set var="name" value="set" --><!--#echo var="name" --> <!--#echo var="DOCUMENT_NAME" --> <!--#echo var="LAST_MODIFIED" -->
<!--#if expr="v('name') = 'set'" -->yes<!--#else -->no<!--#endif -->
<!--#fsize file="part.html" --> <!--#flastmod virtual="/plain/a.txt" -->
<!--#include file="part.html" --><!--#include virtual="/plain/a.txt" --><!--#include virtual="/" --><!--#include virtual="/lang/foo" -->
<!--#include virtual="/several/" --><!--#include virtual="nested.shtml?with=query" --><!--#include virtual="/nowhere" -->
<!--#include virtual="/cgi/environment.cgi/info?a=b" --><!--#include virtual="/auth/secret.txt" --><!--#include virtual="/redirect/one" -->
<!--#exec cmd="echo executed" -->
</html>
"""
PLAIN: dict[str, Union[str, bytes]] = {
    "index.html": f"<html>{TEXT * 20}</html>",
    "plain/a.txt": TEXT,
    "plain/b.html": f"<html>{TEXT}</html>",
    "plain/empty.html": "",
    "plain/empty": "",
    "plain/big.bin": bytes(range(256)) * 1500,
    "plain/big.txt": TEXT * 3000,
    "plain/data.json": "{}",
    "plain/style.css": "p { color: red }",
    "plain/script.js": "let a = 1;",
    "plain/image.gif": b"GIF89a",
    "plain/page.xhtml": "<html/>",
    "plain/page.xml": "<?xml version='1.0'?><page/>",
    "plain/archive.tar.gz": gzip.compress(b"archive", mtime=0),
    "plain/noending": "what is it?",
    "plain/magic": "%PDF-1.4",
    "plain/with space.txt": "a space",
    "plain/per%cent.txt": "a per cent sign",
    "plain/\xfcn\xefc\xf6de.txt": "letters",
    "plain/question?mark.txt": "a question mark",
    "plain/unreadable.txt": "nobody reads this",
    "plain/.hidden": "hidden",
    "plain/.htpasswd": "forbidden",
    "plain/backup~": "a backup",
    "hidden-directory/index.html": "nobody reads this",
    "lang/foo.en.html": "<p>English",
    "lang/foo.de.html": "<p>Deutsch",
    "lang/foo.fr.html": "<p>fran\xe7ais",
    "lang/page.html": "<p>plain",
    "lang/page.html.gz": gzip.compress(b"<p>compressed", mtime=0),
    "lang/typed.html": "<p>as HTML",
    "lang/typed.txt": "as text",
    "lang/doc.var": TYPE_MAP,
    "lang/doc.en.html": "<p>mapped",
    "lang/doc.de.html": "<p>zugeordnet",
    "lang/doc.txt": "mapped text",
    "lang/broken.var": "URI nothing\n\nContent-type\n",
    "lang/latin.html.de.latin1": b"<p>\xfc",
    "lang/script.cgi": ENVIRONMENT,
    "welcome/index.html.en": "<p>welcome",
    "welcome/index.html.de": "<p>willkommen",
    "listing/one.txt": "1",
    "listing/two.png": "2",
    "listing/three.tar.gz": "3",
    "listing/HEADER.html": "<h1>header</h1>",
    "listing/README.html": "<p>readme",
    "listing/sub/file.odt": "4",
    "nested/a/b/c/d/e/f/deep.html": "<p>deep",
    "several/third.html": "<p>third candidate",
    "several/.htaccess": "DirectoryIndex no.html neither.cgi third.html\n",
    "script-index/index.cgi": ENVIRONMENT,
    "script-index/.htaccess": "Options +ExecCGI\nAddHandler cgi-script .cgi\n",
    "index-elsewhere/.htaccess": "DirectoryIndex none.html /plain/a.txt\n",
    "index-redirect/.htaccess": "DirectoryIndexRedirect on\n",
    "index-redirect/index.html": "<p>redirected",
    "index-off/.htaccess": "DirectoryIndex disabled\nOptions -Indexes\n",
    "index-off/index.html": "<p>not shown",
    "no-slash/.htaccess": "DirectorySlash Off\n",
    "no-slash/index.html": "<p>no slash",
    "handler-slash/.htaccess": "SetHandler default-handler\nDirectoryCheckHandler On\n",
    "fallback/.htaccess": "FallbackResource /fallback/front.html\n",
    "fallback/front.html": "<p>front",
    "fallback/own.html": "<p>its own",
    "redirect/.htaccess": "Redirect permanent /redirect/one /plain/a.txt\nRedirect temp /redirect/two http://other.test/\n"
    "RedirectMatch 303 /redirect/three(.*)$ /plain/$1\nRedirect gone /redirect/four\nRedirect 403 /redirect/five\n",
    "auth/.htaccess": 'AuthType Basic\nAuthName "a realm"\nAuthUserFile @ROOT@/passwords\nRequire valid-user\n',
    "auth/secret.txt": "a secret",
    "auth/index.html": "<p>secret",
    "auth-anna/.htaccess": 'AuthType Basic\nAuthName "a realm"\nAuthUserFile @ROOT@/passwords\nRequire user anna\nSetEnv MARK auth\n',
    "auth-anna/secret.txt": "her secret",
    "auth-any/.htaccess": "AuthType Basic\nAuthName any\nAuthUserFile @ROOT@/passwords\n<RequireAny>\nRequire valid-user\n"
    "Require env LETIN\n</RequireAny>\nSetEnvIf X-Let-In . LETIN\n",
    "auth-any/secret.txt": "for some",
    "satisfy/.htaccess": "AuthType Basic\nAuthName any\nAuthUserFile @ROOT@/passwords\nRequire valid-user\n"
    "Order deny,allow\nDeny from all\nAllow from 127.0.0.1\nSatisfy Any\n",
    "satisfy/file.txt": "satisfied",
    "denied/.htaccess": "Require all denied\n",
    "denied/file.txt": "denied",
    "old-denied/.htaccess": "Order allow,deny\nAllow from 10.0.0.1\n",
    "old-denied/file.txt": "denied",
    "none/.htaccess": "Require method GET\n",
    "none/file.txt": "only GET",
    "errors/.htaccess": "ErrorDocument 404 /plain/b.html\nErrorDocument 403 http://other.test/denied\nRedirect 403 /errors/denied\n"
    'ErrorDocument 410 "gone, says <text>"\nRedirect gone /errors/gone\nErrorDocument 400 default\n',
    "errors-index/.htaccess": "ErrorDocument 404 /several/\n",
    "errors-script/.htaccess": "ErrorDocument 404 /cgi/environment.cgi/404?error\nErrorDocument 403 /nowhere/either\n"
    "Redirect 403 /errors-script/denied\n",
    "broken/.htaccess": "NoSuchDirective at all\n",
    "broken/file.txt": "never seen",
    "types/.htaccess": "ForceType text/x-forced\nAddCharset utf-8 .a\nAddEncoding x-own .own\nDefaultType None\nAddDefaultCharset utf-8\n",
    "types/file.html": "forced",
    "types/file.a.own": "encoded",
    "handlers/.htaccess": "AddHandler default-handler .txt\nAddHandler no-such-handler .odd\nAddHandler server-status .status\n",
    "handlers/file.odd": "odd",
    "handlers/file.txt": "by the default handler",
    "filters/.htaccess": "SetOutputFilter DEFLATE\nAddOutputFilterByType DEFLATE text/x-other\nAddType text/x-other .other\n",
    "filters/file.bin": TEXT,
    "filters/file.other": TEXT,
    "conditions/.htaccess": '<If "%{QUERY_STRING} =~ /refuse/">\nRequire all denied\n</If>\n<ElseIf "%{HTTP:X-Index} == \'other\'">\n'
    'DirectoryIndex other.html\n</ElseIf>\n<Files "denied.*">\nRequire all denied\n</Files>\nFileETag None\n',
    "conditions/index.html": "<p>conditions",
    "conditions/other.html": "<p>the other one",
    "conditions/denied.txt": "denied",
    "ssi/page.shtml": SSI,
    "ssi/index.shtml": '<!--#include virtual="/script-index/" -->',
    "ssi/.htaccess": "Options +Includes\nDirectoryIndex index.shtml\n",
    "ssi/nested.shtml": '<!--#echo var="QUERY_STRING" --><!--#include virtual="part.html" -->',
    "ssi/part.html": "<i>part</i>",
    "ssi/endless.shtml": '<!--#include virtual="endless.shtml" -->',
    "ssi/broken.shtml": 'before <!--#nonsense --> <!--#if expr="(" --> after <!--#include',
    "cgi/environment.cgi": ENVIRONMENT,
    "cgi/status.cgi": SCRIPT + "printf 'Status: 404 None\\nContent-Type: x/y\\nContent-Length: 4\\n\\nnone'\n",
    "cgi/local.cgi": SCRIPT + "printf 'Location: /plain/a.txt\\n\\n'\n",
    "cgi/to-index.cgi": SCRIPT + "printf 'Location: /several/\\n\\n'\n",
    "cgi/away.cgi": SCRIPT + "printf 'Location: http://other.test/\\n\\n'\n",
    "cgi/empty.cgi": SCRIPT,
    "cgi/no-head.cgi": SCRIPT + "echo no head at all\n",
    "cgi/not-executable.cgi": SCRIPT,
    "cgi/echo.cgi": SCRIPT
    + 'body=$(cat)\nprintf \'Content-Type: x/y\\nContent-Length: %s\\n\\n%s\' "${#body}" "$body"\n',
    "cgi/nph-own.cgi": SCRIPT
    + "printf 'HTTP/1.1 203 Own\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nown'\n",
}
"""Below the document root."""

MORE: dict[str, Union[str, bytes]] = {
    "rewrite/.htaccess": "RewriteEngine On\nRewriteRule ^forbidden - [F]\nRewriteRule ^gone - [G]\nRewriteRule ^moved /plain/a.txt [R=302]\n"
    "RewriteRule ^inner$ /plain/b.html [PT]\nRewriteRule ^index$ /several/ [L]\nRewriteRule ^script/(.*) /cgi/environment.cgi/$1?b=c [QSA,E=MARK:set]\n"
    "RewriteRule ^typed - [T=text/x-typed]\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^pretty/(.*) front.html [END]\n"
    "RewriteRule ^endless(.*) endless$1x\nRewriteCond %{LA-U:REMOTE_USER} =anna\nRewriteRule ^anna - [F]\nRewriteRule ^proxied$ http://127.0.0.1:@PORT@/plain/a.txt [P]\n",
    "rewrite/front.html": "<p>front",
    "rewrite/typed.html": "typed",
    "asis/file.asis": "Status: 203 As it is\nContent-Type: x/y\nX-Own: yes\n\nas it is",
    "meta/.web/file.html.meta": "X-Meta: from CERN\n",
    "meta/file.html": "<p>meta",
    "maps/map.map": "default /plain/a.txt\nrect /plain/b.html 0,0 10,10\ncircle http://other.test/ 20,20 25,25\n",
    "spelling/correct.html": "<p>correct",
    "spelling/Correct2.html": "<p>correct 2",
    "actions/file.act": "content of the file",
    "xbit/page.html": '<!--#echo var="DOCUMENT_NAME" -->',
    "sed/page.html": "apples and pears",
    "substitute/page.html": "apples and pears",
    "external/page.html": "apples and pears",
    "headers/page.html": "headers",
    "expires/page.html": "expires",
    "slow/page.html": TEXT * 20,
    "cached/page.html": TEXT,
    "cached/index.html": "<p>cached",
    "digest/secret.txt": "digest",
    "anonymous/secret.txt": "anonymous",
    "group/secret.txt": "group",
    "form/secret.txt": "form",
    "send/script.cgi": SCRIPT + "printf 'X-Sendfile: @ROOT@/htdocs/plain/a.txt\\nContent-Type: x/y\\n\\n'\n",
    "charset/page.html": b"<p>\xfc",
    "brotli/page.html": TEXT,
    "proxyhtml/page.html": '<html><body><a href="http://inside.test/">a</a></body></html>',
    "lua/page.lua": "function handle(r)\n    r.content_type = 'x/y'\n    r:puts('lua ', r.uri)\n    return apache2.OK\nend\n",
    "allowed/page.html": "<p>allowed",
    "secured/page.html": "<p>secured",
    "modules/page.html": "<p>page",
}
"""What only some modules know what to do with."""


def write_site(root: Path, port: int, user: int) -> None:
    """Write the whole site below a server's root.

    Args:
        root: the server's root; its `htdocs` is the document root.
        port: replaces `@PORT@` in the files.
        user: the user id that httpd's children have, for what they may write.
    """
    htdocs = root / "htdocs"
    for name, content in {**PLAIN, **MORE}.items():
        path = htdocs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.replace("@ROOT@", str(root)).replace("@PORT@", str(port)).encode()
        path.write_bytes(content)
    for place in ("homes/anna/public/index.html", "virtual/one.test/index.html", "icons/text.gif", "icons/folder.gif"):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {place}")
    for name in ("empty-directory", "index-elsewhere"):
        (htdocs / name).mkdir(exist_ok=True)
    links = {
        "file": "../plain/a.txt",
        "directory": "../listing",
        "broken": "nowhere",
        "circle": "circle",
        "outside": "/etc",
    }
    (htdocs / "links").mkdir()
    for name, target in links.items():
        (htdocs / "links" / name).symlink_to(target)
    secret = base64.b64encode(hashlib.sha1(b"eggs").digest()).decode()
    digest = hashlib.md5(b"anna:digest:eggs").hexdigest()
    (root / "passwords").write_text(f"anna:{{SHA}}{secret}\nbert:{{SHA}}{secret}\n")
    (root / "digests").write_text(f"anna:digest:{digest}\n")
    (root / "groups").write_text("friends: anna\n")
    for path in sorted(root.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.suffix == ".cgi" or path.parent.name == "xbit"
            path.chmod(0o755 if executable else 0o644)
    (htdocs / "cgi/not-executable.cgi").chmod(0o644)
    (htdocs / "plain/unreadable.txt").chmod(0o200)
    for name in ("dav", "cache"):
        folder = root / name
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, user, user)
    (htdocs / "hidden-directory").chmod(0o300)
    # Also the folders: the tags of negotiated answers tell of them.
    for top in (htdocs, root / "homes", root / "virtual", root / "icons"):
        for path in (*top.rglob("*"), top):
            os.utime(path, (TIME, TIME), follow_symlinks=False)
