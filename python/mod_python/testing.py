"""Handlers, publisher functions and PSP pages under test, without a server.

::

    from mod_python import apache
    from mod_python.testing import FakeRequest

    req = FakeRequest("/hello?name=spam")
    assert mp.handler(req) == apache.OK
    assert req.text == "Hello spam!"
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Optional, Union

from mod_python import apache

_Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]


class FakeServer:
    """Stands in for ``req.server``."""

    def __init__(self, options: Optional[Mapping[str, str]] = None) -> None:
        self.server_hostname, self.port, self.is_virtual, self.server_admin = "localhost", 80, 0, "[no address given]"
        self.error_fname, self.defn_name, self.timeout, self.loglevel = None, None, 60.0, apache.APLOG_WARNING
        self._options = dict(options or {})

    def get_config(self) -> Any:
        """Nothing is configured."""
        return apache.table()

    def get_options(self) -> Any:
        """The options of the request."""
        return apache.table(self._options)

    def log_error(self, message: str, level: int = 0, /) -> None:
        """Forget it."""


class FakeConnection:
    """Stands in for ``req.connection``."""

    def __init__(self, server: FakeServer) -> None:
        self.base_server = server
        self.client_ip = self.remote_ip = "127.0.0.1"
        self.client_addr = self.remote_addr = ("127.0.0.1", 50000)
        self.local_ip, self.local_addr = "127.0.0.1", ("127.0.0.1", 80)
        self.aborted, self.keepalive, self.id = 0, apache.AP_CONN_UNKNOWN, 1
        self.notes = apache.table()
        self.hlist = None


class FakeHandlerList:
    """Stands in for ``req.hlist``."""

    def __init__(self, handler: str, directory: Optional[str]) -> None:
        self.handler, self.directory = handler, directory
        self.silent, self.is_location = 0, 0

    def next(self) -> None:
        """There is no other one."""


class FakeRequest:
    """Stands in for a request: ``method``, ``uri`` (with a query), ``body``, ``headers``, ``options`` (PythonOption).

    What a handler has written is ``output`` (bytes) or ``text``; what it has logged, ``log``: (level, message) each. Anything
    that needs httpd raises an AttributeError that says so.
    """

    def __init__(
        self,
        uri: str = "/",
        method: str = "GET",
        body: Union[bytes, str] = b"",
        headers: _Headers = (),
        *,
        filename: Optional[str] = None,
        path_info: Optional[str] = "",
        options: Optional[Mapping[str, str]] = None,
        config: Optional[Mapping[str, str]] = None,
        document_root: str = "/",
        directory: Optional[str] = None,
        https: bool = False,
    ) -> None:
        path, mark, query = uri.partition("?")
        self.unparsed_uri, self.uri, self.args = uri, path, query if mark else None
        self.method, self.header_only, self.protocol, self.proto_num = method, int(method == "HEAD"), "HTTP/1.1", 1001
        self.the_request = f"{method} {uri} HTTP/1.1"
        names = {name[2:]: getattr(apache, name) for name in dir(apache) if name.startswith("M_")}
        self.method_number = names.get("GET" if method == "HEAD" else method, apache.M_INVALID)
        self.headers_in = apache.table(headers)
        self.headers_out, self.err_headers_out = apache.table(), apache.table()
        self.subprocess_env, self.notes = apache.table(), apache.table()
        self.filename, self.canonical_filename, self.path_info = filename, filename, path_info
        self.hostname, self.ap_auth_type = "localhost", None
        self.user: Optional[str] = None
        self.status, self.status_line, self.handler = 200, None, "mod_python"
        self.phase, self.interpreter, self.extension = "PythonHandler", "main_interpreter", None
        self.hlist = FakeHandlerList("", directory)
        self.main = self.prev = self.next = None
        self.request_time, self.mtime, self.clength = time.time(), 0.0, 0
        self.sent_bodyct = self.bytes_sent = self._bytes_queued = self._content_type_set = 0
        self.no_cache = self.no_local_copy = self.eos_sent = 0
        self.useragent_ip, self.useragent_addr = "127.0.0.1", ("127.0.0.1", 50000)
        self.server = FakeServer(options)
        self.connection = FakeConnection(self.server)
        self.log: list[tuple[int, str]] = []
        self.allowed: list[str] = []
        self._content_type: Optional[str] = None
        self._options, self._config = dict(options or {}), dict(config or {})
        self._root, self._https = document_root, https
        self._body = io.BytesIO(body.encode() if isinstance(body, str) else body)
        self._written: list[bytes] = []
        self._cleanups: list[tuple[Callable[[Any], object], Any]] = []
        if method == "POST" and "content-length" not in self.headers_in:
            self.headers_in["Content-Length"] = str(len(self._body.getvalue()))

    @property
    def content_type(self) -> Optional[str]:
        """The answer's Content-Type."""
        return self._content_type

    @content_type.setter
    def content_type(self, value: str) -> None:
        self._content_type, self._content_type_set = value, 1

    @property
    def output(self) -> bytes:
        """What has been written."""
        return b"".join(self._written)

    @property
    def text(self) -> str:
        """The same as text."""
        return self.output.decode("utf-8")

    def write(self, data: Any, flush: object = 1, /) -> None:
        """Keep ``str`` (as UTF-8) or bytes. Raises TypeError for anything else."""
        self._written.append(
            data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(memoryview(data))
        )
        self._bytes_queued += len(self._written[-1])
        if flush:
            self.flush()

    def flush(self) -> None:
        """What has been written counts as sent."""
        self.sent_bodyct, self.bytes_sent = int(self._bytes_queued > 0), self._bytes_queued

    def sendfile(self, path: str, offset: int = 0, len: int = -1, /) -> int:
        """Keep a file's content. Raises OSError."""
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(len)
        self.write(data, 0)
        return data.__len__()

    def read(self, size: Optional[int] = -1, /) -> bytes:
        """Bytes of the body."""
        return self._body.read(-1 if size is None else size)

    def readline(self, size: Optional[int] = -1, /) -> bytes:
        """A line of the body."""
        return self._body.readline(-1 if size is None else size)

    def readlines(self, sizehint: Optional[int] = -1, /) -> list[bytes]:
        """The lines of the body."""
        return self._body.readlines(-1 if sizehint is None else sizehint)

    def discard_request_body(self) -> int:
        """Forget the body."""
        self._body.read()
        return apache.OK

    def get_options(self) -> Any:
        """The PythonOption values."""
        return apache.table({name: value for name, value in self._options.items() if value})

    def get_config(self) -> Any:
        """The directives."""
        return apache.table(self._config)

    def document_root(self) -> str:
        """DocumentRoot."""
        return self._root

    def is_https(self) -> int:
        """1 if it was made with ``https``."""
        return int(self._https)

    def log_error(self, message: Optional[str], level: int = 0, /) -> None:
        """Keep it in ``log``."""
        if message is not None:
            self.log.append((level or apache.APLOG_ERR, message))

    def allow_methods(self, methods: Iterable[str], reset: int = 0, /) -> None:
        """Keep them in ``allowed``."""
        self.allowed = [*([] if reset else self.allowed), *methods]

    def set_content_length(self, length: int, /) -> None:
        """Set Content-Length."""
        self.clength = length
        self.headers_out["Content-Length"] = str(length)

    def construct_url(self, uri: str, /) -> str:
        """The URI with the server in front."""
        return f"http{'s' if self._https else ''}://localhost{uri}"

    def add_cgi_vars(self) -> None:
        """Fill subprocess_env."""
        self.add_common_vars()
        self.subprocess_env["GATEWAY_INTERFACE"] = "CGI/1.1"
        values = {"REQUEST_METHOD": self.method, "QUERY_STRING": self.args or "", "REQUEST_URI": self.uri}
        for name, value in {**values, "SCRIPT_NAME": self.uri, "SERVER_PROTOCOL": self.protocol}.items():
            self.subprocess_env[name] = value

    def add_common_vars(self) -> None:
        """Fill subprocess_env."""
        self.subprocess_env["SERVER_NAME"] = self.hostname
        self.subprocess_env["REMOTE_ADDR"] = self.useragent_ip
        for name, value in self.headers_in.items():
            self.subprocess_env["HTTP_" + name.upper().replace("-", "_")] = value or ""

    def get_addhandler_exts(self) -> str:
        """None."""
        return ""

    def get_basic_auth_pw(self) -> Optional[str]:
        """The password of Basic authentication; sets ``user``."""
        import base64

        scheme, _, encoded = (self.headers_in.get("authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        self.user, _, password = base64.b64decode(encoded).decode("latin-1").partition(":")
        return str(password)

    def register_cleanup(self, callable: Callable[[Any], object], data: Any = None, /) -> None:
        """Have ``close()`` call it."""
        self._cleanups.append((callable, data))

    def close(self) -> None:
        """End the request: clean-ups run, the last one first."""
        while self._cleanups:
            callable, data = self._cleanups.pop()
            callable(data)

    def send_http_header(self) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a FakeRequest has no {name!r}; either nobody has set it, or it works only inside httpd")
