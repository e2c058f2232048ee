"""The servers that are measured, started each with the same number of processes and threads."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Protocol, Union

from httpd import CHILD_USER, PROJECT, RELEASE, Httpd, children_can_read, free_port, system_httpd

HERE = Path(__file__).resolve().parent
BUILD = PROJECT / "target/bench"
VENV = BUILD / "venv"
FLOOR = BUILD / "floor/.libs/mod_floor.so"
UNPACKED = BUILD / "mod_python-3.5"
"""Where prepare.py unpacks Debian's mod_python if it is not installed."""

# What Debian enables by default, beside what Httpd loads itself: so is the httpd that people run.
MODULES = (
    *("access_compat", "alias", "auth_basic", "authn_file", "authz_host", "authz_user", "autoindex", "deflate"),
    *("env", "filter", "negotiation", "reqtimeout", "setenvif", "status"),
)


@dataclass(frozen=True)
class Layout:
    """How a server is laid out."""

    children: int
    threads: int
    cores: Optional[str] = None
    """The cores that it may use, for taskset; None for all."""

    def wrapper(self) -> tuple[str, ...]:
        return ("taskset", "-c", self.cores) if self.cores else ()


@dataclass(frozen=True)
class Halves:
    """The cores: a half of them for servers, the other one for the load; both have the only one."""

    count: int
    """So many each has."""
    server: Optional[str]
    """The servers', for taskset."""
    pin: tuple[str, ...]
    """What stands in front of the load's command."""

    @classmethod
    def of_machine(cls) -> Halves:
        cores = os.cpu_count() or 1
        half = max(1, cores // 2)
        if cores == 1:
            return cls(1, None, ())
        return cls(half, f"0-{half - 1}", ("taskset", "-c", f"{half}-{cores - 1}"))

    def layout(self) -> Layout:
        """What most is measured with: one child with 32 threads."""
        return Layout(1, 32, self.server)


def command_line(description: Optional[str], rounds: int) -> argparse.ArgumentParser:
    """The arguments of what can be measured alone, too."""
    # httpd and its tools may lie where no user has them.
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ["PATH"]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=2)
    return parser


def show(rows: Iterable[list[str]]) -> None:
    """Print a table."""
    for row in rows:
        print(" | ".join(row), flush=True)


class Server(Protocol):
    """A running server."""

    name: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def url(self, path: str) -> str: ...
    def pids(self) -> list[int]: ...


def apps(root: Path) -> None:
    """The applications and files, the same for all."""
    folder = root / "apps"
    folder.mkdir(exist_ok=True)
    sources = [*(HERE / "apps").glob("*.py"), PROJECT / "examples/mp.py", PROJECT / "examples/hello_wsgi.py"]
    for source in sources:
        shutil.copy(source, folder)
    htdocs = root / "htdocs"
    shutil.copytree(HERE / "htdocs", htdocs, dirs_exist_ok=True)
    (htdocs / "hello.txt").write_text("Hello World!")
    (htdocs / "page.txt").write_text("x" * 10240)
    (htdocs / "megabyte.bin").write_bytes(b"\0" * 1_000_000)
    subprocess.run(["chmod", "-R", "a+rX", str(root)], check=True)
    (root / "sessions").mkdir(exist_ok=True)
    (root / "sessions").chmod(0o777)


class Apache:
    """httpd with one module, or none."""

    def __init__(
        self, name: str, config: str, layout: Layout, *, module: Optional[Path] = None, mpm: str = "event",
        wrapper: tuple[str, ...] = (), environment: Optional[dict[str, str]] = None,
    ) -> None:  # fmt: skip
        self.name, self._config, self._module = name, config, module
        self.environment = environment or {}
        self._layout, self._mpm, self._wrapper = layout, mpm, wrapper or layout.wrapper()
        self.httpd: Optional[Httpd] = None

    def prepare(self) -> Httpd:
        """Write the configuration."""
        self.httpd = Httpd(
            "",
            mpm=self._mpm,
            module=self._module,
            threads=self._layout.threads,
            children=self._layout.children,
            level="warn",
            modules=MODULES,
            wrapper=self._wrapper,
        )
        apps(self.httpd.root)
        self.httpd.configure(self._config)
        return self.httpd

    def start(self) -> None:
        httpd, before = self.prepare(), dict(os.environ)
        os.environ.update(self.environment)
        try:
            httpd.start()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def stop(self) -> None:
        if self.httpd:
            self.httpd.stop()
            self.httpd.remove()

    def url(self, path: str) -> str:
        return self._running().url(path)

    def pids(self) -> list[int]:
        """The children, daemons beside them, and what those have started; not the parent."""
        parent = self._running().pid
        return sorted(descendants([parent]) - {parent})

    def _running(self) -> Httpd:
        if not self.httpd:
            raise RuntimeError(f"{self.name} is not running")
        return self.httpd


class Processes:
    """Servers that are programs of their own. `@ROOT@`, `@PORT@`, `@SOCKET@` and `@WORKERS@` in a command are replaced.

    With `scheme` they listen at a UNIX socket, for a front that speaks it.
    """

    def __init__(
        self, name: str, commands: list[list[str]], layout: Layout, files: Optional[dict[str, str]] = None,
        scheme: str = "",
    ) -> None:  # fmt: skip
        self.name, self._commands, self._layout, self._files = name, commands, layout, files or {}
        self._scheme = scheme
        self._started: list[subprocess.Popen[bytes]] = []
        self._port = free_port()
        self.root = Path()

    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="mod_python-bench-"))
        self.root.chmod(0o777)
        (self.root / "run").mkdir()
        (self.root / "run").chmod(0o777)
        apps(self.root)
        for name, text in self._files.items():
            (self.root / name).write_text(self._filled(text))
        for command in self._commands:
            with (self.root / "output").open("ab") as output:
                self._started.append(
                    subprocess.Popen(
                        [*self._layout.wrapper(), *map(self._filled, command)],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                        cwd=self.root,
                    )
                )
        limit = time.monotonic() + 30
        while not accepts(str(self._socket) if self._scheme else self._port):
            if time.monotonic() > limit or any(process.poll() is not None for process in self._started):
                raise RuntimeError(f"{self.name} did not start: {(self.root / 'output').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        for process in reversed(self._started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT if "uwsgi" in self._commands[0][0] else signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._started.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def pids(self) -> list[int]:
        return sorted(descendants(process.pid for process in self._started))

    def place(self) -> str:
        """Where a front finds them, as ProxyPass takes it."""
        return f"unix:{self._socket}|{self._scheme}://{self._socket.stem}/" if self._scheme else self.url("/")

    @property
    def _socket(self) -> Path:
        return self.root / "run/front.sock"

    def _filled(self, text: str) -> str:
        for name, value in (
            ("ROOT", str(self.root)),
            ("SOCKET", str(self._socket)),
            ("PORT", str(self._port)),
            ("WORKERS", str(self._layout.children)),
            ("USER", f"user {CHILD_USER};" if os.geteuid() == 0 else ""),
        ):
            text = text.replace(f"@{name}@", value)
        return text


class Behind:
    """A server behind httpd's mod_proxy, with kept connections where its protocol has them; `options` are ProxyPass's."""

    def __init__(self, server: Processes, layout: Layout, options: str = "", modules: tuple[str, ...] = ("http",)):
        self.name, self._server, self._layout, self._options = server.name, server, layout, options
        self._modules = proxy_modules(*modules)
        self._front = Apache(server.name, "", layout)

    def start(self) -> None:
        self._server.start()
        text = f'{self._modules}ProxyPass / "{self._server.place()}" {self._options}\n'
        self._front = Apache(self.name, text, self._layout)
        self._front.start()

    def stop(self) -> None:
        self._front.stop()
        self._server.stop()

    def url(self, path: str) -> str:
        return self._front.url(path)

    def pids(self) -> list[int]:
        return [*self._front.pids(), *self._server.pids()]


def proxy_modules(*schemes: str) -> str:
    """Loads mod_proxy, and what speaks these schemes."""
    return "".join(
        f"<IfModule !{name}_module>\nLoadModule {name}_module {system_httpd().modules}/mod_{name}.so\n</IfModule>\n"
        for name in ("proxy", *(f"proxy_{scheme}" for scheme in schemes))
    )


def accepts(place: Union[int, str]) -> bool:
    """Does anybody listen at a port, or at a UNIX socket's path?"""
    family, address = (socket.AF_INET, ("127.0.0.1", place)) if isinstance(place, int) else (socket.AF_UNIX, place)
    with contextlib.suppress(OSError), socket.socket(family) as client:
        client.settimeout(1)
        client.connect(address)
        return True
    return False


def descendants(pids: Iterable[int]) -> set[int]:
    """Processes and all that come from them."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += map(int, children.read_text().split())
    return found


def conf(name: str, **values: str) -> str:
    """A configuration of conf/."""
    text = (HERE / "conf" / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def plain(layout: Layout, **more: object) -> Apache:
    """httpd without Python: static files and the floor."""
    places = re.findall(r"^<Location (\S+)>|^PythonWSGI (\S+)", conf("ours.conf") + conf("wsgi.conf"), re.M)
    # Two of them are the floor's own.
    sections = "".join(f"<Location {one or other}>\n    SetHandler none\n</Location>\n" for one, other in places[2:])
    text = conf("floor.conf", FLOOR=str(readable(FLOOR)), SECTIONS=sections)
    return Apache("httpd", text, layout, **more)  # type: ignore[arg-type]


def ours(layout: Layout, text: str = "", **more: object) -> Apache:
    text = text or conf("ours.conf") + conf("wsgi.conf")
    return Apache("mod_python (Rust)", text, layout, module=RELEASE, **more)  # type: ignore[arg-type]


def theirs(layout: Layout, text: str = "", **more: object) -> Apache:
    """Debian's mod_python, installed or unpacked."""
    module = Path(system_httpd().modules) / "mod_python.so"
    if not module.exists():
        module = UNPACKED / "usr/lib/apache2/modules/mod_python.so"
        more["environment"] = {"PYTHONPATH": str(UNPACKED / "usr/lib/python3/dist-packages")}
        if not module.exists():
            raise RuntimeError("Debian's libapache2-mod-python is neither installed nor unpacked")
    text = text or conf("ours.conf") + conf("wsgi-3.5.conf")
    return Apache("mod_python 3.5", f"LoadModule python_module {module}\n{text}", layout, **more)  # type: ignore[arg-type]


def mod_wsgi(layout: Layout, *, daemon: bool = False, debian: bool = False, **more: object) -> Apache:
    """mod_wsgi: the newest, or Debian's; in httpd's children, or in processes of its own."""
    home = ""
    if debian:
        module = f"{system_httpd().modules}/mod_wsgi.so"
        name = "mod_wsgi 4.9 embedded"
    else:
        module = mod_wsgi_module()
        home = f"WSGIPythonHome {VENV}"
        name = "mod_wsgi " + ("daemon" if daemon else "embedded")
    processes = ""
    if daemon:
        processes = (
            f"WSGIDaemonProcess bench processes={layout.children} threads={layout.threads}\nWSGIProcessGroup bench\n"
            "WSGISocketPrefix @ROOT@/run/wsgi"
        )
    text = conf("mod_wsgi.conf", MOD_WSGI=module, WSGI_HOME=home, WSGI_DAEMON=processes)
    return Apache(name, text, layout, **more)  # type: ignore[arg-type]


def mod_wsgi_module() -> str:
    """The newest mod_wsgi's file. Raises RuntimeError where httpd's children cannot read it."""
    command = [str(VENV / "bin/mod_wsgi-express"), "module-config"]
    express = subprocess.run(command, check=True, capture_output=True, text=True)
    module: str = re.findall(r'LoadModule \S+ "(.*)"', express.stdout)[0]
    if not children_can_read(Path(module)):
        raise RuntimeError(f"{CHILD_USER} cannot read {module}")
    return module


def nginx(
    layout: Layout, *, uwsgi: bool = False, module: str = "hello_wsgi:application", location: str = "/wsgi",
    home: Optional[Path] = None,
) -> Processes:  # fmt: skip
    """nginx with static files, or with uWSGI behind it."""
    front = [["/usr/sbin/nginx", "-c", "@ROOT@/nginx.conf", "-p", "@ROOT@"]]
    behind = ["/usr/bin/uwsgi", "--plugin", "python3", "--master", "--need-app", "--disable-logging", "--die-on-term"]
    behind += ["--processes", "@WORKERS@", "--socket", "@ROOT@/run/hello.sock", "--chmod-socket=666"]
    behind += ["--chdir", "@ROOT@/apps", "--module", module, *(["--virtualenv", str(home)] if home else [])]
    name = "uWSGI behind nginx" if uwsgi else "nginx static"
    return Processes(
        name, [behind, *front] if uwsgi else front, layout, {"nginx.conf": conf("nginx.conf", LOCATION=location)}
    )


def gunicorn(layout: Layout) -> Processes:
    command = [str(VENV / "bin/gunicorn"), "--workers", "@WORKERS@", "--threads", str(min(layout.threads, 8))]
    command += [
        "--bind",
        "127.0.0.1:@PORT@",
        "--chdir",
        "@ROOT@/apps",
        "--log-level",
        "error",
        "hello_wsgi:application",
    ]
    return Processes("gunicorn", [command], layout)


def granian(layout: Layout) -> Processes:
    command = [str(VENV / "bin/granian"), "--interface", "wsgi", "--workers", "@WORKERS@", "--host", "127.0.0.1"]
    command += [
        "--port",
        "@PORT@",
        "--working-dir",
        "@ROOT@/apps",
        "--no-ws",
        "--log-level",
        "error",
        "hello_wsgi:application",
    ]
    return Processes("granian", [command], layout)


def processor(pids: list[int]) -> float:
    """Seconds of processor time that processes have used."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def readable(path: Path) -> Path:
    """The file, or a copy where httpd's children can read it."""
    if children_can_read(path):
        return path
    copy = Path(tempfile.gettempdir()) / f"mod_python-bench-{os.geteuid()}" / path.name
    copy.parent.mkdir(exist_ok=True)
    copy.parent.chmod(0o755)
    shutil.copy(path, copy)
    copy.chmod(0o644)
    return copy
