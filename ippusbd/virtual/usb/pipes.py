"""Bulk pipes between a host and a virtual device, with the behaviour of USB hardware.

An OUT pipe accepts bytes until its buffer is full, then none (NAK). An IN pipe sends nothing
until the device queues something, and what nobody reads stays for the next reader. A transfer
on IN is complete when the host's buffer is full or a packet shorter than the endpoint's packet
size arrives; a message of k full packets that no zero-length packet follows leaves the
transfer pending with its bytes inside: `take` returns them to a transport that stops the
transfer.

The host's end exists twice: `try_*` never waits (`subscribe` reports when to try again),
`read_into` and `write` wait in a thread. The device's end always waits, until its
`InterfaceSession` ends.

Every buffer is bounded. Knows threads and `waits`; nothing of USB's control side or of HTTP.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from ippusbd.errors import DeviceGone, EndpointHalted, TransferFailed, TransferTimeout
from ippusbd.virtual.usb.waits import Change, Signal

IN_CAPACITY: Final = 256 * 1024
OUT_CAPACITY: Final = 1024 * 1024  # some large transfers: at a full pipe two threads take turns
Buffer = bytes | bytearray | memoryview


class SessionEnded(Exception):
    """The host reset the interface, selected another setting, or is gone."""


class Overflow(TransferFailed):
    """The host's buffer was not a multiple of the packet size and a packet did not fit."""


class InterfaceSession:
    """The time between two resets of an interface; its end wakes all waiters."""

    def __init__(self) -> None:
        self._end = Signal()

    @property
    def ended(self) -> bool:
        return self._end.count > 0

    def end(self) -> None:
        self._end.notify()

    def check(self) -> None:
        if self.ended:
            raise SessionEnded

    async def pause(self, seconds: float) -> None:
        """Raises SessionEnded as soon as the session ends."""
        if await Change(self._end, 0, seconds):
            raise SessionEnded


def _always() -> bool:
    return True


class Pipe:
    """What both directions share: buffer, halt, unplug, and subscribers to changes."""

    def __init__(self, packet: int, capacity: int) -> None:
        self.packet = packet
        self.capacity = capacity
        self.gate: Callable[[], bool] = _always  # False: the endpoint answers NAK; may raise
        self.stops: Callable[[], bool] = _always  # False: a cancelled transfer goes on
        self._changed = Signal()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._size = 0
        self._halted = False
        self._gone = False

    def __len__(self) -> int:
        return self._size

    @property
    def halted(self) -> bool:
        return self._halted

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener`, from any thread, when a retry may succeed; returns how to undo it."""
        self._listeners += (listener,)

        def unsubscribe() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unsubscribe

    def wake(self) -> None:
        """Something outside the pipe changed: a gate, a session, the plug."""
        self._changed.notify()
        self._tell()

    def halt(self) -> None:
        """Answer STALL until `clear_halt`."""
        self._halted = True
        self.wake()

    def clear_halt(self) -> None:
        self._halted = False
        self.wake()

    def kill(self) -> None:
        """The device is unplugged; every call of the host fails from now on."""
        self._gone = True
        self.wake()

    def flush(self) -> int:
        """Discard what is buffered; returns how many bytes."""
        with self._changed:
            lost, self._size = self._size, 0
            self._clear()
            self._changed.notify()
        self._tell()
        return lost

    def _clear(self) -> None:
        raise NotImplementedError

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _check_host(self) -> None:
        if self._gone:
            raise DeviceGone("the virtual device is unplugged")
        if self._halted:
            raise EndpointHalted("the endpoint is halted")


class OutPipe(Pipe):
    """Host to device."""

    def __init__(self, packet: int, capacity: int = OUT_CAPACITY) -> None:
        super().__init__(packet, capacity)
        self.sink: Callable[[bytes], None] | None = None  # receives everything at once
        self.gave_up: Callable[[], None] | None = None  # a host stopped an unfinished transfer
        self.offered: Callable[[int], None] | None = None  # the host submits this many bytes
        self._segments: deque[bytes] = deque()

    def _clear(self) -> None:
        self._segments.clear()

    # --- the host's end

    def try_write(self, data: Buffer) -> int:
        """How many bytes of `data` the device accepted now."""
        with self._changed:
            self._check_host()
            taken = self._accept(memoryview(data))
            if taken:
                self._changed.notify()
        return taken

    def write(self, data: Buffer, timeout_s: float | None) -> int:
        """Blocks until all is accepted or the time is over; returns how many bytes were.

        Raises TransferTimeout when none was.
        """
        view, done = memoryview(data), 0
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._check_host()
                taken = self._accept(view[done:])
                if taken:
                    done += taken
                    self._changed.notify()
                if done == len(view):
                    return done
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.block(left)
        self.give_up()
        if not done:
            raise TransferTimeout("the virtual device accepted nothing")
        return done

    def give_up(self) -> None:
        """A transport stopped a transfer that the device had not accepted whole."""
        if self.gave_up is not None:
            self.gave_up()

    def _accept(self, view: memoryview) -> int:
        if self.offered is not None:
            self.offered(len(view))
        if not len(view) or not self.gate():
            return 0
        room = len(view) if self.sink is not None else self.capacity - self._size
        count = len(view) if len(view) <= room else room - room % self.packet
        if count <= 0:
            return 0
        data = bytes(view[:count])
        if self.sink is not None:
            self.sink(data)
        else:
            self._segments.append(data)
            self._size += count
        return count

    # --- the device's end

    async def recv(self, session: InterfaceSession, timeout_s: float | None = None) -> bytes:
        """The next bytes, as the host wrote them; b"" after `timeout_s` without any change."""
        while True:
            with self._changed:
                session.check()
                seen = self._changed.count
                data = self._segments.popleft() if self._segments else b""
                if data:
                    self._size -= len(data)
                    self._changed.notify()
            if data:
                self._tell()
                return data
            if not await Change(self._changed, seen, timeout_s):
                return b""


class InPipe(Pipe):
    """Device to host."""

    def __init__(self, packet: int, capacity: int = IN_CAPACITY) -> None:
        super().__init__(packet, capacity)
        self.fetched: Callable[[], None] | None = None  # the host read something
        self._segments: deque[tuple[memoryview, bool]] = deque()  # True: ends in a short packet
        self._ends = 0  # how many of them do

    @property
    def pending_transfers(self) -> int:
        """How many short or zero-length packets are unread."""
        return self._ends

    def _clear(self) -> None:
        self._segments.clear()
        self._ends = 0

    # --- the host's end

    def try_read(self, size: int) -> bytes | None:
        """A complete transfer of at most `size` bytes (b"" is a zero-length packet), or None."""
        with self._changed:
            self._check_host()
            if not self._complete(size):
                return None
            data = b"".join(self._collect(size))
            self._changed.notify()
        self._tell_fetched()
        return data

    def take(self, size: int) -> bytes:
        """What a stopped transfer of `size` bytes already holds, possibly nothing."""
        with self._changed:
            if self._gone or self._halted or not self.gate():
                return b""
            data = b"".join(self._collect(size))
            self._changed.notify()
        self._tell_fetched()
        return data

    def read_into(self, buffer: memoryview, timeout_s: float | None) -> int:
        """Blocks until a transfer is complete or the time is over; returns how many bytes it holds.

        Raises TransferTimeout when the time is over and there are none.
        """
        size, done = len(buffer), 0
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._check_host()
                complete = self._complete(size)
                left = None if deadline is None else deadline - time.monotonic()
                if complete or (left is not None and left <= 0):
                    break
                self._changed.block(left)
            if complete or self.gate():
                for piece in self._collect(size):
                    buffer[done : done + len(piece)] = piece
                    done += len(piece)
            self._changed.notify()
        self._tell_fetched()
        if not done and not complete:
            raise TransferTimeout("the virtual device sent nothing")
        return done

    def _tell_fetched(self) -> None:
        if self.fetched is not None:
            self.fetched()

    def _complete(self, size: int) -> bool:
        return self.gate() and (self._ends > 0 or self._size >= size > 0)

    def _collect(self, size: int) -> list[memoryview]:
        pieces: list[memoryview] = []
        room = size
        while self._segments:
            view, short = self._segments[0]
            if len(view) > room:
                break
            self._segments.popleft()
            self._size -= len(view)
            room -= len(view)
            pieces.append(view)
            if short:
                self._ends -= 1
                return pieces
            if not room:
                return pieces
        if self._segments and room:
            pieces.append(self._cut(room))
        return pieces

    def _cut(self, room: int) -> memoryview:
        view, short = self._segments[0]
        if room % self.packet:
            lost = min(len(view), room - room % self.packet + self.packet)
            self._drop_first(lost)
            raise Overflow(f"a packet of up to {self.packet} bytes met {room} bytes of room")
        self._segments[0] = (view[room:], short)
        self._size -= room
        return view[:room]

    def _drop_first(self, count: int) -> None:
        view, short = self._segments.popleft()
        self._size -= count
        if count < len(view):
            self._segments.appendleft((view[count:], short))
        elif short:
            self._ends -= 1

    # --- the device's end

    async def send(self, session: InterfaceSession, transfers: Iterable[Buffer]) -> None:
        """Queue each buffer as one USB transfer of the device; waits for room.

        An empty buffer is a zero-length packet. A length that is a multiple of the packet size
        does not end the message.
        """
        for data in transfers:
            while (seen := self._append_if_room(session, data)) is not None:
                await Change(self._changed, seen)
            self._tell()

    def _append_if_room(self, session: InterfaceSession, data: Buffer) -> int | None:
        """None: done; else the count of changes, to wait for the next one."""
        with self._changed:
            session.check()
            if self._size >= self.capacity or self._ends >= self.capacity:
                return self._changed.count
            self._append(data)
            return None

    def push(self, data: Buffer) -> None:
        """Queue one transfer without waiting; for small responses."""
        with self._changed:
            self._append(data)
        self._tell()

    def _append(self, data: Buffer) -> None:
        view = memoryview(data)
        short = len(view) % self.packet != 0 or not len(view)
        self._segments.append((view, short))
        self._size += len(view)
        self._ends += short
        self._changed.notify()
