"""Random numbers that can be repeated."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from ippusbd.virtual.printer import VirtualPrinter

SEED = int(os.environ.get("IPPUSBD_SEED") or random.randrange(1 << 32))
MakePrinter = Callable[..., VirtualPrinter]


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers from the run's seed, different for every test."""
    return random.Random(f"{SEED} {request.node.name}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"random stories: IPPUSBD_SEED={SEED} repeats them")
