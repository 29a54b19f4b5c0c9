"""How real printers misbehave: one class per behaviour, found here by name.

A new one is a class with a `name` in one of these modules; nothing else has to be changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Final

from ippusbd.virtual.personalities import clients, http, ipp, recovery, scanning, usb
from ippusbd.virtual.personalities.base import Personality


def _defined_in(module: ModuleType) -> Iterator[type[Personality]]:
    for one in vars(module).values():
        if isinstance(one, type) and issubclass(one, Personality) and one.name:
            yield one


REGISTRY: Final[dict[str, type[Personality]]] = {
    one.name: one
    for module in (http, usb, ipp, recovery, scanning, clients)
    for one in _defined_in(module)
}


def help_table() -> list[tuple[str, str]]:
    """Name and first line of help of each, sorted: what a command prints."""
    return sorted((name, one.help()) for name, one in REGISTRY.items())
