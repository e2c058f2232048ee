"""How the page of PythonDebug looks. It needs nothing but itself: no script, no font, no picture."""

STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --ink: #1b2330; --soft: #5d6878; --line: #e1e5eb; --red: #b3261e; --wash: #fdecea;
  --code: #fafbfc; --mark: #ffd9d4; --blue: #2457b8; --hint: #fff7e0; --hint-line: #e6c657; }
@media (prefers-color-scheme: dark) { :root {
  --page: #11151c; --card: #1a202a; --ink: #e5e9f0; --soft: #97a3b4; --line: #2c3542; --red: #ff8a80; --wash: #3a2023;
  --code: #151a22; --mark: #6b2b2b; --blue: #8ab4ff; --hint: #332b12; --hint-line: #8a7220; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
header { background: var(--card); border-bottom: 1px solid var(--line); border-top: 4px solid var(--red); }
header > div, main, footer { max-width: 70rem; margin: 0 auto; padding: 1.4rem 1.6rem; }
h1 { margin: .1rem 0 .5rem; font-size: 1.75rem; line-height: 1.2; color: var(--red); overflow-wrap: anywhere; }
h2 { font-size: 1.02rem; margin: 1.8rem 0 .6rem; color: var(--soft); font-weight: 600; overflow-wrap: anywhere; }
h2 b { color: var(--ink); }
p { margin: .3rem 0; }
.over { color: var(--soft); font-size: .88rem; overflow-wrap: anywhere; }
.message { font-size: 1.06rem; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto; }
code, pre, td, .file, .source { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .86rem; }
.hint { background: var(--hint); border-left: 4px solid var(--hint-line); padding: .7rem 1rem; border-radius: 0 6px 6px 0;
  margin: .9rem 0 0; overflow-wrap: anywhere; }
.hint pre { margin: .5rem 0 0; white-space: pre-wrap; }
details.frame, .card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: .55rem 0; overflow: hidden; }
details.frame > summary { padding: .5rem .9rem; cursor: pointer; }
details.frame > summary:hover { background: var(--code); }
details.user > summary { border-left: 4px solid var(--red); }
.file { color: var(--blue); overflow-wrap: anywhere; }
.name { font-weight: 600; }
.folded, .left { color: var(--soft); font-size: .88rem; margin: .55rem 0; padding-left: .9rem; }
.folded summary { cursor: pointer; }
.folded ul { margin: .3rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
.source { background: var(--code); border-top: 1px solid var(--line); overflow-x: auto; padding: .45rem 0; margin: 0; tab-size: 4; }
.source span { display: block; min-width: max-content; padding: 0 .9rem; white-space: pre; }
.source i { display: inline-block; width: 3.6rem; padding-right: 1rem; text-align: right; color: var(--soft); font-style: normal;
  user-select: none; }
.source .now { background: var(--wash); }
.source .now i { color: var(--red); font-weight: 700; }
.source mark { background: var(--mark); color: inherit; border-radius: 2px; }
.locals { border-top: 1px solid var(--line); padding: .45rem .9rem; }
.locals > summary { cursor: pointer; color: var(--soft); font-size: .88rem; }
table { border-collapse: collapse; width: 100%; margin: .2rem 0; table-layout: fixed; }
td { padding: .22rem .6rem .22rem 0; vertical-align: top; border-bottom: 1px solid var(--line); overflow-wrap: anywhere;
  white-space: pre-wrap; }
tr:last-child td { border-bottom: 0; }
td:first-child { width: 13rem; color: var(--blue); }
td em { color: var(--soft); font-style: normal; }
td small { display: block; color: var(--soft); font-size: .76rem; }
.card { padding: .5rem .9rem; }
.group { border-left: 3px solid var(--line); padding-left: 1.1rem; margin-left: .2rem; }
.text > summary { cursor: pointer; color: var(--soft); }
.text pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; overflow-x: auto; }
footer { color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { header > div, main, footer { padding: 1rem; } td:first-child { width: 8rem; } }
"""
