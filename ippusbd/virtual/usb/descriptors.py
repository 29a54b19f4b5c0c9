"""The descriptors of a virtual device, as values and as bytes.

The bytes are built from a `DeviceSpec` and from nothing else, so a personality changes a device
by replacing fields. Knows the layout of USB 2.0 chapter 9, the printer class and IPP over
USB's descriptor 0x21; no state, no pipes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ippusbd.model import Capability, UsbId

HIGH_SPEED_PACKET: Final = 512
ENGLISH: Final = 0x0409

PRINTER_LEGACY: Final = (7, 1, 2)
PRINTER_IPP: Final = (7, 1, 4)
HP_IPP: Final = (255, 9, 1)
MASS_STORAGE: Final = (8, 6, 80)

DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT = 1, 2, 3, 4, 5
QUALIFIER: Final = 6
IPP_USB_INFO: Final = 0x21

I_MANUFACTURER, I_PRODUCT, I_SERIAL, I_INTERFACE = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class AlternateSpec:
    """One alternate setting; `extra` are descriptors between it and its endpoints."""

    triple: tuple[int, int, int]  # class, subclass, protocol
    endpoints: tuple[int, ...]  # addresses, all bulk
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    number: int
    alternates: tuple[AlternateSpec, ...]
    driver: str = "usblp"  # the kernel driver of alternate setting 0, "" if none

    @property
    def speaks_ipp(self) -> bool:
        return any(alt.triple in (PRINTER_IPP, HP_IPP) for alt in self.alternates)


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device; strings are UTF-16 on the wire, an empty one has no index."""

    usb_id: UsbId
    manufacturer: str
    product: str
    serial: str
    device_id: str
    interfaces: tuple[InterfaceSpec, ...]
    configuration_value: int = 1
    languages: tuple[int, ...] = (ENGLISH,)
    packet: int = HIGH_SPEED_PACKET
    interface_name: str = "IPP over USB"
    strings: dict[int, str] = field(default_factory=dict)  # others, by index

    def text(self, index: int) -> str | None:
        """The string of an index; None: no such index."""
        known = {
            I_MANUFACTURER: self.manufacturer,
            I_PRODUCT: self.product,
            I_SERIAL: self.serial,
            I_INTERFACE: self.interface_name,
        }
        return (known | self.strings).get(index) or None


def ipp_usb_info(capabilities: Capability) -> bytes:
    """Descriptor 0x21: version 1.0, one entry, the basic capabilities at bytes 6 and 7."""
    return struct.pack("<BBHBBHBB", 10, IPP_USB_INFO, 0x0100, 1, 0, int(capabilities), 0, 0)


def ipp_interface(number: int, slot: int, capabilities: Capability | None) -> InterfaceSpec:
    """A printer interface: alternate setting 0 is the legacy printer, 1 speaks IPP over USB.

    Both use the same endpoints, as real printers do. `slot` counts from 0 and chooses them.
    """
    endpoints = (0x81 + slot, 0x01 + slot)
    extra = b"" if capabilities is None else ipp_usb_info(capabilities)
    return InterfaceSpec(
        number,
        (AlternateSpec(PRINTER_LEGACY, endpoints), AlternateSpec(PRINTER_IPP, endpoints, extra)),
    )


def storage_interface(number: int, slot: int) -> InterfaceSpec:
    """A card reader, whose driver must stay bound."""
    endpoints = (0x81 + slot, 0x01 + slot)
    return InterfaceSpec(number, (AlternateSpec(MASS_STORAGE, endpoints),), "usb-storage")


def device_descriptor(spec: DeviceSpec) -> bytes:
    return struct.pack(
        "<BBHBBBBHHHBBBB",
        18,
        DEVICE,
        0x0200,
        0,
        0,
        0,
        64,
        spec.usb_id.vendor,
        spec.usb_id.product,
        0x0100,
        I_MANUFACTURER if spec.manufacturer else 0,
        I_PRODUCT if spec.product else 0,
        I_SERIAL if spec.serial else 0,
        1,
    )


def qualifier_descriptor() -> bytes:
    """The device at full speed; the kernel asks for it at enumeration."""
    return struct.pack("<BBHBBBBBB", 10, QUALIFIER, 0x0200, 0, 0, 0, 64, 1, 0)


def configuration_descriptor(spec: DeviceSpec) -> bytes:
    """The configuration with all its interfaces and endpoints."""
    body = b"".join(_interface(spec, one) for one in spec.interfaces)
    head = struct.pack(
        "<BBHBBBBB",
        9,
        CONFIGURATION,
        9 + len(body),
        len(spec.interfaces),
        spec.configuration_value,
        0,
        0xC0,
        1,
    )
    return head + body


def _interface(spec: DeviceSpec, interface: InterfaceSpec) -> bytes:
    return b"".join(
        _alternate(spec, interface, number, alternate)
        for number, alternate in enumerate(interface.alternates)
    )


def _alternate(
    spec: DeviceSpec, interface: InterfaceSpec, number: int, alt: AlternateSpec
) -> bytes:
    name = I_INTERFACE if number and spec.interface_name else 0
    head = struct.pack(
        "<BBBBBBBBB", 9, INTERFACE, interface.number, number, len(alt.endpoints), *alt.triple, name
    )
    ends = (struct.pack("<BBBBHB", 7, ENDPOINT, e, 2, spec.packet, 0) for e in alt.endpoints)
    return head + alt.extra + b"".join(ends)


def language_descriptor(languages: Iterable[int]) -> bytes:
    body = b"".join(struct.pack("<H", one) for one in languages)
    return bytes((2 + len(body), STRING)) + body


def string_descriptor(text: str) -> bytes:
    """At most 126 UTF-16 units fit."""
    body = text.encode("utf-16-le")[:252]
    return bytes((2 + len(body), STRING)) + body
