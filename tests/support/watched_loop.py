"""An event loop that measures for how long it does not look at its sockets."""

from __future__ import annotations

import asyncio
import selectors
import time
from pathlib import Path
from typing import Any

SCHEDSTAT = Path("/proc/thread-self/schedstat")  # ns: on a processor, and waiting for one
SAMPLE_S = 0.1
blocked_s: list[float] = []  # times above WatchedLoop.LIMIT_S, since the test began


def _descheduled_s() -> float:
    """How long this thread has waited for a processor in all; 0 where the kernel does not tell."""
    return int(SCHEDSTAT.read_text().split()[1]) / 1e9 if SCHEDSTAT.exists() else 0.0


class WatchedLoop(asyncio.SelectorEventLoop):
    """Everything between two calls of select() is work that blocks all clients.

    What it waits for a processor meanwhile is the machine's fault, and does not count.
    """

    LIMIT_S = 2.0

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        self._really_select = selector.select
        selector.select = self._select  # type: ignore[method-assign]
        self._since = self._sampled = float("inf")
        self._descheduled_s = 0.0  # when it was sampled
        super().__init__(selector)

    def run_forever(self) -> None:
        self._since = float("inf")  # what happened between two runs is not the loop's
        super().run_forever()

    def _select(self, timeout: float | None = None) -> Any:
        took = time.perf_counter() - self._since
        if took > self.LIMIT_S:
            took -= _descheduled_s() - self._descheduled_s
        if took > self.LIMIT_S:
            blocked_s.append(took)
        events = self._really_select(timeout)
        self._since = time.perf_counter()
        if not 0 <= self._since - self._sampled < SAMPLE_S:
            self._sampled, self._descheduled_s = self._since, _descheduled_s()
        return events
