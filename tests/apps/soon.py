"""Handlers that write, for test_flush_soon.py."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from mod_python import apache

GONE = threading.Event()


def streams(req: Any) -> int:
    """Each line has to arrive before there is the file that the next one waits for."""
    name, count = req.args.split("&")
    folder = os.path.dirname(os.path.dirname(__file__))
    req.content_type = "text/plain"
    for number in range(int(count)):
        req.write(f"{number}\n")
        waited = threading.Event()
        for _ in range(60_000):
            if os.path.exists(f"{folder}/htdocs/{name}{number}"):
                break
            waited.wait(0.001)
        else:
            return apache.HTTP_GATEWAY_TIME_OUT
    return apache.OK


def page(req: Any) -> int:
    req.content_type = "text/plain"
    for number in range(20):
        req.write(f"{number}\n")
    return apache.OK


def large(req: Any) -> int:
    for number in range(100):
        req.write(f"{number % 10}" * 1000)
    return apache.OK


def head(req: Any) -> int:
    """What is said of the head behind a write is too late, however soon it is said."""
    req.headers_out["X-Early"] = "yes"
    req.write("one;")
    if req.args == "header":
        req.headers_out["X-Late"] = "yes"
    elif req.args == "status":
        req.status = 404
    elif req.args == "type":
        req.content_type = "text/x-late"
    elif req.args == "length":
        req.set_content_length(4)
    elif req.args == "sent":
        req.write(f"{req.sent_bodyct};{req.bytes_sent > 0};")
    elif req.args == "table":
        table = req.err_headers_out
        req.write("two;")
        table["X-Late"] = "yes"
    elif req.args == "return":
        raise apache.SERVER_RETURN(apache.OK, 404)
    req.write("end")
    return apache.OK


def fails(req: Any) -> int:
    req.write("one;")
    req.write("two;", 0)
    raise LookupError("behind a write")


def not_found(req: Any) -> int:
    req.write("one;")
    return apache.HTTP_NOT_FOUND


def reads(req: Any) -> int:
    req.write("one;")
    req.write(req.read())
    return apache.OK


def redirects(req: Any) -> int:
    req.write("one;")
    req.internal_redirect("/soon/page")
    return apache.OK


def sends(req: Any) -> int:
    req.write("one;")
    req.sendfile(__file__)
    req.write(";end")
    return apache.OK


def adds_filter(req: Any) -> int:
    req.write("one;")
    req.add_output_filter("UPPER")
    req.write("two;")
    return apache.OK


def upper(filter: Any) -> None:
    data = filter.read()
    while data:
        filter.write(data.upper())
        data = filter.read()
    if data is None:
        filter.close()


def threads(req: Any) -> int:
    """Threads and the handler write at once: nothing is lost, nobody is refused."""
    lock = threading.Lock()

    def work(name: str) -> None:
        for _ in range(200):
            with lock:
                req.write(name)

    workers = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for worker in workers:
        worker.start()
    work("e")
    for worker in workers:
        worker.join()
    return apache.OK


def busy(req: Any) -> int:
    """Uses the request all the time while parts of the answer leave by themselves."""
    for _ in range(3000):
        req.write("x")
        if req.uri != "/soon/busy" or req.headers_in.get("Host") is None:
            return apache.HTTP_INTERNAL_SERVER_ERROR
        for _again in range(50):
            assert req.method == "GET"
    return apache.OK


def busy_anywhere(req: Any) -> int:
    for _ in range(200):
        req.write("x")
        for _again in range(50):
            assert req.method == "GET"
    return apache.OK


def until_gone(req: Any) -> int:
    written = 0
    try:
        while written < 1 << 30:
            req.write("x" * 100)
            written += 100
    except OSError:
        GONE.set()
        raise
    return apache.OK


def was_gone(req: Any) -> int:
    req.write(str(GONE.is_set()))
    return apache.OK


LOGGED: list[str] = []


def logs(req: Any) -> int:
    LOGGED.append(req.uri)
    return apache.OK


def adds_filter_later(req: Any) -> int:
    """What was written has been sent by then."""
    req.write("one;")
    threading.Event().wait(0.05)
    req.add_output_filter("UPPER")
    for _ in range(200):
        req.write("two;")
        for _again in range(20):
            assert req.uri
    return apache.OK


def writes_by_connection(req: Any) -> int:
    req.write("one;")
    req.connection.write("RAW;")
    return apache.OK


def forks(req: Any) -> int:
    """The child of a fork has no thread that sends, and finds nothing that one held. Says which child did not end well."""
    for number in range(60):
        req.write("x")
        # About when what has been written is sent.
        end = time.perf_counter() + 0.002 + number % 20 * 5e-5
        while time.perf_counter() < end:
            pass
        child = os.fork()
        if child == 0:
            status = 1
            try:
                print("in the child", req.uri, req.bytes_sent, req.headers_in.get("Host"), req.is_https())
                status = 0
            finally:
                os._exit(status)
        until = time.monotonic() + 10
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
            time.sleep(0.0005)
        if ended != (child, 0):
            req.write(f"child {number}: {ended}")
            if ended == (0, 0):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            break
    return apache.OK


def address(req: Any) -> int:
    req.write("one;")
    assert req._request_rec and req.connection._conn_rec
    req.write("two;")
    return apache.OK
