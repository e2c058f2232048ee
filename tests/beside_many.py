"""What the site of beside_site.py asks of httpd after Debian's settings, and of many more of its modules."""

from __future__ import annotations


def site_config(many: bool) -> str:
    """What the site asks of httpd, after Debian's settings; with sections for many modules, or without."""
    text = """
<Directory @ROOT@/htdocs>
    Options Indexes FollowSymLinks MultiViews
    AllowOverride All
    Require all granted
</Directory>
<Directory @ROOT@/htdocs/cgi>
    Options +ExecCGI
    SetHandler cgi-script
</Directory>
ScriptAlias /scripts/ @ROOT@/htdocs/cgi/
Alias /aliased/ @ROOT@/htdocs/plain/
AliasMatch ^/matched/(.*)$ @ROOT@/htdocs/plain/$1
Redirect /moved /plain/a.txt
RedirectMatch ^/numbered/([0-9]+)$ /plain/$1
<Location /located>
    Require all denied
</Location>
<LocationMatch "^/conditions/.*other">
    SetEnv MARK matched
</LocationMatch>
SetEnvIf Request_URI "^/cgi" MARK=early
"""
    return text + MANY if many else text


MANY = """
TraceEnable On
RewriteEngine On
RewriteRule ^/rewritten/(.*)$ /plain/$1 [PT]
RewriteRule ^/rewritten-file$ @ROOT@/htdocs/plain/b.html
RewriteRule ^/rewritten-refused - [F]
RewriteRule ^/rewritten-away http://other.test/ [R=301]
ProxyPass /proxied/ http://127.0.0.1:@PORT@/ disablereuse=On
ProxyPassReverse /proxied/ http://127.0.0.1:@PORT@/
<Proxy balancer://group>
    BalancerMember http://127.0.0.1:@PORT@ disablereuse=On
</Proxy>
ProxyPass /balanced/ balancer://group/
Alias /dav @ROOT@/dav
DavLockDB @ROOT@/cache/locks
<Directory @ROOT@/dav>
    Require all granted
    Dav On
    DirectoryIndex disabled
</Directory>
<Directory @ROOT@/htdocs/actions>
    AddHandler own-action .act
    Action own-action /cgi/environment.cgi
    Action x/y /cgi/environment.cgi
</Directory>
MimeMagicFile @ROOT@/magic
<Directory @ROOT@/htdocs/spelling>
    CheckSpelling On
    CheckCaseOnly Off
</Directory>
UserDir @ROOT@/homes/*/public
<Directory @ROOT@/homes>
    Options Indexes MultiViews
</Directory>
CacheRoot @ROOT@/cache
CacheEnable disk /cached/
CacheDefaultExpire 3600
ExtFilterDefine upper mode=output cmd="/usr/bin/tr a-z A-Z"
<Location /external>
    SetOutputFilter upper
</Location>
<Location /substitute>
    SetOutputFilter SUBSTITUTE
    Substitute "s/apples/oranges/"
</Location>
<Location /sed>
    SetOutputFilter Sed
    OutputSed "s/pears/plums/g"
</Location>
<Location /headers>
    Header set X-Set "%{REQUEST_URI}s"
    Header always append X-Always yes
    RequestHeader set X-Asked no
    Header unset ETag
</Location>
<Location /expires>
    ExpiresActive On
    ExpiresByType text/html "access plus 1 hour"
    ExpiresDefault "modification plus 2 hours"
</Location>
<Location /slow>
    SetOutputFilter RATE_LIMIT;BUFFER
    SetEnv rate-limit 4000
    BufferSize 4096
</Location>
<Location /session>
    Session On
    SessionCookieName session path=/
    SessionEnv On
</Location>
<Location /digest>
    AuthType Digest
    AuthName digest
    AuthDigestProvider file
    AuthUserFile @ROOT@/digests
    Require valid-user
</Location>
<Location /anonymous>
    AuthType Basic
    AuthName anonymous
    AuthBasicProvider anon
    Anonymous anonymous guest
    Anonymous_MustGiveEmail Off
    Require valid-user
</Location>
<Location /group>
    AuthType Basic
    AuthName group
    AuthUserFile @ROOT@/passwords
    AuthGroupFile @ROOT@/groups
    Require group friends
</Location>
<Location /form>
    AuthType Form
    AuthName form
    AuthFormProvider file
    AuthUserFile @ROOT@/passwords
    AuthFormLoginRequiredLocation /plain/b.html
    Session On
    SessionCookieName form path=/
    Require valid-user
</Location>
<Location /form-login>
    SetHandler form-login-handler
    AuthType Form
    AuthName form
    AuthFormProvider file
    AuthUserFile @ROOT@/passwords
    AuthFormLoginSuccessLocation /plain/a.txt
    Session On
    SessionCookieName form path=/
</Location>
<Location /tracked>
    CookieTracking On
</Location>
<Location /info>
    SetHandler server-info
</Location>
<Directory @ROOT@/htdocs/asis>
    AddHandler send-as-is asis
</Directory>
<Directory @ROOT@/htdocs/meta>
    MetaFiles on
</Directory>
<Directory @ROOT@/htdocs/maps>
    AddHandler imap-file map
    ImapMenu formatted
</Directory>
<Directory @ROOT@/htdocs/xbit>
    Options +Includes
    XBitHack full
</Directory>
<Directory @ROOT@/htdocs/lua>
    SetHandler lua-script
</Directory>
<Location /allowed>
    AllowMethods GET
</Location>
LogMessage "a message" hook=all
<Location /brotli>
    SetOutputFilter BROTLI_COMPRESS
</Location>
<Location /charset>
    CharsetSourceEnc iso-8859-1
    CharsetDefault utf-8
</Location>
<Location /proxyhtml>
    ProxyHTMLEnable On
    ProxyHTMLLinks a href
    ProxyHTMLURLMap http://inside.test/ /outside/
    SetOutputFilter proxy-html
</Location>
<Location /reflected>
    SetHandler reflector
</Location>
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
DumpIOInput Off
Protocols h2c http/1.1
<Macro Denied $path>
    <Location $path>
        Require all denied
    </Location>
</Macro>
Use Denied /by-macro
<IfModule xsendfile_module>
    <Directory @ROOT@/htdocs/send>
        Options +ExecCGI
        AddHandler cgi-script .cgi
        XSendFile on
        XSendFilePath @ROOT@/htdocs/plain
    </Directory>
</IfModule>
<IfModule security2_module>
    SecRuleEngine On
    SecRequestBodyAccess On
    SecResponseBodyAccess On
    SecTmpDir @ROOT@/cache
    SecDataDir @ROOT@/cache
    SecRule ARGS "@contains attack" "id:1,phase:2,deny,status:403"
    SecRule REQUEST_URI "@contains /secured/refused" "id:2,phase:1,deny,status:418"
    SecRule RESPONSE_BODY "@contains nothing like it" "id:3,phase:4,deny"
</IfModule>
<VirtualHost *:@PORT@>
    ServerName localhost
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName virtual.test
    ServerAlias *.test
    UseCanonicalName Off
    VirtualDocumentRoot @ROOT@/virtual/%0
</VirtualHost>
"""
