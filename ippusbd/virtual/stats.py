"""Counters of what reached the virtual printer: benchmarks and soak tests rely on them."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

NAMES: Final = (
    "requests",  # heads that were read
    "responses",  # queued to their end
    "broken_http",  # bytes that are no HTTP request, or invalid in its body
    "cut_requests",  # the session ended before the request did
    "cut_responses",  # the session ended before the response was queued
    "bad_ipp",  # IPP requests that cannot be decoded
    "bytes_in",
    "bytes_out",
)


class Stats:
    """Thread-safe counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter(dict.fromkeys(NAMES, 0))
        self.last_broken = ""  # a description of the last broken HTTP

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
