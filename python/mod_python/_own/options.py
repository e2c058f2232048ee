"""What a server of one's own shall be like: the values of ``mod_python start``, each checked."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from typing import Optional

from mod_python._own.problems import Problem

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_PREFIX = re.compile(r"(?:/[^/\s\"\\*?\[\]{}%#]+)+")


@dataclasses.dataclass(frozen=True)
class Options:
    """All of it; paths are absolute, numbers in range."""

    target: str = ""
    """As typed; empty for the directory itself."""
    directory: str = "/"
    """Where relative names and modules are meant."""
    working: str = "/"
    """The application's working directory: that one, or / where its user cannot pass it."""
    kind: str = ""
    """``wsgi``, ``asgi``, or what an import tells."""
    handler: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    is_port_found: bool = False
    """Nobody has named the port: a server root of its own name will not be used again, and goes with the server."""
    processes: int = 1
    threads: int = 25
    user: str = ""
    group: str = ""
    https_cert: str = ""
    https_key: str = ""
    http2: bool = False
    static: tuple[tuple[str, str], ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()
    reload: bool = False
    debug: bool = False
    env_file: str = ""
    access_log: str = ""
    error_log: str = ""
    log_to_terminal: bool = False
    limit_request_body: int = 1 << 30
    """Bytes; 0 for no limit. httpd's own default."""
    timeout: int = 60
    """Seconds."""
    server_root: str = ""
    background: bool = False
    include: str = ""
    """A file of httpd directives that is read last."""
    options: tuple[str, ...] = ()
    """Of PythonOption: ``key value``."""
    venv: str = ""
    """The virtual environment that the application runs in; empty for the one of the command itself."""
    httpd: str = ""
    """httpd's program, where it is not to be searched for."""

    @property
    def scheme(self) -> str:
        """Of the server's URLs."""
        return "https" if self.https_cert else "http"

    @property
    def netloc(self) -> str:
        """Host and port, as a client on this machine writes them."""
        host = "127.0.0.1" if self.host in ("*", "0.0.0.0") else "::1" if self.host == "::" else self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def listen(self) -> str:
        """The argument of Listen."""
        if self.host == "*":
            return str(self.port)
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def host(text: str) -> str:
    """An address, a name, or * for all addresses; brackets around IPv6 may be there. Raises ValueError."""
    import ipaddress

    if text == "*":
        return text
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        if not re.fullmatch(r"[0-9.]+", bare) and len(bare) < 254 and _HOST.fullmatch(bare):
            return bare
        raise ValueError(f"{text!r} is no address, such as 127.0.0.1, ::1, localhost, or * for all addresses") from None
    scope = getattr(address, "scope_id", None)
    if bare != text and address.version != 6:
        raise ValueError(f"{text!r} is no address: brackets stand around those of IPv6")
    if scope and not re.fullmatch(r"[\w.-]+", scope, re.ASCII):
        raise ValueError(f"{text!r} is no address: {scope!r} is no name of an interface")
    return bare


def port(text: str) -> int:
    """A TCP port; 0 for a free one. Raises ValueError."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError(f"{text!r} is no port, which is a number from 1 to 65535 (0: a free one)")
    return int(text)


def number(text: str, least: int, most: int, what: str) -> int:
    """A whole number in a range. Raises ValueError."""
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise ValueError(f"{text!r} is no number of {what}, which is from {least} to {most}")
    return int(text)


def size(text: str) -> int:
    """Bytes: a number, with K, M or G behind it or without. Raises ValueError."""
    found = re.fullmatch("([0-9]{1,12})([KMG]?)B?", text.strip().upper())
    limit = int(found[1]) * _UNITS[found[2]] if found else -1
    # httpd reads it as an off_t.
    if not 0 <= limit < 1 << 63:
        raise ValueError(f"{text!r} is no size, such as 1048576, 10M or 2G (0: no limit)")
    return limit


def pair(text: str, what: str) -> tuple[str, str]:
    """``/path=value``: a plain path of the URI, and what is there. Raises ValueError."""
    prefix, equals, value = text.partition("=")
    prefix = prefix.rstrip("/")
    parts = prefix.split("/")
    if not equals or not value or (prefix and (not _PREFIX.fullmatch(prefix) or "." in parts or ".." in parts)):
        raise ValueError(f"{text!r}: write a plain path of the URI and {what}, such as {_EXAMPLES[what]}")
    if any(ord(letter) < 32 for letter in text):
        raise ValueError(f"{text!r}: there are control characters in it")
    return prefix, value


def option(text: str) -> tuple[str, str]:
    """The key and the value of a PythonOption. Raises Problem."""
    key, value = _OPTION.fullmatch(text.strip()).groups("")  # type: ignore[union-attr]
    if not key:
        raise Problem("--option '' is none", "Write --option 'key value'.")
    name, equals, _ = key.partition("=")
    if equals or re.match(r"=(?!\S)", value):
        # An option that has no value takes an inherited one away.
        raise Problem(
            f"--option {name}: a key has no = in it, nor behind it", f"Write --option '{name or 'key'} value'."
        )
    return key, value


_OPTION = re.compile(r"(\S*)(?:\s+(.*))?", re.S)
_EXAMPLES = {"a directory": "/static=/srv/static", "an application": "/api=shop.api:app"}


def file_to_read(path: str, directory: str, option: str) -> str:
    """The absolute path of a file that is there and can be read. Raises Problem."""
    found = os.path.join(directory, path)
    try:
        with open(found, "rb"):
            pass
    except OSError as error:
        raise Problem(f"{option} {path}: {(error.strerror or str(error)).lower()} ({found})") from None
    return os.path.abspath(found)


def check_certificate(certificate: str, key: str) -> None:
    """See that a certificate and its key are such, and belong together: mod_ssl says it in ten lines of the log. Raises Problem."""
    import ssl

    def ask() -> str:
        raise Problem(
            f"--https-key {key or certificate} is encrypted, and nobody is there to type its password",
            f"Decrypt it: openssl pkey -in {shlex.quote(key or certificate)} -out key.pem",
        )

    with open(certificate, "rb") as file:
        data = file.read(1 << 20)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise Problem(f"--https-cert {certificate}: there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)")
    if key:
        with open(key, "rb") as file:
            if b"PRIVATE KEY-----" not in file.read(1 << 20):
                raise Problem(f"--https-key {key}: there is no key in it (PEM, -----BEGIN PRIVATE KEY-----)")
    elif b"PRIVATE KEY-----" not in data:
        raise Problem(f"--https-cert {certificate}: its key is not in it", "Name the key's file: --https-key FILE")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None, ask)
    except ssl.SSLError as error:
        # The second and third: of another kind.
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise Problem(
                f"--https-key {key or certificate} is not the key of the certificate in {certificate}"
            ) from None
        what = f"--https-cert {certificate}" + (f" and --https-key {key}" if key else "")
        raise Problem(f"{what} cannot be used: {error.reason or error}") from None


def file_to_write(path: str, directory: str, option: str) -> str:
    """The absolute path of a file that can be made or appended to. Raises Problem."""
    if path in ("-", "/dev/stdout", "/dev/stderr"):
        raise Problem(f"{option} {path} is no file that httpd could open", "--log-to-terminal sends both logs there.")
    found = os.path.abspath(os.path.join(directory, path))
    if os.path.isdir(found):
        raise Problem(f"{option} {path}: {found} is a directory", "Name a file.")
    if os.path.exists(found) and not os.path.isfile(found) and found != os.devnull:
        raise Problem(f"{option} {path}: {found} is no file, but a device or such", "Name a file.")
    folder = os.path.dirname(found)
    if not os.path.isdir(folder):
        raise Problem(f"{option} {path}: there is no directory {folder}", f"Make it: mkdir -p {shlex.quote(folder)}")
    writable = os.access(found, os.W_OK) if os.path.exists(found) else os.access(folder, os.W_OK)
    if not writable:
        raise Problem(f"{option} {path}: you may not write there", f"Choose another place, or have {folder} opened.")
    return found


_KEY = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def environment_of(path: str) -> dict[str, str]:
    """The variables of a file of lines ``NAME=value``.

    ``export`` may stand in front. A value in single quotes is as it stands, one in double quotes may have ``\\n``, ``\\t``, ``\\"``
    and ``\\\\``; without quotes it ends at `` #``. Nothing is expanded: what a shell would run is text. Raises Problem.
    """
    found: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            # splitlines() has further ends of a line, which may stand in values.
            lines = [line.removesuffix("\r") for line in file.read().split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"--env-file {path} cannot be read: {error}") from None
    for count, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        key = re.sub(r"^export\s+", "", key).strip()
        is_named = bool(equals and _KEY.fullmatch(key))
        read = _value(value.strip()) if is_named else None
        if read is None or "\0" in read:
            # Without the value, which may be a secret, as may be a line that has no name.
            raise Problem(
                f"--env-file {path}, line {count}: {f'{key}=…' if is_named else 'what stands there'} is not NAME=value",
                "A value with spaces or # in it stands in quotes.",
            )
        found[key] = read
    return found


def _value(text: str) -> Optional[str]:
    quoted = re.fullmatch(r"""'([^']*)'(?:\s+#.*)?|"((?:[^"\\]|\\.)*)"(?:\s+#.*)?""", text)
    if quoted is None:
        return None if text[:1] in ("'", '"') else re.split(r"(?:^|\s+)#", text, maxsplit=1)[0].rstrip()
    if quoted[1] is not None:
        return quoted[1]
    letters = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: letters.get(found[1], found[1]), quoted[2])
