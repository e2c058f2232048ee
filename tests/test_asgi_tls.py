"""The TLS extension of ASGI: what an application is told of its connection, whatever the client shows."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest
from asgi_site import applications, site
from client import of_two_threads
from conftest import Serve, Server
from test_asgi_protocols import certificate
from websockets.sync.client import connect

from httpd import PATIENCE, PROJECT

__all__ = ["certificate"]

CONFIG = """
SSLEngine On
SSLCertificateFile {folder}/cert.pem
SSLCertificateKeyFile {folder}/key.pem
SSLCACertificateFile {folder}/root.pem
SSLVerifyClient {verify}
SSLVerifyDepth 3
SSLSessionCache none
"""


def run(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(certificate: Path) -> Path:
    """The server's certificate, a root, one between, a client's from that, and a client's from nobody."""
    (certificate / "ca.ext").write_text("basicConstraints=critical,CA:true\n")
    new = "req -newkey rsa:2048 -nodes"
    run(certificate, f"{new} -x509 -days 2 -subj /CN=root -keyout root.key -out root.pem")
    for name, subject, issuer, more in (
        ("between", "/CN=between", "root", "-extfile ca.ext"),
        ("client", "/C=DE/O=Spam,+Eggs/CN=the+client", "between", ""),
    ):
        run(certificate, f"{new} -subj {subject.replace('+', '_')} -keyout {name}.key -out {name}.csr")
        run(
            certificate,
            f"x509 -req -days 2 -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -set_serial 7 {more} -out {name}.pem",
        )
    run(certificate, f"{new} -x509 -days 2 -subj /CN=stranger -keyout stranger.key -out stranger.pem")
    for name in ("client", "stranger"):
        parts = [f"{name}.pem", f"{name}.key", *(["between.pem"] if name == "client" else [])]
        (certificate / f"{name}.all").write_text("".join((certificate / part).read_text() for part in parts))
    return certificate


def served(serve: Serve, folder: Path, mpm: str, verify: str, more: str = "", modules: tuple[str, ...] = ()) -> Server:
    config = applications("asgi_extensions") + CONFIG.format(folder=folder, verify=verify) + more
    return site(serve, config, mpm=mpm, modules=("ssl", "socache_shmcb", *modules))


@pytest.fixture(scope="module")
def httpd(mpm: str, serve_module: Serve, folder: Path) -> Server:
    return served(serve_module, folder, mpm, "optional")


def context(shown: Optional[Path] = None) -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if shown:
        made.load_cert_chain(shown)
    return made


def answered(connection: http.client.HTTPSConnection) -> Any:
    connection.request("GET", "/extensions")
    return json.loads(connection.getresponse().read())


def extensions(server: Server, client: ssl.SSLContext) -> dict[str, Any]:
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE, context=client)
    # What is remembered of a connection is what was found out.
    found, again = (answered(connection) for _ in range(2))
    assert found == again
    connection.close()
    assert isinstance(found, dict)
    return found


def test_without_a_client_certificate(httpd: Server, folder: Path) -> None:
    assert extensions(httpd, context())["tls"] == {
        "server_cert": (folder / "cert.pem").read_text(),
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1302,
    }


def test_the_version_and_the_suite_are_the_connections(httpd: Server) -> None:
    client = context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    for name, number in (
        ("ECDHE-RSA-AES128-GCM-SHA256", 0xC02F),
        ("ECDHE-RSA-CHACHA20-POLY1305", 0xCCA8),
        ("AES256-GCM-SHA384", 0x009D),
    ):
        client.set_ciphers(name)
        tls = extensions(httpd, client)["tls"]
        assert (tls["tls_version"], tls["cipher_suite"]) == (0x0303, number)


def test_a_client_certificate_and_its_chain(httpd: Server, folder: Path) -> None:
    tls = extensions(httpd, context(folder / "client.all"))["tls"]
    leaf, between = ((folder / f"{name}.pem").read_text() for name in ("client", "between"))
    assert tls["client_cert_chain"] == [leaf, between]
    assert tls["client_cert_name"] == "CN=the_client,O=Spam\\,_Eggs,C=DE" and tls["client_cert_error"] is None


def test_a_websocket(httpd: Server, folder: Path) -> None:
    client = of_two_threads(context(folder / "client.all"))
    with connect(f"wss://127.0.0.1:{httpd.port}/told", open_timeout=PATIENCE, ssl=client) as socket:
        tls = json.loads(socket.recv(PATIENCE))
    assert tls["client_cert_name"].startswith("CN=the_client") and tls["tls_version"] == 0x0303


def test_a_certificate_of_nobody_is_an_error(serve: Serve, mpm: str, folder: Path) -> None:
    """Its name alone would be what the client says."""
    server = served(serve, folder, mpm, "optional_no_ca")
    tls = extensions(server, context(folder / "stranger.all"))["tls"]
    assert tls["client_cert_chain"] == [(folder / "stranger.pem").read_text()]
    assert tls["client_cert_name"] == "CN=stranger" and tls["client_cert_error"]
    assert extensions(server, context(folder / "client.all"))["tls"]["client_cert_error"] is None
    assert extensions(server, context())["tls"]["client_cert_error"] is None


def test_a_name_in_the_old_form_is_none(serve: Serve, mpm: str, folder: Path) -> None:
    server = served(serve, folder, mpm, "optional", "SSLOptions +LegacyDNStringFormat\n")
    tls = extensions(server, context(folder / "client.all"))["tls"]
    assert tls["client_cert_name"] is None and len(tls["client_cert_chain"]) == 2


def test_without_tls_there_is_none(serve: Serve, mpm: str) -> None:
    """Whatever a proxy, or a ServerName, says of the scheme."""
    config = (
        "ServerName https://shop.example\nPythonOption mod_python.asgi.trusted_proxies 127.0.0.1\n"
        "PythonOption mod_python.asgi.trusted_headers x-forwarded-proto\n"
    )
    server = site(serve, applications("asgi_extensions") + config, mpm=mpm)
    for headers in ({}, {"X-Forwarded-Proto": "https"}):
        assert "tls" not in json.loads(server.ok("/extensions", headers=headers).text)


def test_over_http_2(serve: Serve, folder: Path) -> None:
    server = served(serve, folder, "event", "optional", "Protocols h2 http/1.1\n", ("http2",))
    command = ["curl", "-ksS", "--http2", "--cert", "client.all", "-w", "\n%{http_version}"]
    done = subprocess.run(
        [*command, f"https://127.0.0.1:{server.port}/extensions"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, version = done.stdout.rpartition("\n")
    tls = json.loads(body)["tls"]
    assert version == "2" and tls["client_cert_name"].startswith("CN=the_client") and tls["tls_version"] == 0x0304
    assert tls["server_cert"] == (folder / "cert.pem").read_text()


def test_the_table_of_suites_is_openssls() -> None:
    source = (PROJECT / "src/gateway/asgi/tls.rs").read_text()
    table = {name: int(number, 16) for number, name in re.findall(r'\((0x\w{4}), "([\w-]+)"\)', source)}
    command = [str(shutil.which("openssl")), "ciphers", "-V", "ALL:COMPLEMENTOFALL:!PSK:!aNULL:@SECLEVEL=0"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for code, _, name in (line.split()[:3] for line in lines):
        assert table.get(name) == int(code.replace(",0x", ""), 16), name
    assert len(table) > 80 and len(set(table.values())) == len(table)
