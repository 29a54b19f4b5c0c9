"""The last warnings and errors, for the status and its page.

A fixed number of them, each with its remedy where one is known; the log has the rest. A repeated
message only updates its time and count: a printer that is retried every minute for a day does not
displace earlier messages.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ippusbd.daemon.observe.status import RecentError
from ippusbd.kinds import Diagnosis
from ippusbd.log import ROOT, ContextFilter, diagnosis_of, escaped

KEPT: Final = 20
TEXT_CHARS: Final = 300


@dataclass(slots=True)
class _Kept:
    at: float  # the last time, in seconds since the epoch
    level: str
    reason: Diagnosis | None
    times: int = 1


class RecentErrors(logging.Handler):
    """Keeps records from WARNING up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(ContextFilter())
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Called in any thread, with the handler's lock held."""
        who = str(getattr(record, "printer", ""))
        key = (who, escaped(record.getMessage(), TEXT_CHARS))
        level = "error" if record.levelno >= logging.ERROR else "warning"
        known = self._kept.pop(key, None)
        times = known.times + 1 if known else 1
        self._kept[key] = _Kept(time.time(), level, diagnosis_of(record), times)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def status(self) -> tuple[RecentError, ...]:
        """Newest first."""
        self.acquire()
        try:
            kept = list(self._kept.items())
        finally:
            self.release()
        return tuple(
            RecentError(
                at=round(each.at, 3),
                level=each.level,
                printer=who,
                text=text,
                times=each.times,
                reason=each.reason,
            )
            for (who, text), each in reversed(kept)
        )


@contextmanager
def collecting() -> Iterator[RecentErrors]:
    """Collects what is logged inside the block."""
    recent = RecentErrors()
    logger = logging.getLogger(ROOT)
    logger.addHandler(recent)
    try:
        yield recent
    finally:
        logger.removeHandler(recent)
