"""Adds keys to a TOML file without changing a line of it.

New keys stand directly below their section's header, or in new sections at the end.
Pure: text in, text out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ippusbd.toml_lines import key_lines


@dataclass(frozen=True, slots=True)
class Addition:
    """One key, with a comment above it."""

    section: str
    key: str
    value: object
    comment: str

    @property
    def line(self) -> str:
        """As in a file."""
        return f"{self.key} = {shown(self.value)}"


def shown(value: object) -> str:
    """Texts, numbers, booleans and lists of them in TOML's syntax."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return json.dumps(value, ensure_ascii=False)


def merged(document: str, additions: Sequence[Addition]) -> str:
    """`document`, which is valid TOML, with all additions."""
    headers = {path[0]: line for path, line in key_lines(document).items() if len(path) == 1}
    by_section: dict[str, list[str]] = {}
    for each in additions:
        by_section.setdefault(each.section, []).extend((f"# {each.comment}", each.line))
    rows = document.removesuffix("\n").split("\n") if document else []
    for section, new in _from_the_end(by_section, headers):
        at = headers.get(section)
        if at is None:
            rows += ["", f"[{section}]", *new]
        else:
            rows[at:at] = new
    return "\n".join(rows) + "\n"


def _from_the_end(
    by_section: Mapping[str, list[str]], headers: Mapping[str | int, int]
) -> list[tuple[str, list[str]]]:
    """New sections first, then from the last header up: no line number changes before its use."""
    return sorted(by_section.items(), key=lambda item: -headers.get(item[0], 1 << 30))
