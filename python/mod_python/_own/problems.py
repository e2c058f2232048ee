"""What keeps a server from starting, in plain words, and what to do about it."""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
from typing import Optional


class Problem(Exception):
    """What is wrong, as a sentence; ``remedy`` is what to do, in one or several lines."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [str(self.args[0]), *(f"  {line}" for line in self.remedy.splitlines())]
        return "\n".join(lines)


class PortTaken(Problem):
    """Somebody has taken the port since it was looked at."""


def packages(debian: str, fedora: str, alpine: str) -> str:
    """The lines that install something, for three distributions; this machine's own alone where it is one of them."""
    lines = {
        "debian": f"Debian, Ubuntu: apt-get install {debian}",
        "fedora": f"Fedora, RHEL: dnf install {fedora}",
        "alpine": f"Alpine: apk add {alpine}",
    }
    family = _family()
    return lines[family] if family in lines else "\n".join(lines.values())


def _family() -> str:
    """This machine's kind of distribution (os-release(5)), or nothing."""
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            pairs = [line.strip().partition("=") for line in file]
    except OSError:
        return ""
    values = {key: value.strip("\"'") for key, _, value in pairs}
    words = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".split()
    known = {"debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "fedora", "alpine": "alpine"}
    return next((known[word] for word in words if word in known), "")


def no_httpd() -> Problem:
    """There is no httpd."""
    return Problem(
        "there is no Apache httpd on this machine (neither apache2 nor httpd)",
        f"{packages('apache2-bin', 'httpd', 'apache2')}\nOr name its program: --httpd /path/to/httpd",
    )


def no_module_of_httpd(name: str, directory: str) -> Problem:
    """httpd lacks one of its own modules."""
    special = {"ssl": ("apache2-bin", "mod_ssl", "apache2-ssl"), "http2": ("apache2-bin", "mod_http2", "apache2-http2")}
    names = special.get(name, ("apache2-bin", "httpd", "apache2"))
    return Problem(f"httpd's module mod_{name} is needed, and is not in {directory}", packages(*names))


def libpython() -> str:
    """The shared library of the Python that runs this: an absolute path. Raises Problem where there is none."""
    name = str(sysconfig.get_config_var("INSTSONAME") or sysconfig.get_config_var("LDLIBRARY") or "")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    places = [
        str(sysconfig.get_config_var("LIBDIR") or ""),
        os.path.join("/usr/lib", str(sysconfig.get_config_var("MULTIARCH") or "")),
        *(os.path.join(sys.base_prefix, lib) for lib in ("lib", "lib64")),
        "/usr/lib64",
        "/usr/lib",
    ]
    if ".so" in name:
        for place in places:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                return path
        what = f"the shared library of Python {version}, {name}, is not on this machine"
    else:
        what = f"{sys.executable} is a Python {version} without a shared library (libpython{version}.so), which httpd has to load"
    raise Problem(
        what,
        f"{packages(f'libpython{version}', f'python{version}-libs (or python3-libs)', 'python3')}\n"
        "With pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install …; then make the environment anew with that Python.",
    )


def port_in_use(host: str, port: int, error: OSError) -> Problem:
    """A port that cannot be had, by what bind(2) says."""
    if isinstance(error, PermissionError):
        return Problem(
            f"only root may serve on port {port}",
            "Choose one above 1023 (--port 8000), or start it as root with --user NAME.",
        )
    if error.errno == 99:  # EADDRNOTAVAIL
        return Problem(
            f"{host} is no address of this machine", "--host 127.0.0.1 is this machine alone, --host '*' every address."
        )
    who = _listener(port)
    by = f" (by {who})" if who else ""
    return Problem(
        f"port {port} of {host} cannot be had: {(error.strerror or str(error)).lower()}{by}",
        f"Stop that, or choose another port: --port {port + 1 if port < 65535 else 8000} (0 finds a free one).",
    )


def _listener(port: int) -> Optional[str]:
    """Who listens on a TCP port, as far as /proc tells this user."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        sockets |= {
            f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port
        }
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int) if sockets else ():
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in sockets:
                    with open(f"/proc/{pid}/comm") as file:
                        return f"{file.read().strip()}, process {pid}"
            except OSError:
                continue
    return None


def check_port(host: str, port: int) -> int:
    """Whether a server may listen there: the port, or a free one for 0. Raises Problem."""
    wildcard = host == "*"
    try:
        found = socket.getaddrinfo(
            None if wildcard else host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        raise Problem(
            f"there is no address by the name {host}",
            "--host 127.0.0.1 is this machine alone, --host '*' every address.",
        ) from None
    if wildcard:
        found = [item for item in found if item[0] == socket.AF_INET] or found
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(address)
            # Another one that was bound with SO_REUSEADDR shows only here.
            one.listen(1)
        except OSError as error:
            raise port_in_use(host, port, error) from None
        return int(one.getsockname()[1])
