"""Every misbehaviour of field-notes 4, by name; `REGISTRY` is what commands and tests offer."""

from __future__ import annotations

from typing import Final

from ippusbd.virtual.personalities import http as http
from ippusbd.virtual.personalities import ipp as ipp
from ippusbd.virtual.personalities import recovery as recovery
from ippusbd.virtual.personalities import usb as usb
from ippusbd.virtual.personalities.base import Personality

REGISTRY: Final[dict[str, type[Personality]]] = {
    one.name: one for one in (*http.ALL, *usb.ALL, *ipp.ALL, *recovery.ALL)
}


def help_table() -> list[tuple[str, str]]:
    """Name and first line of help of each, sorted: what a command prints."""
    return sorted((name, one.help()) for name, one in REGISTRY.items())
