"""The promises of SECURITY.md and the guards that keep them, as data.

A guard is a part of the code, with what stands there when it is taken out; without it, its test
fails. Knows the table's form and the file of guards; runs nothing.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[2]
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_FILE: Final = re.compile(r"`(tests/[\w/.]+)`")


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard and the test that misses it."""

    test: str  # path::name
    file: str
    guard: str
    without: str

    def taken_out_of(self, text: str) -> str:
        """`text` without it. Raises ValueError if it is not there exactly once."""
        if text.count(self.guard) != 1:
            raise ValueError(f"{self.file} has {text.count(self.guard)} times: {self.guard}")
        return text.replace(self.guard, self.without)


@dataclass(frozen=True, slots=True)
class Promise:
    """A row of the table: the tests that show it, and files that show more of it."""

    text: str
    tests: tuple[tuple[str, str], ...]  # path, name
    files: tuple[str, ...]


def guards() -> list[Guard]:
    """Those of guards.toml, in its order."""
    tables = tomllib.loads((PROJECT / "tests/security/guards.toml").read_text())
    return [Guard(test, **table) for test, table in tables.items()]


def promises() -> list[Promise]:
    """The rows of SECURITY.md's table."""
    text = (PROJECT / "SECURITY.md").read_text()
    table = text.partition("## Guarantees\n")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    return [
        Promise(row[2].strip(), tuple(_TEST.findall(row[3])), tuple(_FILE.findall(row[3])))
        for row in rows[1:]
    ]
