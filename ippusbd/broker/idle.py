"""Whether nothing was asked for during the idle time.

Two kinds of activity: what is reported (`touch`, `hold`), and what is sampled
(requests in flight, drains: `look`). Samples are taken several times within
the idle time, so that the end of a long request restarts the clock and a
short one between two samples shows by its count.

Knows a clock that is passed in; never what is served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

LOOKS: Final = 20  # per idle time
LOOK_MIN_S, LOOK_MAX_S = 0.02, 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """What happens now; `count` differs whenever anything was done since the last sample."""

    busy: bool
    count: int


class IdleClock:
    """Runs out after `idle_s` without activity."""

    def __init__(
        self,
        idle_s: float,
        *,
        look: Callable[[], Sample],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._idle_s = idle_s
        self._look = look
        self._now = now
        self._sleep = sleep
        self._held = 0
        self._count = look().count
        self._last = now()

    @property
    def left_s(self) -> float:
        """Until it runs out, if nothing happens."""
        return self._last + self._idle_s - self._now()

    def touch(self) -> None:
        """Something was done."""
        self._last = self._now()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """The clock stops inside, and restarts at the end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.touch()

    async def expired(self) -> None:
        """Wait until it has run out."""
        step_s = min(max(self._idle_s / LOOKS, LOOK_MIN_S), LOOK_MAX_S)
        while not self.is_over():
            await self._sleep(min(step_s, max(self.left_s, LOOK_MIN_S)))

    def is_over(self) -> bool:
        """Take a sample: nothing happens, and nothing did for the idle time."""
        sample = self._look()
        if self._held or sample.busy or sample.count != self._count:
            self._count = sample.count
            self.touch()
            return False
        return self.left_s <= 0
