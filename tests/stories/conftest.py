"""Virtual printers that are closed whatever happens, and chance that can be repeated."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ippusbd.virtual.printer import VirtualPrinter

SEED = int(os.environ.get("IPPUSBD_SEED") or random.randrange(1 << 32))
MakePrinter = Callable[..., VirtualPrinter]


@pytest.fixture
def make_printer() -> Iterator[MakePrinter]:
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


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of the run's seed, other ones for every test."""
    return random.Random(f"{SEED} {request.node.name}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"random stories: IPPUSBD_SEED={SEED} repeats them")
