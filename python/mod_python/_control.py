"""Starts a server of one's own and waits for it: what ``mod_python start`` does.

httpd's ``-k start`` has succeeded once a first look at the configuration has; what goes wrong afterwards is in its error log.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from typing import Optional

from mod_python._own import process

PATIENCE = 30.0
"""Seconds that a server may take to start."""

_SETTING = re.compile(r"^[ \t]*(ServerRoot|PidFile|ErrorLog|Listen)[ \t]+(.*?)[ \t]*$", re.M | re.I)
_GAVE_UP = re.compile(r"AH0001[5-9]|Configuration Failed|, exiting")
_PYTHON_FAILED = re.compile(r"^.*\[python:crit\].*$", re.M)


class Site:
    """A server by its configuration file: what that says of the server itself, outside what it includes."""

    def __init__(self, config: str) -> None:
        self._config = config
        try:
            with open(config, encoding="utf-8", errors="surrogateescape") as file:
                found = _SETTING.findall(file.read())
        except OSError:
            found = []
        settings = {name.lower(): value.strip("\"'") for name, value in reversed(found)}
        self._root = settings.get("serverroot", "/")
        self.pid_file = self._path(settings.get("pidfile"))
        self.log = self._path(settings.get("errorlog"))
        self.listens = [value.split()[0] for name, value in found if name.lower() == "listen" and value]
        self._begin = len(self._whole_log())

    def _path(self, value: Optional[str]) -> Optional[str]:
        # A log may be a program's or the system's.
        if not value or value.startswith(("|", "syslog")):
            return None
        return os.path.join(self._root, value)

    def pid(self) -> Optional[int]:
        """The server's process, while it runs."""
        try:
            with open(self.pid_file or "") as file:
                pid = int(file.read())
            os.kill(pid, 0)
        except PermissionError:
            pass
        except (OSError, ValueError):
            return None
        # A file that an httpd has left behind may have the number of any process by now.
        return None if process.has_configuration(pid, self._config) is False else pid

    def _whole_log(self) -> str:
        try:
            with open(self.log or "", encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def new_log(self) -> str:
        """What the error log has gained since this was made."""
        text = self._whole_log()
        return text[self._begin :] if len(text) >= self._begin else text

    def wait(self) -> Optional[str]:
        """Wait until it serves, and Python in it: None, or what went wrong."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            log = self.new_log()
            if self.pid() is not None and (not self.log or "resuming normal operations" in log):
                # An answer means that a child has started Python, or tried to.
                self._ping(limit)
                failed = _PYTHON_FAILED.findall(self.new_log())
                return None if not failed else "httpd runs, but not Python in it:\n" + failed[0]
            if self.pid() is None and _GAVE_UP.search(log):
                break
            # What httpd has come to shows in its files alone.
            time.sleep(0.02)
        lines = self.new_log().splitlines()[-10:]
        return "\n".join([f"httpd did not start; its error log is {self.log}", *lines])

    def _ping(self, limit: float) -> None:
        """Ask the server for nothing (RFC 9110, OPTIONS *), and wait for any answer."""
        host, _, port = (self.listens or [""])[0].rpartition(":")
        if not port.isdigit():
            return
        place = (host.strip("[]") if host and host not in ("0.0.0.0", "*", "[::]") else "localhost", int(port))
        with contextlib.suppress(OSError), socket.create_connection(place, max(0.1, limit - time.monotonic())) as peer:
            peer.sendall(b"OPTIONS * HTTP/1.0\r\n\r\n")
            peer.recv(1)


def start(program: str, config: str) -> int:
    """Start a server and report; the exit status."""
    site = Site(config)
    running = site.pid()
    if running is not None:
        print(f"it runs already (process {running}); `mod_python restart {config}` has it read its configuration anew")
        return 0
    if site.pid_file is not None:
        # Of a server that has crashed; httpd would not start where another process has its number by now.
        with contextlib.suppress(OSError):
            os.unlink(site.pid_file)
    status = subprocess.run([program, "-f", config, "-k", "start"], check=False).returncode
    if status != 0:
        return 1
    if site.pid_file is None:
        print("started; the configuration has no PidFile, by which to see whether it runs", file=sys.stderr)
        return 0
    problem = site.wait()
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1
    places = ", ".join(f"http://{listen if ':' in listen else f'localhost:{listen}'}/" for listen in site.listens)
    print(f"it serves {places} (process {site.pid()}); error log: {site.log}")
    return 0
