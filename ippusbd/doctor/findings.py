"""The result of a check, as a line for people and as data for programs.

What is not well is of a kind (`ippusbd.kinds`), which has its severity, its words and its remedy.
A problem requires an action; a note is information. Only problems count for the exit status of
`ippusbd doctor` and `ippusbd check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum

from ippusbd.kinds import Diagnosis, Severity
from ippusbd.wire.text import one_line

LINE_CHARS = 400


class Level(Enum):
    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` identifies the check for programs; `about` is the printer, if it concerns one."""

    level: Level
    check: str
    text: str
    remedy: str = ""
    about: str = ""
    kind: str = ""  # of what is not well


def ok(check: str, text: str, about: str = "") -> Finding:
    return Finding(Level.OK, check, text, about=about)


def told(diagnosis: Diagnosis, about: str = "", *, check: str = "") -> Finding:
    """A problem, or a note on what passes by itself or needs no action soon."""
    is_note = diagnosis.passes or diagnosis.severity is Severity.REPORT
    level = Level.NOTE if is_note else Level.PROBLEM
    kind = diagnosis.kind
    return Finding(level, check or kind, diagnosis.text, diagnosis.remedy, about, kind)


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """For people: the level, the text, the remedy below."""
    words = {Level.OK: "ok  ", Level.NOTE: "note", Level.PROBLEM: "FAIL"}
    for each in findings:
        about = f"{each.about}: " if each.about else ""
        yield f"{words[each.level]}  {one_line(about + each.text, LINE_CHARS)}"
        if each.remedy:
            yield f"      -> {one_line(each.remedy, LINE_CHARS)}"


def as_table(each: Finding) -> dict[str, str]:
    """For `--json`."""
    return asdict(each) | {"level": each.level.value}
