"""USB layouts of real devices: interfaces, alternate settings, endpoints and strings.

Taken from public `lsusb -v` listings; interrupt endpoints, which carry neither printing nor
scanning over HTTP, are left out. A layout replaces what a `DeviceSpec` says of the USB side; what
the device is able to do stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ippusbd.model import Capability, UsbId
from ippusbd.virtual.usb.descriptors import (
    HP_IPP,
    PRINTER_IPP,
    PRINTER_LEGACY,
    AlternateSpec,
    DeviceSpec,
    InterfaceSpec,
    ipp_interface,
    ipp_usb_info,
)

Interfaces = tuple[InterfaceSpec, ...]
CANON_VENDOR: Final = (255, 0, 255)
EPSON_SCANNER: Final = (255, 255, 255)
EPSON_UTILITY: Final = (255, 170, 1)
EPSON_IDLE: Final = (255, 1, 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """The USB side of a device; empty fields leave those of the virtual printer."""

    help: str
    interfaces: Callable[[Capability], Interfaces]
    usb_id: UsbId | None = None
    manufacturer: str = ""
    product: str = ""
    has_strings: bool = True
    has_serial: bool = True

    def apply(self, spec: DeviceSpec, capabilities: Capability) -> DeviceSpec:
        named = self.manufacturer or spec.manufacturer, self.product or spec.product
        manufacturer, product = named if self.has_strings else ("", "")
        return replace(
            spec,
            usb_id=self.usb_id or spec.usb_id,
            manufacturer=manufacturer,
            product=product,
            serial=spec.serial if self.has_serial and self.has_strings else "",
            interface_name=spec.interface_name if self.has_strings else "",
            interfaces=self.interfaces(capabilities),
        )


def _vendor(number: int, triple: tuple[int, int, int], *endpoints: int) -> InterfaceSpec:
    """An interface of the maker's own protocol, which no kernel driver takes."""
    return InterfaceSpec(number, (AlternateSpec(triple, endpoints),), driver="")


def _mf745c(_: Capability) -> Interfaces:
    return (
        _vendor(0, CANON_VENDOR, 0x84, 0x03),
        ipp_interface(1, 0, None),
        ipp_interface(2, 1, None),
    )


def _cp1200(_: Capability) -> Interfaces:
    return ipp_interface(0, 0, None), ipp_interface(1, 1, None)


def _et2826(capabilities: Capability) -> Interfaces:
    info = ipp_usb_info(capabilities)

    def ipp(number: int, first: tuple[int, int, int], out: int, into: int) -> InterfaceSpec:
        ends = (into, out)
        alternates = AlternateSpec(first, ends), AlternateSpec(PRINTER_IPP, ends, info)
        return InterfaceSpec(number, alternates, "usblp" if first == PRINTER_LEGACY else "")

    return (
        _vendor(0, EPSON_SCANNER, 0x82, 0x01),
        ipp(1, PRINTER_LEGACY, 0x04, 0x85),
        _vendor(2, EPSON_UTILITY, 0x89, 0x08),
        ipp(3, EPSON_IDLE, 0x0A, 0x8B),
        ipp(4, EPSON_IDLE, 0x0C, 0x8D),
        ipp(5, EPSON_IDLE, 0x0E, 0x8F),
    )


def _hp_vendor_class(capabilities: Capability) -> Interfaces:
    info = ipp_usb_info(capabilities)

    def hp(number: int) -> InterfaceSpec:
        ends = (0x81 + number, 0x01 + number)
        return InterfaceSpec(number, (AlternateSpec(HP_IPP, ends, info),), driver="")

    return InterfaceSpec(0, (AlternateSpec(PRINTER_LEGACY, (0x81, 0x01)),)), hp(1), hp(2)


def _setting_zero(capabilities: Capability) -> Interfaces:
    info = ipp_usb_info(capabilities)
    return tuple(
        InterfaceSpec(n, (AlternateSpec(PRINTER_IPP, (0x81 + n, 0x01 + n), info),))
        for n in range(2)
    )


def _ordinary(count: int) -> Callable[[Capability], Interfaces]:
    return lambda capabilities: tuple(ipp_interface(n, n, capabilities) for n in range(count))


def applied(name: str, spec: DeviceSpec, capabilities: Capability) -> DeviceSpec:
    """`spec` with the layout of that name. Raises KeyError, which lists the names."""
    if name not in LAYOUTS:
        raise KeyError(f"no layout {name!r}; there are: {', '.join(LAYOUTS)}")
    return LAYOUTS[name].apply(spec, capabilities)


CANON, EPSON, HP = 0x04A9, 0x04B8, 0x03F0
LAYOUTS: Final = {
    "canon-mf745c": Layout(
        "an interface ff/0/ff of Canon's own before two of IPP over USB, no descriptor 0x21",
        _mf745c,
        UsbId(CANON, 0x27FA),
        "Canon",
        "MF745C/746C",
    ),
    "canon-selphy-cp1200": Layout(
        "two interfaces without the class descriptor 0x21",
        _cp1200,
        UsbId(CANON, 0x32B1),
        "Canon",
        "SELPHY CP1200",
    ),
    "epson-et2826": Layout(
        "six interfaces, four of them usable; the idle setting of three is ff/1/0",
        _et2826,
        UsbId(EPSON, 0x1186),
        "EPSON",
        "ET-2820 Series",
    ),
    "hp-vendor-class": Layout(
        "a legacy printer, and IPP over USB as class 255, subclass 9, protocol 1",
        _hp_vendor_class,
        UsbId(HP, 0x5A2A),
        "HP",
        "LaserJet MFP M426fdn",
    ),
    "setting-0-only": Layout("7/1/4 is the only setting, number 0", _setting_zero),
    "one-interface": Layout("one interface", _ordinary(1)),
    "no-serial": Layout("no serial number", _ordinary(3), has_serial=False),
    "no-strings": Layout("no string descriptors at all", _ordinary(3), has_strings=False),
}
