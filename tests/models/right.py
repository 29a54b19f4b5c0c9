"""The table of right values: `right.toml`, by model and key."""

from __future__ import annotations

import tomllib
from pathlib import Path

RIGHT: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("right.toml").read_text(encoding="utf-8")
)


def wrong(name: str, values: dict[str, str]) -> list[str]:
    """What is not as the table has it, or failed where the table does not expect it."""
    expected = RIGHT.get(name, {})
    failed = [
        f"{key}: {value}"
        for key, value in values.items()
        if value.startswith("FAILED") and key not in expected
    ]
    return failed + [
        f"{key}: {values.get(key, 'missing')!r}, right is {right!r}"
        for key, right in expected.items()
        if not values.get(key, "missing").startswith(right)
    ]
