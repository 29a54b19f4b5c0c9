"""libusb's asynchronous transfers without libusb: URBs of a virtual device, in this process.

What `usbio.libusb.Libusb` is to a real bus. Each transfer is one URB of the USB/IP server's own
endpoints, so it ends as on a kernel: by a full buffer, a short packet, an unlink or an unplug, and
a cancelled one carries the bytes that it had. All transfers are counted.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ippusbd.model import DeviceFacts
from ippusbd.usbio.device import OpenDevice
from ippusbd.usbio.libusb import ADD_ZERO_PACKET, Status
from ippusbd.usbio.pyusb_host import PyusbHandle, PyusbHost
from ippusbd.virtual.usb import usbip_messages as m
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.virtual.usb.device import VirtualDevice
from ippusbd.virtual.usb.usbip_urbs import Urbs

NO_MEM = -11  # LIBUSB_ERROR_NO_MEM
REPLY = struct.Struct(">IIIIIii20x")
STATUS = {
    0: Status.COMPLETED,
    -errno.EPIPE: Status.STALL,
    -errno.ENODEV: Status.NO_DEVICE,
    -errno.ESHUTDOWN: Status.NO_DEVICE,
    -errno.EOVERFLOW: Status.OVERFLOW,
}


@dataclass
class Counted:
    """IN transfers so far."""

    submitted: int = 0
    cancelled: int = 0
    pending: int = 0
    largest: int = 0
    refused: int = 0  # OUT transfers, too


class _Pointer:
    """To a struct libusb_transfer, of which it has the members."""

    buffer = length = endpoint = actual_length = status = flags = dev_handle = 0
    callback: Callable[[None], None]

    @property
    def contents(self) -> _Pointer:
        return self


class UsbIpLibusb:
    """Stands in for `Libusb`; `functions` is itself. A subclass may have other places for URBs."""

    def __init__(self, device: VirtualDevice | None) -> None:
        self.functions = self
        self.counted = Counted()
        self._loop = asyncio.get_running_loop()
        self._urbs = Urbs(device, self._send) if device is not None else None
        self._sequence = 0
        self._pending: dict[int, _Pointer] = {}  # by sequence number
        self._unlinks: dict[int, int] = {}  # sequence number of an unlink -> of its transfer
        self.memory = 16 << 20  # bytes of pending transfers, as usbfs_memory_mb

    def call(self, callback: Callable[..., None], *args: object) -> None:
        callback(*args)

    def stop(self) -> None:
        assert self._urbs is not None
        self._urbs.close()

    def _urbs_of(self, _: _Pointer) -> Any:
        return self._urbs

    # --- libusb's functions

    def libusb_alloc_transfer(self, _: int) -> _Pointer:
        return _Pointer()

    def libusb_free_transfer(self, _: _Pointer) -> None:
        pass

    def libusb_submit_transfer(self, pointer: _Pointer) -> int:
        fields = pointer
        if sum(one.length for one in self._pending.values()) + fields.length > self.memory:
            self.counted.refused += 1
            return NO_MEM
        incoming = bool(fields.endpoint & 0x80)
        self._sequence += 1
        self._pending[self._sequence] = pointer
        if incoming:
            self.counted.submitted += 1
            self.counted.pending += 1
            self.counted.largest = max(self.counted.largest, fields.length)
        data = b"" if incoming else ctypes.string_at(fields.buffer, fields.length)
        flags = m.URB_ZERO_PACKET if fields.flags & ADD_ZERO_PACKET else 0
        address, length = fields.endpoint & 15, fields.length
        command = m.Command(
            m.CMD_SUBMIT, self._sequence, incoming, address, length, flags, bytes(8)
        )
        self._urbs_of(fields).submit(command, memoryview(data))
        return 0

    def libusb_cancel_transfer(self, pointer: _Pointer) -> int:
        target = next(sequence for sequence, one in self._pending.items() if one is pointer)
        if target not in self._unlinks.values():
            self._sequence += 1
            self._unlinks[self._sequence] = target
            self._urbs_of(pointer).unlink(
                m.Command(m.CMD_UNLINK, self._sequence, False, 0, 0, target, bytes(8))
            )
        return 0

    # --- what the device sends, in any thread

    def _send(self, *parts: Any) -> None:
        header, *data = (bytes(part) for part in parts)
        self._loop.call_soon_threadsafe(self.received, header, b"".join(data))

    def received(self, header: bytes, data: bytes) -> None:
        code, sequence, _, _, _, status, actual = REPLY.unpack(header)
        if code == m.RET_UNLINK:
            sequence, actual = self._unlinks.pop(sequence), 0
        fields = self._pending.pop(sequence, None)
        if fields is None:
            return  # it had ended before it was unlinked
        if data:
            ctypes.memmove(fields.buffer, data, len(data))
        fields.actual_length = actual
        fields.status = STATUS.get(status, Status.ERROR)
        if code == m.RET_UNLINK or sequence in self._unlinks.values():
            fields.status = Status.CANCELLED
        if fields.endpoint & 0x80:
            self.counted.pending -= 1
            self.counted.cancelled += fields.status == Status.CANCELLED
        fields.callback(None)


class _Handle(PyusbHandle):
    @property
    def pointer(self) -> None:
        return None


class UsbIpHost(PyusbHost):
    """A device in this process whose channels are asynchronous."""

    def __init__(
        self, backend: VirtualBackend, device: VirtualDevice, *, size: int = 65_536
    ) -> None:
        """`size`: of USB transfers, in bytes."""
        self._virtual, self._size = backend, size
        super().__init__(backend, channel="threads")
        self.libusb = UsbIpLibusb(device)

    async def open(self, facts: DeviceFacts) -> OpenDevice:
        (reference,) = self._virtual.enumerate_devices()
        descriptor = self._virtual.get_device_descriptor(reference)
        handle = _Handle(self._virtual, reference, descriptor, None)
        return await OpenDevice.prepare(
            handle, facts, transfer_bytes=self._size, libusb=self.libusb
        )  # type: ignore[arg-type]

    async def close(self) -> None:
        self.libusb.stop()
        await super().close()
