"""A card reader without a card: an interface beside the printer's whose driver must stay bound.

A real kernel binds usb-storage to it and sends commands; unanswered, they make it reset the
whole device every few seconds. So the bulk-only transport is implemented, and every command
that needs a card fails with "no medium". Knows the command block wrapper and four SCSI commands.
"""

from __future__ import annotations

import struct
from typing import Final

from ippusbd.virtual.usb.device import VirtualInterface

WRAPPER: Final = struct.Struct("<4sIIBBB16s")  # signature, tag, length, flags, unit, size, command
STATUS: Final = struct.Struct("<4sIIB")  # signature, tag, residue, status
GOOD, FAILED = 0, 1
REQUEST_SENSE, INQUIRY = 0x03, 0x12
ALWAYS_GOOD: Final = (0x1B, 0x1E)  # START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL

INQUIRY_DATA: Final = (
    bytes((0x00, 0x80, 0x05, 0x02, 31, 0, 0, 0))  # a removable disk
    + b"Example ".ljust(8)
    + b"Card Reader".ljust(16)
    + b"1.0 "
)
NO_MEDIUM: Final = bytes((0x70, 0, 0x02, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3A, 0, 0, 0, 0, 0))


def serve(interface: VirtualInterface) -> None:
    """Answers at once, in the thread of the writer; for `VirtualDevice.powered`."""
    if interface.spec.driver != "usb-storage":
        return
    pair = interface.pairs[0]

    def command(data: bytes) -> None:
        if len(data) != WRAPPER.size or data[:4] != b"USBC":
            pair.into.halt()
            return
        _, tag, length, flags, _, _, block = WRAPPER.unpack(data)
        answer = {INQUIRY: INQUIRY_DATA, REQUEST_SENSE: NO_MEDIUM}.get(block[0], b"")[:length]
        if length and flags & 0x80:
            pair.into.push(answer)  # nothing: a zero-length packet
        good = bool(answer) or block[0] in ALWAYS_GOOD
        status = GOOD if good else FAILED
        pair.into.push(STATUS.pack(b"USBS", tag, length - len(answer), status))

    pair.out.sink = command
