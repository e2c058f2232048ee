"""What is found, and how it is told: as text, or as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Optional

from mod_python._doctor.codes import CODES, LEVELS
from mod_python._doctor.files import printable


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or could be better."""

    code: str
    """As in the table of codes."""
    text: str
    """What it is, with its names; one sentence."""
    file: Optional[str] = None
    line: int = 0
    remedy: str = ""
    """What to do, where this is more than what the table says."""
    more: str = ""
    """Lines that belong to it, such as the end of a traceback."""

    @property
    def level(self) -> str:
        """`error`, `warning` or `advice`."""
        return CODES[self.code].level

    def place(self) -> str:
        """`file:line`, as compilers write it."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file or ""

    def as_text(self, is_first: bool = True) -> str:
        """Some lines for people; what the table says is to be done is said with the first of a code."""
        place = printable(self.place())
        head = f"{self.code} {self.level}: {printable(self.text)}"
        more = "".join(f"    | {printable(line)}\n" for line in self.more.splitlines())
        remedy = self.remedy or (CODES[self.code].remedy if is_first else "")
        said = f"{place}: {head}\n{more}" if place else f"{head}\n{more}"
        return f"{said}    {printable(remedy)}" if remedy else said.rstrip("\n")

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        return {
            "code": self.code,
            "level": self.level,
            "file": self.file,
            "line": self.line or None,
            "text": self.text,
            "more": self.more or None,
            "remedy": self.remedy or CODES[self.code].remedy,
        }


def status(findings: list[Finding]) -> int:
    """The exit status: 2 where there is an error, 1 for a warning, 0 otherwise."""
    levels = {finding.level for finding in findings}
    return 2 if "error" in levels else 1 if "warning" in levels else 0


def ordered(findings: list[Finding]) -> list[Finding]:
    """Each once: errors first, then as they stand in the files."""
    unique = dict.fromkeys(findings)
    return sorted(unique, key=lambda one: (LEVELS.index(one.level), one.file or "", one.line, one.code))


def tell(findings: list[Finding], notes: list[str], as_json: bool) -> None:
    """Print the findings, and what else there is to say."""
    if as_json:
        print(json.dumps({"notes": notes, "findings": [finding.as_dict() for finding in findings]}, indent=2))
        return
    lines = [printable(note) for note in notes]
    firsts = {finding.code: finding for finding in reversed(findings) if not finding.remedy}
    lines += [finding.as_text(firsts.get(finding.code) is finding) for finding in findings]
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    words = [
        f"{count} {level}{'s' if count != 1 and level != 'advice' else ''}" for level, count in counts.items() if count
    ]
    lines.append(", ".join(words) + "." if words else "Nothing to complain about.")
    text = "\n".join(lines) + "\n"
    coding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(coding, "backslashreplace").decode(coding))
