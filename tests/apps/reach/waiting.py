"""Functions that wait."""

import asyncio
import functools
import gc

from mod_python import apache


async def waits(req, name="y"):
    await asyncio.sleep(0)
    return f"waited {name}"


async def yields(req):
    yield "one "
    await asyncio.sleep(0)
    yield "two "
    yield 3


async def nested(req):
    async def inner():
        await asyncio.sleep(0)
        return "inner and outer"

    return inner()


def makes_a_waiter(req):
    return waits(req)


class Custom:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "from __await__"


def custom(req):
    return Custom()


partly = functools.partial(waits, None)


async def calls_back(req):
    async def called():
        return await waits(req, "b")

    return called


async def task(req):
    async def work():
        return "from a task"

    return asyncio.ensure_future(work())


async def returns_yields(req):
    return yields(req)


class Waiter:
    async def __call__(self, req):
        await asyncio.sleep(0)
        return "called and waited"


object_that_waits = Waiter()


async def fails(req):
    await asyncio.sleep(0)
    return 1 / 0


def foreign_future(req):
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()
    return future


async def conflict(req):
    raise apache.SERVER_RETURN(apache.HTTP_CONFLICT)


async def leaves_a_task(req):
    asyncio.ensure_future(asyncio.sleep(1000))  # noqa: RUF006
    return "left"


def loops(req):
    gc.collect()
    return sum(isinstance(item, asyncio.BaseEventLoop) and not item.is_closed() for item in gc.get_objects())


def guarded(req):
    async def __auth__(req, user, password):
        return user == "spam"

    return "secret"


def accessible(req):
    async def __access__(req, user):
        return user == "spam"

    __auth__ = True
    return "secret"
