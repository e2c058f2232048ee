"""What is more than a call: threads that outlive their request, clean-ups, cycles, collections, deep recursion, the library."""

import contextlib
import gc
import importlib
import os
import sys
import threading

import _apache
from mod_python import Cookie, Session, apache, psp, util

from . import surroundings, values
from .state import LOCAL, THREADS, keep

APPS = os.path.dirname(os.path.dirname(__file__))
MODULES = ("fuzz_first", "fuzz_second", "apifuzzing.web", "fuzz_missing", "fuzz_broken", "")
PAIRS = 16
"""So many files and modules that load each other: a pair is tried when it is not there yet."""


def thread(player):
    """Act in another thread: now, or when the request has ended."""
    if not player.state.may("thread") or not THREADS.acquire(blocking=False):
        return
    ended = threading.Event()
    delay = player.random.choice((0, 0, 0, 0.002, 0.02, 0.3))
    count = player.random.choice((2, 10, 40))

    def work():
        try:
            ended.wait(delay)
            LOCAL.value = values.Finalizer(player)
            player.play(count)
        except BaseException:
            pass
        finally:
            THREADS.release()

    worker = threading.Thread(target=work, daemon=player.random.random() < 0.5)
    try:
        worker.start()
    except BaseException:
        THREADS.release()
        raise
    req = player.roots.get("req")
    if req is not None and player.random.random() < 0.3:
        req.register_cleanup(lambda _: ended.set())
    if player.random.random() < 0.4:
        worker.join(0.2)


def cleanup(player):
    """Act when the request ends, and register more for then."""
    req = player.roots.get("req")
    if req is None or not player.state.may("register_cleanup"):
        return

    def called(data):
        player.note("cleanup")
        cleanup(player)
        player.play(player.random.choice((1, 4, 12)))
        if player.random.random() < 0.2:
            raise values.exception(player)

    req.register_cleanup(called, values.value(player))


def at_exit(player):
    """Act when the child ends."""
    if player.random.random() < 0.05:
        apache.register_cleanup(player.callback(), values.value(player))


def relatives(player):
    """Two redirects, and who is next then."""
    req = player.roots.get("req")
    if req is None or not player.state.may("internal_redirect"):
        return
    for _ in range(2):
        if player.state.may("internal_redirect"):
            req.internal_redirect(f"/all/x?seed={player.state.seed}")
    keep(req.next)
    req.register_cleanup(lambda _: (req.next, req.prev, req.main, player.again()))


def local(player):
    """A value of this thread that acts when the thread ends."""
    LOCAL.value = values.Finalizer(player)


def cycle(player):
    """A circle that holds a request and acts when it is collected."""
    circle = [player.some(), values.Finalizer(player), player]
    circle.append(circle)


def collect(player):
    if player.state.may("collect"):
        gc.collect(player.random.randrange(3))
    gc.set_threshold(player.random.choice((1, 50, 700, 700, 700, 700, 5000)))


def switch(player):
    sys.setswitchinterval(player.random.choice((1e-5, 1e-4, 5e-3)))


def attribute(player):
    """The request keeps what is set on it."""
    req = player.roots.get("req")
    if req is not None:
        setattr(
            req,
            player.random.choice(("a", "b", "\u00e9", "filter")),
            player.random.choice((req, values.Finalizer(player))),
        )


def deep(player):
    """Act where hardly any recursion is left."""
    if not player.state.may("deep"):
        return

    # Before 3.12 Python itself gives up where somebody goes on without any room.
    room = 0 if sys.version_info >= (3, 12) else 80

    def down():
        nonlocal room
        try:
            down()
        except RecursionError:
            room -= 1
            if room < 0:
                player.again()
            raise

    with contextlib.suppress(RecursionError):
        down()


def nested(player):
    """Text that asks for itself, until the recursion ends."""
    if not player.state.may("deep"):
        return
    table = _apache.table()

    class Asks:
        def __str__(self):
            table.update({self: self})
            return "x"

    table.update({Asks(): Asks()})


def say(player):
    print(
        "said",
        player.random.choice(("", "x" * 9000, "a\nb\n", "\u00e9\ud800", "%s%n")),
        end=player.random.choice(("\n", "")),
    )
    print("said", file=sys.stderr)


def lock(player):
    """A lock of httpd's, taken and given back; never waited for, since sessions hold them as well."""
    server = _apache.main_server()
    key = values.simple(player)
    if _apache._global_trylock(server, key):
        _apache._global_unlock(server, key)


def load(player):
    """Import modules that import each other through the importer that reloads."""
    name = player.random.choice(MODULES)
    if player.random.random() < 0.7:
        name = os.path.join(APPS, f"fuzz_file{player.random.randrange(PAIRS)}.py")
    keep(apache.import_module(name, player.random.randrange(2)))


def load_plainly(player):
    importlib.import_module(player.random.choice((f"fuzz_module{player.random.randrange(PAIRS)}", MODULES[0])))


def session(player):
    req = player.roots.get("req")
    if req is None or "Handler" not in player.phase:
        return
    locked = player.random.random() < 0.3 and player.state.may("locked session")
    found = Session.Session(req, lock=int(locked), secret=player.random.choice((None, None, "secret")))
    found[player.random.choice(("a", "b"))] = player.random.choice((1, "x", values.simple(player)))
    found.save()
    if player.random.random() < 0.2:
        player.random.choice((found.delete, found.invalidate, found.unlock, found.load, found.cleanup))()
    # It is not kept: whoever called its lock() later would have nobody to give the lock back.
    if player.random.random() < 0.2:
        req.register_cleanup(lambda _: found.save())


def cookies(player):
    req = player.roots.get("req")
    if req is None:
        return
    made = Cookie.SignedCookie("name", values.text(player)[:200], secret="x") if player.random.random() < 0.5 else None
    Cookie.add_cookie(req, made or Cookie.Cookie("plain", values.simple(player)))
    Cookie.get_cookies(req)


def form(player):
    req = player.roots.get("req")
    if req is None:
        return
    fields = util.FieldStorage(req, keep_blank_values=player.random.randrange(2))
    for name in list(fields.keys())[:5]:
        fields.getfirst(name), fields.getlist(name), fields[name]
    keep(fields)


def page(player):
    req = player.roots.get("req")
    if req is not None:
        page = psp.PSP(req, string="<%= 1 %><% player.again() %>text", vars={"player": player})
        page.run() if player.random.random() < 0.7 else keep(page)


def redirect(player):
    req = player.roots.get("req")
    if req is not None and player.random.random() < 0.3:
        util.redirect(req, values.text(player)[:300], player.random.randrange(2), text=values.simple(player))


def cgi(player):
    req = player.roots.get("req")
    if req is not None:
        apache.build_cgi_env(req)


def wait(player):
    """Let others run."""
    threading.Event().wait(player.random.choice((0, 0.001, 0.01)))


ACTS = [
    thread,
    cleanup,
    relatives,
    local,
    cycle,
    collect,
    switch,
    attribute,
    deep,
    nested,
    say,
    lock,
    load,
    load_plainly,
]
ACTS += [session, cookies, form, page, redirect, cgi, wait, at_exit, thread, thread, cleanup, cleanup, cleanup]
ACTS += surroundings.ACTS
