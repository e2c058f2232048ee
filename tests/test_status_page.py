"""The page of mod_python.status, in a real browser."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
from browser import Browser
from conftest import Serve, Server, places

from httpd import PATIENCE, PROJECT

PICTURES = PROJECT / "target/screenshots"
CONFIG = (
    places("measured")
    + """
<Location /status>
    SetHandler mod_python
    PythonHandler mod_python.status
</Location>
<Location /weird>
    SetHandler mod_python
    PythonInterpreter "<script>alert('&amp;\\"')</script>"
    PythonHandler measured::fine
</Location>
PythonWSGI /app measured:application
"""
)
LOOKS = {"light": (1280, 1400), "dark": (1280, 1400), "narrow": (390, 3000)}
CLASHES = """
const boxes = all => [...all].map(one => one.getBoundingClientRect());
const clash = all => all.some((a, i) => all.some((b, j) => i < j && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
return [...document.querySelectorAll("figure")].filter(one => clash(boxes(one.querySelectorAll("span, h2, li"))) ||
    boxes(one.querySelectorAll("span, li")).some(box => {
        const card = one.getBoundingClientRect();
        return box.left < card.left || box.right > card.right || box.bottom > card.bottom;
    })).map(one => one.querySelector("h2").textContent)
"""
COLUMNS = """
const edge = (one, side) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return range.getBoundingClientRect()[side];
};
const wrong = [];
for (const table of document.querySelectorAll("table")) {
    const heads = [...table.querySelectorAll("th")];
    for (const row of table.tBodies[0].rows)
        [...row.cells].forEach((cell, place) => {
            const side = heads[place].classList.contains("l") ? "left" : "right";
            if (cell.textContent && Math.abs(edge(cell, side) - edge(heads[place], side)) > 1) wrong.push(cell.textContent);
        });
}
return wrong
"""


@pytest.fixture(scope="module")
def httpd(serve_module: Serve) -> Server:
    server = serve_module(CONFIG, children=2, threads=4)
    for _ in range(40):
        server.ok("/measured/fine")
        server.ok("/app")
    server.ok("/measured/sleeps")
    assert server.get("/measured/fails").status == 500
    assert server.get("/measured/forbids").status == 403
    server.ok("/weird")
    return server


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def claims(httpd: Server) -> None:
    httpd.claims.append("ValueError: measured")


@pytest.mark.parametrize("look", LOOKS)
def test_it_can_be_read(httpd: Server, browser: Browser, look: str) -> None:
    """On any screen nothing lies over something else, or out of sight, and numbers stand under their headings."""
    browser.look_like(*LOOKS[look], "dark" if look == "dark" else "light")
    waiting = [threading.Thread(target=httpd.get, args=(f"/measured/waits?{number}",)) for number in range(2)]
    for one in waiting:
        one.start()
    try:
        looked_at(httpd, browser, look)
    finally:
        httpd.write("apps/go_on", "")
        for one in waiting:
            one.join()
        (httpd.root / "apps/go_on").unlink()


def looked_at(httpd: Server, browser: Browser, look: str) -> None:
    browser.open(httpd.url("/status"))

    def is_drawn() -> bool:
        # A plot shows seconds that have ended.
        browser.run("return renew()")
        lines = len(browser.run("return [...document.querySelectorAll('figure path.l')]"))
        return lines >= 10 and browser.run("return document.body.innerText.includes('/measured/waits')")

    httpd._wait(is_drawn, "there are no lines")
    browser.screenshot(PICTURES / f"status-{look}.png")
    assert browser.run(CLASHES) == []
    assert browser.run(COLUMNS) == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(14, 18, 24)" if look == "dark" else "rgb(246, 247, 249)"
    )


@pytest.mark.parametrize("chosen", ["10m", "4h", "7d"])
def test_the_past_can_be_chosen(httpd: Server, browser: Browser, chosen: str) -> None:
    browser.look_like(*LOOKS["light"])
    browser.open(httpd.url(f"/status?range={chosen}"))
    assert browser.has(f'nav a[href="?range={chosen}"][aria-current]')
    assert browser.run(CLASHES) == []


def test_it_renews_itself(httpd: Server, browser: Browser) -> None:
    browser.open(httpd.url("/status"))
    before = total(browser)
    for _ in range(3):
        httpd.ok("/app")

    def is_new() -> bool:
        browser.run("return renew()")
        return total(browser) >= before + 3

    httpd._wait(is_new, "the page does not renew itself")
    assert browser.run("return document.body.className") == ""


def total(browser: Browser) -> int:
    """The requests of the WSGI application, as its row says."""
    script = """return [...document.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.textContent))"""
    return next(int(row[2].replace(",", "")) for row in browser.run(script) if row[1:2] == ["measured::application"])


def test_nothing_of_it_is_taken_for_html(httpd: Server, browser: Browser) -> None:
    browser.open(httpd.url("/status"))
    assert len(browser.run("return [...document.scripts].map(one => one.textContent)")) == 1
    cells = browser.run("return [...document.querySelectorAll('td')].map(one => one.textContent)")
    assert "<script>alert('&amp;\"')</script>" in cells


class Tags(HTMLParser):
    """Finds what leads elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.links += [value for name, value in attrs if name in ("href", "src", "action")]


def test_it_needs_nothing_but_itself(httpd: Server) -> None:
    tags = Tags()
    answer = httpd.ok("/status")
    tags.feed(answer.text)
    assert tags.links and all(link.startswith("?") for link in tags.links)
    assert answer.header("Cache-Control") == "no-store"
    assert "<noscript><meta http-equiv=refresh" in answer.text
    assert "?secret=" not in httpd.ok("/status?range=7d&secret=1").text


def test_modules_have_a_page_of_their_own(httpd: Server, browser: Browser) -> None:
    assert "mod_python.apache" not in httpd.ok("/status").text
    browser.open(httpd.url("/status?modules"))
    assert "mod_python.apache" in browser.text("section")
    assert browser.run(COLUMNS) == []


def test_the_same_as_json(httpd: Server) -> None:
    report: dict[str, Any] = {}

    def is_counted() -> bool:
        report.update(json.loads(httpd.ok("/status?json").text))
        (application,) = [one for one in report["applications"] if one["application"] == "measured::application"]
        return application["requests"] >= 40 and application["2xx"] == application["requests"]

    httpd._wait(is_counted, "the requests are not counted")
    assert {child["pid"] for child in report["children"]} >= {report["pid"]}
    assert all(child["memory"] > 1 << 20 for child in report["children"])
    assert "mod_python.apache" in report["modules"]


def test_what_is_no_module_is_not_asked(serve: Serve) -> None:
    """Whatever somebody has put into sys.modules."""
    server = serve(CONFIG)
    server.ok("/measured/odd_modules")
    modules = json.loads(server.ok("/status?json").text)["modules"]
    assert {name: file for name, file in modules.items() if name.startswith("odd_")} == {
        "odd_<i>": None,
        "odd_lazy": None,
        "odd_none": None,
        "odd_placed": None,
    }
    assert "odd_&lt;i&gt;" in server.ok("/status?modules").text and "Applications" in server.ok("/status").text


def test_a_thread_that_is_nowhere_is_nobodys_question(httpd: Server) -> None:
    """It is answered at once, however many ask, and those that ask for another do not wait for it."""
    pid = json.loads(httpd.ok("/status?json").text)["pid"]
    quickest = PATIENCE
    for asked in (
        "1:1",
        f"{pid}:1",
        "0:0",
        "999999999:999999999999999999",
        f"{os.getpid()}:{threading.get_ident()}",
    ) * 4:
        begun = time.monotonic()
        assert "It is not in Python now" in httpd.ok(f"/status?stack={asked}").text
        quickest = min(quickest, time.monotonic() - begun)
    # As long as somebody would be asked.
    assert quickest < 0.75
    for asked in (
        "",
        ":",
        "1",
        "1:",
        "-1:1",
        "1:1:1",
        "1:1%0A",
        "9999999999:1",
        "%3Cscript%3E",
        "1:1%00",
        "\u0661:\u0661",
    ):
        answer = httpd.get(f"/status?stack={quote(asked, safe='%:')}")
        assert answer.status in (200, 400) and "<script>alert" not in answer.text


def test_queries_are_shown_where_that_is_asked_for(serve: Serve) -> None:
    asked = CONFIG.replace(
        "PythonHandler mod_python.status", "PythonHandler mod_python.status\nPythonOption mod_python.status.queries On"
    )
    server = serve(asked)
    waiting = threading.Thread(target=server.get, args=("/measured/waits?item=%3C7%3E",))
    waiting.start()
    try:
        rows: list[str] = []
        while "GET /measured/waits?item=%3C7%3E" not in rows:
            rows = [one["request"] for one in json.loads(server.ok("/status?json").text)["in_flight"]]
        assert "/measured/waits?item=%3C7%3E" in server.ok("/status").text
    finally:
        server.write("apps/go_on", "")
        waiting.join()


def test_a_pool_is_shown_as_one(serve: Serve, browser: Browser) -> None:
    pool = "PythonInterpreterPool shop size=2\n<Location /pooled>\nSetHandler mod_python\nPythonInterpreter shop\nPythonHandler measured::fine\n</Location>\n"
    server = serve("PythonPath \"sys.path+['@ROOT@/apps']\"\n" + pool + CONFIG)
    for _ in range(5):
        server.ok("/pooled")
    browser.open(server.url("/status"))

    def all_are_counted() -> bool:
        # A request is counted a moment after its client has the answer.
        nonlocal row
        browser.run("return renew()")
        [row] = browser.run(script)
        return bool(row[4] == "5" and row[3] == "0")

    row: list[str] = []
    script = """return [...document.querySelectorAll("section")].filter(one => one.querySelector("h2").textContent.startsWith("Pools"))
        .map(one => [...one.querySelectorAll("td")].map(cell => cell.textContent))"""
    server._wait(all_are_counted, "requests are not counted")
    name, children, interpreters, _in_flight, _requests, errors, _most = row
    # Where interpreters have no locks of their own, a pool is one.
    assert (name, children, errors) == ("shop", "1", "0") and interpreters in ("1", "2")
    assert browser.run(COLUMNS) == []


def test_what_is_in_flight_and_where(httpd: Server, browser: Browser) -> None:
    """A row for each request, without its query, and a page that says where its thread is."""
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(httpd.get("/measured/waits?secret").text))
    waiting.start()
    try:
        end = time.monotonic() + PATIENCE
        while not (
            found := [
                one for one in json.loads(httpd.ok("/status?json").text)["in_flight"] if "waits" in one["request"]
            ]
        ):
            assert time.monotonic() < end
        [one] = found
        assert one["request"] == "GET /measured/waits" and one["work"] == "PythonHandler" and one["age"] >= 0
        page = httpd.ok("/status").text
        assert "Requests in flight" in page and "secret" not in page
        place = f"/status?stack={one['pid']}:{one['thread']}"
        assert f"<a href='?stack={one['pid']}:{one['thread']}'>stack</a>" in page
        while "in waits" not in (shown := httpd.ok(place).text):
            assert time.monotonic() < end, shown

        def shows_the_line() -> bool:
            """It waits there nearly all of the time."""
            browser.open(httpd.url(place))
            return "time.sleep" in str(browser.run("return document.body.innerText"))

        httpd._wait(shows_the_line, "the page does not show where it waits")
    finally:
        httpd.write("apps/go_on", "")
        waiting.join()
    assert answers == ["waited"]
    for wrong in ("stack=1:1", "stack=0:0", "stack=999999999:99999999999999999999", "stack=x"):
        assert httpd.get(f"/status?{wrong}").status == 200
