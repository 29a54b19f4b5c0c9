"""USB/IP's messages as bytes, in version 1.1.1 of the protocol.

First the two requests of a new connection (list the devices, import one), then, on the
connection of an imported device, URBs and their replies. Everything is big endian and of fixed
size, except the data that follows a header.

Layouts: Documentation/usb/usbip_protocol.rst of Linux. Values in, values out; no sockets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from ippusbd.errors import IppUsbError
from ippusbd.virtual.usb.descriptors import DeviceSpec

VERSION: Final = 0x0111
REQUEST_SIZE: Final = 8
BUSID_SIZE: Final = 32
HEADER_SIZE: Final = 48

LIST_REQUEST, LIST_REPLY = 0x8005, 0x0005
IMPORT_REQUEST, IMPORT_REPLY = 0x8003, 0x0003
OK, BUSY, NO_DEVICE = 0, 2, 4  # status of a reply

CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
DIRECTION_OUT, DIRECTION_IN = 0, 1
URB_ZERO_PACKET = 0x40
SPEED_HIGH: Final = 3

_OPERATION: Final = struct.Struct(">HHI")
_DEVICE: Final = struct.Struct(">256s32sIIIHHHBBBBBB")
_SUBMIT: Final = struct.Struct(">IIIIIIiiii8s")
_RET_SUBMIT: Final = struct.Struct(">IIIIIiiiii8x")
_RET_UNLINK: Final = struct.Struct(">IIIIIi24x")


class BadUsbIp(IppUsbError):
    """The peer does not speak USB/IP 1.1.1."""


@dataclass(frozen=True, slots=True)
class Export:
    """A device as the server lists it."""

    spec: DeviceSpec
    configuration: int
    bus: int
    number: int  # of the device on its bus

    @property
    def busid(self) -> str:
        return f"{self.bus}-{self.number}"

    @property
    def devid(self) -> int:
        return self.bus << 16 | self.number

    def encode(self) -> bytes:
        """struct usbip_usb_device."""
        return _DEVICE.pack(
            f"/sys/devices/ippusbd/usb{self.bus}/{self.busid}".encode(),
            self.busid.encode(),
            self.bus,
            self.number,
            SPEED_HIGH,
            self.spec.usb_id.vendor,
            self.spec.usb_id.product,
            0x0100,  # bcdDevice
            0,
            0,
            0,
            self.configuration,
            1,
            len(self.spec.interfaces),
        )

    def encode_interfaces(self) -> bytes:
        """Class, subclass, protocol and padding of each interface, for a device list."""
        return b"".join(bytes((*f.alternates[0].triple, 0)) for f in self.spec.interfaces)


# --- requests on a new connection


def request(code: int, busid: str = "") -> bytes:
    """A list request, or an import request for `busid`."""
    head = _OPERATION.pack(VERSION, code, 0)
    return head + busid.encode().ljust(BUSID_SIZE, b"\0") if busid else head


def parse_request(data: bytes) -> int:
    """The code of a request. Raises BadUsbIp."""
    version, code, _ = _OPERATION.unpack(data)
    if version != VERSION or code not in (LIST_REQUEST, IMPORT_REQUEST):
        raise BadUsbIp(f"not a USB/IP 1.1.1 request: {data.hex()}")
    return int(code)


def parse_busid(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("ascii", "replace")


def list_reply(exports: list[Export]) -> bytes:
    parts = [_OPERATION.pack(VERSION, LIST_REPLY, OK), struct.pack(">I", len(exports))]
    for one in exports:
        parts += [one.encode(), one.encode_interfaces()]
    return b"".join(parts)


def import_reply(status: int, export: Export | None = None) -> bytes:
    """After status OK only URBs follow."""
    head = _OPERATION.pack(VERSION, IMPORT_REPLY, status)
    return head + export.encode() if export is not None else head


IMPORT_REPLY_SIZE: Final = _OPERATION.size + _DEVICE.size


def parse_import_reply(data: bytes) -> int:
    """The status of a reply to an import request. Raises BadUsbIp."""
    version, code, status = _OPERATION.unpack(data[: _OPERATION.size])
    if (version, code) != (VERSION, IMPORT_REPLY):
        raise BadUsbIp(f"not a reply to an import request: {data[:8].hex()}")
    return int(status)


# --- URBs


class Command(NamedTuple):
    """A header from the client. `target` is the URB that a CMD_UNLINK cancels.

    In a CMD_SUBMIT its place has the URB's transfer flags."""

    code: int
    sequence: int
    incoming: bool  # device to host
    endpoint: int
    length: int  # of the URB's buffer
    target: int
    setup: bytes

    @property
    def zero_packet(self) -> bool:
        """Whole packets are to end with a zero-length one."""
        return self.code == CMD_SUBMIT and bool(self.target & URB_ZERO_PACKET)

    @property
    def data_follows(self) -> int:
        return 0 if self.incoming or self.code != CMD_SUBMIT else self.length


def parse_command(buffer: bytearray, offset: int) -> Command:
    """The header at `offset`. Raises BadUsbIp."""
    fields = _SUBMIT.unpack_from(buffer, offset)
    code, sequence, _, direction, endpoint, flags_or_target, length = fields[:7]
    if code not in (CMD_SUBMIT, CMD_UNLINK) or (code == CMD_SUBMIT and length < 0):
        raise BadUsbIp(f"not an URB: {bytes(buffer[offset : offset + HEADER_SIZE]).hex()}")
    return Command(
        code, sequence, direction == DIRECTION_IN, endpoint, length, flags_or_target, fields[10]
    )


def submitted(sequence: int, status: int, actual: int) -> bytes:
    """RET_SUBMIT; `status` is 0 or a negative errno; data of an IN URB follows."""
    return _RET_SUBMIT.pack(RET_SUBMIT, sequence, 0, 0, 0, status, actual, 0, 0, 0)


def unlinked(sequence: int, status: int) -> bytes:
    """RET_UNLINK: -ECONNRESET, or 0 when the URB had completed before."""
    return _RET_UNLINK.pack(RET_UNLINK, sequence, 0, 0, 0, status)
