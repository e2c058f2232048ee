"""Acts on what surrounds the objects: their classes, `apache`, the standard streams, interpreters of a handler's own, the library."""

import asyncio
import builtins
import contextlib
import io
import linecache
import os
import sys
import threading
import traceback
import types

import _apache
from mod_python import Cookie, Session, apache, cgihandler, psp, publisher, status, testhandler, util

from . import arguments, values

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CHANGING = threading.Lock()
"""One change at a time, so that what was there before comes back."""
MISSING = object()
NAMES = ("stdin", "stdout", "stderr")
PLACES = (
    (sys, "excepthook"),
    (sys, "unraisablehook"),
    (sys, "path_hooks"),
    (sys, "path_importer_cache"),
    (sys, "meta_path"),
    (sys, "path"),
    (sys, "argv"),
    (sys, "modules"),
    (sys, "__stdout__"),
    (sys, "__stderr__"),
    (threading, "excepthook"),
    (threading, "current_thread"),
    (traceback, "TracebackException"),
    (traceback, "format_exception"),
    (linecache, "getline"),
    (linecache, "cache"),
    (builtins, "__import__"),
    (builtins, "__build_class__"),
    (builtins, "print"),
    (builtins, "open"),
    (os, "environ"),
    (os, "fspath"),
    (os, "stat"),
    (io, "TextIOWrapper"),
)
"""What the module's own Python rests on. Not what asyncio asks whether its loop is to end: `isinstance`, for one."""
TRACED = ("mod_python", "apifuzzing", "fuzz")
"""Modules in which a debugger raises: an exception in asyncio's own steps, or no room for them, and its loop never ends."""
LIBRARY = (util, Cookie, psp, publisher, apache, cgihandler, testhandler, status)
SCRIPTS = (
    "import _apache",
    "import _apache; _apache.main_server()",
    "import _apache; print(_apache.table({'a': 'b'}), dir(_apache))",
    "import _apache; [getattr(_apache, name)() for name in dir(_apache) if name[0] not in '_' and name != 'mpm_query']",
    "from mod_python import apache",
    "from mod_python import util, Session, Cookie, psp, publisher",
    "import _imp, importlib.machinery as m; s = m.ModuleSpec('_apache', None); _imp.exec_builtin(_imp.create_builtin(s))",
    "import sys; sys.stdout.write('x\\n'); sys.stderr.write('y'); sys.stdin.read()",
    "import sys, os; os.environ['APIFUZZ_X'] = 'y'; sys.stdout.close(); print('x')",
    "import gc; found = []; found.append(found); del found; gc.collect()",
    "raise SystemExit(3)",
    "1 / 0",
)
"""No exception of theirs has a message that fails: Python 3.11 frees its own text then, and ends the process."""


def _own_names(module):
    """What a module of the library defines itself, and offers."""
    return [
        name
        for name, thing in vars(module).items()
        if name[0] != "_" and callable(thing) and str(getattr(thing, "__module__", "")).startswith("mod_python")
    ]


OFFERED = [(module, name) for module in LIBRARY for name in _own_names(module)]


@contextlib.contextmanager
def _changed(player, owner, name, thing=MISSING):
    """Something else is there, or nothing, for as long as it takes; True where that could be done."""
    before = vars(owner).get(name, MISSING)
    player.note("change", getattr(owner, "__name__", "?"), name)
    try:
        delattr(owner, name) if thing is MISSING else setattr(owner, name, thing)
        yield
    finally:
        if vars(owner).get(name, MISSING) is not before:
            delattr(owner, name) if before is MISSING else setattr(owner, name, before)


def classes(player):
    """Change a class of the module's, `apache` or `_apache`, and act meanwhile."""
    random = player.random
    natives = [type(thing) for thing in player.world if type(thing).__name__.startswith("mp_")]
    owner = random.choice([*natives, apache, _apache, type(player.reach()), type(apache.SERVER_RETURN())])
    if not str(getattr(owner, "__module__", "_apache")).startswith(("_apache", "mod_python")):
        return
    name = random.choice((*vars(owner), "fresh", "__del__", "__getattr__", "__class__", "__doc__", "__name__"))
    _replace(player, owner, name)


def places(player):
    """Change what the interpreter or the standard library has, and act meanwhile."""
    if player.random.random() < 0.2:
        _replace(player, *player.random.choice(PLACES))


def _replace(player, owner, name):
    random = player.random
    if not player.state.may("change") or not CHANGING.acquire(blocking=False):
        return
    try:
        thing = MISSING if random.random() < 0.25 else arguments.for_attribute(player, name)
        with _changed(player, owner, name, thing):
            player.play(random.choice((1, 3, 8)))
            if random.random() < 0.05:
                raise values.exception(player)
    finally:
        CHANGING.release()


class Loud(io.TextIOBase):
    """A stream that acts, and writes to what it stands for; perhaps that is itself."""

    def __init__(self, player, beneath):
        # What it writes comes back to it twice each time.
        self.player, self.beneath, self.left = player, beneath, 50

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            return len(text)
        self.player.again()
        return self.beneath.write(text) if self.player.random.random() < 0.5 else print(text)

    def flush(self):
        self.player.again()
        if self.player.random.random() < 0.2:
            raise values.exception(self.player)

    def __del__(self):
        self.player.again()


def _stream(player, name):
    """What somebody may put in a stream's place."""
    random = player.random
    beneath = getattr(sys, name, None)
    kind = random.randrange(9)
    if kind == 0:
        return io.StringIO("a line\n")
    if kind == 1:
        found = io.StringIO()
        found.close()
        return found
    if kind == 2:
        # It closes what is beneath it when it goes.
        return io.TextIOWrapper(getattr(beneath, "buffer", None) or io.BytesIO(), "ascii", write_through=True)
    if kind == 3:
        return io.TextIOWrapper(io.BufferedRandom(io.BytesIO(b"raw\n")), random.choice(("utf-16", "ascii")))
    if kind < 6:
        return Loud(player, beneath)
    if kind == 6:
        return values.Hostile(player)
    return values.value(player)


def streams(player):
    """Replace, take away, wrap or close a standard stream, and write meanwhile."""
    random = player.random
    name = random.choice(NAMES)
    if not player.state.may("change"):
        return
    lot = random.random()
    if lot < 0.15:
        stream = getattr(sys, random.choice((name, f"__{name}__")))
        method = random.choice(("close", "detach", "flush", "reconfigure", "fileno", "isatty", "truncate", "readline"))
        player.note("stream", name, method)
        getattr(stream, method)()
        return
    if lot < 0.35:
        redirect = random.choice((contextlib.redirect_stdout, contextlib.redirect_stderr))
        player.note(redirect.__name__)
        with redirect(_stream(player, name)):
            print("redirected")
            player.play(random.choice((1, 4)))
        return
    if not CHANGING.acquire(blocking=False):
        return
    before = getattr(sys, name, None)
    try:
        player.note("replace", name)
        delattr(sys, name) if lot < 0.5 else setattr(sys, name, _stream(player, name))
        with contextlib.suppress(Exception):
            print("replaced")
            print("replaced", file=sys.stderr)
        player.play(random.choice((0, 1, 4)))
    finally:
        if random.random() < 0.9:
            setattr(sys, name, before)
        CHANGING.release()


def interpreter(player):
    """An interpreter that a handler makes itself, in its thread or in one of its own; now and then it stays."""
    random = player.random
    if random.random() > 0.15 or not player.state.may("interpreter"):
        return
    scripts = [random.choice(SCRIPTS) for _ in range(random.randrange(1, 4))]
    stays = random.random() < 0.1

    def run():
        made = interpreters.create()
        try:
            for script in scripts:
                player.note("interpreter", script[:60])
                with contextlib.suppress(Exception):
                    interpreters.run_string(made, script)
        finally:
            if not stays:
                interpreters.destroy(made)

    if random.random() < 0.5:
        run()
        return
    worker = threading.Thread(target=run)
    worker.start()
    worker.join(10)


def trace(player):
    """A debugger or a profiler that acts, and fails."""
    random = player.random
    if not player.state.may("change"):
        return
    before = sys.gettrace(), sys.getprofile()
    left = 30

    def seen(frame, event, argument):
        nonlocal left
        left -= 1
        if left > 0 and str(frame.f_globals.get("__name__")).startswith(TRACED):
            player.again()
            if random.random() < 0.05:
                raise values.exception(player)
        return seen

    try:
        random.choice((sys.settrace, sys.setprofile))(seen)
        player.play(2)
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])


def library(player):
    """Call what the library offers, with anything."""
    random = player.random
    module, name = random.choice(OFFERED)
    if not player.may(name):
        return
    given = arguments.some(player)
    req = player.roots.get("req")
    if req is not None and random.random() < 0.75:
        given = [req, *given[: random.randrange(4)]]
    player.note("library", module.__name__, name)
    found = getattr(module, name)(*given)
    if isinstance(found, types.CoroutineType):
        found.close()
    if found is not None:
        player.world.append(found)


def sessions(player):
    """A session with what nobody should give it; it takes no lock, which might be waited for."""
    req = player.roots.get("req")
    if req is None or "Handler" not in player.phase:
        return
    random = player.random
    kind = getattr(Session, random.choice(("Session", "MemorySession", "FileSession", "DbmSession", "SqliteSession")))
    sid = random.choice((0, "f" * 32, values.value(player)))
    secret = random.choice((None, "secret", b"secret", values.value(player)))
    player.note("session", kind.__name__)
    found = kind(req, sid=sid, secret=secret, timeout=arguments.size(player) or 0, lock=0)
    for _ in range(random.randrange(4)):
        lot = random.randrange(5)
        if lot == 0:
            found[values.value(player)] = values.value(player)
        elif lot == 1:
            found.set_timeout(values.simple(player))
        elif lot == 2:
            found.update(values.container(player))
        elif lot == 3:
            random.choice((found.id, found.created, found.last_accessed, found.timeout, found.is_new))()
        else:
            random.choice((found.save, found.load, found.delete, found.invalidate, found.cleanup, found.unlock))()


def crumbs(player):
    """Cookies whose parts are anything."""
    random = player.random
    kind = random.choice((Cookie.Cookie, Cookie.SignedCookie, Cookie.MarshalCookie, Cookie.JsonCookie))
    named = {"secret": random.choice(("x", b"x", values.value(player)))} if kind is not Cookie.Cookie else {}
    player.note("cookie", kind.__name__)
    if random.random() < 0.5:
        keep = kind.parse(random.choice((values.text(player), "a=b; $Path=x; a=", values.value(player))), **named)
        player.world.append(keep)
        return
    made = kind(values.text(player)[:99], values.value(player), **named)
    part = random.choice(("path", "domain", "expires", "max_age", "httponly", "secure", "version", "value", "name"))
    setattr(made, part, values.value(player))
    str(made)
    player.world.append(made)
    if player.roots.get("req") is not None:
        Cookie.add_cookie(player.roots["req"], made)


def fields(player):
    """A form that asks for files and fields of somebody else's, and is changed."""
    req = player.roots.get("req")
    if req is None:
        return
    random = player.random
    makers = (None, player.callback(), lambda *given: values.Hostile(player), lambda *given: values.file(player))
    player.note("form")
    found = util.FieldStorage(
        req,
        random.choice((0, 1, values.value(player))),
        random.choice((0, 1)),
        file_callback=random.choice(makers),
        field_callback=random.choice(makers),
    )
    player.world.append(found)
    found.add_field(values.text(player), values.value(player))
    name = random.choice(("f", "a", values.text(player)))
    found.get(name), found.getlist(name), name in found, len(found), str(found), list(found.items())
    found[name] = values.value(player)


def pages(player):
    """Templates that are none, with variables that are anything."""
    req = player.roots.get("req")
    if req is None:
        return
    random = player.random
    text = random.choice(
        ("<%", "%>", "<%= x", "<% for", "<%= x %>", "<%@ include file='/etc/passwd' %>", "\0", "<%! x %>")
    )
    variables = random.choice(({"x": values.value(player)}, {"req": None, "x": 1}, values.value(player)))
    player.note("page", text)
    if random.random() < 0.2:
        psp.parsestring(values.value(player))
        psp.parse(random.choice(arguments.PATHS))
        return
    if random.random() < 0.2:
        page = psp.PSP(req, filename=random.choice((*arguments.PATHS, values.value(player))), vars=variables)
    else:
        page = psp.PSP(req, string=random.choice((text, values.value(player))), vars=variables)
    player.world.append(page)
    random.choice((page.run, page.run, page.display_code, page.__str__))()
    page.run(variables)


class Odd:
    """What a published module may offer."""

    def __init__(self, player):
        self.player = player
        self.hostile = values.Hostile(player)
        self.__auth__ = values.value(player)

    __auth_realm__ = property(lambda self: values.value(self.player))
    __access__ = property(lambda self: self.hostile)


def published(player):
    """What the publisher finds, asks and shows."""
    req = player.roots.get("req")
    if req is None or values.is_deep():
        return
    random = player.random
    module = types.ModuleType("published")
    module.odd, module.hostile, module.value = Odd(player), values.Hostile(player), values.value(player)
    module.__auth__ = module.__access__ = values.value(player)
    path = random.choice(
        ("odd", "odd/hostile", "hostile/x", "value", "odd/player", "", "__auth__", values.text(player))
    )
    player.note("publish", path[:40])
    if random.random() < 0.5:
        player.learn(publisher.resolve_object(req, module, path))
    else:
        publisher.publish_object(req, random.choice((module.odd, module.hostile, module.value, player.callback())))


def loops(player):
    """An event loop inside a handler."""

    async def works():
        player.again()
        await asyncio.sleep(0)
        return values.simple(player)

    if player.state.may("deep") and not values.is_deep():
        asyncio.run(works())


ACTS = [classes, classes, places, streams, streams, interpreter, trace, library, library, library]
ACTS += [sessions, crumbs, fields, pages, published, loops]
