"""Disconnects a client that is too slow while others wait for what it holds.

While nobody waits it may take any time: the printer waits with it. Else it has to move a number of
bytes in each period: one that stalls, or trickles, is disconnected at the end of the period.

Knows asyncio; nothing of what is transferred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class StallTimer:
    """`with StallTimer(...):` around an upload, or the delivery of an answer.

    `disconnect` is called, once, when within `stall_s` fewer than `least` bytes were `moved()` and
    the client was not `blameless()` at both ends of that time.
    """

    def __init__(
        self,
        moved: Callable[[], int],
        blameless: Callable[[], bool],
        disconnect: Callable[[], None],
        *,
        stall_s: float,
        least: int,
    ) -> None:
        self._moved = moved
        self._blameless = blameless
        self._disconnect = disconnect
        self._stall_s = stall_s
        self._least = least
        self._loop = asyncio.get_running_loop()
        self._before = 0
        self._blamed = True
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> StallTimer:
        self._look_later()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._before = self._moved()
        self._timer = self._loop.call_later(self._stall_s, self._look)

    def _look(self) -> None:
        blamed, self._blamed = self._blamed, not self._blameless()
        if not (blamed and self._blamed) or self._moved() - self._before >= self._least:
            self._look_later()
        else:
            self._disconnect()
