"""Reads tests/data; its README says what is there and where it comes from."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"


def captured(model: str, file: str) -> bytes:
    """The bytes of a device's answer; of a `.hex` file the bytes that it spells."""
    path = DATA / model / file
    if path.suffix != ".hex":
        return path.read_bytes()
    lines = (line.partition("#")[0] for line in path.read_text().splitlines())
    return bytes.fromhex("".join(lines))
