"""A Channel over libusb's asynchronous transfers: no thread, several transfers in flight.

IN transfers are posted only while an answer is awaited, as few as will do
(`read_sizes`), and no more than the consumer has room for: that is the
back-pressure. They are delivered in the order in which they were posted.

    read()  -> post IN, cancel those that do not end by themselves while silent
    rest()  -> cancel what is posted
    write() -> OUT in pieces, two in flight
    reset(), close() -> cancel all, wait a bounded time for each to end

Knows asyncio and `libusb`; never pyusb.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import mmap
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from ippusbd.errors import (
    DeviceGone,
    EndpointHalted,
    TransferFailed,
    TransferTimeout,
    UsbError,
)
from ippusbd.usbio.libusb import Libusb, Status, Transfer
from ippusbd.usbio.protocols import USUAL, Pacing, TransferCounts
from ippusbd.usbio.read_buffer import ReadBuffer
from ippusbd.usbio.read_sizes import IN_FLIGHT, ReadSizes
from ippusbd.usbio.tap import Tap

log = logging.getLogger("ippusbd.usb")

OUT_FLIGHT = 2
STOP_S = 3.0  # how long the kernel may take to end cancelled transfers
# After how much silence IN transfers that go beyond what is due are cancelled for their bytes:
# later each time; not so in the next answer of a printer whose transfers had some.
FLUSH_S, FLUSH_MAX_S = 0.1, 0.8  # quirks end an answer after a second of silence
DRAINED_S = 5.0  # how long a question may use the transfer that a drain posted

_FAILURES: dict[Status, type[UsbError]] = {
    Status.STALL: EndpointHalted,
    Status.NO_DEVICE: DeviceGone,
}
_abandoned: list[Transfer] = []  # not ended in time: the kernel may still write into their memory


class Claimed(Protocol):
    """The control side of one claimed interface; blocks."""

    def clear_halts(self) -> None:
        """Clear the halts of both endpoints."""

    def recover(self) -> None:
        """Clear both halts and set the alternate setting again."""

    def release(self) -> None:
        """Release the interface; the last call."""


class AsyncChannel:
    """`Channel` over `libusb`. Control transfers (reset, release) run in `control`."""

    def __init__(
        self,
        number: int,
        claimed: Claimed,
        control: Executor,
        libusb: Libusb,
        handle: ctypes.c_void_p,
        *,
        endpoint_in: int,
        endpoint_out: int,
        packet_bytes: int = 512,
        transfer_bytes: int = 65_536,
        fast_bytes: int = 262_144,
        write_bytes: int | None = None,
        pacing: Pacing = USUAL,
        counts: TransferCounts | None = None,
    ) -> None:
        self._number = number
        self._claimed = claimed
        self._control = control
        self._write_size = write_bytes or transfer_bytes
        self._pacing = pacing
        self._paused_until = 0.0  # no OUT transfer begins before
        self._loop = asyncio.get_running_loop()
        self._read_buffer = ReadBuffer(joined=2 * transfer_bytes)
        self._buffers = [_buffer(fast_bytes) for _ in range(IN_FLIGHT)]
        self._in = [
            Transfer(libusb, handle, endpoint_in, self._in_done, counts=counts)
            for _ in self._buffers
        ]
        self._posted: deque[Transfer] = deque()  # in the order of posting
        self._asked = 0  # bytes that they ask for
        self._out = [
            Transfer(
                *(libusb, handle, endpoint_out, self._out_done),
                zlp=pacing.write_zlp,
                counts=counts,
            )
            for _ in range(OUT_FLIGHT)
        ]
        self._upload: _Upload | None = None
        self._wanted = False
        self._sizes = ReadSizes(packet_bytes, transfer_bytes, fast_bytes, self._loop.time)
        self._flush_s, self._flush_found = FLUSH_S, False
        self._timer: asyncio.TimerHandle | None = None
        self._flush_at = 0.0  # in the loop's time
        self._stopping = False
        self._stopped = asyncio.Event()
        self._none_posted = asyncio.Event()
        self._closed = False

    @property
    def number(self) -> int:
        return self._number

    def tap(self, tap: Tap | None) -> None:
        """See `Tappable`."""
        for transfer in self._in + self._out:
            transfer.tap = tap

    async def read(self, due: int = 0, *, exact: bool = False) -> bytes:
        self.read_ahead(due, exact=exact)
        data = await self._read_buffer.get()
        self._sizes.taken(len(data))
        return data

    def read_ahead(self, due: int, *, exact: bool) -> None:
        self._sizes.expect(due, exact=exact)
        self._wanted = True
        self._post()

    def rest(self) -> None:
        self._wanted = False
        self._sizes.rest()
        if self._flush_found:
            self._flush_s, self._flush_found = FLUSH_S, False
        self._cancel_in()

    def discard(self) -> int:
        return self._read_buffer.clear()

    async def drain(self, quiet_s: float, limit: int) -> int:
        stale, silent = 0, False
        while not silent:
            try:
                async with asyncio.timeout(quiet_s):
                    stale += len(await self.read())
            except TimeoutError:
                if self._sizes.beyond:
                    await self._cancel_posted()
                arrived = self._read_buffer.clear()  # perhaps just when the time was over
                stale, silent = stale + arrived, not arrived
            if stale > limit:
                raise TransferFailed(f"over {limit} stale bytes, and no end of them")
        self._wanted = False
        self._sizes.rest()
        self._cancel_after(DRAINED_S)
        return stale

    async def write(self, data: bytes) -> None:
        if self._read_buffer.failure is not None:
            raise self._read_buffer.failure
        if self._stopping:
            raise TransferFailed("the interface is being stopped")
        upload = self._upload = _Upload(data, self._loop.create_future())
        try:
            pacing = self._pacing
            if pacing.write_pause_s and (pause_s := self._paused_until - self._loop.time()) > 0:
                await asyncio.sleep(pause_s)
            # With pauses, one transfer is over before the next one begins.
            for transfer in self._out[:1] if pacing.write_pause_s else self._out:
                self._send_more(upload, transfer)
            await upload.done
        except asyncio.CancelledError:
            self._fail(TransferFailed("a write was stopped in the middle"))
            raise
        finally:
            if self._upload is upload:
                self._upload = None

    def fail(self, failure: UsbError) -> None:
        self._fail(failure)

    async def clear_halt(self) -> None:
        await self._restart(self._claimed.clear_halts)

    async def reset(self) -> None:
        await self._restart(self._claimed.recover)

    async def _restart(self, recovery: Callable[[], None]) -> None:
        await self._stop()
        await self._loop.run_in_executor(self._control, recovery)
        self._read_buffer.revive()
        self._sizes.rest()
        self._stopping = False

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._read_buffer.fail(TransferFailed("the interface was released"))
        with contextlib.suppress(UsbError):
            await self._stop()
        for transfer in self._in + self._out:
            if transfer.pending:
                _abandoned.append(transfer)
            else:
                transfer.free()
        with contextlib.suppress(UsbError):
            await self._loop.run_in_executor(self._control, self._claimed.release)

    # --- IN

    def _post(self) -> None:
        """Post the IN transfers that are needed now."""
        if not self._posted:
            self._sizes.awaited()
        for transfer, buffer in zip(self._in, self._buffers, strict=True):
            if transfer.pending or transfer in self._posted:
                continue
            if not (size := self._next_size()):
                break
            try:
                transfer.submit(ctypes.addressof(buffer), size, buffer)
            except UsbError as exc:
                if not self._posted:  # else the kernel may have no memory until one ends
                    self._fail(exc)
                    return
                break
            self._posted.append(transfer)
            self._asked += size
        if self._sizes.beyond and self._wanted:
            largest = max((transfer.length for transfer in self._posted), default=0)
            silence_s = self._flush_s * self._sizes.patience(largest)
            self._cancel_after(min(silence_s, FLUSH_MAX_S))

    def _next_size(self) -> int:
        if not self._wanted or self._stopping or self._read_buffer.failure is not None:
            return 0
        return self._sizes.next(self._read_buffer.size + self._asked)

    def _in_done(self, _: Transfer) -> None:
        """Deliver finished transfers in the order of posting."""
        while self._posted and not self._posted[0].pending:
            transfer = self._posted.popleft()
            self._asked -= transfer.length
            length = transfer.actual_length
            if length:
                buffer = self._buffers[self._in.index(transfer)]
                self._read_buffer.put(ctypes.string_at(buffer, length))
                cut = self._sizes.silent and transfer.status is Status.CANCELLED
                self._sizes.arrived(length, cut=cut)
                self._sizes.silent = cut
                self._flush_found |= cut
            self._judge(transfer)
        if not self._posted:
            self._sizes.beyond = False
            self._none_posted.set()
        self._post()
        self._check_stopped()

    def _judge(self, transfer: Transfer) -> None:
        status = transfer.status
        if status not in (Status.COMPLETED, Status.TIMED_OUT, Status.CANCELLED):
            failure = _FAILURES.get(status, TransferFailed)
            self._fail(failure(f"bulk IN: {status.name.lower().replace('_', ' ')}"))

    async def _cancel_posted(self) -> None:
        """End the posted transfers, and wait until what they carried is in the read buffer."""
        self._wanted = False
        self._none_posted.clear()
        self._cancel_in()
        if self._posted:
            await self._bounded(self._none_posted)

    async def _bounded(self, ended: asyncio.Event) -> None:
        """Wait for the kernel to end transfers; raises TransferTimeout."""
        try:
            async with asyncio.timeout(STOP_S):
                await ended.wait()
        except TimeoutError as exc:
            raise TransferTimeout(f"transfers could not be stopped in {STOP_S:.0f} s") from exc

    def _cancel_after(self, silence_s: float) -> None:
        """The timer stays while bytes arrive, unless it is too late; it looks at the time left."""
        self._flush_at = self._loop.time() + silence_s
        if self._timer is None or self._timer.when() > self._flush_at:
            self._stop_timer()
            self._timer = self._loop.call_at(self._flush_at, self._flush)

    def _flush(self) -> None:
        """Nothing arrived for a while: fetch what posted transfers have, or end a drain's."""
        self._timer = None
        if self._loop.time() < self._flush_at:
            self._timer = self._loop.call_at(self._flush_at, self._flush)
            return
        if self._wanted and self._sizes.beyond:
            self._sizes.silent = True
            self._flush_s = min(2 * self._flush_s, FLUSH_MAX_S)
        if not self._wanted or self._sizes.beyond:
            self._cancel_in()

    def _cancel_in(self) -> None:
        self._stop_timer()
        for transfer in list(self._posted):
            transfer.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- OUT

    def _send_next(self, transfer: Transfer) -> None:
        upload = self._upload
        if upload is None or upload.all_sent:
            return
        length = self._pacing.next_write(upload.left, self._write_size)
        try:
            transfer.submit(upload.next, length, upload.data)
        except UsbError as exc:
            if not upload.in_flight:  # else the kernel may have no memory until that one ends
                self._fail(exc)
        else:
            upload.left -= length
            upload.in_flight += 1

    def _out_done(self, transfer: Transfer) -> None:
        upload = self._upload
        if transfer.status is not Status.COMPLETED or transfer.actual_length != transfer.length:
            name = transfer.status.name.lower().replace("_", " ")
            failure = _FAILURES.get(transfer.status, TransferFailed)
            self._fail(failure(f"bulk OUT: {name} after {transfer.actual_length} bytes"))
        elif upload is not None:
            upload.in_flight -= 1
            pacing = self._pacing
            pause_s = pacing.write_pause_s if transfer.length > pacing.write_pause_bytes else 0.0
            if pause_s:
                self._paused_until = self._loop.time() + pause_s
            if pause_s and not upload.all_sent:
                self._loop.call_later(pause_s, self._send_more, upload, transfer)
            else:
                self._send_next(transfer)
            if not upload.in_flight and upload.all_sent and not upload.done.done():
                upload.done.set_result(None)
        self._check_stopped()

    def _send_more(self, upload: _Upload, transfer: Transfer) -> None:
        """After a pause, in which anything may have changed."""
        if self._upload is upload and not upload.done.done() and not self._stopping:
            self._send_next(transfer)

    # --- ends

    def _fail(self, failure: UsbError) -> None:
        """Both directions fail together: an exchange needs both."""
        self._read_buffer.fail(failure)
        self._wanted = False
        for transfer in self._out:
            transfer.cancel()
        if self._upload is not None and not self._upload.done.done():
            self._upload.done.set_exception(failure)

    async def _stop(self) -> None:
        """Cancel everything, and wait until the kernel has ended it."""
        self._stopping = True
        self._wanted = False
        self._stop_timer()
        if self._upload is not None and not self._upload.done.done():
            self._upload.done.set_exception(TransferFailed("a write was stopped"))
        self._stopped.clear()
        for transfer in self._in + self._out:
            transfer.cancel()
        self._check_stopped()
        await self._bounded(self._stopped)

    def _check_stopped(self) -> None:
        if self._stopping and not any(transfer.pending for transfer in self._in + self._out):
            self._stopped.set()


def _buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    """Of pages that take memory once a transfer fills them, and give it back with the interface."""
    return (ctypes.c_char * size).from_buffer(mmap.mmap(-1, size))


class _Upload:
    """One `write`, piece by piece."""

    def __init__(self, data: bytes, done: asyncio.Future[None]) -> None:
        self.data = data
        self.done = done
        self.in_flight = 0
        self.left = len(data)  # bytes that are not on their way yet
        # The address of the bytes themselves: nothing is copied, `data` is kept meanwhile.
        self._address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0

    @property
    def all_sent(self) -> bool:
        """Every piece is on its way, or was."""
        return not self.left

    @property
    def next(self) -> int:
        """Address of the next piece."""
        return self._address + len(self.data) - self.left
