"""What all children count of their requests: metrics, series, the log of slow requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve, Server, places
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from httpd import free_port

OPEN = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}
WEIRD = 'we"ird\\<b>'
CONFIG = (
    places("measured")
    + """
PythonInterpreter main_interpreter
<Location /metrics>
    SetHandler mod_python
    PythonHandler mod_python.metrics
</Location>
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
<Location /weird>
    SetHandler mod_python
    PythonInterpreter "we\\"ird\\\\<b>"
    PythonHandler measured::fine
</Location>
<Location /guarded>
    PythonAccessHandler measured::access
</Location>
<Location /measured/sleeps>
    PythonSlowLog 0.1
</Location>
<Location /measured/spins>
    PythonSlowLog Off
</Location>
PythonSlowLog 100
PythonWSGI /app measured:application
"""
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def httpd(serve_module: Serve, mpm: str) -> Server:
    return serve_module(CONFIG, mpm=mpm, children=2, threads=4)


def metrics(server: Server) -> Samples:
    """All samples, by name and labels."""
    answer = server.ok("/metrics", headers=OPEN)
    assert answer.header("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = list(parse_open(answer.text))
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def sample(found: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of a name that have these labels."""
    wanted = set(labels.items())
    return sum(value for (key, has), value in found.items() if key == f"mod_python_{name}" and wanted <= set(has))


def test_requests_are_counted_where_they_belong(httpd: Server) -> None:
    handler, application = "measured::fails", "measured::application"
    before = metrics(httpd)
    for _ in range(3):
        assert httpd.get("/measured/fails").status == 500
    httpd.claim("ValueError: measured")
    assert httpd.get("/measured/forbids").status == 403
    for _ in range(5):
        assert httpd.ok("/app").text == "Hello"
    httpd.ok("/weird")
    assert httpd.get("/guarded").status == 404

    def difference(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    def counted() -> bool:
        # A request is counted a moment after its client has the answer.
        nonlocal after
        after = metrics(httpd)
        requests = [
            difference("requests_total", application=application, code="2xx"),
            difference("requests_total", application=handler, code="5xx"),
            difference("requests_total", application="measured::forbids", code="4xx"),
            difference("requests_total", interpreter=WEIRD, code="2xx"),
        ]
        # The parts of one are counted one after the other.
        parts = [
            difference("sent_bytes_total", application=application),
            difference("request_duration_seconds_count", application=application),
            difference("request_duration_seconds_bucket", application=application, le="+Inf"),
        ]
        # The static file has no application, but a handler of another phase.
        is_seen = difference("python_seconds_total", application="") > 0
        return requests == [5, 3, 1, 1] and parts == [25, 5, 5] and is_seen

    after = before
    httpd._wait(counted, "requests are not counted")
    assert difference("errors_total", application=handler) == 3 == difference("errors_total")
    assert 0 < difference("request_duration_seconds_sum", application=application) < 50
    assert difference("python_seconds_total", application=application) > 0
    assert sample(after, "gc_collections_total") > 0 and sample(after, "cpu_seconds_total") > 0
    assert sample(after, "resident_memory_bytes") > 1 << 20 and sample(after, "children") >= 1
    assert sample(after, "interpreters", interpreter="main_interpreter") >= 1


def test_the_format_is_the_one_that_is_asked_for(httpd: Server) -> None:
    httpd.ok("/weird")
    httpd._wait(lambda: sample(metrics(httpd), "requests_total", interpreter=WEIRD) > 0, "requests are not counted")
    for accept in ("*/*", "text/plain", "application/openmetrics-text;q=0, text/plain"):
        answer = httpd.ok("/metrics", headers={"Accept": accept})
        assert answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        assert "# EOF" not in answer.text and "# UNIT" not in answer.text
        families = {family.name: family for family in parse_plain(answer.text)}
        assert families["mod_python_request_duration_seconds"].type == "histogram"
        assert families["mod_python_requests"].type == "counter"
        labels = [one.labels for one in families["mod_python_requests"].samples]
        assert WEIRD in {each["interpreter"] for each in labels}
    assert httpd.ok("/metrics", headers=OPEN).text.endswith("\n# EOF\n")


def test_times_are_told_apart(httpd: Server) -> None:
    before = metrics(httpd)
    clients = [threading.Thread(target=httpd.ok, args=("/measured/spins",)) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    httpd.ok("/measured/sleeps")
    found: Samples = before

    def difference(name: str, application: str) -> float:
        return sample(found, name, application=application) - sample(before, name, application=application)

    def counted() -> bool:
        nonlocal found
        found = metrics(httpd)
        answered = [difference("request_duration_seconds_count", f"measured::{name}") for name in ("spins", "sleeps")]
        return answered == [6, asked]

    asked = 1
    httpd._wait(counted, "requests are not counted")
    assert difference("python_seconds_total", "measured::sleeps") > 0.14
    waited = before_it = difference("lock_wait_seconds_total", "measured::sleeps")
    while waited >= 0.1:
        # One of the six may have been on its way out still; were sleeping a wait, each would be.
        assert asked < 10
        httpd.ok("/measured/sleeps")
        asked += 1
        httpd._wait(counted, "requests are not counted")
        all_of_them = difference("lock_wait_seconds_total", "measured::sleeps")
        waited, before_it = all_of_them - before_it, all_of_them
    assert difference("python_seconds_total", "measured::spins") > 0.59
    bucket = {"application": "measured::sleeps", "le": "0.1"}
    assert sample(found, "request_duration_seconds_bucket", **bucket) == sample(
        before, "request_duration_seconds_bucket", **bucket
    )


def test_a_slow_request_is_logged(httpd: Server) -> None:
    # Paths that no other test asks for, whose requests may be logged late.
    httpd.ok("/measured/spins/fast")
    httpd.ok("/measured/sleeps/once?key=value")
    line = httpd.wait_log("slow request .*sleeps/once")
    assert ":warn]" in line and "(GET /measured/sleeps/once)" in line
    times = [float(text) for text in re.findall(r"([\d.]+) s\b", line)]
    whole, waiting, python, sending, elsewhere = times
    assert whole >= 0.15 and python > 0.14 and f"{waiting + python + sending + elsewhere:.3f}" == f"{whole:.3f}"
    httpd.settle()
    logged = re.findall(r"slow request.*\(GET (/\S+)\)", httpd.log_text())
    assert logged.count("/measured/sleeps/once") == 1 and "/measured/spins/fast" not in logged


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1e3"])
def test_a_wrong_limit_is_an_error_that_says_so(serve: Serve, value: str) -> None:
    checked = serve(f"PythonSlowLog {value}\n", start=False).check()
    assert checked.returncode != 0 and "PythonSlowLog: must be a number of seconds above 0" in checked.stderr


def test_each_series_adds_up_to_its_counter(httpd: Server) -> None:
    for _ in range(20):
        httpd.ok("/measured/fine")
        httpd.get("/measured/forbids")

    def found() -> dict[str, Any]:
        return dict(json.loads(httpd.ok("/measured/series").text))

    def agree() -> bool:
        # The request before may be counted between the two looks of this one.
        nonlocal seen
        seen = found()
        named = dict(zip(seen["names"], seen["counts"]))
        if min(named["2xx"], named["4xx"]) < 20:
            return False
        return all(sums[: len(seen["counts"])] == seen["counts"] for sums in seen["sums"])

    seen = found()
    httpd._wait(agree, "the series do not add up")
    assert len(seen["counts"]) == len(seen["names"]) + len(seen["bounds"]) + 1
    # Memory times time, which has no counter: the same in all archives.
    processor, memory = zip(*(sums[-2:] for sums in seen["sums"]))
    assert min(processor) > 0 and min(memory) > 0


@contextmanager
def load(server: Server, clients: int = 3) -> Iterator[list[int]]:
    """Requests without a pause; the numbers of those that each client has had an answer to."""
    over, done = threading.Event(), [0] * clients

    def ask(number: int) -> None:
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/measured/fine")
                answer = connection.getresponse()
                assert answer.read() == b"Hello World!" and answer.status == 200
                done[number] += 1
            connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        over.set()
        for thread in threads:
            thread.join()


def counters(found: Samples) -> Samples:
    """What must not go back."""
    growing = ("_total", "_count", "_sum", "_bucket")
    return {key: value for key, value in found.items() if key[0].endswith(growing)}


def test_counters_do_not_go_back(serve: Serve, mpm: str) -> None:
    """Children are killed and replaced, and httpd is restarted gracefully, under load."""
    server = serve(CONFIG, mpm=mpm, children=2, threads=4)
    seen: list[Samples] = []

    def look() -> None:
        seen.append(metrics(server))

    with load(server) as done:
        for _ in range(2):
            server._wait(lambda: min(done) > 20 * len(seen), "nothing is answered")
            look()
            server.graceful()
            look()
        victim = server.child_pids()[0]
        os.kill(victim, signal.SIGKILL)
        server._wait(lambda: victim not in server.child_pids(), "a child lives that was killed")
        before = sum(done)
        server._wait(lambda: sum(done) > before + 20, "nothing is answered any more")
        look()
    answered = sum(done)
    name = {"application": "measured::fine", "code": "2xx"}

    def all_counted() -> bool:
        look()
        # What a child that is killed has just answered is not counted: of each of its threads, one request.
        return sample(seen[-1], "requests_total", **name) >= answered - server.threads

    server._wait(all_counted, "requests are missing")
    for earlier, later in zip(seen, seen[1:]):
        after = counters(later)
        for key, value in counters(earlier).items():
            assert after[key] >= value, key


def test_prometheus_reads_them(serve: Serve, tmp_path: Path) -> None:
    """From two httpds, as from two machines."""
    server, other = serve(CONFIG), serve(CONFIG)
    for asked in (server, server, server, other, other):
        asked.ok("/app")
    port = free_port()
    config = tmp_path / "prometheus.yml"
    targets = f"['127.0.0.1:{server.port}', '127.0.0.1:{other.port}']"
    target = f"{{metrics_path: /metrics, static_configs: [{{targets: {targets}}}]"
    config.write_text(
        f"scrape_configs:\n  - {{job_name: httpd, scrape_interval: 1s, scrape_timeout: 1s, {target[1:]}}}\n"
    )
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def api(path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", f"/api/v1/{path}")
            return json.loads(connection.getresponse().read())["data"]
        finally:
            connection.close()

    def is_up() -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return [one["health"] for one in api("targets")["activeTargets"]] == ["up", "up"]
        return False

    def count() -> list[str]:
        query = "query?query=mod_python_requests_total%7Bapplication%3D%22measured%3A%3Aapplication%22%2Ccode%3D%222xx%22%7D"
        return sorted(one["value"][1] for one in api(query)["result"])

    try:
        server._wait(is_up, "the targets are not up")
        server._wait(lambda: count() == ["2", "3"], "Prometheus does not know the requests")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
