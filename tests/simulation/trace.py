"""What happened in a simulation, as a digest of all of it and the text of the last events.

Two runs with one seed have one digest, bit for bit. Lines hold nothing that differs between
runs: no addresses of memory, no wall clock, no real path.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import TextIO

KEPT = 50


class Trace:
    """Events in order. `echo` also gets every line, for a run that is looked at."""

    def __init__(self, clock: Callable[[], float], echo: TextIO | None = None) -> None:
        self._clock = clock
        self._echo = echo
        self._digest = hashlib.blake2b(digest_size=16)
        self.last: deque[str] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self.faults = 0  # injected: deeds of the weather and of the machine

    def note(self, what: str, text: str = "") -> None:
        """An event: `what` is its kind, counted; `text` says more."""
        day, second = divmod(self._clock(), 86400)
        hour, second = divmod(second, 3600)
        minute, second = divmod(second, 60)
        line = f"{day:3.0f}d {hour:02.0f}:{minute:02.0f}:{second:09.6f} {what} {text}"
        self._digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
        self.last.append(line)
        self.counts[what] += 1
        if self._echo is not None:
            print(line, file=self._echo)

    @property
    def events(self) -> int:
        return sum(self.counts.values())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


class LogToTrace(logging.Handler):
    """The daemon's log lines are events, too."""

    def __init__(self, trace: Trace, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        area = record.name.removeprefix("ippusbd.")
        self._trace.note(f"log.{area}.{record.levelname.lower()}", record.getMessage())
