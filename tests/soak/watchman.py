"""Watches the daemon's log: warnings are counted, an error or a lost exception is a fault.

The last lines are kept for the report of a fault; times are those of the printers' clock.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
import warnings
from collections import Counter, deque
from typing import Any

from ippusbd.log import LineFormatter

NUMBERS = re.compile(r"\d+(\.\d+)?")
FAULTS_KEPT = 20
LINES_KEPT = 5000


class Watchman(logging.Handler):
    """`warnings`: how often each occurred, with any numbers in it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(LineFormatter(journal=False, stamped=False))
        self.warnings: Counter[str] = Counter()
        self.faults: list[str] = []
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        logging.getLogger().addHandler(self)
        logging.getLogger("ippusbd").setLevel(logging.INFO)
        loop.set_exception_handler(lambda _, context: self._fault(f"asyncio: {context}"))
        sys.unraisablehook = lambda told: self._fault(f"unraisable: {told!r}")
        warnings.simplefilter("error", ResourceWarning)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(f"{time.monotonic():10.2f} {line}")
        if record.levelno >= logging.ERROR or record.name == "asyncio":
            self._fault(f"logged: {line}")
        if not line.replace("\n", "").isprintable():
            self._fault(f"logged raw: {line!r}")
        if record.levelno >= logging.WARNING:
            self.warnings[NUMBERS.sub("N", record.getMessage())[:100]] += 1

    def report(self) -> dict[str, Any]:
        """All of it, for another process."""
        return {
            "warnings": dict(self.warnings),
            "faults": self.faults,
            "lines": list(self.lines),
        }

    def _fault(self, what: str) -> None:
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(what)
