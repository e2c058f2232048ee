"""Configurations of httpd written in Python.

::

    from mod_python.httpdconf import *

    print(Container(
        ServerRoot("/srv/site"),
        Directory("/srv/site/htdocs", SetHandler("mod_python"), PythonHandler("mp")),
    ))

``str`` of an object is httpd's text, ``repr`` the Python that makes it. Values stand as they are: quote what needs quotes
(``quote_if_space``).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, Optional, Union

import mod_python as mod_python  # what only_if expressions look at
from mod_python import _users, version

_INDENT = 2


class Directive:
    """A line: a name and its value. Backslashes become slashes if ``flipslash``."""

    def __init__(self, name: str, val: Any, flipslash: int = 1) -> None:
        self.name, self.val, self.flipslash = name, val, flipslash
        self.indent = 0

    def _flipped(self, text: str) -> str:
        return text.replace("\\", "/") if self.flipslash else text

    def __str__(self) -> str:
        return self._flipped(f"{' ' * self.indent}{self.name} {self.val}\n")

    def __repr__(self) -> str:
        val = self._flipped(self.val) if isinstance(self.val, str) else self.val
        return f"{' ' * self.indent}{self.name}({val!r})"


class Container:
    """Several directives in a row, without a section of their own; nothing where ``only_if``, an expression, is false."""

    def __init__(self, *args: Any, only_if: Optional[str] = None) -> None:
        self.args = list(args)
        self.indent = 0
        self.only_if = only_if

    def append(self, value: Union[Directive, Container, Comment]) -> None:
        """Add another one. Raises TypeError for what is none."""
        if not isinstance(value, (Directive, Container, Comment)):
            raise TypeError("appended value must be an instance of Directive, Container, ContainerTag or Comment")
        self.args.append(value)

    def _is_wanted(self) -> bool:
        return self.only_if is None or bool(eval(self.only_if, globals()))

    def _children(self, indent: int, show: Any, after: str = "") -> str:
        text = ""
        for child in self.args:
            child.indent = indent
            text += show(child) + after
        return text

    def __str__(self) -> str:
        return self._children(self.indent, str) if self._is_wanted() else ""

    def __repr__(self) -> str:
        space = " " * self.indent
        text = f"{space}{type(self).__name__}({self._first()}\n" + self._children(self.indent + 4, repr, ",\n")
        if self.only_if is not None:
            text += f"{space}    only_if={self.only_if!r},\n"
        return text + f"{space})"

    def _first(self) -> str:
        return ""


class ContainerTag(Container):
    """A section: ``<Tag attr>`` … ``</Tag>``."""

    def __init__(
        self, tag: str, attr: str, args: Sequence[Any], flipslash: int = 1, only_if: Optional[str] = None
    ) -> None:
        super().__init__(*args, only_if=only_if)
        self.tag, self.attr, self.flipslash = tag, attr, flipslash

    def __str__(self) -> str:
        if not self._is_wanted():
            return ""
        space = " " * self.indent
        opening = f"{space}<{self.tag} {self.attr}>\n"
        if self.flipslash:
            opening = opening.replace("\\", "/")
        return opening + self._children(self.indent + _INDENT, str) + f"{space}</{self.tag}>\n"

    def _first(self) -> str:
        return f"{self.attr!r},"


class Comment:
    """A comment of one or several lines."""

    def __init__(self, comment: str) -> None:
        self.comment = comment
        self.indent = 0

    def __str__(self) -> str:
        lines = self.comment.splitlines() or [""]
        return "".join(f"{' ' * self.indent}# {line}\n" for line in lines)

    def __repr__(self) -> str:
        space = " " * self.indent
        lines = self.comment.splitlines(keepends=True) or [""]
        inner = f"\n{space}        ".join(map(repr, lines))
        return f"{space}Comment({inner})"


def quote_if_space(s: str) -> str:
    """The text, in double quotes if there is a space in it."""
    return f'"{s}"' if " " in s else s


_ONE = [
    "AddHandler",
    "AddOutputFilter",
    "AddType",
    "AuthBasicAuthoritative",
    "AuthBasicProvider",
    "AuthType",
    "AuthName",
    "CustomLog",
    "DefaultRuntimeDir",
    "DirectoryIndex",
    "DocumentRoot",
    "ErrorDocument",
    "ErrorLog",
    "Group",
    "KeepAliveTimeout",
    "Listen",
    "LoadFile",
    "LoadModule",
    "LogLevel",
    "MaxConnectionsPerChild",
    "MaxClients",
    "MaxRequestWorkers",
    "MaxRequestsPerChild",
    "MaxSpareServers",
    "MaxSpareThreads",
    "MaxThreadsPerChild",
    "MinSpareThreads",
    "Mutex",
    "NameVirtualHost",
    "NumServers",
    "Options",
    "PidFile",
    "PythonASGI",
    "PythonAccessHandler",
    "PythonAuthenHandler",
    "PythonAuthzHandler",
    "PythonAutoReload",
    "PythonCleanupHandler",
    "PythonConnectionHandler",
    "PythonDaemon",
    "PythonDaemonSocket",
    "PythonDebug",
    "PythonEnablePdb",
    "PythonFixupHandler",
    "PythonHandler",
    "PythonHandlerModule",
    "PythonHeaderParserHandler",
    "PythonHome",
    "PythonImport",
    "PythonInitHandler",
    "PythonInputFilter",
    "PythonInterpreter",
    "PythonInterpreterGIL",
    "PythonInterpreterPool",
    "PythonLogHandler",
    "PythonOptimize",
    "PythonOption",
    "PythonOutputFilter",
    "PythonPostReadRequestHandler",
    "PythonSlowLog",
    "PythonTimeout",
    "PythonTransHandler",
    "PythonTypeHandler",
    "PythonWSGI",
    "PythonWSGIMatch",
    "Require",
    "SetHandler",
    "SetInputFilter",
    "SetOutputFilter",
    "ServerAdmin",
    "ServerLimit",
    "ServerName",
    "ServerPath",
    "ServerRoot",
    "StartServers",
    "StartThreads",
    "ThreadLimit",
    "ThreadsPerChild",
    "Timeout",
    "TypesConfig",
    "User",
]
_VERBATIM = ("LogFormat", "PythonPath")
_SWITCHES = ("PythonInterpPerDirectory", "PythonInterpPerDirective")
_TAGS = ("Directory", "Files", "IfModule", "Location", "VirtualHost")

__all__ = [
    "Comment",
    "Container",
    "ContainerTag",
    "Directive",
    "LockFile",
    "quote_if_space",
    "write_basic_config",
    *_ONE,
    *_SWITCHES,
    *_TAGS,
    *_VERBATIM,
]


def _directive(name: str, flipslash: int = 1) -> type[Directive]:
    def __init__(self: Directive, val: Any) -> None:
        Directive.__init__(self, name, val, flipslash)

    return type(name, (Directive,), {"__init__": __init__, "__doc__": f"The directive {name}.", "__module__": __name__})


def _switch(name: str) -> type[Directive]:
    def __init__(self: Directive, val: Any = "Off") -> None:
        Directive.__init__(self, name, val)

    return type(name, (Directive,), {"__init__": __init__, "__doc__": f"The directive {name}.", "__module__": __name__})


def _tag(name: str) -> type[ContainerTag]:
    def __init__(self: ContainerTag, attr: str, *args: Any, only_if: Optional[str] = None) -> None:
        ContainerTag.__init__(self, name, attr, args, only_if=only_if)

    return type(
        name, (ContainerTag,), {"__init__": __init__, "__doc__": f"The section <{name}>.", "__module__": __name__}
    )


globals().update({name: _directive(name) for name in _ONE})
globals().update({name: _directive(name, 0) for name in _VERBATIM})
globals().update({name: _switch(name) for name in _SWITCHES})
globals().update({name: _tag(name) for name in _TAGS})


class LockFile(Directive):
    """The directive LockFile; a comment on Windows."""

    def __init__(self, val: Any) -> None:
        super().__init__("LockFile", val)

    def __str__(self) -> str:
        text = super().__str__()
        return text.replace("LockFile", "#LockFile", 1) if sys.platform == "win32" else text


_MODULES = [
    "authn_file",
    "authn_core",
    "authz_host",
    "authz_groupfile",
    "authz_user",
    "authz_core",
    "access_compat",
    "auth_basic",
    "include",
    "filter",
    "mime",
    "log_config",
    "env",
    "headers",
    "setenvif",
    "version",
    "unixd",
    "status",
    "autoindex",
    "dir",
    "alias",
]


def write_basic_config(
    server_root: str,
    listen: str = "127.0.0.1:8888",
    conf: str = "conf",
    logs: str = "logs",
    htdocs: str = "public",
    pythonhandler: str = "mod_python.publisher",
    pythonpath: Sequence[str] = (),
    pythonoptions: Sequence[str] = (),
    mp_comments: Sequence[str] = (),
    conf_name: str = "httpd_conf.py",
    createdirs: bool = True,
    replace_config: bool = False,
    user: Optional[str] = None,
) -> Optional[str]:
    """Make the directories of a server, and a Python file that prints its configuration.

    Where root calls it, the children are ``user``, or httpd's usual one. Returns the file's path, or None
    (and a message on standard error) if it is there already and not to be replaced. Raises OSError; ValueError for the user;
    ``mod_python._own.problems.Problem`` where there is no httpd.
    """
    children = _users.children_user(user)
    root = os.path.abspath(server_root)
    target = os.path.join(root, conf, conf_name)
    if os.path.exists(target) and not replace_config:
        print(f"{target} already exists; it stays as it is", file=sys.stderr)
        return None
    if createdirs:
        for directory in (root, *(os.path.join(root, name) for name in (htdocs, conf, logs, "run"))):
            if os.path.isdir(directory):
                print(f"{directory} already exists", file=sys.stderr)
            else:
                print(f"making {directory}", file=sys.stderr)
                os.makedirs(directory)
                if children:
                    # Whatever root's umask is.
                    os.chmod(directory, 0o755)
        for source in (os.path.join(version.SYSCONFDIR, "mime.types"), "/etc/mime.types"):
            if os.path.isfile(source):
                shutil.copy(source, os.path.join(root, conf, "mime.types"))
                break
        else:
            print("there is no mime.types to copy; an empty one is made", file=sys.stderr)
            open(os.path.join(root, conf, "mime.types"), "a").close()
    with open(target, "w") as file:
        file.write(
            _script(root, listen, conf, logs, htdocs, pythonhandler, pythonpath, pythonoptions, mp_comments, children)
        )
    os.chmod(target, 0o755)
    return target


def _module_lines() -> list[Directive]:
    """What loads this module: the one that belongs to this package, or, where there is none yet, httpd's."""
    from mod_python._own import configuration, programs
    from mod_python._own.problems import Problem

    try:
        return configuration.module_lines(*programs.python_module())
    except Problem:
        return configuration.module_lines(os.path.join(version.LIBEXECDIR, "mod_python.so"), False)


def _script(
    root: str,
    listen: str,
    conf: str,
    logs: str,
    htdocs: str,
    pythonhandler: str,
    pythonpath: Sequence[str],
    pythonoptions: Sequence[str],
    mp_comments: Sequence[str],
    children: Optional[tuple[str, str]],
) -> str:
    # Not at the top: it is made of the classes above.
    from mod_python._own import configuration, programs
    from mod_python._own.configuration import line

    make: dict[str, Any] = globals()
    httpd = programs.find()
    modules = configuration.modules(httpd, [name for name in _MODULES if httpd.has(name)])
    main = Container(
        Comment("Written by `mod_python create`: the server"),
        configuration.place(root, os.path.join(root, "run"), os.path.join(root, logs, "httpd.pid")),
        line("MaxConnectionsPerChild", 65536),
        make["LogFormat"](configuration.COMBINED),
        line("CustomLog", os.path.join(logs, "access_log"), "combined"),
        line("ErrorLog", os.path.join(logs, "error_log")),
        line("LogLevel", "warn"),
        line("TypesConfig", os.path.join(conf, "mime.types")),
        line("ServerName", "127.0.0.1"),
        make["Listen"](listen),
        line("DocumentRoot", os.path.join(root, htdocs)),
    )
    if children:
        main.append(make["User"](children[0]))
        main.append(make["Group"](children[1]))
    python = Container(
        Comment("mod_python"),
        *_module_lines(),
        make["SetHandler"]("mod_python"),
        Comment("PythonDebug On"),
        make["PythonHandler"](pythonhandler),
    )
    if pythonpath:
        python.append(make["PythonPath"](f'"sys.path+{list(pythonpath)!r}"'))
    for option in pythonoptions:
        python.append(make["PythonOption"](option))
    for comment in mp_comments:
        python.append(Comment(comment))
    config = Container(modules, main, python)
    return (
        f"#!{version.PYTHON_BIN}\n\n# The configuration of a server; print it with: mod_python genconfig\n\n"
        f"from mod_python.httpdconf import *\n\nconfig = {config!r}\n\nprint(config)\n"
    )
