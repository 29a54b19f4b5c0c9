"""Hears what the daemon logs: warnings are counted, an error or a lost exception is a fault."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import warnings
from collections import Counter

NUMBERS = re.compile(r"\d+(\.\d+)?")
FAULTS_KEPT = 20


class Watchman(logging.Handler):
    """`warnings`: how often each was said, whatever numbers stood in it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: Counter[str] = Counter()
        self.faults: list[str] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        logging.getLogger().addHandler(self)
        loop.set_exception_handler(lambda _, context: self._fault(f"asyncio: {context}"))
        sys.unraisablehook = lambda told: self._fault(f"unraisable: {told!r}")
        warnings.simplefilter("error", ResourceWarning)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR or record.name == "asyncio":
            self._fault(f"logged: {self.format(record)}")
        if not text.isprintable():
            self._fault(f"logged raw: {text!r}")
        self.warnings[NUMBERS.sub("N", text)[:100]] += 1

    def _fault(self, what: str) -> None:
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(what)
