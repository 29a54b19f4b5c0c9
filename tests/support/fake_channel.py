"""The other end of an interface, without USB: it speaks when told, and is silent like hardware.

An empty FakeChannel never returns an end of file, because USB knows none. What
it was sent is in `sent`; `hear` lets it answer what it hears.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ippusbd.errors import TransferFailed, UsbError
from ippusbd.usbio.read_buffer import ReadBuffer


class FakeChannel:
    """A `Channel` whose printer is the test."""

    def __init__(
        self,
        says: Iterable[bytes] = (),
        *,
        number: int = 0,
        hear: Callable[[FakeChannel, bytes], None] | None = None,
    ) -> None:
        self.number = number
        self.sent = bytearray()
        self.resets = 0
        self.halts_cleared = 0
        self.clear_failure: UsbError | None = None
        self.closed = False
        self.reset_failure: UsbError | None = None
        self.hear = hear
        self._inbox = ReadBuffer()
        self._takes = asyncio.Event()
        self._takes.set()
        self.say(*says)

    # --- what the printer does

    def say(self, *chunks: bytes) -> None:
        for data in chunks:
            self._inbox.put(data)

    def fail(self, failure: UsbError) -> None:
        self._inbox.fail(failure)
        self._takes.set()

    def stop_taking(self) -> None:
        """Bulk OUT is NAKed from now on."""
        self._takes.clear()

    def take_again(self) -> None:
        self._takes.set()

    # --- Channel

    async def read(self, due: int = 0, *, exact: bool = False) -> bytes:
        return await self._inbox.get()

    def read_ahead(self, due: int, *, exact: bool) -> None:
        pass

    async def write(self, data: bytes) -> None:
        if self._inbox.failure is not None:
            raise self._inbox.failure
        try:
            await self._takes.wait()
        except asyncio.CancelledError:
            self._inbox.fail(TransferFailed("a write was given up in the middle"))
            raise
        if self._inbox.failure is not None:
            raise self._inbox.failure
        self.sent += data
        await asyncio.sleep(0)
        if self.hear is not None:
            self.hear(self, data)

    def rest(self) -> None:
        pass

    def discard(self) -> int:
        return self._inbox.clear()

    async def drain(self, quiet_s: float, limit: int) -> int:
        await asyncio.sleep(0)
        dropped = self.discard()
        if dropped > limit:
            raise TransferFailed("too much")
        return dropped

    async def clear_halt(self) -> None:
        self.halts_cleared += 1
        await asyncio.sleep(0)
        if self.clear_failure is not None:
            raise self.clear_failure
        self._inbox.revive()
        self._takes.set()

    async def reset(self) -> None:
        self.resets += 1
        await asyncio.sleep(0)
        if self.reset_failure is not None:
            raise self.reset_failure
        self._inbox.revive()
        self._takes.set()

    async def close(self) -> None:
        self.closed = True
