"""USB transfers as a capture file for Wireshark: pcapng, as from Linux's usbmon.

Link type 220 (LINKTYPE_USB_LINUX_MMAPPED): usbmon's binary header of 64 bytes precedes the data
of each packet, in the byte order of the section, which is little endian here. Blocks and
options are those of the pcapng draft (IETF opsawg); the header is that of the kernel's
Documentation/usb/usbmon.rst.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

LINK_TYPE: Final = 220
SNAP_BYTES: Final = 1 << 20
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC: Final = 0x1A2B3C4D
_COMMENT, _NAME = 1, 2  # opt_comment everywhere; if_name
_BULK: Final = 3
_USBMON: Final = struct.Struct("<QBBBBHccqiiII8siiII")


@dataclass(frozen=True, slots=True)
class Urb:
    """Start or end of a bulk transfer; `status`: 0 or a negative errno; `length`: the whole."""

    at: float  # seconds since the epoch
    begins: bool
    number: int
    endpoint: int  # with the direction in bit 7
    bus: int
    address: int
    status: int
    length: int
    data: bytes = b""


def header(comment: str = "") -> bytes:
    """The start of a file; Wireshark's file properties show `comment`."""
    body = struct.pack("<IHHq", _MAGIC, 1, 0, -1) + _options((_COMMENT, comment))
    description = struct.pack("<HHI", LINK_TYPE, 0, SNAP_BYTES) + _options((_NAME, "ippusbd"))
    return _block(_SECTION, body) + _block(_INTERFACE, description)


def packet(urb: Urb) -> bytes:
    """One event, as a block."""
    data = urb.data[: SNAP_BYTES - _USBMON.size]
    captured = _usbmon(urb, len(data)) + data
    whole = _USBMON.size + (urb.length if data else 0)
    stamp = round(urb.at * 1e6)
    head = struct.pack("<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(captured), whole)
    return _block(_PACKET, head + captured)


def _usbmon(urb: Urb, captured: int) -> bytes:
    seconds = int(urb.at)
    into = bool(urb.endpoint & 0x80)
    nothing = b"<" if into else b">"
    return _USBMON.pack(
        urb.number & 0xFFFFFFFFFFFFFFFF,
        ord("S" if urb.begins else "C"),
        _BULK,
        urb.endpoint,
        urb.address & 0xFF,
        urb.bus & 0xFFFF,
        b"-",  # no setup packet
        b"\0" if captured else nothing,
        seconds,
        int((urb.at - seconds) * 1e6),
        urb.status,
        urb.length,
        captured,
        bytes(8),
        0,
        0,
        0,
        0,
    )


def _options(*given: tuple[int, str]) -> bytes:
    written = b""
    for code, text in given:
        raw = text.encode("utf-8", "replace")[:4000]
        if raw:
            written += struct.pack("<HH", code, len(raw)) + _padded(raw)
    return written + bytes(4) if written else b""


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)


def _block(kind: int, body: bytes) -> bytes:
    body = _padded(body)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)
