"""A `Channel` over the pipes of a virtual device, without threads.

Reads only while somebody reads; what had arrived when nobody did any more is kept for
`discard`, as reads in flight would have taken it. An answer of k full packets that nothing
ends is delivered after `SLICE_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ippusbd.errors import TransferFailed, UsbError
from ippusbd.model import InterfaceInfo
from ippusbd.usbio.read_buffer import ReadBuffer
from ippusbd.virtual.usb.device import VirtualDevice
from ippusbd.virtual.usb.pipes import Pipe

READ_BYTES: Final = 64 * 1024
SLICE_S: Final = 0.25
MOVE_S: Final = 2e-8  # of a byte: 50 MB/s


class Claimed(Protocol):
    """The open device that a channel belongs to."""

    @property
    def device(self) -> VirtualDevice: ...
    def check(self, info: InterfaceInfo) -> None: ...
    async def clear_halts(self, info: InterfaceInfo) -> None: ...
    async def set_interface(self, info: InterfaceInfo) -> None: ...
    async def let_go(self, info: InterfaceInfo, *, reattach: bool) -> None: ...


class SimulatedChannel:
    """See `usbio.protocols.Channel`."""

    def __init__(self, device: Claimed, info: InterfaceInfo, *, reattach: bool) -> None:
        self._device = device
        self._info = info
        self._reattach = reattach
        pair = next(f for f in device.device.interfaces if f.number == info.number).ipp
        self._in, self._out = pair.into, pair.out
        self._arrived = ReadBuffer()
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False

    @property
    def number(self) -> int:
        return self._info.number

    # --- reading

    async def read(self, due: int = 0, *, exact: bool = False) -> bytes:
        while not self._arrived.size and self._arrived.failure is None:
            if self._transfer(whole=True):
                break
            pending = len(self._in) > 0
            changed = await self._change(self._in, SLICE_S if pending else None)
            if not changed and self._transfer(whole=False):
                break
        await asyncio.sleep(self._arrived.size * MOVE_S)  # first: a cancelled read loses nothing
        return await self._arrived.get()

    def read_ahead(self, due: int, *, exact: bool) -> None:
        pass

    def _transfer(self, *, whole: bool) -> bool:
        """Put a transfer that is there into the buffer, or a part; False: there is none."""
        try:
            self._device.check(self._info)
            data = self._in.try_read(READ_BYTES) if whole else self._in.take(READ_BYTES)
        except UsbError as exc:
            self.fail(exc)
            return True
        self._arrived.put(data or b"")
        return bool(data)

    def rest(self) -> None:
        while self._arrived.failure is None and self._transfer(whole=True):
            pass

    def discard(self) -> int:
        return self._arrived.clear()

    async def drain(self, quiet_s: float, limit: int) -> int:
        stale = 0
        while True:
            try:
                async with asyncio.timeout(quiet_s + SLICE_S):
                    stale += len(await self.read())
            except TimeoutError:
                return stale
            if stale > limit:
                raise TransferFailed(f"over {limit} stale bytes, and no end of them")

    # --- writing

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while True:
                if self._arrived.failure is not None:
                    raise self._arrived.failure
                self._device.check(self._info)
                taken = self._out.try_write(rest)
                rest = rest[taken:]
                if not len(rest):
                    await asyncio.sleep(len(data) * MOVE_S)
                    return
                if not taken:
                    await self._change(self._out, None)
        except asyncio.CancelledError:
            self.fail(TransferFailed("a write was given up in the middle"))
            self._out.give_up()
            raise
        except UsbError as exc:
            self.fail(exc)
            raise

    # --- the rest

    def fail(self, failure: UsbError) -> None:
        self._arrived.fail(failure)
        for one in self._waiting:
            _wake(one)

    async def clear_halt(self) -> None:
        await self._start_again(self._device.clear_halts)

    async def reset(self) -> None:
        await self._device.clear_halts(self._info)
        await self._start_again(self._device.set_interface)

    async def _start_again(self, how: Callable[[InterfaceInfo], Awaitable[None]]) -> None:
        self.fail(TransferFailed("the transfer was stopped"))
        await how(self._info)
        self._arrived.revive()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.fail(TransferFailed("the interface was released"))
        await self._device.let_go(self._info, reattach=self._reattach)

    async def _change(self, pipe: Pipe, timeout_s: float | None) -> bool:
        """Wait until the pipe, or this channel, changed; False: the time is over."""
        changed = asyncio.get_running_loop().create_future()
        unsubscribe = pipe.subscribe(lambda: _wake(changed))
        self._waiting.append(changed)
        try:
            async with asyncio.timeout(timeout_s):
                await changed
        except TimeoutError:
            return False
        finally:
            unsubscribe()
            self._waiting.remove(changed)
        return True


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
