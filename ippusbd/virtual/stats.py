"""What the virtual printer saw, counted exactly: benchmarks and soak tests judge by it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

NAMES: Final = (
    "requests",  # heads that were read
    "responses",  # answers queued to their end
    "broken_http",  # bytes that are no HTTP request, or break one's body
    "cut_requests",  # the session ended before the request did
    "cut_responses",  # the session ended before the answer was queued
    "bad_ipp",  # IPP requests that cannot be decoded
    "bytes_in",
    "bytes_out",
)


class Stats:
    """Counters that threads share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter(dict.fromkeys(NAMES, 0))
        self.last_broken = ""  # what the last broken HTTP looked like

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] += count

    def broken(self, what: str) -> None:
        with self._lock:
            self._counts["broken_http"] += 1
            self.last_broken = what

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def as_dict(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)
