"""The URBs of one imported device: submitted, completed, unlinked.

URBs of an endpoint complete in the order of submission. One that cannot complete now waits;
the pipe reports when to try again. Data is never lost: an URB that has transferred bytes when
it is unlinked completes with them first, and the unlink then came too late (RET_UNLINK with
status 0).

Whoever notices a change pumps: the thread that reads the socket, or the firmware's thread
that queued a response. No lock is held while a pipe or the device is called; a pump that finds
another one running leaves the work to it.

Knows pipes, the device and USB/IP's messages; no sockets.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from ippusbd.errors import DeviceGone, EndpointHalted, IppUsbError, TransferTimeout
from ippusbd.virtual.usb import usbip_messages as m
from ippusbd.virtual.usb.device import Setup, VirtualDevice
from ippusbd.virtual.usb.pipes import InPipe, OutPipe, Overflow

Send = Callable[..., None]  # takes parts of one message, in order

UNLINKED: Final = -errno.ECONNRESET
SET_CONFIGURATION, SET_INTERFACE = (0x00, 9), (0x01, 11)

# Linux asks for 64 bytes of the device descriptor only at address 0, after a reset of the port;
# the reset itself stays inside its virtual hub and never reaches us (hub_port_init, vhci_hcd).
AFTER_PORT_RESET: Final = Setup(0x80, 6, 0x0100, 0, 64)


def status_of(exc: IppUsbError) -> int:
    """The negative errno an URB ends with."""
    for kind, number in (
        (EndpointHalted, errno.EPIPE),
        (DeviceGone, errno.ENODEV),
        (Overflow, errno.EOVERFLOW),
    ):
        if isinstance(exc, kind):
            return -number
    return -errno.EPROTO


class PendingUrb:
    """A bulk URB that waits. `data` is what an OUT URB still has to send."""

    __slots__ = ("data", "done", "forgotten", "length", "sequence", "unlinked_by", "zero_packet")

    def __init__(self, command: m.Command, data: memoryview) -> None:
        self.sequence = command.sequence
        self.length = command.length
        self.data = data
        self.zero_packet = command.zero_packet
        self.done = 0
        self.unlinked_by = 0  # sequence number of the CMD_UNLINK; 0: none
        self.forgotten = False  # the host was told that it ended, and it goes on

    def keep(self) -> None:
        """Copy `data`: its buffer will be reused."""
        if self.done < len(self.data):
            self.data = memoryview(bytes(self.data))


class Endpoint:
    """The URBs of one bulk endpoint and its pipe."""

    def __init__(self, pipe: InPipe | OutPipe, send: Send) -> None:
        self.pipe = pipe
        self._send = send
        self._waiting: deque[PendingUrb] = deque()
        self._lock = threading.Lock()
        self._pumping = self._again = False
        self._closed = False
        self._last_status: int | None = None
        self._unsubscribe = pipe.subscribe(self.pump)

    def close(self, status: int | None = None) -> None:
        """Nothing completes any more; with a status, waiting URBs end with it."""
        self._unsubscribe()
        self._closed, self._last_status = True, status
        self.pump()

    def submit(self, urb: PendingUrb) -> None:
        """Start an URB whose data is valid during this call only: one that waits keeps a copy."""
        if self._first():
            if not self._complete(urb):
                urb.keep()
                self._waiting.append(urb)
            self._again = True
            self._work()
        else:
            urb.keep()
            self._waiting.append(urb)
            self.pump()

    def _first(self) -> bool:
        """Nothing waits and no thread pumps; from now on this one does."""
        with self._lock:
            first = not self._pumping and not self._waiting
            self._pumping |= first
            return first

    def unlink(self, target: int, by: int) -> bool:
        """False: the URB is not here (any more)."""
        for urb in tuple(self._waiting):
            if urb.sequence == target:
                if self.pipe.stops():
                    urb.unlinked_by = by
                    self.pump()
                else:
                    urb.forgotten = True
                    self._send(m.unlinked(by, UNLINKED))
                return True
        return False

    def pump(self) -> None:
        """Complete what can complete; called from any thread, never waits."""
        with self._lock:
            self._again = True
            if self._pumping:
                return
            self._pumping = True
        self._work()

    def _work(self) -> None:
        while self._take_turn():
            self._move()

    def _take_turn(self) -> bool:
        with self._lock:
            self._pumping = self._again
            self._again = False
            return self._pumping

    def _move(self) -> None:
        waiting = self._waiting
        if self._closed:
            self._end_all()
        while waiting and not waiting[0].unlinked_by:
            if not self._complete(waiting[0]):
                break
            waiting.popleft()
        for urb in [one for one in tuple(waiting) if one.unlinked_by]:
            self._unlink(urb, first=urb is waiting[0])
            waiting.remove(urb)
            self._again = True  # the next one is first now

    def _end_all(self) -> None:
        while self._waiting:
            urb = self._waiting.popleft()
            if self._last_status is not None and not urb.forgotten:
                self._send(m.submitted(urb.sequence, self._last_status, urb.done))

    def _complete(self, urb: PendingUrb) -> bool:
        try:
            return self._read(urb) if isinstance(self.pipe, InPipe) else self._write(urb)
        except TransferTimeout:
            return False  # the device does not answer; the host's time-out ends it
        except IppUsbError as exc:
            self._send(m.submitted(urb.sequence, status_of(exc), urb.done))
            return True

    def _read(self, urb: PendingUrb) -> bool:
        assert isinstance(self.pipe, InPipe)
        data = self.pipe.try_read(urb.length)
        if data is None:
            return False
        self._send(m.submitted(urb.sequence, 0, len(data)), data)
        return True

    def _write(self, urb: PendingUrb) -> bool:
        assert isinstance(self.pipe, OutPipe)
        while urb.done < urb.length:
            taken = self.pipe.try_write(urb.data[urb.done :] if urb.done else urb.data)
            if not taken:
                return False
            urb.done += taken
        if not urb.length or (urb.zero_packet and not urb.length % self.pipe.packet):
            self.pipe.try_write(b"")
        self._send(m.submitted(urb.sequence, 0, urb.done))
        return True

    def _unlink(self, urb: PendingUrb, *, first: bool) -> None:
        data = self._partial(urb) if first else b""
        if not urb.done:
            self._send(m.unlinked(urb.unlinked_by, UNLINKED))
            return
        self._send(m.submitted(urb.sequence, 0, urb.done), data)
        self._send(m.unlinked(urb.unlinked_by, 0))

    def _partial(self, urb: PendingUrb) -> bytes:
        if isinstance(self.pipe, OutPipe):
            self.pipe.give_up()
            return b""
        try:
            data = self.pipe.take(urb.length)
        except IppUsbError:
            return b""  # it would have failed; it is unlinked instead
        urb.done = len(data)
        return data


class Urbs:
    """All endpoints of one imported device."""

    def __init__(self, device: VirtualDevice, send: Send) -> None:
        self._device = device
        self._send = send
        self._endpoints: dict[tuple[bool, int], Endpoint] = {}
        self._silent: set[int] = set()  # control URBs that the device does not answer

    def close(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.close()
        self._endpoints.clear()

    def submit(self, command: m.Command, data: memoryview) -> None:
        """Start an URB. `data` is valid during this call only."""
        if command.endpoint == 0:
            self._control(command, bytes(data))
            return
        try:
            endpoint = self._endpoint(command.incoming, command.endpoint)
        except IppUsbError as exc:
            self._send(m.submitted(command.sequence, status_of(exc), 0))
            return
        endpoint.submit(PendingUrb(command, data))

    def unlink(self, command: m.Command) -> None:
        """Unlink an URB if it is still waiting."""
        if command.target in self._silent:
            self._silent.discard(command.target)
            self._send(m.unlinked(command.sequence, UNLINKED))
            return
        for endpoint in tuple(self._endpoints.values()):
            if endpoint.unlink(command.target, command.sequence):
                return
        self._send(m.unlinked(command.sequence, 0))

    def _endpoint(self, incoming: bool, number: int) -> Endpoint:
        key = incoming, number
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = Endpoint(self._pipe(key), self._send)
        return endpoint

    def _control(self, command: m.Command, data: bytes) -> None:
        setup = Setup.parse(command.setup)
        try:
            answer = self._answer(setup, data)
        except TransferTimeout:
            self._silent.add(command.sequence)
        except IppUsbError as exc:
            self._send(m.submitted(command.sequence, status_of(exc), 0))
        else:
            actual = len(answer) if command.incoming else len(data)
            self._send(m.submitted(command.sequence, 0, actual), answer)

    def _answer(self, setup: Setup, data: bytes) -> bytes:
        if setup == AFTER_PORT_RESET:
            self._device.reset()
            self._forget_replaced()
        answer = self._device.control(setup, data)
        if (setup.request_type, setup.request) in (SET_CONFIGURATION, SET_INTERFACE):
            self._forget_replaced()
        return answer

    def _forget_replaced(self) -> None:
        """A new setting has other pipes; the host unlinked its URBs before it selected it."""
        for key, endpoint in tuple(self._endpoints.items()):
            try:
                current = self._pipe(key)
            except IppUsbError:
                current = None
            if current is not endpoint.pipe:
                del self._endpoints[key]
                endpoint.close(-errno.ESHUTDOWN)

    def _pipe(self, key: tuple[bool, int]) -> InPipe | OutPipe:
        incoming, number = key
        if incoming:
            return self._device.in_pipe(0x80 | number)
        return self._device.out_pipe(number)
