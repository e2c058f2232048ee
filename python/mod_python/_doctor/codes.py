"""THE table of codes: what `mod_python check` and `mod_python migrate` say. docs/codes.md is made of it; a test compares.

A code keeps its meaning for ever; a new meaning gets a new number. MP00xx: check; MP1xxx: migrate, configurations; MP2xxx: migrate, Python.
"""

from __future__ import annotations

from typing import NamedTuple

LEVELS = ("error", "warning", "advice")
"""The gravest first. An error keeps something from working, a warning is hardly what was meant, advice is for a better life."""


class Code(NamedTuple):
    """A kind of finding."""

    level: str
    title: str
    cause: str
    remedy: str


CODES: dict[str, Code] = {
    "MP0001": Code(
        "error",
        "httpd's user cannot get there",
        "httpd reads its configuration as root, but Python runs in children that are another user's (`User`). That user needs the right to pass "
        "(`x`) every directory above a file, and to read (`r`) the file itself. What it cannot reach looks to Python as if it were not there.",
        "Give the directory that is named to everybody, `chmod o+x DIRECTORY`, or to a group of that user; or put the site elsewhere, such as "
        "/srv. Home directories are closed on purpose: rather move the site.",
    ),
    "MP0002": Code(
        "error",
        "a file that is not there",
        "A directive names a file, or PythonHome a directory, that does not exist.",
        "Correct the path. A file beside the configuration can be written as `~/file.py`.",
    ),
    "MP0003": Code(
        "warning",
        "an entry of PythonPath that is not there",
        "Python passes over entries of sys.path that do not exist, so the modules in it are not found, or found elsewhere.",
        "Correct the entry, or leave it out.",
    ),
    "MP0004": Code(
        "error",
        "PythonHome does not fit",
        "PythonHome names a virtual environment of the Python that the module was built with (3.11, say): its packages are for that version.",
        "Make the environment anew with that Python: `/usr/bin/python3.11 -m venv DIRECTORY`, and install the packages again.",
    ),
    "MP0005": Code(
        "error",
        "a module cannot be imported",
        "The module of a handler or an application raises when it is imported, as httpd's user, with the PythonHome and PythonPath of its place. "
        "Each request for it would be answered with 500.",
        "The line that is named is where it fails. `No module named …`: install the package into PythonHome's environment, or add its directory "
        "to PythonPath; the directory of an application's file is not added by itself.",
    ),
    "MP0006": Code(
        "error",
        "a module without the object",
        "The module can be imported, but what the directive names in it is not there, or cannot be called. Without a name this is `application` "
        "for PythonWSGI and PythonASGI, `handler` for PythonHandler, and the phase's own name for others.",
        "Write `module:name` (applications), `module::name` (handlers), or `module:create()` for a factory.",
    ),
    "MP0007": Code(
        "error",
        "an import that does not end",
        "The module was still being imported when the time was up (`--timeout`, in seconds). In httpd the first requests would wait for it.",
        "Do what waits (connections, downloads, locks) at the first request rather than at the import, and with a time limit.",
    ),
    "MP0008": Code(
        "error",
        "an import that ends the process",
        "The module calls `os._exit()`, is killed or crashes while it is imported. In httpd it would take its child along, with all of its requests.",
        "Remove the call; for a crash see whether an extension module is built for this Python.",
    ),
    "MP0009": Code(
        "advice",
        "not imported",
        "Nothing has been imported: root has asked, and there is no other user to run the code as; or there is no Python of the module's version.",
        "Say `User` and `Group` in the configuration; install that Python; or ask as another user.",
    ),
    "MP0010": Code(
        "warning",
        "a PythonOption that nobody reads",
        "Names that begin with `mod_python.` are this module's own. One that is not known is mostly misspelt, and then has no effect.",
        "Take the name that is proposed; options of your own need another beginning.",
    ),
    "MP0011": Code(
        "error",
        "a directive that does not exist",
        "httpd does not start with a directive that no module knows.",
        "Take the name that is proposed. docs/directives.md lists the directives.",
    ),
    "MP0012": Code(
        "error",
        "httpd refuses the configuration",
        "`httpd -t` says so, and would not start with it.",
        "Correct the line that is named. What this command says beside it may be of use.",
    ),
    "MP0013": Code(
        "error",
        "a configuration that cannot be read",
        "A file that the configuration includes is missing, cannot be read, includes itself, or has sections that do not fit together.",
        "Correct the line that is named. `IncludeOptional` is for files that may be missing.",
    ),
    "MP0014": Code(
        "warning",
        "SetHandler mod_python without a PythonHandler",
        "The place is mod_python's, but nobody says what is to be called: httpd goes on to look for a file, mostly 404, and the log says nothing.",
        "Add `PythonHandler module` in the same place, or remove the SetHandler.",
    ),
    "MP0015": Code(
        "warning",
        "a PythonHandler that is never called",
        "PythonHandler says what is called where mod_python makes the content; that this is so is said by `SetHandler mod_python`, or `AddHandler mod_python .ext`. "
        "Without it httpd looks for a file: 404, or the source of the program is sent.",
        "Add `SetHandler mod_python` beside the PythonHandler.",
    ),
    "MP0016": Code(
        "error",
        "two applications at one place",
        "Two lines of PythonWSGI, PythonASGI or PythonWSGIMatch name the same part of the URI; httpd refuses the second one.",
        "Remove one of them, or give them different places.",
    ),
    "MP0017": Code(
        "warning",
        "an application that is never asked",
        "Something comes first for the whole of its place: `Alias` and `ProxyPass` come before PythonWSGI, whatever the order of the lines, and a `SetHandler` in a "
        "`<Location>` for the same path decides otherwise.",
        "Give them different places; `ProxyPass /path !` leaves a path out.",
    ),
    "MP0018": Code(
        "warning",
        "an interpreter that only PythonImport names",
        "PythonImport imports a module in an interpreter; where no request runs in the interpreter of that name, it costs memory in every child and helps nobody. "
        "A virtual host's interpreter has the name of its ServerName, that of the base server is main_interpreter.",
        "Write the name of the interpreter that the requests run in: PythonInterpreter, ServerName, or main_interpreter.",
    ),
    "MP0019": Code(
        "error",
        "another module for Python beside us",
        "Debian's mod_python is of the same name (python_module), so only the first of the two LoadModule lines counts. mod_wsgi starts a Python of its own: two of them in one "
        "process share what belongs to one, and may crash.",
        "Switch it off: `a2dismod wsgi`, or remove its LoadModule. `mod_python migrate` says what becomes of its directives.",
    ),
    "MP0020": Code(
        "advice",
        "ASGI without the MPM event",
        "WebSockets and event streams leave their worker with the MPM event alone. With prefork each one holds a process for as long as it lasts, with worker a thread.",
        "Use the MPM event: `a2dismod mpm_prefork; a2enmod mpm_event`.",
    ),
    "MP0021": Code(
        "advice",
        "few connections for streams",
        "event accepts ThreadsPerChild x (1 + AsyncRequestWorkerFactor) connections for each child, and the factor is 2 by default. WebSockets and streams that have left "
        "their worker count among them.",
        "For 1,000 of them a child with 25 threads, `AsyncRequestWorkerFactor 40`; see docs/asgi.md.",
    ),
    "MP0022": Code(
        "warning",
        "FlushMaxThreshold is too small for streams",
        "Below 16384 bytes httpd itself waits for slow clients when it writes, and one of them holds up the thread that serves all WebSockets and streams of its child.",
        "Leave FlushMaxThreshold as it is (65535), or set it to 16384 at least.",
    ),
    "MP0023": Code(
        "advice",
        "children that end with their streams",
        "Workers whose streams have left them are idle for event. Above MaxSpareThreads idle ones a child is told to end, and all of its WebSockets are closed (1012); so they are after "
        "MaxConnectionsPerChild connections.",
        "Set MaxSpareThreads as high as MaxRequestWorkers, and MaxConnectionsPerChild to 0.",
    ),
    "MP0024": Code(
        "advice",
        "no room for old children",
        "After a graceful restart old children stay for as long as their streams go on, and take places of ServerLimit from new ones.",
        "Set ServerLimit two or three times as high as MaxRequestWorkers / ThreadsPerChild.",
    ),
    "MP0025": Code(
        "error",
        "an extension module that refuses sub-interpreters",
        "The module can be imported in the main interpreter, and not in one beside it, where this place's requests run: each virtual host has an interpreter of its own. "
        "Many extension modules (numpy, cryptography, pydantic) are for the main interpreter alone.",
        "`PythonInterpreter main_interpreter` in that virtual host or section. Without `PythonInterpreterGIL own` and pools some work that refuse otherwise.",
    ),
    "MP0026": Code(
        "warning",
        "an extension module for one interpreter",
        "The first interpreter that imports the module has it; every other one in the same child is refused. Which one comes first is decided by the first request.",
        "`PythonInterpreter main_interpreter` in every virtual host that needs it.",
    ),
    "MP0027": Code(
        "error",
        "mod_python.so and its package differ",
        "The module and the Python package `mod_python` belong together: each version's package is in a directory of its own beside mod_python.so. One of the two was copied, "
        "or installed, without the other.",
        "`make install` again, then stop httpd and start it: a graceful restart keeps the mod_python.so that is loaded.",
    ),
    "MP0028": Code(
        "error",
        "Python directives without the module",
        "No LoadModule loads python_module, so httpd knows none of its directives.",
        "`a2enmod python`, or `LoadModule python_module …/mod_python.so` in front of them.",
    ),
    "MP0029": Code(
        "advice",
        "many threads for one Python",
        "Handlers of one interpreter share one lock: of many threads in a child one computes at a time. More than some dozens add memory and waiting.",
        "Rather more children than threads (ServerLimit, StartServers), or PythonInterpreterPool on Python 3.13 and newer.",
    ),
    "MP0030": Code(
        "warning",
        "an .htaccess file that is not read",
        "The file has directives for Python, but AllowOverride lets it say nothing (None is the default), or only other things: FileInfo is needed.",
        "`AllowOverride FileInfo` for its directory, or, faster, move its lines into a `<Directory>` of the configuration.",
    ),
    "MP0031": Code(
        "warning",
        "sources that httpd may send",
        "A directory of PythonPath lies below a DocumentRoot or Alias: whoever asks for a file in it gets the source, with whatever passwords are in it, unless a handler answers.",
        "Put modules outside what is served, or `Require all denied` for the directory.",
    ),
    "MP0032": Code(
        "error",
        "Python that is none",
        "The file has a syntax error for the Python that would run it.",
        "Correct the line that is named. For Python 2 see `mod_python migrate`.",
    ),
    "MP0033": Code(
        "warning",
        "a rule that does not hold for the application",
        "A `<Directory>` or `<Files>` for the application's file asks for a password or an address. Requests for PythonWSGI and PythonASGI have no file, so such sections do not hold for "
        "them, other than with mod_wsgi: everybody comes in.",
        "Put the rule into a `<Location>` for the application's path.",
    ),
    "MP0034": Code(
        "error",
        "a daemon that nobody describes",
        "`daemon=` of an application, or `PythonOption mod_python.daemon`, names a daemon for which there is no PythonDaemon. httpd does not start.",
        "Correct the name, or describe it: `PythonDaemon NAME user=…` (docs/guide/daemons.md).",
    ),
    "MP1001": Code(
        "advice",
        "a directive that has a counterpart",
        "mod_wsgi's directive is called otherwise here. `mod_python migrate … --write` writes it anew.",
        "See docs/moving.md for what is not the same.",
    ),
    "MP1002": Code(
        "advice",
        "a daemon",
        "mod_wsgi's daemon processes become a PythonDaemon: a private httpd, as the same user, with the same processes and threads, which httpd starts, watches and hands requests to. "
        "Options that have no counterpart are told of one by one.",
        "Load mod_proxy and mod_proxy_http, and see docs/guide/daemons.md.",
    ),
    "MP1003": Code(
        "error",
        "a door that has to be built anew",
        "mod_wsgi asks a script for access, a password or groups; its functions get an environ. Here handlers get the request. What is written anew has `Require all denied` in that place: "
        "nobody comes in until you have written the handler.",
        "Write the handler that is named, and put it in place of the `Require all denied`, with the Require lines that stand there as comments.",
    ),
    "MP1004": Code(
        "warning",
        "to be translated by hand",
        "The directive, or a part of it, has no counterpart that a program could choose.",
        "See docs/moving.md.",
    ),
    "MP1005": Code(
        "advice",
        "a directive that is not needed",
        "What it says has no meaning here, or is always so.",
        "Leave it out.",
    ),
    "MP1006": Code(
        "warning",
        "the longest path wins",
        "mod_wsgi asks the first line that matches, this module the longest path. An application that was hidden behind a shorter path in front of it will answer.",
        "Remove the line if it was not meant to.",
    ),
    "MP1007": Code(
        "advice",
        "an interpreter for each application",
        "mod_wsgi gives each mount point an interpreter of its own; here the applications of a virtual host share one unless PythonInterpreter says otherwise, and those of a daemon always do.",
        "Keep it for applications that must not see each other's modules; take it out to save memory.",
    ),
    "MP1008": Code(
        "warning",
        "rules of directories do not hold for an application",
        "In mod_wsgi an application's requests have its script for a file, so `<Directory>` and `<Files>` hold for them: passwords, addresses, SetEnv. Here they have no file; `<Location>` holds.",
        "What is written anew repeats the rules in a `<Location>`; where it is for `/`, it holds for everything there, files, too.",
    ),
    "MP1010": Code(
        "advice",
        "a directive that does more than it did",
        "What mod_python 3.5 did otherwise only because it was broken.",
        "See docs/differences.md.",
    ),
    "MP1011": Code(
        "advice", "an old name", "The name is from before mod_python 3.3. It is still read.", "Write the new one."
    ),
    "MP1012": Code(
        "warning",
        "another module's file",
        "The LoadModule line names the old mod_python's file, or one that is nowhere.",
        "`LoadModule python_module` with the path of this module's mod_python.so.",
    ),
    "MP1014": Code(
        "warning",
        "a file that is not read",
        "It cannot be read, is no file, is too long, or is no text.",
        "Look at it by hand.",
    ),
    "MP2001": Code(
        "error",
        "Python 2's grammar",
        "Python 3 cannot parse the line, so the whole module is not loaded.",
        "Write it as Python 3 has it.",
    ),
    "MP2002": Code(
        "error",
        "a name that Python 3 does not have",
        "It is a NameError when the line runs.",
        "Write what is proposed.",
    ),
    "MP2003": Code(
        "error",
        "a module that Python 3 does not have",
        "It is a ModuleNotFoundError when the line runs.",
        "Import what is proposed.",
    ),
    "MP2004": Code(
        "error",
        "a method or attribute that is gone",
        "It is an AttributeError, or a TypeError, when the line runs.",
        "Write what is proposed.",
    ),
    "MP2005": Code(
        "warning",
        "bytes for text",
        "On Python 3 what is read from a request's body is `bytes`. Compared with a text it is never equal, joined with one it is a TypeError.",
        "`.decode()` where text is meant. `req.write()` takes both; text leaves as UTF-8.",
    ),
    "MP2006": Code(
        "warning",
        "sessions hold what JSON can",
        "Sessions are kept as JSON, since whoever can write a pickle runs code in httpd. Instances of other classes than the usual ones are a TypeError when the session is saved; sessions of mod_python 3.5 are not read.",
        "Keep texts, numbers, lists, dictionaries, tuples, sets, bytes and dates; `PythonOption mod_python.session.serializer pickle` brings pickles back.",
    ),
    "MP2007": Code(
        "warning",
        "signatures of cookies",
        "They are HMAC-SHA-256; what mod_python 3.5 has signed with MD5 is read where `legacy=True` says so alone.",
        "Visitors get a new cookie; to take the old ones for a while, pass `legacy=True` to Cookie.get_cookie().",
    ),
    "MP2008": Code(
        "error",
        "a name that is not there any more",
        "It was an inner part of mod_python.",
        "Use what is proposed; docs/objects.md lists what there is.",
    ),
    "MP2009": Code(
        "error",
        "a handler that returns nothing",
        "None is no result: the answer is a 500, in mod_python 3.5 as well.",
        "End it with `return apache.OK`.",
    ),
    "MP2011": Code(
        "warning",
        "a call that does something else",
        "What mod_python 3.5 does here is a slip that was not kept.",
        "See docs/differences.md.",
    ),
    "MP2012": Code(
        "warning",
        "a module that newer Pythons do not have",
        "It works until httpd's Python is a newer one.",
        "Use what is proposed.",
    ),
    "MP2013": Code(
        "warning",
        "mod_wsgi's own names",
        "`environ` has no `mod_wsgi.*` here, and there is no module of that name.",
        "`environ['mod_python.request']` is the request object, with everything that httpd knows.",
    ),
    "MP2014": Code(
        "error",
        "text for bytes",
        "On Python 3 the body of a WSGI application is `bytes`; a text in it is a TypeError, and the answer a 500.",
        '`b"…"`, or `.encode()`; Content-Length is the length of what has been encoded.',
    ),
}
