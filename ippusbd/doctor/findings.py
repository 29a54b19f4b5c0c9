"""What a check says: one line for people, the same for programs.

A problem is something that somebody must do something about, and it says what. A note is
good to know. The exit status of `ippusbd doctor` counts problems alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum

from ippusbd.wire.text import one_line

LINE_CHARS = 400


class Level(Enum):
    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, for programs; `about` a printer, if it is about one."""

    level: Level
    check: str
    text: str
    remedy: str = ""
    about: str = ""


def ok(check: str, text: str, about: str = "") -> Finding:
    return Finding(Level.OK, check, text, about=about)


def note(check: str, text: str, remedy: str = "", about: str = "") -> Finding:
    return Finding(Level.NOTE, check, text, remedy, about)


def problem(check: str, text: str, remedy: str, about: str = "") -> Finding:
    return Finding(Level.PROBLEM, check, text, remedy, about)


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """For people: problems stand out, remedies below their lines."""
    words = {Level.OK: "ok  ", Level.NOTE: "note", Level.PROBLEM: "FAIL"}
    for each in findings:
        about = f"{each.about}: " if each.about else ""
        yield f"{words[each.level]}  {one_line(about + each.text, LINE_CHARS)}"
        if each.remedy:
            yield f"      -> {one_line(each.remedy, LINE_CHARS)}"


def as_table(each: Finding) -> dict[str, str]:
    """For `--json`."""
    return asdict(each) | {"level": each.level.value}
