"""A manual page of ours as Markdown: the few requests of roff that `tests/test_manual.py` writes."""

from __future__ import annotations

import re


def page(roff: str) -> str:
    """The page."""
    out: list[str] = []
    code = tag = False
    for line in roff.splitlines():
        request, _, rest = line.partition(" ")
        if request == ".SH":
            out.append(f"\n## {rest.capitalize()}\n")
        elif request == ".TP":
            tag = True
        elif request in (".nf", ".fi"):
            code = request == ".nf"
            out.append("" if code else "\n")
        elif request in (".B", ".BR"):
            out.append(f"**{plain(rest).replace(' (', '(')}**")
        elif request.startswith((".TH", '.\\"')):
            continue
        elif code:
            out.append("    " + plain(line))
        elif tag:
            tag = False
            out.append(f"\n`{plain(line)}`:")
        else:
            out.append(plain(line) if line.startswith("\\&") else shown(line))
    return "# The command mod_python\n" + "\n".join(out) + "\n"


def plain(text: str) -> str:
    """Without fonts and escapes."""
    text = re.sub(r"\\f[A-Z]", "", text)
    return text.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\")


def shown(text: str) -> str:
    """Fonts as Markdown's; what stands for markup in it does not."""
    text = re.sub(r"\\fI(.*?)\\fR", r"\1", text)
    text = re.sub(r"\\fB(.*?)\\fR", r"`\1`", text)
    return re.sub(r"(?<!`)([*_<\[])", r"\\\1", plain(text))
