"""How an administrator names printers in `ippusbd retry` and `ippusbd forget`."""

from __future__ import annotations

from ippusbd.daemon.printer.printer import Printer


def meant(selector: str, names: list[str]) -> bool:
    """Whether `selector` is a part of any of them; empty: all are meant."""
    return not selector or any(selector.lower() in name.lower() for name in names)


def names_of(printer: Printer) -> tuple[str, ...]:
    """What an administrator may call it; the last one is what it is called in answers."""
    return (printer.facts.serial if printer.facts else "", printer.name, printer.label)
