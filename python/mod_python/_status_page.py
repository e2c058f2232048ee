"""The page of ``mod_python.status``: HTML, which works without JavaScript and renews itself with it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Callable, Optional, Union

import _apache

from mod_python import _measures
from mod_python._charts import Line, plot
from mod_python._measures import Child, History

_TITLES = {"10m": "10 minutes", "4h": "4 hours", "7d": "7 days"}
_NONE = "\u2013"
_SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))

Report = dict[str, Any]
"""What ``mod_python.status.status`` tells."""

Cell = Union[tuple[str, str], tuple[str, str, str]]
"""Class, text, and what it is a link to."""

_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--line:#e3e6eb;--grid:#eceef2;--text:#1b2330;--soft:#667085;
--c1:#2f6fde;--c2:#0f9d8a;--c3:#d9822b;--c4:#d64545;--c5:#8458d8}
@media(prefers-color-scheme:dark){:root{--page:#0e1218;--card:#161b23;--line:#262d38;--grid:#212833;--text:#e4e8ee;--soft:#8d97a8;
--c1:#6ea0ff;--c2:#3cc9b3;--c3:#f0a656;--c4:#ff7b7b;--c5:#b495ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:14px/20px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1240px;margin:0 auto;padding:24px 24px 40px}
header{display:flex;flex-wrap:wrap;gap:8px 24px;align-items:baseline;justify-content:space-between;margin-bottom:20px}
h1{font-size:20px;line-height:28px;font-weight:650;margin:0;letter-spacing:-.01em}
h1 small{font-size:13px;font-weight:400;color:var(--soft);margin-left:10px;letter-spacing:0}
nav{display:flex;gap:2px;padding:2px;background:var(--line);border-radius:8px;font-size:13px}
nav a{padding:2px 12px;border-radius:6px;color:var(--soft);text-decoration:none}
nav a[aria-current]{background:var(--card);color:var(--text);font-weight:550}
a{color:var(--c1)}
.tiles{display:grid;grid-template-columns:repeat(6,1fr);margin:0 0 16px;background:var(--card);border:1px solid var(--line);
border-radius:10px;overflow:hidden}
.tiles div{padding:14px 18px 12px;box-shadow:-1px -1px 0 var(--line)}
.tiles dt{color:var(--soft);font-size:12px;line-height:16px}
.tiles dd{margin:2px 0 0;font-size:22px;line-height:28px;font-weight:600;letter-spacing:-.02em;white-space:nowrap}
.tiles dd small{font-size:13px;font-weight:400;color:var(--soft);margin-left:4px;letter-spacing:0}
.tiles .bad{color:var(--c4)}
.plots{display:grid;grid-template-columns:repeat(3,1fr);gap:16px}
figure,section{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 18px;min-width:0}
h2{font-size:14px;line-height:20px;font-weight:600;margin:0}
h2 small{font-weight:400;font-size:12px;color:var(--soft);margin-left:8px}
figcaption ul{list-style:none;display:flex;gap:14px;margin:2px 0 0;padding:0;font-size:12px;color:var(--soft);white-space:nowrap}
figcaption b{font-weight:600;color:var(--text)}
figcaption li:before{content:"";display:inline-block;width:8px;height:8px;border-radius:2px;margin-right:5px;background:currentColor;
background:var(--c)}
.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}
.plot{position:relative;height:128px;margin:12px 0 20px 46px}
.plot svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
.plot path{vector-effect:non-scaling-stroke;fill:none}
path.g{stroke:var(--grid);stroke-width:1}
path.l{stroke:var(--c);stroke-width:1.5;stroke-linejoin:round}
.plot path.a{fill:var(--c);opacity:.14;stroke:none}
.y span,.x span{position:absolute;font-size:11px;line-height:14px;color:var(--soft);white-space:nowrap}
.y span{right:100%;margin-right:8px;transform:translateY(50%)}
.x span{top:100%;margin-top:6px;transform:translateX(-50%)}
section{margin-top:16px}
section h2{margin-bottom:8px}
.wide{overflow-x:auto;margin:0 -18px -6px;padding:0 18px}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{padding:5px 0 5px 20px;text-align:right;white-space:nowrap;vertical-align:baseline}
th{font-weight:500;color:var(--soft);font-size:12px;line-height:16px;vertical-align:bottom}
td{border-top:1px solid var(--grid)}
th:first-child,td:first-child{padding-left:0}
.l{text-align:left}
td.l{white-space:normal;overflow-wrap:anywhere;min-width:6em}
.fit{width:auto}.fit th,.fit td{padding-left:48px}.fit th:first-child,.fit td:first-child{padding-left:0}
td.o{color:var(--soft);min-width:4em}
td.bad{color:var(--c4);font-weight:600}
footer{margin-top:20px;color:var(--soft);font-size:12px;display:flex;flex-wrap:wrap;gap:4px 20px}
.late footer #at{color:var(--c4)}
@media(max-width:1100px){.plots{grid-template-columns:repeat(2,1fr)}.tiles{grid-template-columns:repeat(3,1fr)}}
@media(max-width:700px){main{padding:16px 12px 32px}.plots{grid-template-columns:1fr;gap:12px}
.tiles{grid-template-columns:repeat(2,1fr)}.tiles div{padding:10px 14px}figure,section{padding:12px 14px}
.fit th,.fit td{padding-left:20px}h1 small{display:block;margin:0}.wide{margin:0 -14px -6px;padding:0 14px}}
"""
_SCRIPT = """
async function renew(){try{const answer=await fetch(location.href,{cache:"no-store"});
if(!answer.ok)throw 0;const page=new DOMParser().parseFromString(await answer.text(),"text/html");
const wide=[...document.querySelectorAll(".wide")].map(one=>one.scrollLeft);
document.querySelector("main").replaceWith(page.querySelector("main"));
document.querySelectorAll(".wide").forEach((one,place)=>one.scrollLeft=wide[place]||0);
document.body.className=""}catch(error){document.body.className="late"}}
setInterval(()=>document.hidden||renew(),5000)
"""


def page(report: dict[str, Any], chosen: str) -> str:
    """The page for one of `_measures.RANGES`."""
    history = _measures.history(chosen)
    children = _measures.children()[1]
    links = "".join(
        f'<a href="?range={name}"{" aria-current=page" if name == chosen else ""}>{title}</a>'
        for name, title in _TITLES.items()
    )
    body = [
        f"<header><h1>{_title(report)}<small>Python {escape(report['python'])}</small></h1><nav>{links}</nav></header>",
        _tiles(history, children, chosen),
        f"<div class=plots>{''.join(_plots(history))}</div>",
        *(section(report) for section in _SECTIONS),
        f"<footer><span id=at>{time.strftime('%Y-%m-%d %H:%M:%S %Z')}</span>"
        f"<span>answered by child {report['pid']}</span><a href='?modules'>loaded modules</a><a href='?json'>JSON</a></footer>",
    ]
    return document(_title(report), "\n".join(body), renews=True)


def modules(report: dict[str, Any]) -> str:
    """The page of the modules that the answering interpreter has loaded."""
    rows = [[("l", name), ("l o", str(file or "built in"))] for name, file in report["modules"].items()]
    body = (
        f"<header><h1>Loaded modules<small>{escape(str(report['interpreter']))} in child {report['pid']}</small></h1>"
        f"<nav><a href='?'>status</a></nav></header>"
        f"<section>{_table([('l', 'module'), ('l', 'file')], rows)}</section>"
    )
    return document(_title(report), body)


def document(title: str, body: str, renews: bool = False) -> str:
    """A page around `<main>`."""
    without = "<noscript><meta http-equiv=refresh content=10></noscript>" if renews else ""
    script = f"<script>{_SCRIPT}</script>" if renews else ""
    return (
        f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>{title}</title>"
        f'<meta name=viewport content="width=device-width,initial-scale=1"><meta name=robots content=noindex>'
        f"{without}<style>{_STYLE}</style></head>\n<body><main>\n{body}\n</main>{script}</body></html>\n"
    )


def stack(report: dict[str, Any], pid: int, thread: int) -> str:
    """The page of where a thread of a child is in Python."""
    found = _apache._stack(pid, thread)
    text = found or (
        "It is not in Python now: it waits for its event loop (asgi), has come to its end, or its child does not answer."
    )
    body = (
        f"<header><h1>Where it is<small>thread {thread} of child {pid}</small></h1><nav><a href='?'>status</a></nav></header>"
        f"<section><pre>{escape(text)}</pre></section>"
    )
    return document(_title(report), body)


def _title(report: dict[str, Any]) -> str:
    return f"mod_python {escape(report['mod_python'])}"


# What stands above: a few numbers, and plots


def _tiles(history: History, children: Sequence[Child], chosen: str) -> str:
    span = max(1, round(60 / history.seconds))
    lately = history.requests[-span:]
    rate = sum(lately) / (len(lately) * history.seconds) if lately else 0.0
    buckets = [sum(column) for column in zip(*history.buckets)]
    failed = sum(history.bins["errors"])
    broken = sum(history.bins["5xx"])
    past = f"in {_TITLES[chosen]}"
    tiles = [
        ("Requests per second", _short(rate), "" if history.seconds > 60 else "last minute", ""),
        ("Errors", f"{failed:,}", past, "bad" if failed else ""),
        ("Answers 5xx", f"{broken:,}", past, "bad" if broken else ""),
        ("Median", *_split(_measures.percentile(buckets, 0.5)), ""),
        ("99 of 100 within", *_split(_measures.percentile(buckets, 0.99)), ""),
        ("Memory", *_bytes(sum(child.memory for child in children)).split(" "), ""),
    ]
    return "<dl class=tiles>{}</dl>".format(
        "".join(
            f"<div><dt>{name}</dt><dd{f' class={kind}' if kind else ''}>{value}<small>{unit}</small></dd></div>"
            for name, value, unit, kind in tiles
        )
    )


def _plots(history: History) -> Iterable[str]:
    times = (history.end - history.seconds * len(history.buckets), history.end)

    def line(name: str, kind: str, values: Sequence[Optional[float]], filled: bool = False) -> Line:
        return Line(name, kind, history.known(values), filled)

    requests = [count / history.seconds for count in history.requests]
    yield plot("Requests", "per second", [line("all", "c1", requests, True)], times, _short)
    wrong = [("5xx", "c3", "5xx"), ("4xx", "c5", "4xx")]
    errors = line("Python", "c4", history.rates("errors"), True)
    rest = [line(name, kind, history.rates(counter)) for name, kind, counter in wrong]
    yield plot("Errors", "per second", [*rest, errors], times, _short)
    latency = [
        line(name, kind, [_measures.percentile(buckets, share) for buckets in history.buckets])
        for (name, share), kind in zip(_SHARES, ("c2", "c1", "c5"))
    ]
    yield plot("Latency", "logarithmic", latency, times, _seconds, is_log=True)
    work = [("Python", "c1", "python"), ("sending", "c2", "sending"), ("waiting", "c3", "waiting")]
    lines = [line(name, kind, history.rates(counter, 1e-6), kind == "c1") for name, kind, counter in work]
    yield plot("Threads at work", "on average", lines, times, _short)
    waits = [
        waited * 1e-6 / count if count else None for waited, count in zip(history.bins["waiting"], history.requests)
    ]
    yield plot("Waiting for the lock", "per request", [line("mean", "c3", waits, True)], times, _seconds)
    memory = [value * 1024 / (history.seconds * 1000) for value in history.bins["memory"]]
    yield plot("Memory", "of all children", [line("resident", "c2", memory, True)], times, _bytes)


# Tables


def _in_flight(report: Report) -> str:
    heads = [
        ("", "child"),
        ("l", "method"),
        ("l", "URI"),
        ("", "age"),
        ("l", "in"),
        ("l", "interpreter"),
        ("l", "where"),
    ]
    rows: list[list[Cell]] = []
    for one in report["in_flight"]:
        # Of a connection nothing is known but that it is one.
        method, _, uri = one["request"].partition(" ") if one["request"] != "a connection" else ("", "", one["request"])
        cells: list[Cell] = [
            ("", str(one["pid"])),
            ("l", method),
            ("l o", uri),
            ("", _seconds(one["age"])),
            ("l", one["work"]),
        ]
        rows.append([*cells, ("l", one["interpreter"]), ("l", "stack", f"?stack={one['pid']}:{one['thread']}")])
    return _section("Requests in flight", heads, rows) if rows else ""


def _applications(report: Report) -> str:
    heads = [
        ("l", "interpreter"),
        ("l", "application"),
        ("", "requests"),
        *(("", name) for name in _measures.CLASSES[1:]),
    ]
    heads += [
        ("", "errors"),
        ("", "median"),
        ("", "p99"),
        ("", "lock wait"),
        ("", "Python"),
        ("", "sending"),
        ("", "sent"),
    ]
    cells = []
    for one in _measures.applications():
        count = one.requests
        if not count and not one.counts["errors"]:
            continue
        classes = [
            (_bad(one.counts[name] if name == "5xx" else 0), _count(one.counts[name])) for name in _measures.CLASSES[1:]
        ]
        means = [("", _seconds(spent / count) if count else "") for spent in (one.waiting, one.python, one.sending)]
        cells.append(
            [
                ("l", one.interpreter),
                ("l", one.application or _NONE),
                ("", _count(count)),
                *classes,
                (_bad(one.counts["errors"]), _count(one.counts["errors"])),
                ("", _seconds(_measures.percentile(one.buckets, 0.5))),
                ("", _seconds(_measures.percentile(one.buckets, 0.99))),
                *means,
                ("", _bytes(one.counts["bytes"]) if one.counts["bytes"] else ""),
            ]
        )
    return _section("Applications", heads, cells, "since httpd was started; times per request")


def _interpreters(report: Report) -> str:
    now = time.time()
    heads = [
        ("", "child"),
        ("l", "interpreter"),
        ("l", "GIL"),
        ("", "age"),
        ("", "made in"),
        ("", "requests"),
        ("", "errors"),
    ]
    heads += [("", "tasks"), ("", "WebSockets"), ("", "detached"), ("", "loop's lag")]
    cells = [
        [
            ("", str(one["pid"])),
            ("l", one["name"]),
            ("l o", one["gil"]),
            ("", _age(now - one["made"])),
            ("", f"{one['milliseconds']} ms"),
            ("", _count(one["requests"])),
            (_bad(one["errors"]), _count(one["errors"])),
            *(("", _count(one[name])) for name in ("tasks", "websockets", "detached")),
            ("", _seconds(one["lag"] / 1e6) if one["lag"] else ""),
        ]
        for one in report["interpreters"]
    ]
    return _section("Interpreters", heads, cells, "of the children that live, with their event loops")


def _pools(report: Report) -> str:
    """All interpreters of a pool together: they are named after it, with a number behind."""
    pools: dict[str, list[dict[str, Any]]] = {}
    for one in report["interpreters"]:
        name, mark, number = one["name"].rpartition("#")
        if mark and number.isdigit():
            pools.setdefault(name, []).append(one)
    heads = [("l", "pool"), ("", "children"), ("", "interpreters"), ("", "in flight")]
    heads += [("", "requests"), ("", "errors"), ("", "most by one")]
    cells = []
    for name, members in sorted(pools.items()):
        names = {one["name"] for one in members}
        at_work = sum(one["interpreter"] in names for one in report["in_flight"])
        served = [one["requests"] for one in members]
        failed = sum(one["errors"] for one in members)
        most = f"{100 * max(served) / sum(served):.0f} %" if any(served) else ""
        cells.append(
            [
                ("l", name),
                ("", _count(len({one["pid"] for one in members}))),
                ("", _count(len(members))),
                ("", _count(at_work)),
                ("", _count(sum(served))),
                (_bad(failed), _count(failed)),
                ("", most),
            ]
        )
    return _section("Pools", heads, cells, "of the children that live", kind="fit") if cells else ""


def _daemons(report: Report) -> str:
    if not report["daemons"]:
        return ""
    heads = [
        ("l", "daemon"),
        ("l", "user"),
        ("l", "Python"),
        ("l", "state"),
        ("", "processes"),
        ("", "memory"),
        ("", "requests"),
    ]
    heads += [("", "in flight"), ("", "restarts"), ("", "reloads"), ("l", "last death")]
    now = time.time()
    cells: list[list[Cell]] = []
    for one in report["daemons"]:
        last = next(iter(one["deaths"]), None)
        troubled = one["problem"] or one["outcome"]
        cells.append(
            [
                ("l", one["name"]),
                ("l o", one["user"]),
                ("l o", one["python"]),
                ("l bad" if troubled else "l", f"{one['state']}: {troubled}" if troubled else one["state"]),
                ("", str(len(one["processes"]))),
                ("", _bytes(sum(process["memory"] for process in one["processes"]))),
                ("", _count(one["requests"])),
                ("", _count(one["in_flight"])),
                (_bad(one["restarts"]), _count(one["restarts"])),
                ("", _count(one["reloads"])),
                ("l o", f"{_age(now - last['time'])} ago: {last['reason']}" if last else ""),
            ]
        )
    return _section("Daemons", heads, cells, "an httpd of an application's own, each with its keeper")


def _children(report: Report) -> str:
    now = time.time()
    heads = [("", "child"), ("", "age"), ("", "memory"), ("", "processor time")]
    cells = [
        [("", str(one.pid)), ("", _age(now - one.born)), ("", _bytes(one.memory)), ("", f"{one.processor:,.2f} s")]
        for one in _measures.children()[1]
    ]
    return _section("Children", heads, cells, kind="fit")


_SECTIONS: tuple[Callable[[Report], str], ...] = (_in_flight, _applications, _interpreters, _pools, _daemons, _children)
"""What stands below the plots, in this order. Each makes a section of what ``mod_python.status.status`` has told; "" where there is nothing
to be shown."""


def _section(
    title: str,
    heads: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Cell]],
    about: str = "",
    kind: str = "",
) -> str:
    small = f"<small>{escape(about)}</small>" if about else ""
    return f"<section><h2>{escape(title)}{small}</h2><div class=wide>{_table(heads, rows, kind)}</div></section>"


def _table(heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], kind: str = "") -> str:
    head = "".join(_cell("th", *cell) for cell in heads)
    body = "\n".join(f"<tr>{''.join(_cell('td', *cell) for cell in row)}</tr>" for row in rows)
    return f"<table{f' class={kind}' if kind else ''}><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _cell(name: str, kind: str, text: str, place: str = "") -> str:
    shown = f"<a href='{escape(place)}'>{escape(text)}</a>" if place else escape(text)
    return f"<{name}{f' class={kind!r}' if kind else ''}>{shown}"


def _bad(count: int) -> str:
    return "bad" if count else ""


# How values are written


def _count(value: int) -> str:
    return f"{value:,}"


def _short(value: float) -> str:
    """Three digits: 0.25, 12.5, 1,250, 12.5k, 3.2M."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (1e3 if unit == 'k' else 1e6):.3g}{unit}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1 or not value else f"{value:.2g}" if value >= 0.01 else "<0.01"


def _split(seconds: Optional[float]) -> tuple[str, str]:
    value, _space, unit = _seconds(seconds).partition(" ")
    return value or _NONE, unit


def _seconds(seconds: Optional[float]) -> str:
    """Three digits: 12.5 µs, 1.25 ms, 12.5 s, 5 min."""
    if seconds is None:
        return ""
    for limit, scale, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if seconds < limit:
            return f"{seconds * scale:.3g} {unit}" if seconds * scale < 999.5 else f"{seconds * scale:.0f} {unit}"
    return f"{seconds / 60:.3g} min"


def _bytes(value: float) -> str:
    """Three digits: 512 B, 12.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB"


def _age(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{rest:02}"
