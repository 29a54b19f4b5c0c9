"""Bytes that arrived from a printer and were not read yet.

The one place where a Channel's bytes wait. Reading takes them out in the same
step of the loop in which it is resumed, so a cancelled read loses nothing.
A failure is raised only after all bytes that came before it were taken.

Knows asyncio; one reader at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ippusbd.errors import UsbError


class ReadBuffer:
    """Bytes in order of arrival, then perhaps a failure. Belongs to one event loop.

    Chunks that wait are read as one of up to `joined` bytes: each costs its way to the client.
    """

    def __init__(self, *, joined: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._joined = joined
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.size = 0
        self.failure: UsbError | None = None

    def put(self, data: bytes) -> None:
        """Append; empty data (a zero-length packet) is nothing."""
        if data:
            self._chunks.append(data)
            self.size += len(data)
            self._wake()

    def fail(self, failure: UsbError) -> None:
        """The first failure stays; later ones are its consequences."""
        if self.failure is None:
            self.failure = failure
            self._wake()

    async def get(self) -> bytes:
        """The oldest bytes, never none; waits for some. Raises the failure when nothing is left."""
        while not self._chunks:
            if self.failure is not None:
                raise self.failure
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks.popleft()
        while self._chunks and len(data) + len(self._chunks[0]) <= self._joined:
            data += self._chunks.popleft()
        self.size -= len(data)
        return data

    def clear(self) -> int:
        """Discard all bytes; how many there were."""
        dropped, self.size = self.size, 0
        self._chunks.clear()
        return dropped

    def revive(self) -> None:
        """Forget bytes and failure: the interface is as new."""
        self.clear()
        self.failure = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
