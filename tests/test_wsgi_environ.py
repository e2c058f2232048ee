"""Where a request came from, as the environ says it: headers, proxies, redirects, what CGI programs have."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from client import raw
from conftest import MEMORY, MPMS, Serve, Server

CONFIG = """
PythonPath "sys.path+['@ROOT@/apps']"
ServerAdmin webmaster@example.org
PythonWSGI /environment wsgi_limits:environment
PythonWSGI /growth wsgi_limits:growth
PythonWSGI /interned wsgi_limits:interned
PythonWSGI /trusting wsgi_limits:environment
PythonWSGI /elsewhere wsgi_limits:environment
PythonWSGI /page wsgi_limits:environment
<Location /environment/signed>
    ServerSignature EMail
</Location>
<Location /environment/env>
    CGIPassAuth On
</Location>
<Location /environment/canonical>
    UseCanonicalName On
</Location>
SetEnvIf X-Forwarded-Proto ^https$ HTTPS=on
SetEnvIf X-Says-Off . HTTPS=off
SetEnvIf X-Says-Port (.+) SERVER_PORT=$1
<Location /trusting>
    PythonOption mod_python.wsgi.trusted_proxies "127.0.0.0/8 ::1"
    PythonOption mod_python.wsgi.trusted_headers "x-forwarded-proto X-Forwarded-Host, x-forwarded-port x-forwarded-prefix x-forwarded-for"
</Location>
<Location /trusting/some>
    PythonOption mod_python.wsgi.trusted_headers x-forwarded-proto
</Location>
<Location /elsewhere>
    PythonOption mod_python.wsgi.trusted_proxies 192.0.2.0/24
    PythonOption mod_python.wsgi.trusted_headers "x-forwarded-proto x-forwarded-for x-forwarded-host"
</Location>
ErrorDocument 404 /page/missing?page=1
<Location /redirected>
    SetHandler mod_python
    PythonHandler wsgi_limits::redirects
</Location>
"""
MODULES = ("env", "setenvif")


@pytest.fixture(scope="module", params=MPMS)
def httpd(request: pytest.FixtureRequest, serve_module: Serve) -> Server:
    return serve_module(CONFIG, mpm=request.param, modules=MODULES)


def variables(httpd: Server, path: str, headers: Any = None) -> dict[str, Any]:
    found = json.loads(httpd.ok(path, headers=headers or {}).text)
    assert isinstance(found, dict)
    return found


# Headers.


def test_a_client_s_header_names_are_not_kept(serve: Serve) -> None:
    """90,000 names: they took 25 MB where they were interned for good (Python 3.12), or stayed in a table."""
    server = serve(CONFIG, mpm="event", modules=MODULES)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def resident(turn: int) -> tuple[str, int]:
        headers = {f"X-{turn}-{number}-{'n' * 40}": "v" for number in range(90)}
        connection.request("GET", "/growth", headers=headers)
        pid, size = connection.getresponse().read().decode().split()
        return pid, int(size)

    for turn in range(200):
        first = resident(turn)
    for turn in range(200, 1200):
        last = resident(turn)
    connection.close()
    assert first[0] == last[0] and last[1] - first[1] < 4096 * MEMORY, (first, last)


def test_only_well_known_keys_are_interned(httpd: Server) -> None:
    connection = {"X-Chosen": "1", "Referer": "x", "X-Other-One": "2"}
    for _ in range(2):
        found = variables(httpd, "/interned", connection)
        assert found["HTTP_HOST"] and found["HTTP_REFERER"]
        assert not found["HTTP_X_CHOSEN"] and not found["HTTP_X_OTHER_ONE"]


def test_a_proxy_s_password_stays_here(httpd: Server) -> None:
    headers = {"Proxy-Authorization": "Basic x", "Authorization": "Basic y", "Proxy": "http://evil"}
    for path in ("/environment", "/environment/env"):
        env = variables(httpd, path, headers)
        assert not {"HTTP_PROXY_AUTHORIZATION", "HTTP_PROXY"} & env.keys()
        assert ("HTTP_AUTHORIZATION" in env) == path.endswith("/env")


# What CGI programs have.


def test_variables_of_cgi(httpd: Server) -> None:
    env = variables(httpd, "/environment/x")
    assert env["GATEWAY_INTERFACE"] == "CGI/1.1" and env["SERVER_ADMIN"] == "webmaster@example.org"
    assert env["SERVER_SIGNATURE"] == ""
    signature = variables(httpd, "/environment/signed")["SERVER_SIGNATURE"]
    assert "mailto:webmaster@example.org" in signature and "Apache" in signature
    assert variables(httpd, "/environment/x")["SERVER_SIGNATURE"] == ""


def test_an_address_has_its_brackets(httpd: Server) -> None:
    env = variables(httpd, "/environment", {"Host": "[::1]:8080"})
    assert (env["SERVER_NAME"], env["SERVER_PORT"], env["HTTP_HOST"]) == ("[::1]", "8080", "[::1]:8080")
    assert variables(httpd, "/environment", {"Host": "example.org"})["SERVER_NAME"] == "example.org"


def test_redirects(httpd: Server) -> None:
    env = variables(httpd, "/gone/x?a=b")
    assert (env["REDIRECT_URL"], env["REDIRECT_QUERY_STRING"]) == ("/gone/x", "a=b")
    assert (env["REDIRECT_STATUS"], env["REDIRECT_REQUEST_METHOD"]) == ("404", "GET")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"], env["QUERY_STRING"]) == ("/page", "/missing", "page=1")
    assert env["REQUEST_URI"] == "/gone/x?a=b"
    env = variables(httpd, "/redirected?c=d")
    assert (env["REDIRECT_URL"], env["PATH_INFO"], env["QUERY_STRING"]) == ("/redirected", "/new", "e=f")
    assert not any(key.startswith("REDIRECT_") for key in variables(httpd, "/environment"))


# Schemes and ports.


def test_what_the_environment_says(httpd: Server) -> None:
    own = str(httpd.port)
    env = variables(httpd, "/environment", {"Host": "example.org"})
    assert env["wsgi.url_scheme"] == "http" and "HTTPS" not in env
    env = variables(httpd, "/environment", {"X-Forwarded-Proto": "https", "Host": "example.org"})
    assert (env["wsgi.url_scheme"], env["HTTPS"], env["SERVER_PORT"]) == ("https", "on", "443")
    env = variables(httpd, "/environment", {"X-Forwarded-Proto": "https", "Host": "example.org:8443"})
    assert (env["wsgi.url_scheme"], env["HTTPS"], env["SERVER_PORT"]) == ("https", "on", "8443")
    env = variables(httpd, "/environment", {"X-Forwarded-Proto": "https", "X-Says-Port": "4443"})
    assert (env["wsgi.url_scheme"], env["SERVER_PORT"]) == ("https", "4443")
    env = variables(httpd, "/environment", {"X-Says-Off": "1", "X-Says-Port": "none"})
    assert (env["wsgi.url_scheme"], env["SERVER_PORT"]) == ("http", own) and "HTTPS" not in env
    # Nothing of it stays for the next request.
    env = variables(httpd, "/environment")
    assert (env["wsgi.url_scheme"], env["SERVER_PORT"]) == ("http", own) and "HTTPS" not in env


# Trusted proxies.

FORWARDED = {
    "Host": "inner:8000",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "www.example.org",
    "X-Forwarded-Prefix": "/shop",
    "X-Forwarded-For": "6.6.6.6, 203.0.113.5, 127.0.0.9",
    "X-Forwarded-Server": "spoofed",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
}
KEPT = {"HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_FORWARDED_FOR"}


def forwarded(env: dict[str, Any]) -> set[str]:
    """The keys of what proxies say."""
    return {key for key in env if "FORWARDED" in key or "REAL_IP" in key}


def test_a_trusted_proxy(httpd: Server) -> None:
    env = variables(httpd, "/trusting/x", FORWARDED)
    expected = {
        "wsgi.url_scheme": "https",
        "HTTPS": "on",
        "HTTP_HOST": "www.example.org",
        "SERVER_NAME": "www.example.org",
        "SERVER_PORT": "443",
        "SCRIPT_NAME": "/shop/trusting",
        "PATH_INFO": "/x",
        "REMOTE_ADDR": "203.0.113.5",
    }
    assert {key: env.get(key) for key in expected} == expected
    assert "REMOTE_PORT" not in env and forwarded(env) == KEPT
    env = variables(
        httpd, "/trusting/x", {**FORWARDED, "X-Forwarded-Port": "8443", "X-Forwarded-For": "[2001:db8::1]:99"}
    )
    assert (env["HTTP_HOST"], env["SERVER_PORT"]) == ("www.example.org:8443", "8443")
    assert (env["REMOTE_ADDR"], env["REMOTE_PORT"]) == ("2001:db8::1", "99")
    # The next request is as it was sent.
    env = variables(httpd, "/environment", {"Host": "example.org"})
    assert (env["REMOTE_ADDR"], env["HTTP_HOST"], env["SCRIPT_NAME"]) == ("127.0.0.1", "example.org", "/environment")
    assert env["REMOTE_PORT"].isdigit()


def test_only_what_is_trusted(httpd: Server) -> None:
    env = variables(httpd, "/trusting/some", FORWARDED)
    assert (env["wsgi.url_scheme"], env["HTTP_HOST"], env["SERVER_PORT"]) == ("https", "inner:8000", "8000")
    assert (env["REMOTE_ADDR"], env["SCRIPT_NAME"]) == ("127.0.0.1", "/trusting")
    assert forwarded(env) == {"HTTP_X_FORWARDED_PROTO"}


def test_others_are_not_believed(httpd: Server) -> None:
    env = variables(httpd, "/elsewhere/x", {**FORWARDED, "X-Forwarded-Proto": "HTTPS"})
    assert (env["wsgi.url_scheme"], env["HTTP_HOST"]) == ("http", "inner:8000")
    assert (env["REMOTE_ADDR"], env["SCRIPT_NAME"]) == ("127.0.0.1", "/elsewhere") and not forwarded(env)
    # Without the option they are headers like others.
    assert "HTTP_X_FORWARDED_SERVER" in variables(httpd, "/environment", FORWARDED)


SPOOFED = [
    "Forwarded",
    "Forwarded-For",
    "Forwarded-Host",
    "Forwarded-Proto",
    "X-Forwarded",
    "X-Forwarded-HTTPS",
    "X-Forwarded-SSL",
    "X-Forwarded-Scheme",
    "X-Forwarded-Script-Name",
    "X-Forwarded-User",
    "X-Original-Host",
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Proto",
    "X-Original-Forwarded-For",
    "X-Rewrite-URL",
    "X-Real-IP",
    "X-Real-Port",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-Originating-IP",
    "Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Visitor",
    "Fastly-Client-IP",
    "Fastly-SSL",
    "Fly-Client-IP",
    "Fly-Forwarded-Proto",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    "WL-Proxy-SSL",
    "X-AppEngine-User-IP",
    "X-Azure-ClientIP",
    "X-Envoy-External-Address",
    "X-Envoy-Original-Path",
    "CloudFront-Viewer-Address",
    "CloudFront-Forwarded-Proto",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Server-Name",
    "X-Port",
    "X-Server-Port",
    "X-HTTPS",
    "X-SSL",
    "X-ARR-SSL",
    "Front-End-Https",
    "X-Scheme",
    "X-URL-Scheme",
    "X-Proto",
    "X-Protocol",
    "X-Script-Name",
    "X-Path-Prefix",
    "Script-Name",
    "x-hOsT",
]


@pytest.mark.parametrize("place", ["/elsewhere/x", "/trusting/x"])
def test_what_nobody_may_say(httpd: Server, place: str) -> None:
    """Whatever a proxy of some kind would say, and frameworks believe; others' headers are the application's own affair."""
    sent = {
        **dict.fromkeys(SPOOFED, "6.6.6.6"),
        "Host": "inner:8000",
        "X-Hosts": "a",
        "X-Own": "b",
        "X-Request-ID": "c",
    }
    env = variables(httpd, place, sent)
    assert [key for key, value in env.items() if value == "6.6.6.6"] == []
    assert (env["HTTP_X_HOSTS"], env["HTTP_X_OWN"], env["HTTP_X_REQUEST_ID"]) == ("a", "b", "c")
    assert (env["REMOTE_ADDR"], env["wsgi.url_scheme"], env["HTTP_HOST"]) == ("127.0.0.1", "http", "inner:8000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Host", "evil.example/path"),
        ("X-Forwarded-Host", "user@evil.example"),
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Forwarded-Prefix", "no-slash"),
        ("X-Forwarded-Proto", "ftp"),
        ("X-Forwarded-Port", "65536"),
        ("X-Forwarded-For", "unknown"),
        ("X-Forwarded-For", "203.0.113.5, _hidden"),
    ],
)
def test_nonsense_of_a_trusted_proxy(httpd: Server, name: str, value: str) -> None:
    env = variables(httpd, "/trusting/x", {"Host": "inner:8000", name: value})
    assert (env["wsgi.url_scheme"], env["HTTP_HOST"], env["SERVER_PORT"]) == ("http", "inner:8000", "8000")
    assert (env["REMOTE_ADDR"], env["SCRIPT_NAME"], env["SERVER_NAME"]) == ("127.0.0.1", "/trusting", "inner")


def test_repeated_headers_of_a_proxy(httpd: Server) -> None:
    request = b"GET /trusting HTTP/1.0\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.5\r\nx-forwarded-proto: https\r\nX-Forwarded-Proto: http\r\n\r\n"
    env = json.loads(raw(httpd.port, request).partition(b"\r\n\r\n")[2])
    assert (env["REMOTE_ADDR"], env["wsgi.url_scheme"]) == ("203.0.113.5", "http") and "HTTPS" not in env


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("trusted_proxies", "10.0.0.0/8 proxy.example", '"proxy.example" is no address and no network'),
        ("trusted_proxies", "10.0.0.0/33", '"10.0.0.0/33" is no address and no network'),
        ("trusted_proxies", "10.0.0.1/8", '"10.0.0.1/8" is no address and no network'),
        ("trusted_headers", "x-real-ip", '"x-real-ip" is none of x-forwarded-for'),
        ("chunked_buffer", "1M", '"1M" is no number of bytes'),
    ],
)
def test_mistakes_in_the_options(serve: Serve, option: str, value: str, reason: str) -> None:
    checked = serve(f'PythonOption mod_python.wsgi.{option} "{value}"\n', start=False).check()
    assert checked.returncode != 0 and f"PythonOption mod_python.wsgi.{option}: {reason}" in checked.stderr
