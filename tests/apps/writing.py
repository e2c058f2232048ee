import array

from mod_python import apache

PLAIN = "text/plain; charset=utf-8"


def text(req):
    req.content_type = PLAIN
    req.write("grüße \N{SNOWMAN}")
    return apache.OK


def octets(req):
    req.content_type = "application/octet-stream"
    req.write(bytes(range(256)))
    req.write(bytearray(b"ab"), 0)
    req.write(memoryview(b"cd"), 1)
    req.write(array.array("B", [101, 102]))
    return apache.OK


def surrogates(req):
    req.content_type = "application/octet-stream"
    req.write(b"\xff\xfe".decode("utf-8", "surrogateescape"))
    return apache.OK


def wrong_types(req):
    for value in (1, None, object(), ["a"]):
        try:
            req.write(value)
        except TypeError as error:
            assert "bytes-like" in str(error), error
        else:
            raise AssertionError(value)
    for arguments in ((), (1, 2, 3)):
        try:
            req.write(*arguments)
        except TypeError:
            continue
        raise AssertionError(arguments)
    req.write("")
    req.write("ok")
    return apache.OK


def many(req):
    req.content_type = PLAIN
    for number in range(20000):
        req.write(f"{number}\n", 0)
    return apache.OK


def flushed(req):
    req.content_type = PLAIN
    for number in range(100):
        req.write(f"{number} ")
    req.flush()
    return apache.OK


def large(req):
    req.content_type = "application/octet-stream"
    block = bytes(1 << 20)
    for _ in range(20):
        req.write(block, 0)
    return apache.OK


def length(req):
    req.content_type = PLAIN
    req.set_content_length(5)
    req.write("12345")
    assert req.clength == 5
    return apache.OK


def counters(req):
    req.write("12345")
    assert req._bytes_queued == 5
    assert req.sent_bodyct == 1
    assert req.bytes_sent == 5, req.bytes_sent
    req.write("6")
    assert req._bytes_queued == 6 and req.bytes_sent == 6
    return apache.OK


def slow_client(req):
    """Writes until the client is gone."""
    req.content_type = PLAIN
    block = b"x" * 65536
    for _ in range(1000):
        req.write(block)
    return apache.OK


def virtual_size(req):
    """Many flushed writes do not make the process grow."""

    def size():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0])

    for _ in range(10000):
        req.write("x" * 10)
    before = size()
    for _ in range(100000):
        req.write("x" * 10)
    req.write(f"grown {size() - before}")
    return apache.OK
