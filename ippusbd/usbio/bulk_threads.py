"""A Channel whose transfers block, in two threads: one reads, one writes.

For backends that offer nothing but blocking calls: the virtual printer in
this process, and libraries without libusb's asynchronous API. Transfers are
cut into slices of `SLICE_S`, so a thread can always be stopped, and an answer
of k x 512 bytes without a zero-length packet is delivered when its slice ends.

    reader: resting --read()--> reading --rest() or window full--> resting
    both:   any --hold--> held --resume--> resting      (reset, close)

The reader reads ahead at most `window` bytes beyond what the loop has taken:
that is the back-pressure. Knows asyncio and threads; never pyusb.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from ippusbd.errors import TransferFailed, TransferTimeout, UsbError
from ippusbd.usbio.bulk_async import Claimed
from ippusbd.usbio.protocols import USUAL, Pacing, TransferCounts
from ippusbd.usbio.read_buffer import ReadBuffer
from ippusbd.usbio.tap import BlockingTap, Tap

SLICE_S = 0.25
STOP_S = 5.0  # a slice ends after a quarter second; a longer one hangs in the kernel


class BulkIo(Claimed, Protocol):
    """Blocking transfers of one claimed interface, called from threads; raises our errors."""

    def read_into(self, buffer: array[int], timeout_s: float) -> int:
        """How many bytes arrived within `timeout_s`; 0 for silence or a zero-length packet."""

    def write(self, data: memoryview, timeout_s: float) -> int:
        """How many bytes of `data` the printer took within `timeout_s`."""


class _Upload:
    """One `write` on its way through the writer thread."""

    def __init__(self, data: bytes, done: asyncio.Future[None]) -> None:
        self.data = data
        self.done = done
        self.stopped = False


class ThreadChannel:
    """`Channel` over a `BulkIo`. Control transfers (reset, release) run in `control`."""

    def __init__(
        self,
        number: int,
        io: BulkIo,
        control: Executor,
        *,
        transfer_bytes: int = 262_144,
        write_bytes: int | None = None,
        pacing: Pacing = USUAL,
        counts: TransferCounts | None = None,
        endpoints: tuple[int, int] = (0x81, 0x02),
        packet_bytes: int = 512,
    ) -> None:
        self._number = number
        self._io = io
        self._control = control
        self._transfer_bytes = transfer_bytes
        self._write_bytes = write_bytes or transfer_bytes
        self._pacing = pacing
        self._counts = counts or TransferCounts()
        self._packet_bytes = packet_bytes
        self._paused_until = 0.0  # no OUT transfer begins before
        self._window = 2 * transfer_bytes
        self._slice_s = SLICE_S
        self._endpoints = endpoints  # IN and OUT, for a tap
        self._tap: BlockingTap | None = None
        self._loop = asyncio.get_running_loop()
        self._read_buffer = ReadBuffer()
        self._turn = threading.Condition()  # guards everything below
        self._wanted = False
        self._waiting_bytes = 0  # read from USB, not yet taken from the read buffer
        self._upload: _Upload | None = None
        self._held = False
        self._busy = 0  # threads now inside a transfer
        self._stopped = asyncio.Event()
        self._read_over = asyncio.Event()  # a slice of the reader, or all of them
        self._silent = False  # the last one brought nothing in all its time
        self._closed = False
        self._threads = [
            threading.Thread(target=run, name=f"usb-{name}-{number}", daemon=True)
            for name, run in (("in", self._read_thread), ("out", self._write_thread))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def number(self) -> int:
        return self._number

    # --- called in the loop

    def tap(self, tap: Tap | None) -> None:
        """See `Tappable`."""
        self._tap = None if tap is None else BlockingTap(tap, self._endpoints, self._post)

    async def read(self, due: int = 0, *, exact: bool = False) -> bytes:
        if not self._wanted and self._read_buffer.failure is None:
            self._tell(wanted=True)
        data = await self._read_buffer.get()
        with self._turn:
            full = self._waiting_bytes >= self._window
            self._waiting_bytes -= len(data)
            if full:
                self._turn.notify_all()
        return data

    def read_ahead(self, due: int, *, exact: bool) -> None:
        """The thread reads anyway, from the first `read` until `rest`."""

    def rest(self) -> None:
        if self._wanted:
            self._tell(wanted=False)

    def discard(self) -> int:
        dropped = self._read_buffer.clear()
        with self._turn:
            self._waiting_bytes -= dropped
            self._turn.notify_all()
        return dropped

    async def drain(self, quiet_s: float, limit: int) -> int:
        # Over after a slice without a byte, not after a time: the threads may run late.
        stale, self._silent = 0, False
        usual_s, self._slice_s = self._slice_s, quiet_s
        self._tell(wanted=True)
        try:
            while not self._silent:
                await self._slice_over()
                stale += self.discard()
                if self._read_buffer.failure is not None:
                    raise self._read_buffer.failure
                if stale > limit:
                    raise TransferFailed(f"over {limit} stale bytes, and no end of them")
            return stale
        finally:
            self._slice_s = usual_s
            self.rest()

    async def _slice_over(self) -> None:
        self._read_over.clear()
        if self._read_buffer.failure is None:
            try:
                async with asyncio.timeout(STOP_S):
                    await self._read_over.wait()
            except TimeoutError as exc:
                raise TransferTimeout(f"a read did not end in {STOP_S:.0f} s") from exc

    async def write(self, data: bytes) -> None:
        if self._read_buffer.failure is not None:
            raise self._read_buffer.failure
        upload = _Upload(data, self._loop.create_future())
        with self._turn:
            self._upload = upload
            self._turn.notify_all()
        try:
            await upload.done
        except asyncio.CancelledError:
            upload.stopped = True
            self._read_buffer.fail(TransferFailed("a write was stopped in the middle"))
            raise

    def fail(self, failure: UsbError) -> None:
        with self._turn:
            self._wanted = False
            upload = self._upload
            if upload is not None:
                upload.stopped = True
        self._read_buffer.fail(failure)
        self._read_over.set()
        if upload is not None:
            _finish(upload.done, failure)

    async def clear_halt(self) -> None:
        await self._restart(self._io.clear_halts)

    async def reset(self) -> None:
        await self._restart(self._io.recover)

    async def _restart(self, recovery: Callable[[], None]) -> None:
        await self._quiesce()
        await self._loop.run_in_executor(self._control, recovery)
        self._read_buffer.revive()
        with self._turn:
            self._waiting_bytes = 0
            self._wanted = self._held = False
            self._turn.notify_all()

    async def close(self) -> None:
        if self._closed:
            return
        with contextlib.suppress(UsbError):
            await self._quiesce()
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        self._read_buffer.fail(TransferFailed("the interface was released"))
        self._read_over.set()
        with contextlib.suppress(UsbError):
            await self._loop.run_in_executor(self._control, self._io.release)

    def _count(self, whole: bool, failure: UsbError | None) -> None:
        """A slice is over; the library cancels what is not moved when its time is over."""
        self._counts.submitted += 1
        self._counts.completed += whole and failure is None
        self._counts.cancelled += not whole and failure is None

    def _count_read(self, whole: bool, failure: UsbError | None, silent: bool) -> None:
        self._count(whole, failure)
        self._silent = silent
        self._read_over.set()

    def _tell(self, *, wanted: bool) -> None:
        with self._turn:
            self._wanted = wanted
            self._turn.notify_all()

    async def _quiesce(self) -> None:
        """Both threads out of their transfers and kept there."""
        with self._turn:
            self._held = True
            if self._upload is not None:
                self._upload.stopped = True
            self._stopped.clear()
            if not self._busy:
                self._stopped.set()
        try:
            async with asyncio.timeout(STOP_S):
                await self._stopped.wait()
        except TimeoutError as exc:
            raise TransferTimeout(f"a transfer could not be stopped in {STOP_S:.0f} s") from exc
        if self._upload is not None:  # it came while we held the threads
            _finish(self._upload.done, TransferFailed("a write was stopped before it began"))
            self._upload = None

    # --- called in the threads

    def _read_thread(self) -> None:
        buffer = array("B", bytes(self._transfer_bytes))
        view = memoryview(buffer)
        while self._enter(lambda: self._wanted and self._waiting_bytes < self._window):
            began, data, failure = time.time(), b"", None
            slice_s, until = self._slice_s, time.monotonic() + self._slice_s
            try:
                data = bytes(view[: self._io.read_into(buffer, slice_s)])
                if data:
                    self._arrived(data)
            except UsbError as exc:
                failure = exc
                self._fail(exc)
            finally:
                self._leave()
            # A zero-length packet ends it as well, but early.
            silent = not data and time.monotonic() > until - slice_s / 10
            self._post(self._count_read, bool(data), failure, silent)
            if self._tap is not None:
                self._tap.read(began, len(buffer), data, failure)

    def _write_thread(self) -> None:
        while self._enter(lambda: self._upload is not None):
            upload = self._upload
            assert upload is not None
            failure: UsbError | None = None
            try:
                self._push(upload)
            except UsbError as exc:
                failure = exc
                self._fail(exc)
            with self._turn:
                self._upload = None  # first: once it is settled, the next one may come
            self._post(_finish, upload.done, failure)
            self._leave()

    def _push(self, upload: _Upload) -> None:
        rest = memoryview(upload.data)
        while rest:
            time.sleep(max(0.0, self._paused_until - time.monotonic()))
            if upload.stopped:
                sent = len(upload.data) - len(rest)
                raise TransferFailed(f"a write was stopped after {sent} bytes")
            part = rest[: self._pacing.next_write(len(rest), self._write_bytes)]
            moved = self._write(part)
            rest = rest[moved:]
            if self._pacing.write_zlp and moved == len(part) and not moved % self._packet_bytes:
                self._write(rest[:0])
            if moved > self._pacing.write_pause_bytes:
                self._paused_until = time.monotonic() + self._pacing.write_pause_s

    def _write(self, part: memoryview) -> int:
        began, moved, failure = time.time(), 0, None
        try:
            moved = self._io.write(part, self._slice_s)
        except UsbError as exc:
            failure = exc
            raise
        finally:
            self._post(self._count, moved == len(part), failure)
            if self._tap is not None:
                self._tap.wrote(began, part, moved, failure)
        return moved

    def _enter(self, ready: Callable[[], bool]) -> bool:
        """Wait for work; False at the end of the thread."""
        with self._turn:
            self._turn.wait_for(lambda: self._closed or (not self._held and ready()))
            if self._closed:
                return False
            self._busy += 1
            return True

    def _leave(self) -> None:
        with self._turn:
            self._busy -= 1
            if self._held and not self._busy:
                self._post(self._stopped.set)  # after all they posted before

    def _arrived(self, data: bytes) -> None:
        with self._turn:
            self._waiting_bytes += len(data)
        self._post(self._read_buffer.put, data)

    def _fail(self, failure: UsbError) -> None:
        with self._turn:
            self._wanted = False
        self._post(self._read_buffer.fail, failure)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to notify
            self._loop.call_soon_threadsafe(call, *args)


def _finish(done: asyncio.Future[None], failure: UsbError | None) -> None:
    if done.done():
        return  # its writer was cancelled
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
