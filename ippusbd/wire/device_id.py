"""IEEE 1284 device ids: `MFG:HP;MDL:DeskJet;CMD:PCL;`, from GET_DEVICE_ID or from IPP."""

from __future__ import annotations

from typing import Final

from ippusbd.wire.clean import printable

LONG_NAMES: Final = {"MANUFACTURER": "MFG", "MODEL": "MDL", "COMMAND SET": "CMD"}


def parse(device_id: str) -> dict[str, str]:
    """Values by upper-case key, long key names made short; the first of equal keys counts."""
    found: dict[str, str] = {}
    for item in device_id.split(";"):
        key, colon, value = item.partition(":")
        key = printable(key).upper()
        if colon and key:
            found.setdefault(LONG_NAMES.get(key, key), printable(value))
    return found
