"""Virtual printers that are closed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ippusbd.virtual.printer import VirtualPrinter


@pytest.fixture
def make_printer() -> Iterator[Callable[..., VirtualPrinter]]:
    """`make_printer(*personalities, **options)`: a virtual printer, not plugged in yet."""
    made: list[VirtualPrinter] = []

    def make(*personalities: str, **options: object) -> VirtualPrinter:
        printer = VirtualPrinter(personalities=personalities, **options)  # type: ignore[arg-type]
        made.append(printer)
        return printer

    yield make
    for printer in made:
        printer.close()


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "printers.json"
