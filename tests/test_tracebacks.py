"""What the log says of exceptions: frames of the application, none of this module's, and what was served where there are none."""

from __future__ import annotations

from conftest import DEFAULT_INTERPRETER, Serve

CONFIG = """
PythonPath "sys.path+['@ROOT@/apps']"
PythonImport no_module_one main_interpreter
PythonImport mistakes::takes_one main_interpreter
PythonOutputFilter no_module_two MISSING
PythonOutputFilter mistakes::nothing EMPTY
PythonWSGI /wsgi no_module_three:application
PythonWSGI /factory mistakes:takes_one()
AddOutputFilter INCLUDES .shtml
<Location /module>
    SetHandler mod_python
    PythonHandler no_module_four
</Location>
<Location /file>
    SetHandler mod_python
    PythonHandler /nowhere/at_all.py
</Location>
<Location /function>
    SetHandler mod_python
    PythonHandler mistakes::nothing
</Location>
<Location /path>
    PythonPath "sys.path+5"
    SetHandler mod_python
    PythonHandler mistakes
</Location>
<Location /no_list>
    PythonPath "5"
    SetHandler mod_python
    PythonHandler mistakes
</Location>
<Location /ends>
    SetHandler mod_python
    PythonHandler mistakes::ends
</Location>
<Location /filtered/missing.txt>
    SetOutputFilter MISSING
</Location>
<Location /filtered/empty.txt>
    SetOutputFilter EMPTY
</Location>
<Location /form.psp>
    PythonOption mod_python.form.max_fields x
</Location>
<Directory @ROOT@/htdocs>
    Options +Includes
    AddHandler mod_python .py .psp .cgi
    PythonHandler mod_python.publisher | .py
    PythonHandler mod_python.psp | .psp
    PythonHandler mod_python.cgihandler | .cgi
</Directory>
"""
MISTAKES = """
from mod_python import apache

def takes_one(one):
    return one

def ends(req):
    apache.register_cleanup(unready)
    req.register_cleanup(unready)
    return 0

def unready():
    pass
"""
# What a mistake is asked for by, and what the log says of it, to the end.
MISTAKEN = {
    "/module": "PythonHandler no_module_four: ModuleNotFoundError: No module named 'no_module_four'",
    "/file": "PythonHandler /nowhere/at_all.py: FileNotFoundError: .*'/nowhere/at_all.py'",
    "/function": r"PythonHandler mistakes::nothing: AttributeError: module '\S+/apps/mistakes.py' contains no 'nothing'",
    "/path": r"TypeError: PythonPath 'sys.path\+5' cannot be evaluated: can only concatenate list .*",
    "/no_list": "PythonHandler mistakes: TypeError: PythonPath '5' must be a list of str, .*",
    "/filtered/missing.txt": "PythonOutputFilter no_module_two: ModuleNotFoundError: No module named 'no_module_two'",
    "/filtered/empty.txt": "PythonOutputFilter mistakes::nothing: AttributeError: module '.*' contains no 'nothing'",
    "/wsgi": "PythonHandler mod_python.wsgi: ModuleNotFoundError: No module named 'no_module_three'",
    "/factory": r"PythonHandler mod_python.wsgi: TypeError: takes_one\(\) .*'one'\\nmod_python: raised for mistakes::takes_one",
    "/page.py": r"PythonHandler mod_python.publisher: TypeError: index\(\) .*'a'\\nmod_python: raised for \S+/htdocs/page.py",
    "/page.py/later": r"mod_python.publisher: TypeError: later\(\) .*'a'\\nmod_python: raised for \S+/htdocs/page.py",
    "/nul.py": r"Error: source code .*null bytes.*\\nmod_python: raised for \S+/htdocs/nul.py",
    "/form.psp": r"ValueError: PythonOption mod_python.form.max_fields: 'x' is not a number\\nmod_python: raised for \S+/form.psp",
    "/call.psp": r"""Traceback .*File "\S+/call.psp", line 2, in <module>.*TypeError: <lambda>\(\) .*'a'""",
    "/head.cgi": r"no empty line behind its headers\\nmod_python: raised for \S+/htdocs/head.cgi",
    "/page.shtml": r"#python: Traceback .*File \"<\S+/page.shtml #python eval>\", line 1, .*ZeroDivisionError: division by zero",
}


def test_tracebacks_show_nothing_of_ours(serve: Serve, mpm: str) -> None:
    """Where the application has not been entered: what the exception says, and what was served."""
    server = serve(CONFIG, modules=("include",), mpm=mpm, start=False)
    files = {
        "apps/mistakes.py": MISTAKES,
        "htdocs/page.py": "def index(req, a):\n    pass\nasync def later(req, a):\n    pass\n",
        "htdocs/nul.py": "VALUE = 1\0\n",
        "htdocs/form.psp": "<% form %>",
        "htdocs/call.psp": "\n<%= psp.apply_data(lambda a: a) %>",
        "htdocs/head.cgi": "print('no head')\n",
        "htdocs/page.shtml": '<!--#python eval="1 / 0" -->',
        "htdocs/filtered/missing.txt": "",
        "htdocs/filtered/empty.txt": "",
    }
    for name, text in files.items():
        server.write(name, text)
    for path in (server.root / "htdocs").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    server.start()
    server.claim("PythonImport no_module_one main_interpreter: ModuleNotFoundError: No module named 'no_module_one'$")
    server.claim(r"PythonImport mistakes::takes_one main_interpreter: TypeError: takes_one\(\) .*'one'$")
    for path, pattern in MISTAKEN.items():
        answer = server.get(path)
        assert answer.status == (200 if path == "/page.shtml" else 500), path
        server.claim(pattern + "$")
    assert server.ok("/ends").status == 200
    server.claim(r"Error calling cleanup object .*TypeError: unready\(\) takes 0")
    server.stop()
    ended = DEFAULT_INTERPRETER or "main_interpreter"
    server.claim(rf"the end of the interpreter '{ended}': TypeError: unready\(\) takes 0 .* given$")
    text = server.log_text()
    assert "python/mod_python/" not in text and "importlib" not in text
