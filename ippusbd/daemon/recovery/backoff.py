"""How long to wait before the next try, and how many resets are allowed. Time is injected."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Backoff:
    """Pauses that double from `min_s` to `max_s`."""

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s, self._max_s = min_s, max_s
        self._next_s = min_s

    def next(self) -> float:
        """The pause before the next try, in seconds."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, self._max_s)
        return pause_s

    def reset(self) -> None:
        """It works again."""
        self._next_s = self._min_s


class ResetBudget:
    """At most `limit` resets within `window_s`: no reset loops."""

    def __init__(
        self, limit: int, window_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._window_s, self._clock = limit, window_s, clock
        self._done: deque[float] = deque()

    @property
    def spent(self) -> bool:
        """No reset is allowed now."""
        now = self._clock()
        while self._done and self._done[0] <= now - self._window_s:
            self._done.popleft()
        return len(self._done) >= self._limit

    def allow(self) -> bool:
        """Whether one more reset may happen now; counts it if so."""
        if self.spent:
            return False
        self._done.append(self._clock())
        return True
