"""The last warnings and errors, for those who look at the status and not at the log.

A fixed number of them, each with its remedy where one is known; the log keeps the rest.
The same sentence again only moves its time: a printer that is tried every minute for a day
does not push out what happened before.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ippusbd.daemon.observe.remedies import diagnose
from ippusbd.log import ROOT, ContextFilter, escaped

KEPT: Final = 20
TEXT_CHARS: Final = 300


@dataclass(slots=True)
class _Trouble:
    at: float  # of the last time, in seconds since the epoch
    level: str
    times: int = 1


class RecentErrors(logging.Handler):
    """Keeps what is logged from WARNING up."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(ContextFilter())
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], _Trouble] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """May be called in any thread; the handler's lock is held."""
        who = str(getattr(record, "printer", ""))
        key = (who, escaped(record.getMessage(), TEXT_CHARS))
        level = "error" if record.levelno >= logging.ERROR else "warning"
        known = self._kept.pop(key, None)
        times = known.times + 1 if known else 1
        self._kept[key] = _Trouble(self._clock(), level, times)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def status(self) -> list[dict[str, Any]]:
        """The last first."""
        self.acquire()
        try:
            kept = list(self._kept.items())
        finally:
            self.release()
        return [
            {
                "at": round(trouble.at, 3),
                "level": trouble.level,
                "printer": who,
                "text": text,
                "times": trouble.times,
                "remedy": diagnose(text).remedy,
            }
            for (who, text), trouble in reversed(kept)
        ]


@contextmanager
def listening() -> Iterator[RecentErrors]:
    """Hears everything that is logged inside."""
    recent = RecentErrors()
    logger = logging.getLogger(ROOT)
    logger.addHandler(recent)
    try:
        yield recent
    finally:
        logger.removeHandler(recent)
