"""What `make apifuzz` configures and serves: every phase, filters, tags, redirects, modules that load each other."""

from __future__ import annotations

MODULES = ("auth_basic", "authz_user", "include", "negotiation", "autoindex", "env", "deflate", "filter", "alias")
HANDLERS = ("HeaderParser", "Access", "Authen", "Authz", "Type", "Fixup", "Log", "Cleanup")
CONFIG = """
Timeout 5
CoreDumpDirectory @ROOT@/journal
KeepAliveTimeout 1
GracefulShutdownTimeout 10
LimitInternalRecursion 8
AcceptFilter http none
# httpd itself maps static files, and dies by SIGBUS when one is shortened meanwhile: its own documented hazard.
EnableMMAP Off
Listen 127.0.0.1:@BARE@
PythonPath "sys.path+['@ROOT@/apps']"
PythonOption mod_python.session.session_type {session}
PythonOption mod_python.session.database_directory @ROOT@/sessions
PythonImport apifuzzing::at_import main_interpreter
PythonPostReadRequestHandler apifuzzing
PythonTransHandler apifuzzing
PythonInitHandler apifuzzing
PythonLogHandler apifuzzing
PythonCleanupHandler apifuzzing
PythonOutputFilter apifuzzing FUZZOUT
PythonInputFilter apifuzzing FUZZIN
ErrorDocument 404 /all/error
ErrorDocument 403 /wsgi/error
ErrorDocument 500 /files/page.shtml
PythonWSGI /wsgi apifuzzing:application
<Location /all>
    SetHandler mod_python
    PythonHandler apifuzzing
    {all}
    AuthType Basic
    AuthName x
    Require valid-user
</Location>
<Location /other>
    SetHandler mod_python
    {elsewhere}
    PythonHandlerModule apifuzzing
</Location>
<Location /filtered>
    SetHandler mod_python
    PythonHandler apifuzzing apifuzzing::Instance.method
    SetInputFilter FUZZIN
    SetOutputFilter FUZZOUT
</Location>
<Location /loaded>
    SetHandler mod_python
    PythonHandler @ROOT@/apps/fuzz_file0.py
</Location>
<Location /test>
    SetHandler mod_python
    PythonHandler mod_python.testhandler
</Location>
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
<Location /probe>
    SetHandler mod_python
    PythonHandler apifuzzing::probe
</Location>
<Directory @ROOT@/htdocs/files>
    {elsewhere}
    Options +MultiViews +Includes +Indexes
    DirectoryIndex index.py index.html
    AddHandler mod_python .py
    AddType text/html .shtml
    AddOutputFilter INCLUDES .shtml
    PythonHandler apifuzzing
    PythonAccessHandler apifuzzing
    PythonFixupHandler apifuzzing
    PythonTypeHandler apifuzzing
</Directory>
<Directory @ROOT@/htdocs/files/filtered>
    SetOutputFilter FUZZOUT;DEFLATE
</Directory>
<Directory @ROOT@/htdocs/pub>
    SetHandler mod_python
    PythonHandler mod_python.publisher
</Directory>
<Directory @ROOT@/htdocs/cgi>
    SetHandler mod_python
    PythonHandler mod_python.cgihandler
</Directory>
<Directory @ROOT@/htdocs/psp>
    AddHandler mod_python .psp
    PythonHandler mod_python.psp
    PythonDebug On
</Directory>
<VirtualHost 127.0.0.1:@BARE@>
    PythonConnectionHandler apifuzzing
</VirtualHost>
"""
SLOW = """
Listen 127.0.0.1:@SLOW@
<VirtualHost 127.0.0.1:@SLOW@>
    ErrorLog "|{python} @ROOT@/apps/fuzz_log.py @ROOT@/output"
</VirtualHost>
"""
"""A virtual host whose error log nobody reads for a while, again and again. Not where httpd restarts: it ends the program that
reads, and its children of before would write to a pipe that stays full."""
TAGGED = (
    'one <!--#python exec="import apifuzzing\napifuzzing.tag(filter)" --> two <!--#include virtual="{uri}" --> three '
    "<!--#python eval=\"__import__('apifuzzing').tag(filter, '#eval')\" --> four\n"
)
FILES = {
    "htdocs/files/index.py": "",
    "htdocs/files/script.py": "",
    "htdocs/files/document.html": "<p>chosen</p>",
    "htdocs/files/document.txt": "chosen",
    "htdocs/files/static.html": "<p>static</p>" * 300,
    "htdocs/files/page.shtml": TAGGED.format(uri="/all/included") + TAGGED.format(uri="tagged.shtml"),
    "htdocs/files/tagged.shtml": TAGGED.format(uri="script.py"),
    "htdocs/files/sub/index.html": "index",
    "htdocs/files/filtered/static.html": "<p>filtered</p>" * 3000,
    "htdocs/plain/static.html": "plain",
    "htdocs/plain/index.html": "plain",
    "htdocs/pub/fuzzpub.py": (
        "import apifuzzing\nfrom apifuzzing import handler\n\ndef plain(req, a=None, b=None):\n    handler(req)\n    return 'published'\n\n"
        "def index(req, **fields):\n    handler(req)\n    return [1, 'x', fields]\n\ntext = 'text'\ndata = {'a': [b'x']}\n"
        "def odd(req, **fields):\n    return apifuzzing.published(req, 1, fields)\n\n"
        "async def later(req, a=apifuzzing.Instance):\n    return apifuzzing.published(req, 0, a)\n\n"
        "class Page:\n    __auth__ = staticmethod(lambda req, user, password: apifuzzing.published(req, 1, user))\n"
        "    __auth_realm__ = 'x'\n    def __call__(self, req, *args, **named):\n        return self\n\npage = Page()\n"
    ),
    "htdocs/cgi/script.py": (
        "import os, sys, apifuzzing\nprint('Content-Type: text/plain\\n')\n"
        "apifuzzing.script(os.environ.get('QUERY_STRING', ''))\nsys.stdout.write(sys.stdin.read(100))\n"
    ),
    "htdocs/cgi/broken.py": "print('Status: x\\nLocation: /all/x\\n y\\n')\n(",
    "htdocs/psp/odd.psp": "<%@ include file='page.psp' %><%\nimport apifuzzing\n%><%= apifuzzing.published(req, 1, psp) %> <%= x %>",
    "apps/fuzz_log.py": (
        "import os, sys, time\nwith open(sys.argv[1], 'ab', 0) as file:\n    while True:\n        time.sleep(2)\n"
        "        until = time.monotonic() + 0.5\n        while time.monotonic() < until:\n            data = os.read(0, 65536)\n"
        "            if not data:\n                sys.exit()\n            file.write(data)\n"
    ),
    "htdocs/psp/page.psp": "<%\nfrom apifuzzing import handler\nhandler(req)\n%>page <%= form %> <%= 1 %>",
    "apps/fuzz_first.py": "import threading\nthreading.Event().wait(0.002)\nimport fuzz_second\n",
    "apps/fuzz_second.py": "from mod_python import apache\napache.import_module('fuzz_first')\n",
    "apps/fuzz_broken.py": "1 / 0\n",
}
PAIRS = 16
for number in range(PAIRS):
    # A handler's file that imports what imports the file: who comes first, from which side, is for threads to decide.
    FILES[f"apps/fuzz_file{number}.py"] = (
        f"import threading\nthreading.Event().wait(0.01)\nimport fuzz_module{number}\nfrom apifuzzing import handler\n"
    )
    FILES[f"apps/fuzz_module{number}.py"] = (
        "import os, threading\nfrom mod_python import apache\nthreading.Event().wait(0.01)\n"
        f"apache.import_module(os.path.join(os.path.dirname(__file__), 'fuzz_file{number}.py'))\n"
    )
LOADED = ("fuzz_first.py", "fuzz_second.py", "fuzz_file0.py", "fuzz_module0.py", "fuzz_broken.py")
INTERPRETERS = {
    "main": ("PythonInterpreter main_interpreter", ""),
    "sub": ("PythonInterpreter first", "PythonInterpreter second"),
    "own": ("PythonInterpreterGIL own\nPythonInterpreter first", "PythonInterpreter second"),
    "pool": ("PythonInterpreterPool several size=2\nPythonInterpreter several", "PythonInterpreter main_interpreter"),
}
