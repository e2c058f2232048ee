"""The cases of Autobahn's fuzzing client (its numbers; its package needs Python 2.7), each as strict as that can be: where an echo is
expected before a violation ends the connection, it has to come.

Cases 1 to 7 and 10 are the 247 that servers are compared by. Those of 9 (limits) and of 12 and 13 (compression) have smaller sizes and
fewer messages, since here they say what is right, not how fast.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

import pytest
from asgi_site import applications, site
from conftest import Serve, Server
from test_asgi_websocket import Raw, frame, talk

from httpd import PATIENCE

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HELLO = b"Hello, world!"
GREEK = "κόσμε".encode()
WRONG, NO_TEXT = 1002, 1007


@dataclass
class Case:
    """What a client sends; which frames it gets; and how the connection ends."""

    sent: list[bytes]
    got: list[tuple[int, bytes]] = field(default_factory=list)
    code: int = 0
    """With which code the server closes by itself; 0: it is the client that closes, with 1000."""
    closing: Optional[tuple[bytes, bytes]] = None
    """The close frame's data that the client has sent already, and those that answer it."""
    step: int = 0
    """Of how many bytes each piece is that the client sends; 0: all at once; -1: a frame."""
    fails_at: Optional[int] = None
    """Behind so many pieces the server must have closed: what follows is not even sent."""


def text(data: bytes) -> tuple[int, bytes]:
    return 0x80 | TEXT, data


def fragments(data: bytes, size: int, code: int = TEXT) -> list[bytes]:
    parts = [data[place : place + size] for place in range(0, len(data), size)] or [b""]
    return [
        frame(0 if number else code, part, last=number == len(parts) - 1, mask=os.urandom(4))
        for number, part in enumerate(parts)
    ]


def numbered(prefix: str, cases: list[Case]) -> dict[str, Case]:
    return {f"{prefix}.{number}": case for number, case in enumerate(cases, 1)}


def framing() -> Iterator[tuple[str, Case]]:
    """1: messages of all sorts of lengths."""
    for number, code in ((1, TEXT), (2, BINARY)):
        for place, (size, step) in enumerate(
            [(0, 0), (125, 0), (126, 0), (127, 0), (128, 0), (65535, 0), (65536, 0), (65536, 997)], 1
        ):
            data = b"*" * size if code == TEXT else b"\xfe" * size
            yield f"1.{number}.{place}", Case([frame(code, data)], [(0x80 | code, data)], step=step)


def pings() -> dict[str, Case]:
    """2: pings and pongs."""

    def answered(*datas: bytes, step: int = 0) -> Case:
        return Case([frame(PING, data) for data in datas], [(0x80 | PONG, data) for data in datas], step=step)

    many = [b"payload-%d" % number for number in range(10)]
    return numbered(
        "2",
        [
            answered(b""),
            answered(HELLO),
            answered(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
            answered(b"\xfe" * 125),
            Case([frame(PING, b"\xfe" * 126)], code=WRONG),
            answered(b"\xfe" * 125, step=1),
            Case([frame(PONG)]),
            Case([frame(PONG, b"unsolicited")]),
            Case([frame(PONG, b"unsolicited"), frame(PING, b"ping")], [(0x80 | PONG, b"ping")]),
            answered(*many),
            answered(*many, step=1),
        ],
    )


def reserved() -> Iterator[tuple[str, Case]]:
    """3 and 4: reserved bits, where no extension is agreed upon, and reserved opcodes."""
    hello, echo, ping = frame(TEXT, HELLO), [text(HELLO)], frame(PING)
    yield "3.1", Case([frame(TEXT, HELLO, bits=0x10)], code=WRONG)
    for number, bits, step in ((2, 0x20, 0), (3, 0x30, -1), (4, 0x40, 1)):
        yield f"3.{number}", Case([hello, frame(TEXT, HELLO, bits=bits), ping], echo, WRONG, step=step)
    yield "3.5", Case([frame(BINARY, b"\x00\xff\xfe", bits=0x50)], code=WRONG)
    yield "3.6", Case([frame(PING, HELLO, bits=0x60)], code=WRONG)
    yield "3.7", Case([frame(CLOSE, bits=0x70)], code=WRONG)
    for group, first in ((1, 3), (2, 11)):
        for number in range(5):
            bad = frame(first + number, HELLO if number % 2 else b"")
            if number < 2:
                yield f"4.{group}.{number + 1}", Case([bad], code=WRONG)
            else:
                step = (0, 0, 0, -1, 1)[number]
                yield f"4.{group}.{number + 1}", Case([hello, bad, ping], echo, WRONG, step=step)


def fragmentation() -> dict[str, Case]:
    """5: fragments, and control frames between them."""
    whole, halves = b"fragment1fragment2", fragments(b"fragment1fragment2", 9)
    ping, pong = frame(PING, b"ping"), (0x80 | PONG, b"ping")
    lonely = {last: frame(0, b"non-continuation payload", last=last) for last in (True, False)}
    five = fragments(b"fragment1fragment2fragment3fragment4fragment5", 9)
    pinged = [*five[:2], frame(PING, b"pongme 1!"), *five[2:4], frame(PING, b"pongme 2!"), five[4]]
    answers = [
        (0x80 | PONG, b"pongme 1!"),
        (0x80 | PONG, b"pongme 2!"),
        text(b"fragment1fragment2fragment3fragment4fragment5"),
    ]
    cases = [
        Case([frame(PING, b"fragment1", last=False), frame(0, b"fragment2")], code=WRONG),
        Case([frame(PONG, b"fragment1", last=False), frame(0, b"fragment2")], code=WRONG),
        *(Case(halves, [text(whole)], step=step) for step in (0, -1, 1)),
        *(Case([halves[0], ping, halves[1]], [pong, text(whole)], step=step) for step in (0, -1, 1)),
        *(
            Case([lonely[last], frame(TEXT, HELLO)], code=WRONG, step=step)
            for last in (True, False)
            for step in (0, -1, 1)
        ),
        Case([*halves, lonely[False], frame(TEXT, HELLO)], [text(whole)], WRONG),
        *(Case([lonely[last], *halves] * 2, code=WRONG) for last in (False, True)),
        Case([halves[0], frame(TEXT, b"fragment2")], code=WRONG),
        Case(pinged, answers, step=-1),
        Case(pinged, answers),
    ]
    return numbered("5", cases)


VALID, INVALID = True, False
SEQUENCES: dict[int, list[tuple[bool, bytes]]] = {
    5: [
        (VALID, one)
        for one in (
            "\xceba",
            GREEK.decode(),
            "\u00ff\u0100\u07ff\u0800",
            "\ud7ff\ue000\ufffd",
            "\U00010000\U0010ffff\U00012345",
        )
        for one in [one.encode()]
    ],
    6: [
        (length in (0, 2, 4, 6, 8, 10), one)
        for one in [GREEK[:length] for length in range(1, 12)]
        for length in [len(one)]
    ],
    7: [(VALID, one) for one in (b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80")],
    8: [(INVALID, one) for one in (b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80")],
    9: [(VALID, one) for one in (b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf")],
    10: [(INVALID, one) for one in (b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf")],
    11: [
        (VALID, b"\xed\x9f\xbf"),
        (VALID, b"\xee\x80\x80"),
        (VALID, b"\xef\xbf\xbd"),
        (VALID, b"\xf4\x8f\xbf\xbf"),
        (INVALID, b"\xf4\x90\x80\x80"),
    ],
    # Continuations without a beginning: one of each end, then 2 to 6 of them, then all there are.
    12: [
        (INVALID, one)
        for one in (b"\x80", b"\xbf", *((b"\x80\xbf" * 3)[:size] for size in range(2, 7)), bytes(range(0x80, 0xC0)))
    ],
    # Beginnings without a continuation, each before a space.
    13: [
        (INVALID, b"".join(bytes([byte, 0x20]) for byte in range(*bounds)))
        for bounds in ((0xC0, 0xE0), (0xE0, 0xF0), (0xF0, 0xF8), (0xF8, 0xFC), (0xFC, 0xFE))
    ],
    # The last continuation is missing: of the smallest (overlong) and of the largest of each length.
    14: [
        (INVALID, one)
        for one in (
            b"\xc0",
            b"\xe0\x80",
            b"\xf0\x80\x80",
            b"\xf8\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80",
            b"\xdf",
            b"\xef\xbf",
            b"\xf7\xbf\xbf",
            b"\xfb\xbf\xbf\xbf",
            b"\xfd\xbf\xbf\xbf\xbf",
        )
    ],
    16: [(INVALID, one) for one in (b"\xfe", b"\xff", b"\xfe\xfe\xff\xff")],
    20: [(INVALID, chr(code).encode("utf-8", "surrogatepass")) for code in (0xD800, 0xDB7F, 0xDB80, 0xDBFF)]
    + [(INVALID, chr(code).encode("utf-8", "surrogatepass")) for code in (0xDC00, 0xDF80, 0xDFFF)],
    21: [
        (INVALID, (chr(high) + chr(low)).encode("utf-8", "surrogatepass"))
        for high in (0xD800, 0xDB7F, 0xDB80, 0xDBFF)
        for low in (0xDC00, 0xDFFF)
    ],
    # No characters, and yet no errors: the last two of each plane.
    22: [(VALID, chr(plane << 16 | low).encode()) for plane in range(17) for low in (0xFFFE, 0xFFFF)],
    23: [(VALID, chr(code).encode()) for code in range(0xFFF9, 0x10000)],
}
SEQUENCES[15] = [(INVALID, b"".join(one for _, one in SEQUENCES[14]))]
# Too long: "/", the last code point of each length's predecessor, and NUL.
SEQUENCES[17] = [
    (INVALID, one)
    for one in (b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf")
]
SEQUENCES[18] = [
    (INVALID, one)
    for one in (b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf")
]
SEQUENCES[19] = [(INVALID, one[:-1] + b"\x80") for _, one in SEQUENCES[17]]


def texts() -> Iterator[tuple[str, Case]]:
    """6: UTF-8."""
    yield "6.1.1", Case([frame(TEXT)], [text(b"")])
    for number, middle in ((2, b""), (3, b"middle frame payload")):
        parts = [frame(TEXT, last=False), frame(0, middle, last=False), frame(0)]
        yield f"6.1.{number}", Case(parts, [text(middle)])
    good = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    for number, data, size in ((1, good, len(good)), (2, good, 12), (3, good, 1), (4, GREEK, 1)):
        yield f"6.2.{number}", Case(fragments(data, size), [text(data)])
    bad = GREEK + b"\xed\xa0\x80edited"
    yield "6.3.1", Case([frame(TEXT, bad)], code=NO_TEXT)
    yield "6.3.2", Case(fragments(bad, 1), code=NO_TEXT)
    # It is closed at the first octet that is wrong: of a fragment, and in the middle of a frame.
    begin, wrong, rest = GREEK, b"\xf4\x90\x80\x80", b"edited"
    parts = [frame(TEXT, begin, last=False), frame(0, wrong, last=False), frame(0, rest)]
    yield "6.4.1", Case(parts, code=NO_TEXT, step=-1, fails_at=2)
    parts = [frame(TEXT, begin + b"\xf4", last=False), frame(0, b"\x90", last=False), frame(0, b"\x80\x80edited")]
    yield "6.4.2", Case(parts, code=NO_TEXT, step=-1, fails_at=2)
    for number, size in ((3, len(begin) + len(wrong)), (4, len(begin) + 2)):
        whole = frame(TEXT, begin + wrong + rest)
        yield f"6.4.{number}", Case([whole], code=NO_TEXT, step=1, fails_at=6 + size)
    for group, sequences in SEQUENCES.items():
        for number, (is_valid, data) in enumerate(sequences, 1):
            case = Case([frame(TEXT, data)], [text(data)]) if is_valid else Case([frame(TEXT, data)], code=NO_TEXT)
            yield f"6.{group}.{number}", case


def code(number: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", number) + reason


def closing() -> Iterator[tuple[str, Case]]:
    """7: the closing handshake."""
    hello, normal = frame(TEXT, HELLO), code(1000)
    end, both = frame(CLOSE, normal), (normal, normal)
    for number, case in enumerate(
        [
            Case([hello, end], [text(HELLO)], closing=both),
            Case([end, end], closing=both),
            Case([end, frame(PING)], closing=both),
            Case([end, hello], closing=both),
            Case([frame(TEXT, b"fragment1", last=False), end, frame(0, b"fragment2")], closing=both),
            # Autobahn leaves it open what comes of this one; we give all of it.
            Case(
                [frame(TEXT, b"*" * (1 << 18)), hello, end, frame(PING)],
                [text(b"*" * (1 << 18)), text(HELLO)],
                closing=both,
            ),
        ],
        1,
    ):
        yield f"7.1.{number}", case

    def accepted(data: bytes) -> Case:
        return Case([frame(CLOSE, data)], closing=(data, data))

    yield "7.3.1", accepted(b"")
    yield "7.3.2", Case([frame(CLOSE, b"a")], code=WRONG)
    yield "7.3.3", accepted(normal)
    yield "7.3.4", accepted(code(1000, b"Hello World!"))
    yield "7.3.5", accepted(code(1000, b"*" * 123))
    yield "7.3.6", Case([frame(CLOSE, code(1000, b"*" * 124))], code=WRONG)
    yield "7.5.1", Case([frame(CLOSE, code(1000, GREEK + b"\xed\xa0\x80edited"))], code=NO_TEXT)
    valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for place, number in enumerate(valid, 1):
        yield f"7.7.{place}", accepted(code(number))
    for place, number in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield f"7.9.{place}", Case([frame(CLOSE, code(number))], code=WRONG)
    for place, number in enumerate((5000, 65535), 1):
        yield f"7.13.{place}", Case([frame(CLOSE, code(number))], code=WRONG)


def limits() -> Iterator[tuple[str, Case]]:
    """9: large messages, many fragments, many messages; a sixteenth of Autobahn's sizes, and a tenth of its counts."""
    for group, kind in ((1, TEXT), (2, BINARY)):
        for number, kilobytes in enumerate((4, 16, 64, 256, 512, 1024), 1):
            data = bytes([42]) * (kilobytes << 10)
            yield f"9.{group}.{number}", Case([frame(kind, data)], [(0x80 | kind, data)])
    for group, kind in ((3, TEXT), (4, BINARY)):
        data = b"*" * (1 << 18)
        for number in range(9):
            size = 64 << 2 * number if number < 6 else 1 << 18
            yield f"9.{group}.{number + 1}", Case(fragments(data, size, kind), [(0x80 | kind, data)])
    for group, kind in ((5, TEXT), (6, BINARY)):
        data = b"*" * (1 << 16)
        for number in range(6):
            yield f"9.{group}.{number + 1}", Case([frame(kind, data)], [(0x80 | kind, data)], step=64 << number)
    for group, kind in ((7, TEXT), (8, BINARY)):
        for number, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            yield f"9.{group}.{number}", Case([frame(kind, b"*" * size)] * 100, [(0x80 | kind, b"*" * size)] * 100)


CASES: dict[str, Case] = {
    **dict(framing()),
    **pings(),
    **dict(reserved()),
    **fragmentation(),
    **dict(texts()),
    **dict(closing()),
    "10.1.1": Case(fragments(b"*" * 65536, 1300), [text(b"*" * 65536)]),
}
LIMITS = dict(limits())


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    return site(serve_module, applications("asgi_sockets"), mpm="event")


def pieces(case: Case) -> list[bytes]:
    if case.step < 0:
        return case.sent
    data = b"".join(case.sent)
    return [data[place : place + case.step] for place in range(0, len(data), case.step)] if case.step else [data]


def check(client: Raw, case: Case) -> None:
    """Send what the case says, and compare what comes."""
    for piece in pieces(case)[: case.fails_at]:
        client.socket.sendall(piece)
    for expected in case.got:
        first, data = client.frame()
        assert (first, data[:200], len(data)) == (expected[0], expected[1][:200], len(expected[1]))
    if case.code:
        assert client.closed()[0] == case.code
        return
    sent, answer = case.closing or (code(1000), code(1000))
    if case.closing is None:
        client.socket.sendall(frame(CLOSE, sent))
    assert client.frame() == (0x80 | CLOSE, answer)
    assert not client.data and not client.socket.recv(1)


@pytest.mark.parametrize("number", CASES)
def test_a_case(httpd: Server, number: str) -> None:
    with talk(httpd, "/quiet") as client:
        check(client, CASES[number])


@pytest.mark.parametrize("number", LIMITS)
def test_a_case_of_limits(httpd: Server, number: str) -> None:
    with talk(httpd, "/quiet") as client:
        check(client, LIMITS[number])


def test_there_are_as_many_as_autobahn_has() -> None:
    groups = [name.split(".")[0] for name in CASES]
    counted = {group: groups.count(group) for group in groups}
    assert counted == {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "10": 1}
    assert len(CASES) == 247 and len(LIMITS) == 54


# 12 and 13: compression


@dataclass
class Packed:
    """A client's side of permessage-deflate."""

    offer: str
    server_bits: int = 15
    client_bits: int = 15
    server_forgets: bool = False
    client_forgets: bool = False

    def __post_init__(self) -> None:
        self.begin_packing()
        self.begin_unpacking()

    def begin_packing(self) -> None:
        self._packer = zlib.compressobj(6, zlib.DEFLATED, -self.client_bits)

    def begin_unpacking(self) -> None:
        self._unpacker = zlib.decompressobj(-self.server_bits)

    def pack(self, data: bytes) -> bytes:
        packed = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        if self.client_forgets:
            self.begin_packing()
        return packed[:-4]

    def unpack(self, data: bytes) -> bytes:
        unpacked = self._unpacker.decompress(data + b"\0\0\xff\xff")
        if self.server_forgets:
            self.begin_unpacking()
        return unpacked


def agreed(head: str, offer: str) -> Packed:
    """What the server has made of an offer."""
    (line,) = [line for line in head.split("\r\n") if line.lower().startswith("sec-websocket-extensions:")]
    name, *parameters = [part.strip() for part in line.split(":", 1)[1].split(";")]
    assert name == "permessage-deflate"
    found = dict(parameter.partition("=")[::2] for parameter in parameters)
    asked = [{part.split("=")[0].strip() for part in one.split(";")} for one in offer.split(",")]
    assert any(("client_max_window_bits" in names) or "client_max_window_bits" not in found for names in asked)
    return Packed(
        offer,
        server_bits=int(found.get("server_max_window_bits", 15)),
        client_bits=int(found.get("client_max_window_bits", 15)),
        server_forgets="server_no_context_takeover" in found,
        client_forgets="client_no_context_takeover" in found,
    )


PAYLOADS = {
    # What Autobahn's five groups have: JSON, a picture, prose in two languages, and HTML.
    1: (TEXT, b'{"id": 17, "name": "spam", "tags": ["a", "b"], "price": 1.25}, '),
    2: (BINARY, None),
    3: (TEXT, b"The quick brown fox jumps over the lazy dog. "),
    4: (TEXT, "Съешь же ещё этих мягких французских булок, да выпей чаю. ".encode()),
    5: (TEXT, b'<div class="item"><a href="/shop/17">spam</a></div>\n'),
}
# The size of a message, and of its fragments; 0: it is one frame.
SIZES = [(1 << bits, 0) for bits in (4, 6, 8, 10, 12, 13, 14, 15, 16, 17)]
SIZES += [(size << 10, fragment) for size, fragment in ((8, 256), (16, 512), (32, 1024), (64, 2048), (128, 4096))]
SIZES += [(1 << 13, 64), (1 << 14, 1), (1 << 15, 8192)]
PARAMETERS = {
    1: "permessage-deflate",
    2: "permessage-deflate; server_no_context_takeover",
    3: "permessage-deflate; server_max_window_bits=9",
    4: "permessage-deflate; server_max_window_bits=15",
    5: "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
    6: "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
    7: "permessage-deflate; server_no_context_takeover; server_max_window_bits=9, "
    "permessage-deflate; server_no_context_takeover, permessage-deflate",
    # And what Autobahn's client does not offer.
    8: "permessage-deflate; client_max_window_bits",
    9: "permessage-deflate; client_max_window_bits=9; client_no_context_takeover",
    10: "permessage-deflate; server_max_window_bits=8, permessage-deflate; client_max_window_bits=15",
}
ROUNDS = 3


def payload(kind: Optional[bytes], size: int) -> bytes:
    data = (kind * (size // len(kind) + 1))[:size] if kind else os.urandom(size // 2) + bytes(size - size // 2)
    # No character is cut.
    return data.decode(errors="ignore").encode() if kind else data


def compressed(server: Server, kind: int, data: bytes, offer: str, size: int) -> None:
    with talk(server, "/quiet", f"Sec-WebSocket-Extensions: {offer}") as client:
        packed = agreed(client.head, offer)
        for _ in range(ROUNDS):
            first, *rest = fragments(packed.pack(data), size or 1 << 30, kind)
            client.socket.sendall(bytes([first[0] | 0x40]) + first[1:] + b"".join(rest))
            code, answer = client.frame()
            if code & 0x40:
                answer = packed.unpack(answer)
            assert code & ~0x40 == 0x80 | kind and answer == data, (code, len(answer), len(data))
            if len(data) >= 1024 and kind == TEXT:
                assert code & 0x40, "it has not been compressed"
        check(client, Case([]))


@pytest.mark.parametrize("size", range(1, 19))
@pytest.mark.parametrize("group", PAYLOADS)
def test_12_compressed_messages(httpd: Server, group: int, size: int) -> None:
    kind, sample = PAYLOADS[group]
    length, fragment = SIZES[size - 1]
    compressed(httpd, kind, payload(sample, length), PARAMETERS[1], fragment)


@pytest.mark.parametrize("size", range(1, 19))
@pytest.mark.parametrize("group", PARAMETERS)
def test_13_parameters_of_compression(httpd: Server, group: int, size: int) -> None:
    kind, sample = PAYLOADS[1]
    length, fragment = SIZES[size - 1]
    compressed(httpd, kind, payload(sample, length), PARAMETERS[group], fragment)


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_where_a_worker_serves_it(serve: Serve, mpm: str) -> None:
    """The same code runs there in a loop of its own."""
    server = site(serve, applications("asgi_sockets"), mpm=mpm)
    for number, case in CASES.items():
        if not number.startswith("6."):
            with talk(server, "/quiet") as client:
                client.socket.settimeout(PATIENCE)
                check(client, case)
