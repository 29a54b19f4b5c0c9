"""Disconnects a client that stalls while others wait for the interface that it holds.

While nobody waits it may take any time: the printer waits with it. One timer serves a whole
answer or upload, so that a client that does not stall costs nothing.

Knows asyncio; nothing of what is transferred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class ReaderStallTimer:
    """`with ReaderStallTimer(...) as timer:` around an answer, `await timer.of(write)` within.

    `disconnect` is called, once, when a write has lasted `stall_s` and `contended()` is true; it
    must make the write end.
    """

    def __init__(
        self, contended: Callable[[], bool], stall_s: float, disconnect: Callable[[], None]
    ) -> None:
        self._contended = contended
        self._stall_s = stall_s
        self._disconnect = disconnect
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> ReaderStallTimer:
        self._look_after(self._stall_s)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def of(self, write: Awaitable[None]) -> None:
        """Wait for `write`."""
        self._since = self._loop.time()
        try:
            await write
        finally:
            self._since = None

    def _look_after(self, pause_s: float) -> None:
        self._timer = self._loop.call_later(pause_s, self._look)

    def _look(self) -> None:
        waited_s = 0.0 if self._since is None else self._loop.time() - self._since
        if waited_s < self._stall_s:
            self._look_after(self._stall_s - waited_s)
        elif self._contended():
            self._disconnect()
        else:
            self._look_after(self._stall_s)


class UploadStallTimer:
    """`with UploadStallTimer(...):` around an upload.

    `disconnect` is called, once, when within `stall_s` fewer than LEAST bytes were `received()` and
    the client was not `blameless()` at both ends of that time.
    """

    LEAST = 1024

    def __init__(
        self,
        received: Callable[[], int],
        blameless: Callable[[], bool],
        stall_s: float,
        disconnect: Callable[[], None],
    ) -> None:
        self._received = received
        self._blameless = blameless
        self._stall_s = stall_s
        self._disconnect = disconnect
        self._loop = asyncio.get_running_loop()
        self._before = 0
        self._blamed = True
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> UploadStallTimer:
        self._look_later()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._before = self._received()
        self._timer = self._loop.call_later(self._stall_s, self._look)

    def _look(self) -> None:
        blamed, self._blamed = self._blamed, not self._blameless()
        if not (blamed and self._blamed) or self._received() - self._before >= self.LEAST:
            self._look_later()
        else:
            self._disconnect()
