"""TOML files, with the lines of their keys, which tomllib does not report.

The text has already been parsed by tomllib, so only the beginnings of
statements must be found: strings of the four kinds, comments and brackets are
skipped, and every statement starts with a header or a key.

    [listen]                       ("listen",)               line 1
    port_min = 1                   ("listen", "port_min")    line 2
    [[quirk]]                      ("quirk", 0)              line 3
    reason = "why"                 ("quirk", 0, "reason")    line 4

A key inside an inline table has the line of its statement: ask `line_of`.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ippusbd.errors import ConfigError

KeyPath = tuple[str | int, ...]

MAX_FILE_BYTES: Final = 1 << 20

# Longest first: three quotes open a multi-line string before one quote opens a short one.
_SKIP: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[{]|[\]}]|\n|[^\[\]{}\"'#\n]+",
    re.DOTALL,
)


def read_file(path: Path) -> bytes:
    """A file of limited size. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return raw


def tables_and_lines(raw: bytes, origin: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """A document and the lines of its keys. Raises ConfigError that names `origin`."""
    try:
        document = raw.decode()
        tables = tomllib.loads(document)
    except (ValueError, RecursionError) as exc:  # of UTF-8, of TOML, of numbers with 4300 digits
        raise ConfigError(f"{origin}: not a TOML file: {exc}") from exc
    return tables, key_lines(document)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Every header and key of a valid TOML document with its line, counted from 1."""
    lines: dict[KeyPath, int] = {}
    seen: Counter[KeyPath] = Counter()
    at: KeyPath = ()
    for line, statement in _statements(text):
        if statement.startswith("[["):
            name = _names(statement[2 : statement.rindex("]]")])
            at = (*name, seen[name])
            seen[name] += 1
            lines.setdefault(at, line)
        elif statement.startswith("["):
            at = _names(statement[1 : statement.rindex("]")])
            lines.setdefault(at, line)
        else:
            lines.setdefault((*at, *_names(_left_side(statement))), line)
    return lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of `path`, or of the nearest one around it; 1 if there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _statements(text: str) -> list[tuple[int, str]]:
    """(line, text) of each statement; a statement ends at a line's end outside brackets."""
    found: list[tuple[int, str]] = []
    line, depth, start, parts = 1, 0, 1, [""]
    for match in _SKIP.finditer(text + "\n"):
        piece = match[0]
        if piece == "\n" and depth == 0:
            if statement := "".join(parts).strip():
                found.append((start, statement))
            parts, start = [""], line + 1
        elif not piece.startswith("#"):
            parts.append(piece)
        depth += (piece in "[{") - (piece in "]}")
        line += piece.count("\n")
    return found


def _left_side(statement: str) -> str:
    """The part before the first "=" that is not inside a quoted key."""
    match = re.match(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|[^"'=])*""", statement)
    return match[0] if match else statement


def _names(dotted: str) -> tuple[str, ...]:
    """The parts of a dotted key; tomllib itself unquotes them."""
    names: list[str] = []
    value: object = tomllib.loads(f"{dotted} = 0")
    while isinstance(value, dict):
        name, value = next(iter(value.items()))
        names.append(name)
    return tuple(names)
