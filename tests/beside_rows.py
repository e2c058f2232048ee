"""httpd's modules one by one, each made to take part in requests that an application or a handler answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Optional

BASIC = "AuthType Basic\nAuthName a-realm\nAuthUserFile @ROOT@/passwords\n"
ANNA = {"Authorization": "Basic YW5uYTplZ2dz"}
GUEST = {"Authorization": "Basic Z3Vlc3Q6eEB5Lno="}


@dataclass(frozen=True)
class Row:
    """A module, settings with which it takes part, a request, and what answers it."""

    module: str
    section: str = ""
    """What `<Location />` says."""
    host: str = ""
    """What the virtual host says."""
    server: str = ""
    """What the server says."""
    path: str = "/some/page"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    status: int = 200
    """0: any refusal."""
    text: Optional[str] = ""
    """The whole answer, where it is not the application's own; None where any will do. `KIND` is who answers."""
    mark: str = ""
    """The variable MARK that the application is to see."""
    user: str = ""
    """The user that it is to see."""
    header: tuple[str, str] = ("", "")
    """A header of the answer, and an expression that it matches."""
    needs: str = ""
    """Further modules, loaded before this one."""
    times: int = 1
    """How often it is asked."""

    @property
    def name(self) -> str:
        """What pytest calls it."""
        wanted = " ".join(filter(None, (self.section or self.host or self.server, self.method, self.path)))
        return f"{self.module}: {wanted}".replace("\n", "; ").replace("[", "(").replace("]", ")")[:90]


MULTIVIEWS, SLASH = "Options +MultiViews", "DirectorySlash On\nDirectoryIndex index.html start"
REWRITE = "RewriteEngine On\n"
FILTER = "SetOutputFilter "
DAV = partial(Row, "dav_fs", "Dav On", needs="dav", server="DavLockDB @ROOT@/cache/lock")


def own(name: str, settings: str) -> str:
    """A section for a path of its own."""
    return f"<Location /{name}>\n{settings}\n</Location>"


SSI = '<!--#echo var="DOCUMENT_URI" -->, <!--#echo var="DOCUMENT_NAME" -->, <!--#include virtual="/inner" -->'

ROWS = [
    Row("negotiation", MULTIVIEWS),
    Row("negotiation", MULTIVIEWS, path="/"),
    Row("negotiation", MULTIVIEWS, path="/some/page.html", headers={"Accept-Language": "de", "Accept": "image/png"}),
    Row("negotiation", "AddHandler type-map var", path="/some/map.var"),
    Row(
        "negotiation",
        MULTIVIEWS,
        host="<Directory @ROOT@/htdocs>\nOptions MultiViews\nAllowOverride All\n</Directory>",
        path="/some",
    ),
    Row("dir", SLASH, path="/"),
    Row("dir", SLASH, path="/some"),
    Row("dir", SLASH, path="/some/"),
    Row("dir", "FallbackResource /elsewhere"),
    Row("dir", "DirectoryIndex disabled\nDirectoryCheckHandler On\nDirectoryIndexRedirect On", path="/"),
    Row("autoindex", "Options +Indexes\nIndexOptions FancyIndexing", path="/"),
    Row("autoindex", "Options +Indexes", path="/some/?C=N;O=D", text="KIND GET /some/ [] [] "),
    Row(
        "include",
        f"Options +Includes\n{FILTER}INCLUDES",
        method="POST",
        body='<!--#if expr="true" -->yes<!--#endif -->',
        text="KIND POST /some/page [] [] yes",
    ),
    Row("include", f"Options +Includes\n{FILTER}INCLUDES", method="POST", body=SSI, text=None),
    Row("include", "Options +Includes\nXBitHack full"),
    Row(
        "include",
        f"Options +Includes\n{FILTER}INCLUDES",
        method="POST",
        path="/",
        body='<!--#include virtual="/inner" -->',
        text="KIND POST / [] [] KIND GET /inner [] [] ",
    ),
    Row(
        "include",
        f"Options +Includes\n{FILTER}INCLUDES",
        method="POST",
        body='<!--#include file="../../passwords" --><!--#fsize file="page.html" -->',
        text=None,
    ),
    Row("rewrite", REWRITE),
    Row("rewrite", REWRITE + "RewriteRule secret - [F]", path="/secret", status=403, text=None),
    Row("rewrite", host=own("own", REWRITE + "RewriteRule secret - [F]"), path="/own"),
    Row("rewrite", host=own("own", REWRITE + "RewriteRule ^ - [F]"), path="/own", status=403, text=None),
    Row("rewrite", host=own("etc", REWRITE + "RewriteCond %{REQUEST_FILENAME} -d\nRewriteRule ^ - [F]"), path="/etc"),
    Row(
        "rewrite",
        host=own("etc", REWRITE + "RewriteCond %{REQUEST_FILENAME} -f\nRewriteRule ^ - [F]"),
        path="/etc/passwd",
    ),
    Row(
        "lua",
        server="LuaHookFixups @ROOT@/hook.lua fixup",
        host=own("own", REWRITE + "RewriteRule secret - [F]"),
        path="/own",
        needs="rewrite",
    ),
    Row("negotiation", host=own("some", MULTIVIEWS), path="/some"),
    Row("dir", host=own("some", SLASH), path="/some"),
    Row("speling", host=own("soem", "CheckSpelling On"), path="/soem"),
    Row("rewrite", REWRITE + "RewriteRule secret - [F]"),
    Row("rewrite", REWRITE + "RewriteRule page$ - [G]", status=410, text=None),
    Row("rewrite", REWRITE + "RewriteRule page$ /other [R=301]", status=301, text=None, header=("Location", "/other$")),
    Row("rewrite", REWRITE + "RewriteRule .* - [E=MARK:set]", mark="set"),
    Row("rewrite", REWRITE + "RewriteRule page$ /other [PT]", text="KIND GET /other [] [] "),
    Row(
        "rewrite",
        REWRITE + "RewriteCond %{REQUEST_FILENAME} -f [OR]\nRewriteCond %{REQUEST_FILENAME} -d\nRewriteRule . - [F]",
        path="/some/page.html",
    ),
    Row("rewrite", REWRITE + "RewriteCond %{LA-U:REQUEST_FILENAME} -d\nRewriteRule . - [F]"),
    Row(
        "rewrite",
        REWRITE + "RewriteCond %{REQUEST_URI} secret\nRewriteRule ^ - [F]",
        path="/secret",
        status=403,
        text=None,
    ),
    Row("rewrite", host=REWRITE + "RewriteRule ^/old$ /some/page [PT]", path="/old", text=None),
    Row("rewrite", host=REWRITE + "RewriteRule ^/refused - [F]", path="/refused", status=403, text=None),
    Row("rewrite", host=REWRITE + "RewriteCond %{LA-F:REQUEST_FILENAME} passwords\nRewriteRule ^ - [F]"),
    Row("alias", host="Alias /static/ @ROOT@/htdocs/some/\nRedirect /moved /other"),
    Row("alias", host="Redirect /moved /other", path="/moved", status=302, text=None, header=("Location", "/other$")),
    Row("alias", "Redirect 410", status=410, text=None),
    Row("xsendfile", "XSendFile on\nXSendFilePath @ROOT@/htdocs"),
    Row("xsendfile", "XSendFile on\nXSendFilePath @ROOT@/htdocs", path="/sent", text="some page"),
    Row("xsendfile", "XSendFile on", path="/sent-missing", status=404, text=None),
    DAV(),
    DAV(method="PROPFIND", status=0, text=None),
    DAV(method="PROPFIND", path="/", status=0, text=None),
    DAV(method="PUT", body="x", status=0, text=None),
    DAV(method="DELETE", path="/some/page.html", status=0, text=None),
    DAV(method="MKCOL", path="/made", status=0, text=None),
    Row("actions", "Action text/plain /act\nAction other-handler /act"),
    Row("actions", "Action own-action /act virtual\nScript PUT /act", method="PUT", body="x", text=None),
    Row("mime_magic", server="MimeMagicFile @ROOT@/magic"),
    Row("mime_magic", server="MimeMagicFile @ROOT@/magic", path="/some/page.html"),
    Row(
        "mime",
        "AddType text/x-own .html\nAddHandler cgi-script .cgi\nAddEncoding x-gzip .gz\nAddLanguage de .de",
        path="/some/page.de.html.gz.cgi",
    ),
    Row(
        "mime",
        "ModMimeUsePathInfo On\nAddOutputFilter DEFLATE .html\nAddInputFilter DEFLATE .html",
        path="/some/page.html",
        needs="filter deflate",
    ),
    Row("speling", "CheckSpelling On\nCheckCaseOnly Off"),
    Row("speling", "CheckSpelling On", path="/some/pgae.html"),
    Row("speling", host="<Directory @ROOT@>\nCheckSpelling On\n</Directory>\nCheckSpelling On", path="/SOME/page.html"),
    Row("userdir", host="UserDir @ROOT@/homes/*/public"),
    Row("userdir", host="UserDir @ROOT@/homes/*/public", path="/~anna/", text=None),
    Row("vhost_alias", host="VirtualDocumentRoot @ROOT@/virtual/%0"),
    Row(
        "vhost_alias",
        host="VirtualDocumentRoot @ROOT@/virtual/%2\nVirtualScriptAlias @ROOT@/virtual/%1",
        path="/cgi-bin/x",
    ),
    Row(
        "cache_disk", server="CacheRoot @ROOT@/cache\nCacheEnable disk /\nCacheDetailHeader On", needs="cache", times=3
    ),
    Row(
        "cache_disk",
        server="CacheRoot @ROOT@/cache\nCacheEnable disk /\nCacheHeader On",
        needs="cache",
        path="/kept",
        times=3,
        header=("X-Cache", "HIT"),
    ),
    Row(
        "cache_disk",
        server="CacheRoot @ROOT@/cache\nCacheEnable disk /\nCacheHeader On\nCacheQuickHandler Off",
        needs="cache",
        path="/kept",
        times=3,
        header=("X-Cache", "HIT"),
    ),
    Row(
        "cache_socache",
        server="CacheSocache shmcb\nCacheEnable socache /\nCacheHeader On",
        needs="cache socache_shmcb",
        path="/kept",
        times=3,
        header=("X-Cache", "HIT|MISS"),
    ),
    Row("file_cache", server="MMapFile @ROOT@/htdocs/some/page.html", path="/some/page.html"),
    Row(
        "ext_filter",
        FILTER + "upper",
        server='ExtFilterDefine upper mode=output cmd="/usr/bin/tr a-z A-Z"',
        text="UPPER",
    ),
    Row(
        "ext_filter",
        "SetInputFilter inner",
        server='ExtFilterDefine inner mode=input cmd="/usr/bin/tr a-z A-Z"',
        method="POST",
        body="spam",
        text=None,
    ),
    Row("substitute", FILTER + 'SUBSTITUTE\nSubstitute "s/page/leaf/"', text="KIND GET /some/leaf [] [] "),
    Row("sed", FILTER + 'Sed\nOutputSed "s/page/leaf/"', text="KIND GET /some/leaf [] [] \n"),
    Row(
        "headers",
        'Header set X-Set "%{REQUEST_FILENAME}s!"\nHeader echo ^Host$\nRequestHeader set X-In yes',
        header=("X-Set", "!$"),
    ),
    Row("headers", 'Header set X-Set "expr=%{REQUEST_FILENAME}-%{PATH_INFO}!"', header=("X-Set", "!$")),
    Row("expires", 'ExpiresActive On\nExpiresDefault "modification plus 1 hour"'),
    Row("expires", 'ExpiresActive On\nExpiresDefault "access plus 1 hour"', header=("Cache-Control", "max-age=3600")),
    Row("ratelimit", FILTER + "RATE_LIMIT\nSetEnv rate-limit 400", needs="env"),
    Row("buffer", FILTER + "BUFFER\nSetInputFilter BUFFER", method="POST", body="spam"),
    Row("request", "KeptBodySize 100", method="POST", body="spam"),
    Row("session_cookie", "Session On\nSessionCookieName s path=/\nSessionEnv On", needs="session request"),
    Row(
        "session_crypto",
        "Session On\nSessionCookieName s path=/\nSessionCryptoPassphrase x",
        needs="session request session_cookie",
    ),
    Row("auth_basic", BASIC + "Require valid-user", needs="authn_file authz_user", headers=ANNA, user="anna"),
    Row("auth_basic", BASIC + "Require valid-user", needs="authn_file authz_user", status=401, text=None),
    Row(
        "auth_digest",
        "AuthType Digest\nAuthName d\nAuthUserFile @ROOT@/passwords\nRequire valid-user",
        needs="authn_file authz_user",
        status=401,
        text=None,
    ),
    Row(
        "auth_form",
        "AuthType Form\nAuthName f\nAuthFormProvider file\nAuthUserFile @ROOT@/passwords\nSession On\nSessionCookieName f path=/\n"
        "AuthFormLoginRequiredLocation /login\nRequire valid-user",
        needs="session request session_cookie authn_file authz_user",
        status=302,
        text=None,
    ),
    Row(
        "authn_anon",
        "AuthType Basic\nAuthName a\nAuthBasicProvider anon\nAnonymous guest\nRequire valid-user",
        needs="auth_basic authz_user",
        headers=GUEST,
        user="guest",
    ),
    Row(
        "authn_socache",
        BASIC + "AuthBasicProvider socache file\nAuthnCacheProvideFor file\nRequire valid-user",
        needs="socache_shmcb auth_basic authn_file authz_user",
        headers=ANNA,
        user="anna",
    ),
    Row(
        "authn_dbm",
        "AuthType Basic\nAuthName a\nAuthBasicProvider dbm\nAuthDBMUserFile @ROOT@/none\nRequire valid-user",
        needs="auth_basic authz_user",
        headers=ANNA,
        status=0,
        text=None,
    ),
    Row(
        "authz_groupfile",
        BASIC + "AuthGroupFile @ROOT@/groups\nRequire group friends",
        needs="auth_basic authn_file authz_user",
        headers=ANNA,
        user="anna",
    ),
    Row(
        "authz_owner",
        BASIC + "Require file-owner",
        needs="auth_basic authn_file authz_user",
        headers=ANNA,
        status=0,
        text=None,
    ),
    Row(
        "authz_owner",
        BASIC + "AuthGroupFile @ROOT@/groups\nRequire file-group",
        needs="auth_basic authn_file authz_user authz_groupfile",
        headers=ANNA,
        status=0,
        text=None,
    ),
    Row(
        "authz_dbm",
        BASIC + "AuthDBMGroupFile @ROOT@/none\nRequire dbm-group x",
        needs="auth_basic authn_file authz_user",
        headers=ANNA,
        status=0,
        text=None,
    ),
    Row(
        "authz_core",
        "<RequireAll>\nRequire all granted\nRequire expr %{REQUEST_FILENAME} !~ /passwords/\n</RequireAll>",
    ),
    Row("authz_core", "Require all denied", status=403, text=None),
    Row("authz_host", "Require ip 127.0.0.1"),
    Row("access_compat", "Order deny,allow\nDeny from all\nAllow from 127.0.0.1\nSatisfy Any"),
    Row("access_compat", "Order deny,allow\nDeny from all", status=403, text=None),
    Row("dialup", "ModemStandard V.34"),
    Row("usertrack", "CookieTracking On", header=("Set-Cookie", "^Apache=")),
    Row("unique_id"),
    Row("log_debug", 'LogMessage "%{REQUEST_FILENAME} %{PATH_INFO}" hook=all'),
    Row("log_forensic", server="ForensicLog @ROOT@/cache/forensic"),
    Row("dumpio", server="DumpIOInput On\nDumpIOOutput On\nLogLevel dumpio:trace7", method="POST", body="spam"),
    Row("data", FILTER + "DATA", text=None),
    Row("allowmethods", "AllowMethods GET", method="POST", body="x", status=405, text=None),
    Row("allowmethods", "AllowMethods GET"),
    Row(
        "macro",
        server="<Macro Say $what>\nSetEnv MARK $what\n</Macro>",
        section="Use Say spam",
        needs="env",
        mark="spam",
    ),
    Row("env", "SetEnv MARK spam", mark="spam"),
    Row("setenvif", 'SetEnvIf Request_URI "page$" MARK=spam\nBrowserMatch . nokeepalive', mark="spam"),
    Row("setenvif", "SetEnvIfExpr \"%{REQUEST_FILENAME} != 'x'\" MARK=spam", mark="spam"),
    Row(
        "deflate",
        FILTER + "DEFLATE",
        headers={"Accept-Encoding": "gzip"},
        needs="filter",
        text=None,
    ),
    Row(
        "brotli",
        FILTER + "BROTLI_COMPRESS",
        headers={"Accept-Encoding": "br"},
        needs="filter",
        text=None,
        header=("Content-Encoding", "br"),
    ),
    Row(
        "filter",
        "AddOutputFilterByType CASEFILTER text/plain",
        needs="case_filter",
        text=None,
    ),
    Row(
        "filter",
        "FilterDeclare own\nFilterProvider own CASEFILTER \"%{REQUEST_FILENAME} != 'x'\"\nFilterChain own",
        needs="case_filter",
        text=None,
    ),
    Row("case_filter", host="CaseFilter On", text="UPPER"),
    Row("case_filter_in", host="CaseFilterIn On", method="POST", body="spam", text=None),
    Row("reqtimeout", server="RequestReadTimeout header=5 body=5", method="POST", body="spam"),
    Row("status", server="ExtendedStatus On"),
    Row("info"),
    Row(
        "remoteip",
        server="RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1",
        headers={"X-Forwarded-For": "10.1.2.3"},
    ),
    Row("charset_lite", "CharsetSourceEnc iso-8859-1\nCharsetDefault utf-8", text=None),
    Row("xml2enc", FILTER + "xml2enc", text=None),
    Row("proxy_html", "ProxyHTMLEnable On\nProxyHTMLURLMap a b", needs="xml2enc filter proxy", text=None),
    Row("proxy_http", host="ProxyPass /proxied http://127.0.0.1:@PORT@/", needs="proxy"),
    Row(
        "proxy_http",
        host="ProxyRequests Off\nProxyPass /proxied/ http://127.0.0.1:@PORT@/\nProxyPreserveHost On",
        path="/proxied/x",
        needs="proxy",
        text=None,
    ),
    Row("proxy_fcgi", needs="proxy"),
    Row("asis", "AddHandler send-as-is asis", path="/some/page.asis"),
    Row("cern_meta", "MetaFiles on"),
    Row("cern_meta", "MetaFiles on", path="/"),
    Row("imagemap", "AddHandler imap-file map\nImapMenu formatted", path="/some/page.map"),
    Row("cgid", "Options +ExecCGI\nAddHandler cgi-script .cgi", path="/some/page.cgi/info"),
    Row("cgid", "Options +ExecCGI", needs="alias", host="ScriptAlias /scripts/ @ROOT@/htdocs/some/"),
    Row("lua", server="LuaHookFixups @ROOT@/hook.lua fixup\nLuaHookAccessChecker @ROOT@/hook.lua fixup"),
    Row("ssl", needs="socache_shmcb"),
    Row("ssl", "Require expr %{HTTPS} == 'off'\nSSLOptions +StdEnvVars", needs="socache_shmcb"),
    Row("http2", server="Protocols h2c http/1.1", header=("Upgrade", "h2c")),
    Row("reflector", "AddHandler reflector .ref", path="/x.ref"),
    Row("bucketeer", FILTER + "BUCKETEER", text=None),
    Row("slotmem_shm"),
    Row(
        "security2",
        "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On",
        server="SecTmpDir @ROOT@/cache\nSecDataDir @ROOT@/cache",
        needs="unique_id",
        method="POST",
        body="a=b",
    ),
    Row(
        "security2",
        'SecRuleEngine On\nSecRule SCRIPT_FILENAME|SCRIPT_BASENAME|REQUEST_BASENAME|PATH_INFO|SCRIPT_UID|SCRIPT_MODE "spam" "id:7,phase:2,deny"',
        server="SecDataDir @ROOT@/cache",
        needs="unique_id",
    ),
    Row(
        "security2",
        'SecRuleEngine On\nSecRule REQUEST_URI "secret" "id:8,phase:2,deny,status:403"',
        server="SecDataDir @ROOT@/cache",
        needs="unique_id",
        path="/secret",
        status=403,
        text=None,
    ),
]
