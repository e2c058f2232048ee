"""Cookies (RFC 6265), signed ones, and ones that carry data.

``JsonCookie`` is the one for data: signed, and read with a parser that runs nothing. ``MarshalCookie`` is there for old
applications; it reads data only after their signature has been verified.
"""

from __future__ import annotations

import base64
import binascii
import json
import marshal
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Optional, TypeVar, Union

import _apache

from mod_python._cookie_values import ENCODINGS
from mod_python._later import later

if TYPE_CHECKING:
    import calendar
    import email.utils as email_utils
    import hashlib
    import hmac

    from _apache import mp_request
else:
    calendar, email_utils = later("calendar"), later("email.utils")
    hashlib, hmac = later("hashlib"), later("hmac")

_cookie_pairs, _options = _apache._cookie_pairs, _apache._options
_Secret = Union[str, bytes, None]
_C = TypeVar("_C", bound="Cookie")


class CookieError(ValueError):
    """A cookie that cannot be made, or cannot be trusted."""


_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# What separates stands at the end: a pattern that began with it would be tried anew at each of its characters.
_PAIR = re.compile(
    r"""
    (?P<name>[^;\s=]+)
    \s*=?\s*
    (?P<value>"[^\\"]*(?:\\.[^\\"]*)*"|[^;]*)
    [,\s;=]*
    """,
    re.VERBOSE | re.DOTALL,
)


class Cookie:
    """One cookie: a name, a value, and attributes given as keywords or set later.

    Attributes: version, path, domain, secure, comment, expires, max_age, samesite, commentURL, discard, port, httponly.
    ``expires`` takes seconds since the epoch or a date in GMT. ``str(cookie)`` is the text of a Set-Cookie header; it
    raises CookieError for what RFC 6265 does not allow in one.

    A value that RFC 6265 does not allow is sent as ``encoding`` says, which can be given or set as attributes are:
    ``quoted`` (the default), in double quotes with backslashes, as ``http.cookies`` does it, in UTF-8; or ``percent``, as
    JavaScript's encodeURIComponent does it. Parsing undoes it. Control characters raise CookieError, and where it is
    quoted a ``;``, too.
    """

    encoding: str = "quoted"

    DOWNGRADE, IGNORE, EXCEPTION = 0, 1, 3
    """What to do with a signature that does not verify: give a plain Cookie, leave it out, raise CookieError."""

    _valid_attr: ClassVar[tuple[str, ...]] = (
        "version",
        "path",
        "domain",
        "secure",
        "comment",
        "expires",
        "max_age",
        "samesite",
        "commentURL",
        "discard",
        "port",
        "httponly",
    )
    _shown: ClassVar[dict[str, str]] = {
        "max_age": "Max-Age",
        "httponly": "HttpOnly",
        "samesite": "SameSite",
        "commentURL": "CommentURL",
    }
    _flags: ClassVar[tuple[str, ...]] = ("secure", "discard", "httponly")

    name: str
    value: Any

    def __init__(self, name: str, value: Any, **kw: Any) -> None:
        if type(self) in _OURS:
            # These take anything.
            known = self.__dict__
            known["__data__"], known["name"], known["value"] = {}, name, value
        else:
            self.__data__: dict[str, Any] = {}
            self.name, self.value = name, value
        for key, attribute in kw.items():
            setattr(self, key if key == "commentURL" else key.lower(), attribute)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._valid_attr and name not in ("name", "value", "encoding", "__data__"):
            raise AttributeError(f"a cookie has no attribute {name!r}")
        if name == "expires" and value is not None:
            value = _date(value)
        elif name == "samesite" and value is not None:
            value = str(value).capitalize()
            if value not in ("Lax", "Strict", "None"):
                raise ValueError("samesite is Lax, Strict or None")
        elif name == "encoding" and value not in ENCODINGS:
            raise ValueError("the encoding of a cookie is quoted or percent")
        object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return self._header(self._text())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}={self.value!r}>"

    def _text(self) -> str:
        """The value as it is sent."""
        return str(self.value)

    def _header(self, text: str) -> str:
        name = self.name
        # What is letters and digits, as most are, needs no pattern.
        if not isinstance(name, str) or not ((name.isalnum() and name.isascii()) or _NAME.fullmatch(name)):
            raise CookieError(f"{name!r} cannot be the name of a cookie")
        try:
            sent = ENCODINGS[self.encoding][0](text)
        except ValueError as error:
            raise CookieError(f"the value of cookie {name!r} {error}; use JsonCookie") from None
        parts = [f"{name}={sent}"]
        for attribute in self._valid_attr:
            value = getattr(self, attribute, None)
            if value is None:
                continue
            shown = self._shown.get(attribute) or attribute.capitalize()
            if attribute in self._flags:
                parts += [shown] if value else []
            else:
                text = str(value)
                if not text.isascii() or not text.isprintable() or ";" in text:
                    raise CookieError(f"{attribute} of cookie {name!r} holds a character that it cannot hold")
                parts.append(f"{shown}={value}")
        return "; ".join(parts)

    @classmethod
    def parse(cls: type[_C], Str: str, names: Optional[list[str]] = None, **kw: Any) -> dict[str, Cookie]:
        """The cookies of a Cookie header, by name; the last of several with one name. ``$`` names are left out."""
        found = _pairs(Str, names, kw.get("encoding", cls.encoding))
        if kw:
            return {name: cls(name, value, **kw) for name, value in found.items()}
        return {name: cls(name, value) for name, value in found.items()}


def _pairs(text: str, names: Optional[list[str]], encoding: str) -> dict[str, str]:
    if encoding not in ENCODINGS:
        raise ValueError(f"the encoding of a cookie is quoted or percent, not {encoding!r}")
    _, decode, mark = ENCODINGS[encoding]
    found = {}
    for name, value in _cookie_pairs(text) or _matched(text):
        if name[:1] != "$" and (names is None or name in names):
            found[name] = decode(value) if mark in value else value
    return found


def _matched(text: str) -> Iterator[tuple[str, str]]:
    """Names and values as they were sent."""
    return (match.groups() for match in _PAIR.finditer(text.lstrip(", \t\r\n\f\v;=")))  # type: ignore[misc]


def _date(value: Any) -> str:
    """A date for Expires, in the form of RFC 9110 (IMF-fixdate)."""
    if isinstance(value, str):
        parsed = email_utils.parsedate_tz(value.replace("-", " "))
        if parsed is None or not value.endswith("GMT"):
            raise ValueError(f"{value!r} is not a date such as 'Sun, 06 Nov 1994 08:49:37 GMT'")
        value = calendar.timegm((*parsed[:6], 0, 0, 0))
    try:
        return email_utils.formatdate(float(value), usegmt=True)
    except (OverflowError, OSError, ValueError) as error:
        raise ValueError(f"{value!r} is not a time in seconds since the epoch: {error}") from None


def _key(secret: _Secret) -> bytes:
    key = secret.encode("utf-8") if isinstance(secret, str) else secret
    if not key:
        raise CookieError("a signed cookie needs a secret")
    return key


class SignedCookie(Cookie):
    """A cookie whose value the client can read but not change.

    The value is sent as ``v1.`` signature ``.`` value: HMAC-SHA-256 over the kind of cookie, its name and its value, so
    that one cookie cannot stand in for another.
    """

    _kind: ClassVar[bytes] = b"signed"

    def __init__(self, name: str, value: Any, secret: _Secret = None, **kw: Any) -> None:
        super().__init__(name, value, **kw)
        self.__data__["secret"] = secret

    def __str__(self) -> str:
        payload = self._payload()
        return self._header(f"v1.{self.hexdigest(payload)}.{payload}")

    def _payload(self) -> str:
        return str(self.value)

    def _restore(self, payload: str) -> None:
        """Make the value from a payload whose signature has been verified."""
        self.value = payload

    def hexdigest(self, payload: str) -> str:
        """The signature. Raises CookieError without a secret."""
        message = b"\0".join(
            (b"mod_python " + self._kind, self.name.encode("utf-8"), payload.encode("utf-8", "replace"))
        )
        return hmac.new(_key(self.__data__["secret"]), message, hashlib.sha256).hexdigest()

    def unsign(self, secret: _Secret, legacy: bool = False) -> None:
        """Verify the signature; the value is then the data that were signed.

        With ``legacy`` the form of mod_python 3.5 is good, too: 32 digits of HMAC-MD5 in front of the value. Raises
        CookieError.
        """
        self.__data__["secret"] = secret
        text = str(self.value)
        version, _, rest = text.partition(".")
        signature, dot, payload = rest.partition(".")
        if version == "v1" and dot:
            expected = self.hexdigest(payload)
        elif legacy and len(text) >= 32:
            signature, payload = text[:32], text[32:]
            message = self.name.encode("latin-1", "replace") + payload.encode("latin-1", "replace")
            expected = hmac.new(_key(secret), message, hashlib.md5).hexdigest()
        else:
            raise CookieError(f"cookie {self.name!r} is not signed")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
            raise CookieError(f"the signature of cookie {self.name!r} does not verify")
        self._restore(payload)

    @classmethod
    def parse(  # type: ignore[override]
        cls,
        Str: str,
        secret: _Secret,
        mismatch: int = Cookie.DOWNGRADE,
        names: Optional[list[str]] = None,
        legacy: bool = False,
        **kw: Any,
    ) -> dict[str, Cookie]:
        """The cookies of a Cookie header. One that does not verify is treated as ``mismatch`` says: a plain Cookie with
        what was sent (so look at the type), nothing, or CookieError."""
        found: dict[str, Cookie] = {}
        for name, value in _pairs(Str, names, kw.get("encoding", cls.encoding)).items():
            cookie = cls(name, value, secret, **kw)
            try:
                cookie.unsign(secret, legacy)
            except CookieError:
                if mismatch == cls.EXCEPTION:
                    raise
                if mismatch != cls.IGNORE:
                    found[name] = Cookie(name, value, **kw)
            else:
                found[name] = cookie
        return found


class JsonCookie(SignedCookie):
    """A signed cookie that carries data: what JSON can express, up to some 3,000 characters of it."""

    _kind: ClassVar[bytes] = b"json"

    def _payload(self) -> str:
        text = json.dumps(self.value, separators=(",", ":"), ensure_ascii=False)
        return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")

    def _restore(self, payload: str) -> None:
        try:
            text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
            self.value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CookieError(f"cookie {self.name!r} cannot be read: {error}") from None


class MarshalCookie(SignedCookie):
    """A signed cookie with data in the form of ``marshal``. For old applications; new ones use JsonCookie.

    Nothing is unmarshalled unless its signature verifies; whoever knows the secret can crash the process.
    """

    _kind: ClassVar[bytes] = b"marshal"

    def _payload(self) -> str:
        return base64.b64encode(marshal.dumps(self.value)).decode()

    def _restore(self, payload: str) -> None:
        try:
            data = base64.b64decode(payload, validate=True)
            self.value = marshal.loads(data)
        except (binascii.Error, EOFError, ValueError, TypeError) as error:
            raise CookieError(f"cookie {self.name!r} cannot be read: {error}") from None

    def unmarshal(self, secret: _Secret, legacy: bool = False) -> None:
        """The same as ``unsign``."""
        self.unsign(secret, legacy)


_OURS = frozenset((Cookie, SignedCookie, JsonCookie, MarshalCookie))
_GIVEN = ("__data__", "name", "value")
"""What `Cookie.__init__` sets where there is nothing else."""
_init, _SIZE = Cookie.__init__, len(vars(Cookie))
"""By which an application's own defaults or ways for all cookies are known: then nothing is done in another way."""


def add_cookie(req: mp_request, cookie: Union[Cookie, str], value: Any = "", **kw: Any) -> None:
    """Send a cookie with the answer, an error's or a redirect's too. A name and a value make a Cookie.

    Where the cookie names no encoding, ``PythonOption mod_python.cookie.encoding`` does. Raises CookieError.
    """
    if not isinstance(cookie, Cookie):
        if len(vars(Cookie)) == _SIZE and _apache._cookie_set(req, cookie, value, kw):
            return
        cookie = Cookie(cookie, value, **kw)
    encoding = _option(req)
    if encoding and "encoding" not in vars(cookie):
        cookie.encoding = encoding
    text = str(cookie)
    headers = req.err_headers_out
    if "Set-Cookie" not in headers and "Set-Cookie" not in req.headers_out:
        headers.add("Cache-Control", 'no-cache="set-cookie"')
    headers.add("Set-Cookie", text)


def _option(req: mp_request) -> Optional[str]:
    (encoding,) = _options(req, ("mod_python.cookie.encoding",))
    if encoding is not None and encoding not in ENCODINGS:
        raise ValueError(f"PythonOption mod_python.cookie.encoding: {encoding!r} is neither quoted nor percent")
    return encoding


def get_cookies(req: mp_request, Class: type[Cookie] = Cookie, **kw: Any) -> dict[str, Cookie]:
    """The cookies of a request, by name, as objects of ``Class``; ``kw`` goes to its ``parse``.

    ``PythonOption mod_python.cookie.encoding`` says how values are encoded where ``kw`` does not.
    """
    if Class is Cookie and not kw and Cookie.__init__ is _init:
        found: Optional[dict[str, Cookie]] = _apache._cookies_sent(req, Cookie, _GIVEN)
        if found is not None:
            return found
    headers = req.headers_in
    if "cookie" not in headers:
        return {}
    encoding = _option(req)
    if encoding:
        kw.setdefault("encoding", encoding)
    sent = headers["cookie"]
    return Class.parse(sent if isinstance(sent, str) else "; ".join(sent), **kw)


def get_cookie(req: mp_request, name: str, Class: type[Cookie] = Cookie, **kw: Any) -> Optional[Cookie]:
    """One cookie of a request, or None."""
    return get_cookies(req, Class, names=[name], **kw).get(name)
