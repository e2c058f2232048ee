"""Odd requests to a daemon are answered as inside httpd, on every MPM: methods, heads, bodies, conditions; rules, filters and pages around it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator

import pytest
from client import raw
from conftest import Serve, Server
from kept_daemons import PROXY, Daemon, user

PLACES = ("here", "away")
MODULES = ("env", "rewrite", "include", "filter", "deflate", "cache", "cache_disk", "ratelimit")
CONFIG = f"""
PythonPath "['@ROOT@/apps']+sys.path"
PythonDaemon shop {user()} threads=8
PythonWSGI /here daemons_app:wsgi
PythonWSGI /away daemons_app:wsgi daemon=shop
PythonWSGI /s/here statuses:wsgi
PythonWSGI /s/away statuses:wsgi daemon=shop
ErrorDocument 404 /away/error
ErrorDocument 403 /away/refuse
RewriteEngine On
RewriteRule ^/pt/(\\w+)/(.*) /$1/$2 [PT,L]
RewriteRule ^/p/(\\w+)/(.*) http://127.0.0.1:@PORT@/$1/$2 [P,L]
RewriteRule ^/l/(\\w+)/(.*) /$1/$2 [L]
ProxyPass /proxied/ http://127.0.0.1:@PORT@/
CacheRoot @ROOT@/cache
CacheEnable disk /away/cached
CacheEnable disk /here/cached
<Directory @ROOT@/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
</Directory>
<Location /deny>
    Require all denied
</Location>
<LocationMatch ^/(away|here)/zip>
    SetOutputFilter DEFLATE
</LocationMatch>
<LocationMatch ^/(away|here)/slow>
    SetOutputFilter RATE_LIMIT
    SetEnv rate-limit 1000
</LocationMatch>
"""
END = "Connection: close\n\n"
HEAD = f" HTTP/1.1\nHost: a\n{END}"
FORGED = "X-Mod-Python-Front: u=mallory&i=/here/all"
CHUNKED = "POST /@/echo HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nConnection: close\n"
REQUESTS = {
    **{method: f"{method} /@/error{HEAD}" for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "FOO", "foo", "CONNECT", "TRACE")},
    "OPTIONS *": f"OPTIONS *{HEAD}",
    "CONNECT host": f"CONNECT @:80 HTTP/1.1\nHost: @:80\n{END}",
    "absolute": f"GET http://a/@/error{HEAD}",
    "1.0": "GET /@/error HTTP/1.0\n\n",
    "1.0 keep-alive": "GET /@/error HTTP/1.0\nConnection: keep-alive\n\n",
    "HEAD of chunks": f"HEAD /@/large{HEAD}",
    "304": f"GET /@/unchanged{HEAD}",
    "folded": f"GET /@/error HTTP/1.1\nHost: a\n{FORGED}\n  &s=https\n{END}",
    "many": "GET /@/error HTTP/1.1\nHost: a\n" + f"{FORGED}\n" * 60 + END,
    "large head": "GET /@/error HTTP/1.1\nHost: a\n" + "".join(f"X-{n}: {'y' * 8000}\n" for n in range(90)) + END,
    "too large head": f"GET /@/error HTTP/1.1\nHost: a\nX: {'y' * 9000}\n{END}",
    "long URI": f"GET /@/error?{'y' * 8000}{HEAD}",
    "expects nonsense": f"POST /@/refuse HTTP/1.1\nHost: a\nExpect: nonsense\nContent-Length: 4\n{END}body",
    "expects, refused": f"POST /@/refuse HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 400000\n{END}",
    "no chunk": f"{CHUNKED}\nzz\nabc\n0\n\n",
    "both framings": f"{CHUNKED}Content-Length: 3\n\n3\nabc\n0\n\n",
    "trailers": f"{CHUNKED}Trailer: X-T\n\n3\nabc\n0\nX-T: 1\n{FORGED}\n\n",
    "range": f"GET /@/refuse HTTP/1.1\nHost: a\nRange: bytes=2-5\n{END}",
    "range of 200": f"GET /s/@?own200 HTTP/1.1\nHost: a\nRange: bytes=2-5\n{END}",
    "range beyond": f"GET /s/@?own200 HTTP/1.1\nHost: a\nRange: bytes=200-500\n{END}",
    "range, unless changed": f"GET /s/@?own200 HTTP/1.1\nHost: a\nRange: bytes=2-5\nIf-Range: nonsense\n{END}",
    "HEAD of a range": f"HEAD /s/@?own200 HTTP/1.1\nHost: a\nRange: bytes=2-5\n{END}",
    "204": f"GET /s/@?own204{HEAD}",
    "205": f"GET /s/@?own205{HEAD}",
    "a status of nobody": f"GET /s/@?own599{HEAD}",
    "conditions of 200": f"GET /s/@?own200 HTTP/1.1\nHost: a\nIf-Modified-Since: Thu, 01 Jan 2032 00:00:00 GMT\n{END}",
    "conditions": f'GET /@/refuse HTTP/1.1\nHost: a\nIf-Modified-Since: Thu, 01 Jan 2032 00:00:00 GMT\nIf-None-Match: "x"\n{END}',
    "compressed": f"GET /@/zip/large HTTP/1.1\nHost: a\nAccept-Encoding: gzip\n{END}",
    "slowed down": f"GET /@/slow/error{HEAD}",
    "cached": f"GET /@/cached/error{HEAD}",
    "[PT]": f"GET /pt/@/error{HEAD}",
    "[P]": f"GET /p/@/error{HEAD}",
    "[L]": f"GET /l/@/error{HEAD}",
    "ProxyPass": f"GET /proxied/@/error{HEAD}",
    "no page": f"GET /nowhere{HEAD}",
    "denied": f"GET /deny{HEAD}",
    "included": f"GET /@.shtml{HEAD}",
    "a part of what includes": f"GET /@.shtml HTTP/1.1\nHost: a\nRange: bytes=2-5\n{END}",
}  # fmt: skip


@pytest.fixture(scope="module")
def front(serve_module: Serve, mpm: str) -> Iterator[Server]:
    server = serve_module(CONFIG, modules=(*PROXY, *MODULES), mpm=mpm, start=False, threads=8, beside=False)
    for place in PLACES:
        server.write(
            f"htdocs/{place}.shtml",
            f'A<!--#include virtual="/{place}/error" -->B<!--#include virtual="/{place}/refuse" -->C<!--#include virtual="/s/{place}?own200" -->D',
        )
        server.write(f"htdocs/{place}-broken.shtml", f'A<!--#include virtual="/{place}/broken" -->B')
    (server.root / "cache").mkdir()
    (server.root / "cache").chmod(0o777)
    server.start()
    Daemon(server).serves()
    yield server


def unchunked(body: bytes) -> bytes:
    """What is in a body of chunks."""
    found = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return found
        found, body = found + body[:length], body[length + 2 :]


def asked(front: Server, request: str, place: str) -> tuple[bytes, list[bytes], bytes]:
    """Status line, fields and body of an answer, without what differs from answer to answer."""
    answer = raw(front.port, request.replace("@", place).replace("\n", "\r\n").encode())
    head, _, body = answer.replace(place.encode(), b"@").partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    chunks = b"chunked" in head.lower()
    body = unchunked(body) if chunks else body
    if b"Content-Encoding: gzip" in head:
        body = gzip.decompress(body)
    fleeting = (b"date:", b"x-pid:", b"age:", b"expires:", b"content-length:", b"transfer-encoding:")
    return first, sorted(field for field in fields if not field.lower().startswith(fleeting)), body


@pytest.mark.parametrize("name", REQUESTS)
def test_an_odd_request(front: Server, name: str) -> None:
    front.claims += ["AH01095", "AH01630"]
    here, away = (asked(front, REQUESTS[name], place) for place in PLACES)
    assert here == away and here[0].startswith(b"HTTP/1.1 "), (here, away)
    assert not re.search(rb"mallory", away[2])
    assert front.get("/away/error").text == "the application's own page"


def test_a_page_says_that_what_it_includes_has_failed(front: Server) -> None:
    """By mod_include's own words, whoever has failed."""
    front.claims += ["broken on purpose", "unable to include"]
    for place in PLACES:
        assert front.get(f"/{place}-broken.shtml").text == "A[an error occurred while processing this directive]B", (
            place
        )


TARGETS = (
    "/@/all%2Fall", "/@/./x/../all", "//@//all", "/@/all.", "/@%2e/all", "/%@/all", "/@/all;p=1?a=b?c#d", "/@/all?%00%ff&=",
    "/@/%c3%a9/all", "/@/\xe9/all", "/@/%0d%0aX:y/all", "/@/all%3fq", "http://other.example.:81/@/all?q", "http://u:p@o/@/all", "/@", "/@/",
)  # fmt: skip
HOSTS = (
    "",
    "Host:\n",
    "Host: a.\n",
    "Host: a.:8080\n",
    "Host: [::1]:99\n",
    "Host: a\nHost: b\n",
    "Host: a b\n",
    "Host: A_b\n",
)
OF_THE_URI = {
    "PATH_INFO",
    "SCRIPT_NAME",
    "REQUEST_URI",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "HTTP_HOST",
    "wsgi.url_scheme",
    "PATH_TRANSLATED",
}
OF_REQ = {
    "the_request",
    "protocol",
    "hostname",
    "unparsed_uri",
    "uri",
    "args",
    "path_info",
    "filename",
    "parsed_uri",
    "construct_url",
}


def told(front: Server, request: str, place: str) -> object:
    """What an application is told of a URI, or the answer where it was not asked."""
    first, fields, body = asked(front, request, place)
    if not body.startswith(b"{"):
        return first, fields, body
    found = json.loads(body)
    environ = {key: value for key, value in found["environ"].items() if key in OF_THE_URI}
    return environ, {key: found["req"][key] for key in OF_REQ}, found["req"]["headers_in"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_odd_uri_or_host(front: Server, version: str) -> None:
    front.claims += ["AH10244", "AH00026", "invalid URI"]
    requests = [f"GET {target} HTTP/{version}\nHost: a\n{END}" for target in TARGETS]
    requests += [f"GET /@/all HTTP/{version}\n{host}{END}" for host in HOSTS]
    requests += [f"GET http://x:82/@/all HTTP/{version}\n{host}{END}" for host in HOSTS]
    for request in requests:
        here, away = (told(front, request, place) for place in PLACES)
        assert here == away, (request, here, away)
