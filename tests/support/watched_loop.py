"""An event loop that measures for how long it does not look at its sockets."""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

blocked_s: list[float] = []  # times above WatchedLoop.LIMIT_S, since the test began


class WatchedLoop(asyncio.SelectorEventLoop):
    """Everything between two calls of select() is work that blocks all clients."""

    LIMIT_S = 2.0  # two slow cores may deschedule us; a call that really blocks lasts longer

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        self._really_select = selector.select
        selector.select = self._select  # type: ignore[method-assign]
        self._since = float("inf")
        super().__init__(selector)

    def run_forever(self) -> None:
        self._since = float("inf")  # what happened between two runs is not the loop's
        super().run_forever()

    def _select(self, timeout: float | None = None) -> Any:
        took = time.perf_counter() - self._since
        if took > self.LIMIT_S:
            blocked_s.append(took)
        events = self._really_select(timeout)
        self._since = time.perf_counter()
        return events
