"""WSGI: an application that breaks the rules of PEP 3333, and some that keep them."""

from . import acts, arguments, values
from .player import Player
from .state import SEED, keep


class Body:
    """What an application returns; acts while it is read."""

    def __init__(self, player, parts):
        self.player, self.parts = player, parts

    def __iter__(self):
        self.player.again()
        return self

    def __next__(self):
        self.player.again()
        if not self.parts:
            raise StopIteration
        return self.parts.pop()

    def __len__(self):
        return self.player.random.choice((0, 1, len(self.parts), 2**40))

    def close(self):
        self.player.play(2)
        if self.player.random.random() < 0.1:
            raise values.exception(self.player)


def nest(player, wrapper):
    """Wrappers in wrappers, as deep as a hostile application likes."""
    found = values.file(player)
    player.note("nest")
    if player.state.may("deep"):
        for _ in range(player.random.choice((3, 1000, 300_000) if player.random.random() < 0.1 else (3,))):
            found = wrapper(found)
    return found


def application(environ, start_response):
    """One request."""
    found = SEED.search(environ.get("QUERY_STRING", ""))
    things = [thing for thing in environ.values() if not isinstance(thing, (str, bool, int, tuple))]
    player = Player(int(found[1]) if found else 0, "wsgi", environ=environ, start_response=start_response)
    player.world += things
    random = player.random
    if random.random() < 0.5:
        player.play()
    write = None
    if random.random() < 0.95:
        status, headers = ("200 OK", [("Content-Type", "text/plain")])
        if random.random() < 0.3:
            status, headers = arguments.status(player), arguments.headers(player)
        player.note("start_response")
        write = start_response(status, headers)
        player.world.append(write)
        keep(write)
    player.play(random.choice((0, 2, 10)))
    if write is not None and random.random() < 0.3:
        write(random.choice((b"written", b"", values.value(player))))
    if random.random() < 0.05:
        acts.thread(player)
    player.note("return")
    return result(player, environ, random.randrange(12))


def result(player, environ, lot):
    """What it returns."""
    parts = [
        player.random.choice((b"part", b"", b"x" * 30000, "text", None)) for _ in range(player.random.randrange(4))
    ]
    wrapper = environ.get("wsgi.file_wrapper")
    if lot < 3:
        return [b"one", b"two"]
    if lot < 5:
        return Body(player, parts)
    if lot == 5:
        return values.generator(player)
    if lot < 8 and wrapper is not None:
        found = wrapper(values.file(player), arguments.size(player))
        player.world.append(found)
        player.again()
        return found
    if lot == 8 and wrapper is not None:
        return wrapper(nest(player, wrapper))
    if lot == 9:
        return tuple(parts)
    return values.value(player)
