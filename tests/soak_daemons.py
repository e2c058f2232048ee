"""Restarts of httpd and reloads of its daemon under load: nothing may be lost, and the parent must not grow.

    python tests/soak_daemons.py [--times 300]

Clients ask the front all the time: some keep their connections, some send bodies, some make a connection for each request. The front is
restarted gracefully so many times, and the daemon reloaded as often. httpd itself cuts off one answer in some hundred restarts, by which no
daemon has been asked (soak.py): as many are put up with.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import sys
import threading
import time
from typing import Callable

from client import ask
from conftest import Server, alarms
from kept_daemons import Daemon, user
from soak import OWN

from httpd import resident

CONFIG = f"""
PythonDaemon shop {user()} processes=2 threads=8 working-directory=@ROOT@/apps
PythonWSGI /shop kept:application daemon=shop
"""
BODY = bytes(range(256)) * 40


class Load:
    """Threads that ask until they are told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(body,)) for body in (self._plain, self._kept, self._posted) * 2
        ]
        self.served = 0
        self.lost: list[str] = []
        self.cut: list[str] = []
        """What has ended without an answer's beginning: it may be httpd's own loss."""

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _work(self, body: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                body()
            except (ConnectionResetError, http.client.RemoteDisconnected) as error:
                self.cut.append(f"{body.__name__}: {type(error).__name__}: {error}"[:300])
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.lost.append(f"{body.__name__}: {type(error).__name__}: {error}"[:300])

    def _plain(self) -> None:
        answer = ask(self._port, "/shop/")
        assert answer.status == 200, answer.text
        self.served += 1

    def _kept(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            for place in range(20):
                connection.request("GET", "/shop/")
                try:
                    answer = connection.getresponse()
                except http.client.RemoteDisconnected:
                    # A front that restarts closes what it is not asked on, perhaps just when it is: any client asks again (RFC 9110, 9.2.2).
                    if place:
                        return
                    raise
                assert answer.read() and answer.status == 200, answer.status
                self.served += 1
                if answer.will_close or self._stopping.is_set():
                    return
        finally:
            connection.close()

    def _posted(self) -> None:
        answer = ask(self._port, "/shop/", "POST", body=BODY)
        assert answer.status == 200, answer.text
        self.served += 1


def own(times: int) -> int:
    """How many in so many restarts may be httpd's own loss."""
    return times // OWN + 1


def soak(times: int) -> tuple[Load, list[str], tuple[int, int]]:
    """Restart and reload so often; what was served and lost, serious lines of the log, and the parent's memory in KiB before and after."""
    server = Server(CONFIG, modules=("proxy", "proxy_http"))
    try:
        server.start()
        shop = Daemon(server)
        shop.serves(2)
        first = 0
        with Load(server.port) as load:
            for turn in range(times):
                known = shop.state()["reloads"]
                os.kill(shop.state()["keeper"], signal.SIGHUP)
                shop.until(lambda state, known=known: state["reloads"] > known)  # type: ignore[misc]
                server.graceful()
                if turn == min(5, times - 1):
                    first = resident(server.pid)
        return load, alarms(server.log_text()), (first, resident(server.pid))
    finally:
        server.stop()
        server.remove()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=300)
    times = parser.parse_args().times
    begin = time.monotonic()
    load, serious, memory = soak(times)
    print(f"restarts and reloads  {times} each in {time.monotonic() - begin:.0f} s")
    print(f"served                {load.served}")
    print(f"lost                  {len(load.lost)}, and {len(load.cut)} cut off")
    print(f"alarms                {len(serious)}")
    print(f"parent                RSS {memory[0]} -> {memory[1]} KiB")
    print("\n".join([*load.lost[:10], *load.cut[:10], *serious[:10]]))
    return 1 if load.lost or serious or len(load.cut) > own(times) else 0


if __name__ == "__main__":
    sys.exit(main())
