"""What is kept beyond a request: how much each seed has done, and objects of all kinds for others to use."""

import contextlib
import random
import re
import threading
import time

SEED = re.compile(r"seed=(\d+)")
KEPT = 48
"""Objects that outlive what they belong to."""
MOST = {
    "ops": 300,
    "internal_redirect": 4,
    "add_handler": 5,
    "add_input_filter": 4,
    "add_output_filter": 4,
    "register_cleanup": 12,
    "read of a connection": 2,
    "thread": 3,
    "locked session": 1,
    "deep": 1,
    "collect": 2,
    "wsgi": 4,
    "log_error": 12,
    "change": 6,
    "interpreter": 1,
}
"""How often one seed may do it in an interpreter: what calls itself ends, what waits does not wait for long."""
SECONDS = 8
"""So long may a seed act."""
THREADS = threading.BoundedSemaphore(6)
LOCAL = threading.local()
SEEDS = {}
kept = [None] * KEPT


class State:
    """What a seed has done."""

    def __init__(self, seed):
        self.seed = seed
        self.done = {}
        self.visits = {}
        self.until = time.monotonic() + SECONDS

    def may(self, what):
        """Once more?"""
        if time.monotonic() > self.until:
            return False
        done = self.done[what] = self.done.get(what, 0) + 1
        return done <= MOST.get(what, 1000)

    def visit(self, phase):
        """The how manieth time the seed comes to a phase."""
        visits = self.visits[phase] = self.visits.get(phase, 0) + 1
        return visits


def state_of(seed):
    """The state of a seed; those of the last ones are known."""
    state = SEEDS.get(seed)
    if state is None:
        state = SEEDS[seed] = State(seed)
        while len(SEEDS) > 256:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):
                del SEEDS[next(iter(SEEDS))]
    return state


def seed_of(req):
    """The seed that a request carries, or None; no handler can change the request line."""
    found = SEED.search(req.the_request or "")
    return int(found[1]) if found else None


def keep(thing):
    """Keep an object beyond its life; another one goes."""
    kept[random.randrange(KEPT)] = thing
