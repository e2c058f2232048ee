"""A few hundred requests of all kinds to the site of beside_site.py, and what of an answer has to be the same each time."""

from __future__ import annotations

import base64
import gzip
import re
import socket
import zlib
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import Optional
from urllib.parse import quote

from beside_site import MORE, PLAIN

PATIENCE = 10.0
"""Seconds to wait for an answer."""


@dataclass(frozen=True)
class Question:
    """What is sent over a connection of its own."""

    name: str
    data: bytes
    framed: bool = True
    """Whether the answer's framing and its compressed form are the same each time: not where a script or a backend is the
    quicker or the slower one."""
    changes: bool = False
    """Whether it answers with the time at which it is asked, since it has written a file."""


def question(method: str, path: str, body: Optional[bytes] = None, version: str = "1.1", **headers: str) -> Question:
    """An ordinary request; in the headers' names `_` stands for `-`."""
    fields = {
        "Host": "localhost",
        "Connection": "close",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    if body is not None and "Transfer-Encoding" not in fields:
        fields["Content-Length"] = str(len(body))
    head = f"{method} {path} HTTP/{version}\r\n" + "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    shown = " ".join(f"{name}={text}" for name, text in headers.items())
    quick = (
        re.search(r"cgi|ssi/|script|prox|balanc|external|slow|errors-|rewrite/|actions|send/|home|session|form", path)
        is None
    )
    return Question(
        f"{method} {path} {shown}".strip(),
        head.encode("latin-1") + b"\r\n" + (body or b""),
        quick,
        path.startswith(("/dav/", "/reflected")),
    )


def credentials(user: str, password: str = "eggs") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def questions(many: bool) -> list[Question]:
    """All of them, in order; with what only many modules answer, or without."""
    names = [*PLAIN, *(MORE if many else ())]
    files = ["/" + quote(name) for name in names if not name.endswith("/.htaccess")]
    folders = sorted(
        {f"/{quote(str(parent))}/".replace("/./", "/") for name in names for parent in PurePosixPath(name).parents}
    )
    paths = [*files, *folders, *OTHER_PATHS, *(MANY_PATHS if many else ())]
    asked = [question("GET", path) for path in paths]
    asked += [question("HEAD", path) for path in paths[::2]]
    asked += [question("GET", path, **headers) for path in VARIED for headers in VARIANTS]
    asked += [question(method, path, body) for path in VARIED[::2] for method, body in METHODS]
    asked += [question("GET", path, **credentials(user)) for path in GUARDED for user in ("anna", "bert", "nobody")]
    asked += [question("GET", path, **credentials("anna", "wrong")) for path in GUARDED]
    asked += odd_questions()
    if many:
        asked += many_questions()
    return asked


OTHER_PATHS = """
/?query /index.html?a=b&c=d /index /plain/a /plain/b /plain/page /plain/archive /lang/foo /lang/page /lang/typed /lang/doc /lang/latin
/lang/foo.html /lang/script /lang/script/path/info /lang/doc.var /lang /welcome /welcome/index /plain/a.txt/path/info /listing/?C=N;O=D
/listing/?C=M;O=A /listing/?C=S;O=D /listing/?C=D;O=A /listing/?F=0 /listing/?F=2;C=N;O=D /listing/?P=*.txt /listing/?V=1 /listing/?nonsense
/nested /nested/a/b/c /several /several/?a=b /fallback/nothing/there /fallback/own.html/info /redirect/one /redirect/two /redirect/three.html
/redirect/four /redirect/five /errors/missing /errors/denied /errors/gone /errors-index/missing /errors-script/missing
/errors-script/missing?query /errors-script/denied /cgi/environment.cgi/info/more?query=1 /cgi/environment /scripts/environment.cgi?q
/scripts/environment.cgi/info /scripts/missing.cgi /scripts/ /aliased/a.txt /aliased/ /aliased /matched/a.txt /moved /moved/b.html
/numbered/12 /located /located/anything /icons/text.gif /icons/folder.gif /icons/ /icons /links/file /links/directory /links/directory/
/links/directory/one.txt /links/broken /links/circle /links/outside/hostname /empty-directory/ /empty-directory /nowhere /nowhere/
/nowhere/at/all /no-slash /index-redirect /script-index /script-index?query /script-index/index /plain/../plain/a.txt /./plain/./a.txt
//plain//a.txt /plain/%2e%2e/index.html /../etc/passwd /plain/a.txt%00.html /plain/a%2ftxt /plain/%zz /plain/%61.txt /plain/a.txt%20
/plain/a.txt. /PLAIN/a.txt /conditions/?refuse /~anna/ /~nobody/ /*.* /plain/* /plain/a.txt;x=1 /plain/a.txt# /ssi /ssi/page
/ssi/page.shtml/info /ssi/page.shtml?query /handler-slash /icons/../plain/a.txt /denied/ /denied/missing /old-denied/ /none/ /broken/
""".split()  # noqa: SIM905 - a table of words
MANY_PATHS = """
/rewritten/a.txt /rewritten/missing /rewritten-file /rewritten-refused /rewritten-away /rewrite/forbidden /rewrite/gone /rewrite/moved
/rewrite/inner /rewrite/index /rewrite/script/a/b?x=y /rewrite/typed.html /rewrite/pretty/thing /rewrite/endless /rewrite/anna /rewrite/proxied
/proxied/plain/a.txt /proxied/moved /proxied/nowhere /proxied/lang/foo /proxied/several/ /balanced/plain/b.html /proxied/cgi/environment.cgi
/dav/ /dav /actions/file.act/info /actions/missing.act /spelling/corect.html /spelling/CORRECT.html /spelling/corect /~anna /~anna/index
/cached /cached/ /cached/missing /session/x /tracked/x /maps/map.map?5,5 /maps/map.map?22,22 /maps/map.map?99,99 /maps/map.map?bad
/form-login /reflected /by-macro /lua/missing.lua /secured/refused /plain/a.txt?x=attack /expires/ /headers/missing /external/ /slow/
/send/script /xbit/ /meta/ /asis/ /asis/file
""".split()  # noqa: SIM905
VARIED = """
/ /plain/a.txt /plain/b.html /plain/big.bin /plain/big.txt /plain/empty.html /lang/foo /lang/page /lang/doc /lang/doc.var /lang/typed
/welcome/ /listing/ /several/ /script-index/ /cgi/environment.cgi /ssi/page.shtml /fallback/nothing /auth/secret.txt /errors/missing
/errors-index/missing /nowhere /redirect/one /links/file /none/file.txt /conditions/ /filters/file.bin /denied/file.txt /plain /types/file.html
""".split()  # noqa: SIM905
VARIANTS: list[dict[str, str]] = [
    {"Accept_Encoding": "gzip"},
    {"Accept_Encoding": "gzip;q=0, *;q=0.1"},
    {"Accept_Language": "de"},
    {"Accept_Language": "fr;q=0.4, xx;q=0.9"},
    {"Accept_Language": "de", "Accept_Encoding": "gzip", "Accept": "text/plain, */*;q=0.1"},
    {"Accept": "image/png"},
    {"Accept_Charset": "utf-8;q=0.1"},
    {"Range": "bytes=0-3"},
    {"Range": "bytes=2-4,8-9,-2"},
    {"Range": "bytes=999999999-"},
    {"If_Modified_Since": "Sun, 09 Sep 2035 01:46:40 GMT"},
    {"If_Unmodified_Since": "Sun, 09 Sep 1990 01:46:40 GMT"},
    {"If_None_Match": "*"},
    {"If_Match": '"no such tag"'},
    {"User_Agent": "JDK/1.0"},
    {"User_Agent": "Mozilla/2.0 (x)"},
    {"Expect": "100-continue"},
    {"Cookie": "a=b; prefer-language=de", "X_Index": "other", "X_Let_In": "1", "Referer": "http://other.test/"},
]
METHODS: list[tuple[str, Optional[bytes]]] = [
    (name, None) for name in ("OPTIONS", "TRACE", "BREW", "DELETE", "PROPFIND")
]
METHODS += [("POST", b"a=b&c=d"), ("PUT", b"a body"), ("PATCH", b"")]
GUARDED = ["/auth/secret.txt", "/auth/", "/auth", "/auth-anna/secret.txt", "/auth-any/secret.txt", "/satisfy/file.txt"]


def odd_questions() -> list[Question]:
    """What http.client would not send."""
    chunked = b"3\r\na=b\r\n4;x=y\r\n&c=d\r\n0\r\nX-Trailer: t\r\n\r\n"
    paths = ("/plain/a.txt", "/cgi/echo.cgi", "/", "/nowhere")
    asked = [question("POST", path, chunked, Transfer_Encoding="chunked") for path in paths]
    asked += [question("POST", path, b"x" * 100_000, Expect="100-continue") for path in paths]
    asked += [question("POST", path, b"zz\r\n", Transfer_Encoding="chunked") for path in paths]
    asked += [question("POST", path, b"", Transfer_Encoding="unknown") for path in paths]
    asked += [question("GET", path, version="1.0") for path in VARIED]
    asked += [question("GET", "http://localhost" + path) for path in VARIED]
    asked += [question("GET", path, b"a body") for path in paths]
    asked.append(question("OPTIONS", "*"))
    asked.append(question("CONNECT", "localhost:80"))
    asked += [
        question("GET", path, Host=host)
        for path in paths
        for host in ("other.test", "no/host", "a b", "localhost:99999")
    ]
    asked.append(question("GET", "/" + "a" * 9000))
    asked.append(question("GET", "/plain/" + "a" * 300))
    asked.append(question("GET", "/plain/a.txt", X_Long="x" * 9000))
    asked.append(question("GET", "/" + "a/" * 900))
    raw = {
        "HTTP/0.9": b"GET /plain/a.txt\r\n\r\n",
        "no host": b"GET /plain/a.txt HTTP/1.1\r\n\r\n",
        "HTTP/1.0 without host": b"GET / HTTP/1.0\r\n\r\n",
        "HTTP/3.7": b"GET / HTTP/3.7\r\nHost: x\r\nConnection: close\r\n\r\n",
        "rubbish": b"\x00\x01\x02\r\n\r\n",
        "an empty line first": b"\r\nGET /plain/a.txt HTTP/1.0\r\n\r\n",
        "a folded header": b"GET /plain/a.txt HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nConnection: close\r\n\r\n",
        "a bad header": b"GET /plain/a.txt HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
        "a space before the colon": b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "a bad length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nab",
        "a lower-case method": b"get / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    }
    asked += [Question(name, data) for name, data in raw.items()]
    piped = [
        "/plain/a.txt",
        "/",
        "/lang/foo",
        "/nowhere",
        "/several/",
        "/redirect/one",
        "/auth/secret.txt",
        "/listing/",
        "/plain/big.bin",
    ]
    kept = b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in piped)
    posted = b"POST /plain/a.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na=b"
    last = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    asked.append(Question("pipelined", kept + posted + last))
    asked.append(
        Question("kept in HTTP/1.0", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /several/ HTTP/1.0\r\n\r\n")
    )
    return asked


def many_questions() -> list[Question]:
    """For modules that a fresh Debian does not enable."""
    find = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/><resourcetype/></prop></propfind>'
    lock = b'<?xml version="1.0"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
    asked = [
        question("PUT", "/dav/file.txt", b"written"),
        question("PUT", "/dav/file.txt", b"written again"),
        question("GET", "/dav/file.txt"),
        question("PROPFIND", "/dav/file.txt", find, Depth="0"),
        question("PROPFIND", "/dav/", find, Depth="1"),
        question("MKCOL", "/dav/folder"),
        question("MKCOL", "/dav/no/folder"),
        question("COPY", "/dav/file.txt", Destination="/dav/folder/copy.txt"),
        question("MOVE", "/dav/folder/copy.txt", Destination="http://localhost/dav/moved.txt"),
        question("PROPFIND", "/dav/", find, Depth="infinity"),
        question("LOCK", "/dav/file.txt", lock),
        question("PUT", "/dav/file.txt", b"locked"),
        question("OPTIONS", "/dav/"),
        question("POST", "/dav/file.txt", b"x"),
        question("DELETE", "/dav/moved.txt"),
        question("DELETE", "/dav/folder"),
        question("DELETE", "/dav/missing"),
        question("PUT", "/plain/written.txt", b"x"),
    ]
    asked += [
        question("GET", path, **credentials(user)) for path in GUARDED_BY_MANY for user in ("anna", "bert", "guest")
    ]
    asked += [question("GET", "/secured/page.html?x=attack"), question("POST", "/secured/page.html", b"x=attack")]
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    asked += [
        question("POST", "/secured/page.html", b"x=attack", **form),
        question("POST", "/form-login", b"a=b", **form),
    ]
    asked += [
        question("POST", "/form-login", b"httpd_username=anna&httpd_password=eggs", **form),
        question("POST", "/form/secret.txt", b"httpd_username=anna&httpd_password=wrong", **form),
        question("POST", "/reflected", b"reflect this"),
        question("POST", "/allowed/page.html", b"x"),
        question("POST", "/proxied/cgi/echo.cgi", b"through a proxy"),
        question("POST", "/actions/file.act", b"x"),
        question("GET", "/brotli/page.html", Accept_Encoding="br"),
        question("GET", "/", Host="one.test"),
        question("GET", "/missing", Host="two.test"),
        question("GET", "/plain/a.txt", X_Forwarded_For="10.1.2.3"),
        question("GET", "/cgi/environment.cgi", X_Forwarded_For="10.1.2.3"),
    ]
    asked += [question("GET", "/cached/page.html", **headers) for headers in VARIANTS]
    return asked


GUARDED_BY_MANY = (
    "/group/secret.txt",
    "/anonymous/secret.txt",
    "/digest/secret.txt",
    "/form/secret.txt",
    "/rewrite/anna",
)


MOST = 4096
"""So many parts of an answer are read: none of the site's has as many."""


def answer_to(port: int, asked: Question) -> bytes:
    """All that a server sends until it closes; an exception's name where it does not end in order."""
    parts: list[bytes] = []
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(asked.data)
            while (part := connection.recv(65536)) and len(parts) < MOST:
                parts.append(part)
    except OSError as error:
        parts.append(f"<{type(error).__name__}>".encode())
    return b"".join(parts)


def comparable(asked: Question, answer: bytes) -> bytes:
    """An answer without what differs from one time to the next: the date, random values."""
    answer = re.sub(rb"(?m)^(Expires: )(.*)\r\n", lambda found: found[1] + _later(found[2], answer), answer)
    answer = re.sub(rb"(?m)^(Date|Age): .*\r\n", b"", answer)
    answer = re.sub(
        rb'nonce="[^"]*"|opaquelocktoken:[\w-]+|(?<=Set-Cookie: Apache=)[^;]+|Second-\d+', b"RANDOM", answer
    )
    # An httpd's boundary is random, and not always of the same length; so is the order of methods in its hash tables.
    boundary = re.search(rb"(?m)^Content-Type: multipart/byteranges; boundary=(\w+)", answer)
    if boundary:
        answer = re.sub(rb"(?m)^Content-Length: .*\r\n", b"", answer.replace(boundary[1], b"BOUNDARY"))
    answer = re.sub(
        rb"(?m)^(Allow: )(.*)\r\n", lambda found: found[1] + b",".join(sorted(found[2].split(b","))) + b"\r\n", answer
    )
    if asked.changes:
        answer = re.sub(rb"(?m)^(Last-Modified|ETag): .*\r\n", b"", answer)
        answer = re.sub(rb"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT|\d{4}-\d\d-\d\d[T ][\d:]+Z?", b"TIME", answer)
    return answer if asked.framed else unframed(answer)


def _later(expires: bytes, answer: bytes) -> bytes:
    """How many seconds after its date an answer expires."""
    date = re.search(rb"(?m)^Date: (.*)\r\n", answer)
    if date is None:
        return expires + b"\r\n"
    later = parsedate_to_datetime(expires.decode()) - parsedate_to_datetime(date[1].decode())
    return f"{later.total_seconds()}\r\n".encode()


def unframed(answer: bytes) -> bytes:
    """One answer's content, whatever the chunks, the length and the blocks of its compression."""
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    if answer.startswith(go_on):
        return go_on + unframed(answer[len(go_on) :])
    head, _, body = answer.partition(b"\r\n\r\n")
    if re.search(rb"(?mi)^transfer-encoding: chunked", head):
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            if not re.fullmatch(rb"[0-9a-fA-F]+(;.*)?", size):
                # Broken off.
                whole, body = whole + size, b""
                break
            count = int(size.split(b";")[0], 16)
            whole, body = whole + body[:count], body[count + 2 :]
        body = whole
    if re.search(rb"(?mi)^content-encoding: gzip", head):
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            body = b"<not gzip> " + body
    head = re.sub(rb"(?mi)^(transfer-encoding|content-length): .*\r\n?", b"", head + b"\r\n")
    return head + b"\r\n" + body
