"""The card reader answers as a card reader without a card."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
import usb.core
import usb.util

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend

Command = Callable[[bytes, int], tuple[bytes, int]]


@pytest.fixture
def reader(backend: VirtualBackend, make_printer: Callable[..., VirtualPrinter]) -> usb.core.Device:
    backend.plug(make_printer(vendor_interface=True).device)
    dev = usb.core.find(backend=backend)
    dev.detach_kernel_driver(3)
    usb.util.claim_interface(dev, 3)
    yield dev
    usb.util.dispose_resources(dev)


@pytest.fixture
def command(reader: usb.core.Device) -> Command:
    """`command(block, length)`: the data that came, and the status."""

    def send(block: bytes, length: int) -> tuple[bytes, int]:
        wrapper = struct.pack("<4sIIBBB", b"USBC", 7, length, 0x80, 0, len(block))
        reader.write(0x04, wrapper + block.ljust(16, b"\0"))
        data = bytes(reader.read(0x84, 512)) if length else b""
        signature, tag, residue, status = struct.unpack("<4sIIB", bytes(reader.read(0x84, 512)))
        assert (signature, tag, residue) == (b"USBS", 7, length - len(data))
        return data, status

    return send


def test_inquiry_identifies_the_card_reader(command: Command) -> None:
    data, status = command(bytes((0x12, 0, 0, 0, 36, 0)), 36)

    assert (len(data), status) == (36, 0)
    assert b"Card Reader" in data


def test_every_media_command_reports_no_medium(command: Command) -> None:
    assert command(bytes(6), 0) == (b"", 1)
    sense, status = command(bytes((0x03, 0, 0, 0, 18, 0)), 18)

    assert (sense[2], sense[12], status) == (2, 0x3A, 0)


def test_a_read_ends_with_an_empty_transfer_and_a_failure(command: Command) -> None:
    assert command(bytes((0x28,)), 4096) == (b"", 1)


def test_an_invalid_command_block_stalls(reader: usb.core.Device) -> None:
    reader.write(0x04, b"nonsense")
    with pytest.raises(usb.core.USBError):
        reader.read(0x84, 512)
