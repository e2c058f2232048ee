"""THE description of an httpd of one's own: from what is wanted, and what this machine has, to the text of httpd.conf.

A value reaches httpd as it is: ``argument`` quotes what httpd's parser would take apart or replace.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Optional, Union

from mod_python._own import preload_names
from mod_python._own.options import Options, option
from mod_python._own.problems import Problem, libpython
from mod_python._own.programs import Httpd
from mod_python._own.targets import Pages, Target
from mod_python.httpdconf import Comment, Container, ContainerTag, Directive

_BARE = re.compile(r"[\w./:@+,=*-]+", re.ASCII)
_DOLLAR = "MOD_PYTHON_DOLLAR"
COMBINED = r'"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" combined'
"""LogFormat's arguments."""

_ASKED = "expr=%{REQUEST_METHOD} != 'OPTIONS' || %{REQUEST_URI} != '*'"
"""CustomLog's condition: not what this command and httpd itself ask, to see whether it serves."""

_WEB = "css|js|mjs|map|html?|txt|png|jpe?g|gif|svg|ico|webp|avif|woff2?|ttf|pdf|mp4|webm"
"""Files beside pages that are sent as they are; nothing else of the directory is."""

_MIME_TYPES = "/etc/mime.types"
_PATIENCE_AT_THE_END = 30
_PREFORK = 256
"""ServerLimit's default with the MPM prefork."""


@dataclasses.dataclass(frozen=True)
class Site:
    """What a server consists of, beside its options."""

    root: str
    """The server root: absolute."""
    module: str
    """mod_python.so."""
    from_wheel: bool
    venv: str
    """A virtual environment that is not the command's own; or nothing."""
    targets: tuple[Target, ...]
    pages: Optional[Pages]
    children: Optional[tuple[str, str]]
    """User and group of the children, where root starts it."""
    mime_types: str


def argument(text: Union[str, int]) -> str:
    """An argument of a directive, in quotes where it needs them. Raises Problem for what no configuration can hold."""
    text = str(text)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise Problem(
            f"{text!r} has a line end or another control character in it", "httpd cannot read such a name: rename it."
        )
    if _BARE.fullmatch(text):
        return text
    # A variable's value is not looked at again.
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", f"${{{_DOLLAR}}}{{")
    return f'"{text}"'


def line(name: str, *arguments: Union[str, int]) -> Directive:
    """A directive with arguments that are quoted as needed."""
    return Directive(name, " ".join(map(argument, arguments)), 0)


def section(tag: str, place: str, *children: Any) -> ContainerTag:
    """A section; the place may have what would be a wildcard in it."""
    return ContainerTag(tag, argument(place), children, 0)


def _literal(path: str) -> str:
    """A path as <Directory> takes it. Where nothing in it could be a wildcard, httpd compares it as it is."""
    escaped = glob.escape(path)
    return path if escaped == path else glob.escape(path.replace("\\", "\\\\"))


def text_of(options: Options, httpd: Httpd, site: Site) -> str:
    """The whole configuration. Raises Problem."""
    parts = Container(
        Comment(
            "Written by mod_python, and written anew by each `mod_python start` and `setup`: change their options instead."
        ),
        modules(httpd, needed(options, site)),
        server(options, httpd, site),
        python(site),
        *([Comment("Your own directives"), line("Include", _literal(options.include))] if options.include else []),
    )
    return finished(_content(parts, options, site))


def finished(parts: Container) -> str:
    """A configuration's text, with what its quoted arguments need."""
    text = str(parts)
    return f"Define {_DOLLAR} $\n{text}" if f"${{{_DOLLAR}}}" in text else text


def mime_types(otherwise: str) -> str:
    """TypesConfig's file: this machine's, or another one where it has none."""
    return _MIME_TYPES if os.path.isfile(_MIME_TYPES) else otherwise


def needed(options: Options, site: Site) -> list[str]:
    """The names of httpd's modules that the server needs."""
    names = ["unixd", "log_config", "authz_core"]
    if options.static or site.pages:
        names += ["mime", "alias", "dir"]
    if options.https_cert:
        names.append("ssl")
    if options.http2:
        names.append("http2")
    return names


def modules(httpd: Httpd, names: Sequence[str], is_private: bool = False) -> Container:
    """LoadModule for the best MPM, for these modules, and, unless another httpd is the only client, for what limits slow ones."""
    slow = [name for name in ("reqtimeout",) if httpd.has(name) and not is_private]
    return Container(Comment("httpd's modules"), *loads(httpd, httpd.mpm, [*names, *slow]))


def loads(httpd: Httpd, mpm: str, names: Sequence[str]) -> list[Directive]:
    """LoadModule for an MPM and for those of these modules that are not compiled in, each once. Raises Problem."""
    found = [] if mpm in httpd.static else [(f"mpm_{mpm}", httpd.load(f"mpm_{mpm}"))]
    # httpd warns of a second time.
    found += [(name, httpd.load(name)) for name in dict.fromkeys(names)]
    return [line("LoadModule", f"{name}_module", path) for name, path in found if path]


def place(root: str, runtime: str, pid_file: str) -> Container:
    """Where the server has its files: nothing of the system's httpd is touched."""
    return Container(line("ServerRoot", root), line("DefaultRuntimeDir", runtime), line("PidFile", pid_file))


def server(options: Options, httpd: Httpd, site: Site) -> Container:
    """httpd itself: places, addresses, sizes, logs, TLS."""
    inside = f"{site.root}/"
    found = Container(
        Comment("The server"),
        place(site.root, f"{inside}run", f"{inside}run/httpd.pid"),
        line("ServerName", f"localhost:{options.port}" if ":" in options.host else options.netloc),
        line("Listen", options.listen),
        *(line(name, value) for name, value in zip(("User", "Group"), site.children or ())),
        *_sizes(options, httpd, site),
        line("Timeout", options.timeout),
        line("GracefulShutdownTimeout", _PATIENCE_AT_THE_END),
        line("LimitRequestBody", options.limit_request_body),
        line("ServerTokens", "Prod"),
        line("TraceEnable", "Off"),
        line("LogLevel", "warn"),
        Directive("LogFormat", COMBINED, 0),
    )
    if options.log_to_terminal:
        # httpd gives both standard output.
        found.append(line("ErrorLog", "|/bin/cat"))
        found.append(line("CustomLog", "|/bin/cat", "combined", _ASKED))
    else:
        found.append(line("ErrorLog", options.error_log or f"{inside}logs/error_log"))
    if options.access_log:
        found.append(line("CustomLog", options.access_log, "combined", _ASKED))
    for one in _tls(options, httpd):
        found.append(one)
    return found


def sizes(mpm: str, processes: int, threads: int, started: int, generations: int) -> list[Directive]:
    """How many children and threads there are.

    ``started`` children are there at the beginning; there is room for so many ``generations`` of them, since those of before a graceful
    restart end what they are at.
    """
    workers = processes * threads
    if mpm == "prefork":
        limit = [line("ServerLimit", workers)] if workers > _PREFORK else []
        return [line("StartServers", started), *limit, line("MaxRequestWorkers", workers)]
    return [
        line("ServerLimit", processes * generations),
        line("StartServers", started),
        line("ThreadLimit", threads),
        line("ThreadsPerChild", threads),
        line("MaxRequestWorkers", workers),
        line("MinSpareThreads", 1),
        line("MaxSpareThreads", workers),
    ]


def _sizes(options: Options, httpd: Httpd, site: Site) -> list[Directive]:
    found = sizes(httpd.mpm, options.processes, options.threads, options.processes, 3)
    return found + many_connections(httpd) if any(target.kind == "asgi" for target in site.targets) else found


def many_connections(httpd: Httpd, factor: int = 20) -> list[Directive]:
    """Many more connections than workers, where those hold none: sockets and event streams. ``factor`` for each worker that is free."""
    return [line("AsyncRequestWorkerFactor", factor)] if httpd.mpm == "event" else []


def _tls(options: Options, httpd: Httpd) -> list[Directive]:
    found = []
    if options.https_cert:
        found = [
            line("SSLEngine", "on"),
            line("SSLCertificateFile", options.https_cert),
            line("SSLCertificateKeyFile", options.https_key or options.https_cert),
            line("SSLProtocol", "all", "-SSLv3", "-TLSv1", "-TLSv1.1"),
            line("SSLSessionCache", "none"),
        ]
    if options.http2:
        if httpd.mpm == "prefork":
            raise Problem("--http2 needs httpd's MPM event or worker, and this httpd has prefork alone")
        found.append(line("Protocols", "h2" if options.https_cert else "h2c", "http/1.1"))
    return found


def python(site: Site) -> Container:
    """mod_python itself: which library, which module, which environment."""
    found = Container(Comment("mod_python"))
    for one in module_lines(site.module, site.from_wheel, site.venv):
        found.append(one)
    return found


def home(from_wheel: bool, venv: str) -> str:
    """The PythonHome: an environment that is named, or the command's; nothing where the Python that the module was built with does."""
    return venv or (sys.prefix if from_wheel or sys.prefix != sys.base_prefix else "")


def module_lines(module: str, from_wheel: bool, venv: str = "") -> list[Directive]:
    """What loads this module, with this environment, into any httpd. Raises Problem where there is no shared libpython."""
    found = [line("LoadFile", libpython())] if from_wheel else []
    found.append(line("LoadModule", "python_module", module))
    environment = home(from_wheel, venv)
    if environment:
        found.append(line("PythonHome", environment))
    return found


def preloaded(targets: Sequence[str], working: str) -> list[Directive]:
    """What has children go to a directory, and import what is served (``preload``) before they accept anything. Raises Problem."""
    argument(working)
    names = enumerate(targets)
    return [
        *(line("PythonOption", f"{preload_names.OPTION}{count}", target) for count, target in names),
        # Options are text, and names of directories may be none.
        line("PythonOption", preload_names.DIRECTORY, working.encode("unicode_escape").decode("ascii")),
        line("PythonImport", "mod_python._own.preload::run", "main_interpreter"),
    ]


def _content(found: Container, options: Options, site: Site) -> Container:
    """With what is served."""
    targets = site.targets
    path = list(dict.fromkeys(target.path for target in targets if target.path))
    if site.pages:
        path.insert(0, site.pages.directory)
    add = found.append
    if path:
        add(line("PythonPath", f"{path!r}+sys.path"))
    if not site.pages:
        # Pages are changed in place; an application is restarted as a whole.
        add(line("PythonAutoReload", "Off"))
    if options.debug:
        add(line("PythonDebug", "On"))
    for text in options.options:
        key, value = option(text)
        add(line("PythonOption", key, *([value] if value else [])))
    if options.reload:
        add(line("PythonOption", preload_names.REPORTS, os.path.join(site.root, "run/imported")))
    texts = [f"{one.kind} {one.module}::{one.name}{'()' if one.is_factory else ''}" for one in targets]
    for directive in preloaded(texts, options.working):
        add(directive)
    documents = site.pages.directory if site.pages else f"{site.root}/htdocs"
    add(line("DocumentRoot", documents))
    add(
        section(
            "Directory",
            "/",
            line("Options", "FollowSymLinks"),
            line("AllowOverride", "None"),
            line("Require", "all", "denied"),
        )
    )
    add(section("Directory", _literal(documents), *_of_pages(site.pages), line("Require", "all", "granted")))
    for target in targets:
        add(_mounted(target))
    # Of several Aliases the first one that fits is taken: the longest has to be.
    for prefix, directory in sorted(options.static, key=lambda pair: -len(pair[0])):
        add(line("Alias", prefix, directory))
        open_to_all = (line("SetHandler", "None"), line("Require", "all", "granted"))
        add(section("Location", prefix, *open_to_all))
        # Such as .git; RFC 8615 has an exception.
        hidden = rf"^{re.escape(prefix)}/(?:.*/)?\.(?!well-known/)"
        add(section("LocationMatch", hidden, line("Require", "all", "denied")))
    if options.static or site.pages:
        add(line("TypesConfig", site.mime_types))
    return found


def _of_pages(pages: Optional[Pages]) -> list[Any]:
    if pages is None:
        return []
    index = line("DirectoryIndex", "index.psp", "index.html")
    web = section("FilesMatch", rf"(?i)^[^.].*\.(?:{_WEB})$", line("SetHandler", "None"))
    if pages.handler.partition("::")[0] == "mod_python.psp":
        # It takes whatever file it is given for a page, and would send the text of others.
        called = (line("SetHandler", "mod_python"), line("PythonHandler", pages.handler))
        others = rf"(?i)^(?![^.].*\.(?:psp_?|{_WEB})$)."
        closed = section("FilesMatch", others, line("Require", "all", "denied"))
        return [index, section("FilesMatch", r"\.psp_?$", *called), web, closed]
    found: list[Any] = [line("SetHandler", "mod_python"), line("PythonHandler", pages.handler), index]
    if pages.handler == "mod_python.publisher":
        found.append(section("FilesMatch", r"\.psp$", line("PythonHandler", "mod_python.psp")))
    found.append(web)
    return found


def _mounted(target: Target) -> Any:
    prefix = target.prefix or "/"
    if target.kind == "handler":
        return section("Location", prefix, line("SetHandler", "mod_python"), line("PythonHandler", target.spelled()))
    return line("PythonWSGI" if target.kind == "wsgi" else "PythonASGI", prefix, target.spelled())
