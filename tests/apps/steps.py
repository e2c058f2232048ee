"""What several applications do: wait for a test, recursions of a length, and a debugger that raises at each step of a module."""

import os
import sys
import time


def wait_for(path):
    """Waits until a test has made a file, but not for ever."""
    limit = time.monotonic() + 60
    while not os.path.exists(path) and time.monotonic() < limit:
        time.sleep(0.005)


def deep(count):
    """Raises ValueError below so many frames of two functions that call one another."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    try:
        return even(count)
    finally:
        sys.setrecursionlimit(limit)


def even(number):
    if number == 0:
        raise ValueError("at the bottom")
    return odd(number - 1)


def odd(number):
    return even(number - 1)


def endless(argument):
    return endless(argument)


def stopped_anywhere(module, call):
    """Calls a function with 0, 1, …, and has an exception raised at as many steps of a module; how often it was."""
    raised = 0
    for step in range(80):
        left = step

        def seen(frame, event, argument):
            nonlocal left, raised
            if frame.f_globals["__name__"] == module:
                left -= 1
                if left < 0:
                    raised += 1
                    raise KeyError("of the debugger")
            return seen

        sys.settrace(seen)
        try:
            call(step)
        except KeyError:
            pass
        finally:
            sys.settrace(None)
    return raised
