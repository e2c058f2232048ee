"""Values that no caller should give: wrong, huge, dishonest, or calling back while they are looked at."""

import array
import builtins
import collections.abc
import contextlib
import io
import mmap
import sys
import weakref

from mod_python import apache

NUMBERS = (0, 1, -1, -2, -3, 2, 7, 8, 99, 100, 200, 304, 404, 500, 600, 4096, 65536, 2**31 - 1, 2**31, 2**32, 2**63 - 1)
NUMBERS += (2**63, -(2**63), 2**64, -(2**64), 10**30, True, False)
TEXTS = ("", "x", "a=1&b=2;c", "X-Name", "Content-Length", "nul\0", "line\r\nSet-Cookie: x=y", "\u00e9", "\u4e2d\u6587")
TEXTS += (
    "\ud800",
    "\U0001f600",
    "%s%n%00%2f",
    "../../etc",
    "/",
    "text/html",
    "chunked",
    "*",
    "bytes=0-1,3-",
    " ",
    "\t\n",
)
TEXTS += ('<!--#python eval="1" -->', "Transfer-Encoding", "close", "keep-alive", "a" * 300, "\x7f\x01", "::", "m::f")
RAISED = (ValueError, TypeError, KeyError, OSError, RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit)
RAISED += (MemoryError, RecursionError, StopIteration, StopAsyncIteration, UnicodeDecodeError, SystemError)


class Text(str):
    """Text of another class."""


class Octets(bytes):
    """Bytes of another class."""


class Number(int):
    """A number of another class."""


def exception(player):
    """Something to raise."""
    random = player.random
    kind = random.choice(RAISED)
    lot = random.random()
    if lot < 0.15:
        return random.choice(AWKWARD)(player)
    if lot < 0.3:
        return tangled(player)
    if lot < 0.5:
        return apache.SERVER_RETURN(*(value(player) for _ in range(random.randrange(4))))
    if kind is UnicodeDecodeError:
        return kind("utf-8", b"\xff", 0, 1, "no reason")
    return kind("of the fuzzer") if random.random() < 0.8 else kind()


class Hostile:
    """Calls back into what uses it, then answers with something or raises."""

    def __init__(self, player):
        self.player = player

    def turn(self, *answers):
        """Call back; one of the answers, mostly, or what does not fit."""
        random = self.player.random
        self.player.again()
        lot = random.random()
        if lot < 0.15:
            raise exception(self.player)
        if lot < 0.25:
            return simple(self.player)
        return random.choice(answers)

    def __str__(self):
        return self.turn("text", "", "nul\0", "\ud800", Text("x"), "k" * 5000)

    def __repr__(self):
        return self.turn("<hostile>", "\ud800")

    def __bytes__(self):
        return self.turn(b"bytes", b"", Octets(b"x"))

    def __hash__(self):
        return self.turn(0, 1, -1, 2**61)

    def __eq__(self, other):
        return self.turn(True, False, NotImplemented)

    def __lt__(self, other):
        return self.turn(True, False, NotImplemented)

    def __bool__(self):
        return self.turn(True, False)

    def __len__(self):
        return self.turn(0, 1, 2, 2**31, -1)

    def __index__(self):
        return self.turn(0, 1, -1, 2**40, 10**30)

    __int__ = __index__

    def __float__(self):
        return self.turn(0.0, float("nan"), 1e300)

    def __iter__(self):
        return self.turn(self, iter(()), iter([("a", "b")]))

    def __next__(self):
        if self.player.random.random() < 0.4:
            raise StopIteration
        return self.turn("x", b"x", ("a", "b"), None)

    def __getitem__(self, key):
        return self.turn("x", None, b"x")

    def __contains__(self, key):
        return self.turn(True, False)

    def __call__(self, *args, **named):
        return self.turn(None, 0, -1, "x", b"x")

    def __getattr__(self, name):
        if name in ("player", "__dict__"):
            raise AttributeError(name)
        return self.turn(None, "x", self)

    def __fspath__(self):
        return self.turn("/", b"/x", "nul\0")

    def __format__(self, spec):
        return self.turn("x", "")

    def keys(self):
        return self.turn(["a", "b"], [1], iter("ab"), None, self)

    def read(self, *sizes):
        return self.turn(b"", b"some", b"x" * 9000, "text", None)

    def close(self):
        return self.turn(None, None, 1)

    def __enter__(self):
        return self.turn(self)

    def __exit__(self, *error):
        return self.turn(True, False)


class _Awkward(Hostile):
    """What an exception says of itself is not to be relied on either."""

    def __new__(cls, *args):
        return super().__new__(cls)

    @property
    def __class__(self):
        return self.turn(_Awkward, KeyError, apache.SERVER_RETURN, SystemExit, int)

    args = property(lambda self: self.turn((), ("x",), (200,), (None, 404), "x", [1], None))
    code = property(lambda self: self.turn(None, 0, "x"))
    filename = property(lambda self: self.turn(None, "nul\0", b"x", "\ud800"))
    lineno = property(lambda self: self.turn(0, -1, 10**30, "1"))
    text = property(lambda self: self.turn(None, "x", 1))
    __cause__ = property(lambda self: self.turn(None, self, ValueError("cause"), 1))
    __context__ = property(lambda self: self.turn(None, self, 1))
    __traceback__ = property(lambda self: self.turn(None, 1))
    __suppress_context__ = property(lambda self: self.turn(True, False))
    __notes__ = property(lambda self: self.turn([], ["a", 1], "x", None))


AWKWARD = [
    type(f"Awkward{kind.__name__}", (_Awkward, kind), {"__module__": module})
    for kind, module in (
        (Exception, "x"),
        (BaseException, None),
        (SystemExit, 1),
        (apache.SERVER_RETURN, "\ud800"),
        (OSError, "m\nn"),
        (SyntaxError, "%s"),
        (KeyError, "builtins"),
        (UnicodeDecodeError, "x"),
        (KeyboardInterrupt, "x"),
        (ImportError, ("x",)),
    )
]


def tangled(player):
    """An honest exception in a state that no code expects."""
    random = player.random
    error, other = ValueError("first"), KeyError(Hostile(player))
    kind = random.randrange(11)
    if kind == 0:
        error.__cause__, other.__cause__ = other, error
    elif kind == 1:
        error.__context__, other.__context__ = other, error
    elif kind == 2:
        for _ in range(random.choice((20, 3000))):
            error, older = ValueError("next"), error
            error.__cause__ = older
    elif kind == 3:
        error.args = (error, Hostile(player), "\ud800")
    elif kind == 4:
        error.__notes__ = random.choice(("x", ["note", 1, Hostile(player)], Hostile(player)))
    elif kind == 5:
        error = SyntaxError(
            "m", (random.choice(("f\0", "\ud800", None)), 2**31 - 1, -5, random.choice(("t", None)), 0, 2**40)
        )
    elif kind == 6:
        error = SystemExit(Hostile(player))
    elif kind == 7:
        error = UnicodeDecodeError("\ud800", b"", -5, 2**31, "%s")
    elif kind == 8:
        error = OSError(random.choice((2**31, 5, "x")), "\ud800", Hostile(player), None, "nul\0")
    elif kind == 9:
        try:
            exec(compile("\n" * 70_000 + "1 / 0", random.choice(("\ud800", "<b>%s", "f" * 9000, "a\nb")), "exec"), {})
        except ZeroDivisionError as raised:
            error.__traceback__ = raised.__traceback__
    else:
        group = getattr(builtins, "BaseExceptionGroup", None)
        for _ in range(random.choice((3, 60, 600)) if group else 0):
            error = group("\ud800", [error, other])
    return error


def is_deep():
    """Is little of the recursion left?"""
    with contextlib.suppress(ValueError):
        return sys._getframe(sys.getrecursionlimit() * 3 // 4) is not None
    return False


class Finalizer:
    """Acts when it is released, whoever does that."""

    def __init__(self, player):
        self.player = player

    def __del__(self):
        if sys.version_info < (3, 12) and is_deep():
            return  # Python itself gives up when what it collects while it raises RecursionError goes on
        with contextlib.suppress(BaseException):
            print("a finalizer", self.player.phase)
            self.player.again()
            self.player.again()


class Mapping(collections.abc.Mapping):
    """A mapping that changes, or changes what reads it."""

    def __init__(self, player):
        self.player = player

    def __len__(self):
        return self.player.random.randrange(3)

    def __iter__(self):
        self.player.again()
        yield from ("a", "b", self.player.random.choice(TEXTS))
        self.player.again()

    def __getitem__(self, key):
        self.player.again()
        return simple(self.player)


def generator(player):
    """Yields, and acts between."""
    try:
        for _ in range(player.random.randrange(5)):
            player.again()
            yield player.random.choice((b"part", "text", ("a", "b"), b"", None, b"x" * 20000))
    finally:
        player.again()


def text(player):
    """Text, rarely a huge one."""
    lot = player.random.random()
    if lot < 0.0002:
        return "m" * 10_000_000
    if lot < 0.003:
        return "k" * 1_000_000
    if lot < 0.02:
        return "\u00e9h" * 20_000
    return player.random.choice(TEXTS)


def buffer(player):
    """Something that gives a buffer, or no longer."""
    random = player.random
    kind = random.randrange(9)
    if kind == 0:
        return bytearray(b"array" * random.randrange(100))
    if kind == 1:
        return memoryview(b"view")
    if kind == 2:
        view = memoryview(bytearray(b"released"))
        view.release()
        return view
    if kind == 3:
        return memoryview(b"every other one")[::2]
    if kind == 4:
        return array.array(random.choice("bHid"), [1, 2, 3])
    if kind == 5:
        return memoryview(array.array("d", [1.0, 2.0]))
    if kind == 6:
        mapped = mmap.mmap(-1, 4096)
        if random.random() < 0.5:
            mapped.close()
        return mapped
    if kind == 7:
        return memoryview(b"12345678").cast("I")
    return Octets(b"octets\r\n")


def container(player):
    """Containers, some of which hold themselves."""
    random = player.random
    kind = random.randrange(8)
    if kind == 0:
        found = []
        found.append(found)
        return found
    if kind == 1:
        found = {}
        found["self"] = found
        return found
    if kind == 2:
        found = []
        for _ in range(random.choice((10, 2000))):
            found = [found]
        return found
    if kind == 3:
        return [(simple(player), simple(player)) for _ in range(random.randrange(4))]
    if kind == 4:
        return {text(player): simple(player), "b": "c"}
    if kind == 5:
        return tuple(simple(player) for _ in range(random.randrange(4)))
    if kind == 6:
        return {1, "a", None}
    return [("a", "b", "c"), "ab", ("c",)]


def simple(player):
    """A value that does nothing by itself."""
    random = player.random
    kind = random.randrange(10)
    if kind < 4:
        return text(player)
    if kind < 7:
        return random.choice(NUMBERS)
    if kind == 7:
        return text(player).encode("utf-8", "surrogatepass")
    if kind == 8:
        return random.choice((None, ..., float("nan"), float("inf"), 1.5, 1j, NotImplemented, slice(1, None), b""))
    return random.choice((Text("sub"), Number(7), Text("nul\0"), object, int, len, Exception("x"), range(3)))


def file(player):
    """A file, open or closed, real or not."""
    random = player.random
    kind = random.randrange(5)
    if kind == 0:
        found = io.BytesIO(b"0123456789" * random.choice((1, 10000)))
    elif kind == 1:
        found = open(__file__, "rb")
        if random.random() < 0.3:
            found.seek(random.choice((0, 10, 10**9)))
    elif kind == 2:
        found = io.StringIO("text")
    elif kind == 3:
        found = open(__file__)
    else:
        return Hostile(player)
    if random.random() < 0.2:
        found.close()
    return found


def value(player):
    """Anything."""
    random = player.random
    kind = random.randrange(20)
    if kind < 7:
        return simple(player)
    if kind < 9:
        return container(player)
    if kind < 11:
        return buffer(player)
    if kind < 14:
        return Hostile(player)
    if kind == 14:
        return random.choice((Mapping, generator, Finalizer, file))(player)
    if kind == 15:
        return player.callback()
    if kind == 16:
        return iter([simple(player), Hostile(player)])
    if kind == 17:
        return weakref.proxy(player)
    return player.some()
