"""Requests that no honest client sends: what httpd answers without this module and with it, and what reaches a handler.

    python tests/hostile.py    writes docs/hostile.md

Each request goes to a plain httpd's file, to the same file of an httpd with the module loaded, and to a handler. The first two
must answer alike; the handler must be called for whole requests alone, once for each, with the body that the framing says.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

import hostile_streams as streams
from client import ask
from conftest import Server, alarms

from httpd import PROJECT, whole_lines

CONFIG = """
TraceEnable Off
<IfModule python_module>
    PythonPath "sys.path+['@ROOT@/apps']"
    <Location /handler>
        SetHandler mod_python
        PythonHandler hostile
        PythonOption notes @ROOT@/notes/notes
    </Location>
</IfModule>
"""
MODULES = ("reqtimeout",)
TARGET = b"@"
"""Stands for the path in a case."""


def post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST @ HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n" + body


def get(headers: bytes, line: bytes = b"GET @ HTTP/1.1") -> bytes:
    return line + b"\r\nHost: x\r\n" + headers + b"\r\n\r\n"


NEXT = b"GET @?second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
CASES: dict[str, bytes] = {
    "a plain request": get(b"Connection: close"),
    "two requests in one packet": get(b"X: y") + NEXT,
    "a body, then a request": post(b"Content-Length: 5", b"12345") + NEXT,
    "chunks, then a request": post(CHUNKED, b"5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "TE and CL": post(b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\nG") + NEXT,
    "CL and TE, longer": post(b"Content-Length: 3\r\n" + CHUNKED, b"8\r\nSMUGGLED\r\n0\r\n\r\n") + NEXT,
    "CL twice, equal": post(b"Content-Length: 5\r\nContent-Length: 5", b"12345") + NEXT,
    "CL twice, different": post(b"Content-Length: 5\r\nContent-Length: 6", b"12345") + NEXT,
    "CL 5, 5": post(b"Content-Length: 5, 5", b"12345") + NEXT,
    "CL +5": post(b"Content-Length: +5", b"12345") + NEXT,
    "CL -1": post(b"Content-Length: -1", b"12345") + NEXT,
    "CL 0x5": post(b"Content-Length: 0x5", b"12345") + NEXT,
    "CL 2^64": post(b"Content-Length: 18446744073709551616", b"12345") + NEXT,
    "CL empty": post(b"Content-Length:", b"12345") + NEXT,
    "CL 2 GB, no body": post(b"Content-Length: 2147483648"),
    "CL longer than the body": post(b"Content-Length: 50", b"12345"),
    "TE xchunked": post(b"Transfer-Encoding: xchunked", b"5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "TE chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", b"5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "TE twice": post(CHUNKED + b"\r\nTransfer-Encoding: identity", b"5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "TE behind a tab": post(b"Transfer-Encoding:\tchunked", b"5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "TE with a space before the colon": post(b"Transfer-Encoding : chunked", b"5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "TE in HTTP/1.0": post(CHUNKED, b"5\r\n12345\r\n0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "chunk size not hex": post(CHUNKED, b"zz\r\n12345\r\n0\r\n\r\n") + NEXT,
    "chunk size negative": post(CHUNKED, b"-5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "chunk size 0x5": post(CHUNKED, b"0x5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "chunk size of 17 digits": post(CHUNKED, b"10000000000000005\r\n12345\r\n0\r\n\r\n") + NEXT,
    "chunk size with an extension": post(CHUNKED, b"5;a=b\r\n12345\r\n0\r\n\r\n") + NEXT,
    "chunk with a bare LF": post(CHUNKED, b"5\n12345\n0\n\n") + NEXT,
    "chunk longer than it says": post(CHUNKED, b"3\r\n12345\r\n0\r\n\r\n") + NEXT,
    "chunk without an end": post(CHUNKED, b"5\r\n123"),
    "trailers": post(CHUNKED, b"5\r\n12345\r\n0\r\nX-Trailer: y\r\nContent-Length: 9\r\n\r\n") + NEXT,
    "obs-fold": get(b"X-Long: a\r\n  b\r\nConnection: close"),
    "obs-fold in TE": post(b"Transfer-Encoding:\r\n chunked", b"5\r\n12345\r\n0\r\n\r\n") + NEXT,
    "NUL in a value": get(b"X: a\0b\r\nConnection: close"),
    "NUL in a name": get(b"X\0Y: a\r\nConnection: close"),
    "bare LF as line end": b"GET @ HTTP/1.1\nHost: x\nConnection: close\n\n",
    "bare CR in a value": get(b"X: a\rY: b\r\nConnection: close"),
    "a header without a colon": get(b"nonsense\r\nConnection: close"),
    "a header without a name": get(b": value\r\nConnection: close"),
    "a space in a name": get(b"X Y: z\r\nConnection: close"),
    "underscores and dashes": get(b"X_A: 1\r\nX-A: 2\r\nConnection: close"),
    "latin-1 in a value": get(b"X: \xe9\xff\r\nConnection: close"),
    "99 headers": get(b"\r\n".join(b"X-%d: y" % number for number in range(97)) + b"\r\nConnection: close"),
    "1,000 headers": get(b"\r\n".join(b"X-%d: y" % number for number in range(1000)) + b"\r\nConnection: close"),
    "a value of 8,000 bytes": get(b"X: " + b"y" * 8000 + b"\r\nConnection: close"),
    "a value of 9,000 bytes": get(b"X: " + b"y" * 9000 + b"\r\nConnection: close"),
    "a value of 1 MB": get(b"X: " + b"y" * (1 << 20) + b"\r\nConnection: close"),
    "a name of 9,000 bytes": get(b"X" * 9000 + b": y\r\nConnection: close"),
    "a query of 9,000 bytes": get(b"Connection: close", b"GET @?" + b"y" * 9000 + b" HTTP/1.1"),
    "%00 in the path": get(b"Connection: close", b"GET @%00 HTTP/1.1"),
    "%2f in the path": get(b"Connection: close", b"GET @%2f HTTP/1.1"),
    "a broken escape": get(b"Connection: close", b"GET @%zz HTTP/1.1"),
    "../ above the root": get(b"Connection: close", b"GET /../../etc/passwd HTTP/1.1"),
    "%2e%2e/ above the root": get(b"Connection: close", b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1"),
    "no Host": b"GET @ HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two Hosts": get(b"Host: y\r\nConnection: close"),
    "a Host with a slash": b"GET @ HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n",
    "an absolute URI": get(b"Connection: close", b"GET http://other@ HTTP/1.1"),
    "HTTP/0.9": b"GET @\r\n",
    "HTTP/2.0 in the line": get(b"Connection: close", b"GET @ HTTP/2.0"),
    "HTTP/1.10": get(b"Connection: close", b"GET @ HTTP/1.10"),
    "http/1.1": get(b"Connection: close", b"GET @ http/1.1"),
    "two spaces in the line": get(b"Connection: close", b"GET  @ HTTP/1.1"),
    "a tab in the line": get(b"Connection: close", b"GET\t@ HTTP/1.1"),
    "a method of 5,000 letters": get(b"Connection: close", b"A" * 5000 + b" @ HTTP/1.1"),
    "a method with a colon": get(b"Connection: close", b"GE:T @ HTTP/1.1"),
    "TRACE": get(b"Connection: close", b"TRACE @ HTTP/1.1"),
    "CONNECT": get(b"Connection: close", b"CONNECT x:80 HTTP/1.1"),
    "OPTIONS *": get(b"Connection: close", b"OPTIONS * HTTP/1.1"),
    "1,000 ranges": get(
        b"Range: bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(1000)) + b"\r\nConnection: close"
    ),
    "ranges that overlap": get(b"Range: bytes=0-,0-,0-,0-,0-,0-\r\nConnection: close"),
    "a range that ends first": get(b"Range: bytes=5-1\r\nConnection: close"),
    "If-Modified-Since: nonsense": get(b"If-Modified-Since: yesterday\r\nConnection: close"),
    "If-None-Match: *": get(b"If-None-Match: *\r\nConnection: close"),
    "If-Match: nonsense": get(b'If-Match: "x\r\nConnection: close'),
    "Expect: nonsense": post(b"Expect: wonders\r\nContent-Length: 5", b"12345") + NEXT,
    "Expect: 100-continue": post(b"Expect: 100-continue\r\nContent-Length: 5", b"12345") + NEXT,
    "Upgrade: h2c": get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
    "PRI * HTTP/2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nothing but line ends": b"\r\n\r\n\r\n\r\n",
    "random bytes": bytes(range(256)) * 4,
    "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
}


@dataclass
class Exchange:
    """What came back: the status lines, and everything but what changes from one answer to the next."""

    statuses: list[int]
    text: bytes

    @property
    def shown(self) -> str:
        return ", ".join(map(str, self.statuses)) or "closed"


def exchange(port: int, data: bytes, timeout: float = 20) -> Exchange:
    """Send everything, close that side, and read until the server closes."""
    parts: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                parts.append(part)
    text = b"".join(parts)
    statuses = [int(number) for number in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", text, re.M)]
    text = re.sub(rb"(?m)^(Date|Server|ETag|Last-Modified): [^\r\n]*\r\n", b"", text)
    # Its order is another one in each process.
    text = re.sub(rb"(?m)^Allow: ([^\r\n]*)", lambda match: b"Allow: " + b",".join(sorted(match[1].split(b","))), text)
    # The boundary of multipart/byteranges, and what names the server in an error's page.
    text = re.sub(rb"[0-9a-f]{16}\b|<address>.*</address>|port \d+", b"", text, flags=re.I)
    return Exchange(statuses, text)


class Trial:
    """The two servers."""

    def __init__(self) -> None:
        self.plain = Server(CONFIG, modules=MODULES, module=None)
        self.ours = Server(CONFIG, modules=MODULES)
        for server in (self.plain, self.ours):
            server.write("htdocs/file", "0123456789\n" * 10)
            server.start()
        folder = self.ours.root / "notes"
        folder.mkdir()
        folder.chmod(0o777)
        self._notes = folder / "notes"

    def stop(self) -> None:
        for server in (self.plain, self.ours):
            server.stop()
            server.remove()

    def calls(self) -> list[list[str]]:
        """What has reached the handler since the last time. It may still be at work on what has no answer."""
        self.ours.settle()
        lines = whole_lines(self._notes)
        self._notes.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def run(self, name: str) -> tuple[Exchange, Exchange, Exchange, list[list[str]]]:
        """One case: without the module, with it, from the handler, and what reached that."""
        data = CASES[name]
        before = exchange(self.plain.port, data.replace(TARGET, b"/file"))
        after = exchange(self.ours.port, data.replace(TARGET, b"/file"))
        self.calls()
        handled = exchange(self.ours.port, data.replace(TARGET, b"/handler"))
        return before, after, handled, self.calls()


def objections(name: str, result: tuple[Exchange, Exchange, Exchange, list[list[str]]]) -> list[str]:
    """What is wrong with a result."""
    before, after, handled, calls = result
    found = []
    if before.text != after.text:
        found.append(f"the file's answers differ: {before.text[:300]!r}, {after.text[:300]!r}")
    begun = [call for call in calls if call[0] == "begun"]
    whole = [call for call in calls if call[0] == "read"]
    answered = handled.statuses.count(200) + (name == "HTTP/0.9") - (name == "OPTIONS *")  # a body alone; httpd's own
    if answered != len(whole):
        found.append(f"{handled.shown} for {calls}"[:500])
    if any(begun.count(call) > 1 for call in begun):
        found.append(f"called twice: {calls}"[:500])
    bodies = {call[3] for call in whole}
    expected = {"", "12345", "SMUGGLED", "G"}
    if not bodies <= expected or not all(call[1].isalpha() for call in whole):
        found.append(f"in pieces: {calls}"[:500])
    return found


def resets(trial: Trial) -> tuple[int, int]:
    """A request that breaks off, by a reset, after each of its bytes; how many, and how many calls were whole."""
    request = CASES["a body, then a request"].replace(TARGET, b"/handler")
    trial.calls()
    for length in range(1, len(request)):
        with socket.create_connection(("127.0.0.1", trial.ours.port), 10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(request[:length])
    calls = [call for call in trial.calls() if call[0] == "read"]
    assert all(call[3] in ("12345", "") for call in calls), calls
    return len(request) - 1, len(calls)


SLOW = {
    "slow headers": ["-H"],
    "slow bodies": ["-B", "-s", "8192"],
    "slow readers": ["-X", "-w", "1", "-y", "10", "-n", "1", "-z", "1", "-k", "3"],
    "overlapping ranges": ["-R", "-a", "10", "-b", "3000"],
}


def slow(trial: Trial, mode: str, seconds: int = 15) -> tuple[int, int, float]:
    """slowhttptest at work with 200 connections: how often an honest client was answered meanwhile, how often not, and how
    long the slowest answer took."""
    command = ["slowhttptest", *SLOW[mode], "-c", "200", "-r", "100", "-i", "2", "-l", str(seconds), "-p", "3"]
    attack = subprocess.Popen(
        [*command, "-u", trial.ours.url("/handler")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    answered, failed, slowest = 0, 0, 0.0
    while attack.poll() is None:
        begun = time.monotonic()
        try:
            assert ask(trial.ours.port, "/handler?honest", timeout=60).status == 200
            answered += 1
        except (OSError, AssertionError):
            failed += 1
        slowest = max(slowest, time.monotonic() - begun)
    return answered, failed, slowest


def main() -> int:
    trial = Trial()
    wrong: list[str] = []
    rows = [
        "| request | httpd alone | with mod_python | from a handler | calls of the handler |",
        "| --- | --- | --- | --- | --- |",
    ]
    try:
        [pid] = trial.ours.child_pids()
        for name in CASES:
            result = trial.run(name)
            wrong += [f"{name}: {text}" for text in objections(name, result)]
            before, after, handled, calls = result
            same = "the same" if before.text == after.text else f"**{after.shown}**"
            shown = ", ".join(f"{call[1][:10]}, body {len(call[3])}" for call in calls if call[0] == "read")
            broken = sum(call[0] == "begun" for call in calls) - sum(call[0] == "read" for call in calls)
            shown += f"{' and ' if shown else ''}{broken} that could not read its body" if broken else ""
            rows.append(f"| {name} | {before.shown} | {same} | {handled.shown} | {shown or 'none'} |")
        count, whole = resets(trial)
        rows += [
            "",
            f"A request that was reset after each of its {count} bytes: {whole} calls, all of them with whole bodies.",
        ]
        if shutil.which("slowhttptest"):
            rows += [
                "",
                "| 200 connections of slowhttptest | honest requests answered | failed | slowest (s) |",
                "| --- | --- | --- | --- |",
            ]
            for mode in SLOW:
                answered, failed, slowest = slow(trial, mode)
                rows.append(f"| {mode} | {answered} | {failed} | {slowest:.1f} |")
                print(f"{mode}: {answered} answered, {failed} failed, the slowest took {slowest:.1f} s")
                if failed or not answered:
                    wrong.append(f"{mode}: {failed} of {answered + failed} honest requests failed")
        if trial.ours.child_pids() != [pid]:
            wrong.append("the child has been replaced")
        wrong += [line for line in alarms(trial.ours.log_text()) if "[python:" in line]
    finally:
        trial.stop()
    page = PROJECT / "docs/hostile.md"
    page.write_text(
        "# Hostile clients\n\nWritten by `make hostile`: what httpd (event MPM, one child with 16 threads, mod_reqtimeout) answers to requests that\n"
        "no honest client sends. The file is served by httpd itself; the handler reads the body and counts its calls.\n\n"
        + "\n".join(rows)
        + "\n"
    )
    text, more = streams.section()
    with page.open("a") as file:
        file.write("\n" + text)
    wrong += more
    print(*wrong or ["nothing is wrong"], sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
