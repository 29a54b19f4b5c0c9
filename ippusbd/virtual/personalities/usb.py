"""Printers that misbehave on the bus; the first line of each class says which model does what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from ippusbd.errors import EndpointHalted, TransferFailed
from ippusbd.model import UsbId
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb.descriptors import DeviceSpec, InterfaceSpec
from ippusbd.virtual.usb.device import (
    ControlTimeout,
    DeviceEvent,
    Setup,
    VirtualDevice,
    VirtualInterface,
)
from ippusbd.virtual.usb.pipes import Buffer

GET_STRING: Final = (0x80, 6, d.STRING)
GET_PORT_STATUS: Final = (0xA1, 1)
SOFT_RESETS: Final = ((0x21, 2), (0x23, 2))
STALE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n"
    b"bytes that an earlier client did not read\n"
)


def _string_index(setup: Setup) -> int | None:
    """The index of the requested string; None: not a string request."""
    kind = (setup.request_type, setup.request, setup.value >> 8)
    return setup.value & 0xFF if kind == GET_STRING else None


class OneInterfaceOnly(Personality):
    """Brother QL-810W: hangs when a second interface is used; a bus reset restores it."""

    name = "hangs-with-two-interfaces"

    def __init__(self) -> None:
        self._used: int | None = None

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event in (DeviceEvent.PLUGGED, DeviceEvent.BUS_RESET):
            self._used = None

    def takes(self, interface: VirtualInterface) -> bool:
        if self._used in (None, interface.number):
            self._used = interface.number
            return True
        interface.device.unresponsive = "a second interface was used"
        return False


class UnresponsiveAfterUnplug(Personality):
    """HP OfficeJet 200: unresponsive after an unplug in an exchange, until a bus reset."""

    name = "deaf-after-unplug"

    def __init__(self) -> None:
        self._interrupted = False

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.UNPLUGGED:
            self._interrupted = any(one.busy for one in device.interfaces)
        elif event is DeviceEvent.PLUGGED and self._interrupted:
            device.unresponsive = "unplugged during an exchange"
        elif event is DeviceEvent.BUS_RESET:
            self._interrupted = False


class EioAfterReplug(Personality):
    """Pantum M6559NW: all interfaces but the first give EIO after a replug, until a bus reset."""

    name = "eio-after-replug"

    def __init__(self) -> None:
        self._broken: set[int] = set()

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.PLUGGED and device.plug_count > 1:
            self._broken = {one.number for one in device.interfaces[1:]}
        elif event is DeviceEvent.BUS_RESET:
            self._broken.clear()

    def takes(self, interface: VirtualInterface) -> bool:
        if interface.number in self._broken:
            raise TransferFailed("input/output error")
        return True

    gives = takes


class FirstOutTimesOut(Personality):
    """HP OfficeJet Pro 8710: the first bulk OUT after power-up needs a soft reset, or times out."""

    name = "first-out-times-out"

    def __init__(self) -> None:
        self._awake: set[int] = set()

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.PLUGGED:
            self._awake.clear()
        elif event in (DeviceEvent.SOFT_RESET, DeviceEvent.GAVE_UP) and interface is not None:
            self._awake.add(interface.number)
        elif event is DeviceEvent.BUS_RESET:
            self._awake.update(one.number for one in device.interfaces)

    def takes(self, interface: VirtualInterface) -> bool:
        return interface.number in self._awake


class SoftResetHangs(Personality):
    """Epson ET-4750: SOFT_RESET is not answered and hangs the device; a bus reset restores it."""

    name = "soft-reset-hangs"

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if (setup.request_type, setup.request) in SOFT_RESETS:
            device.unresponsive = "it was soft-reset"
            raise ControlTimeout("SOFT_RESET hangs the device")
        return None


class SoftResetHarms(Personality):
    """SOFT_RESET is accepted, and then nothing moves on any interface until a bus reset."""

    name = "soft-reset-harms"

    def __init__(self) -> None:
        self.resets = 0

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.SOFT_RESET:
            self.resets += 1
            device.unresponsive = "it was soft-reset"

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if device.unresponsive and (setup.request_type, setup.request) == GET_PORT_STATUS:
            raise ControlTimeout("it hangs")
        return None


class OneRecipientOnly(Personality):
    """SOFT_RESET is supported with recipient "interface", not with "other"."""

    name = "soft-reset-interface-only"

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if (setup.request_type, setup.request) == SOFT_RESETS[1]:
            raise EndpointHalted("no such request")
        return None


class EmptyStrings(Personality):
    """Xerox B205, B210, B215: strings are empty until a bus reset."""

    name = "empty-strings-until-reset"

    def __init__(self) -> None:
        self._reset = False

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event in (DeviceEvent.PLUGGED, DeviceEvent.BUS_RESET):
            self._reset = event is DeviceEvent.BUS_RESET

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if self._reset or not _string_index(setup):
            return None
        return d.string_descriptor("")


class MalformedLanguages(Personality):
    """Pantum BP5100DN: the list of string languages is malformed."""

    name = "malformed-language-list"

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        return b"\x04\x03\x09" if _string_index(setup) == 0 else None


class NoSuchConfiguration(Personality):
    """HP LaserJet M406: reports a current configuration that does not exist."""

    name = "configuration-matches-none"

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        return b"\x07" if (setup.request_type, setup.request) == (0x80, 8) else None


def _with_ipp(spec: DeviceSpec, change: Callable[[InterfaceSpec], InterfaceSpec]) -> DeviceSpec:
    interfaces = tuple(change(one) if one.speaks_ipp else one for one in spec.interfaces)
    return replace(spec, interfaces=interfaces)


class InterfaceGaps(Personality):
    """Ricoh SP 377: interface numbers have gaps (1, 3, 5, ...)."""

    name = "interface-gaps"
    replug = True

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        interfaces = (replace(one, number=2 * one.number + 1) for one in spec.interfaces)
        return replace(spec, interfaces=tuple(interfaces))


class HpVendorClass(Personality):
    """HP LaserJet MFP M426fdn: class 255, subclass 9, protocol 1 instead of 7/1/4."""

    name = "hp-255-9-1"
    replug = True

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        changed = _with_ipp(spec, self._changed)
        return replace(changed, usb_id=UsbId(0x03F0, 0x2A2A), manufacturer="HP")

    @staticmethod
    def _changed(interface: InterfaceSpec) -> InterfaceSpec:
        first, second = interface.alternates
        return replace(interface, alternates=(first, replace(second, triple=d.HP_IPP)))


class NoClassDescriptor(Personality):
    """HP CP1200: the class descriptor 0x21 is missing."""

    name = "no-class-descriptor"
    replug = True

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        return _with_ipp(spec, self._changed)

    @staticmethod
    def _changed(interface: InterfaceSpec) -> InterfaceSpec:
        first, second = interface.alternates
        return replace(interface, alternates=(first, replace(second, extra=b"")))


class HostileStrings(Personality):
    """Strings with terminal escapes, path separators and line breaks."""

    name = "hostile-strings"
    replug = True

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        return replace(
            spec,
            manufacturer="../..\x1b[31mEvil\r\n",
            product="Printer\x00/etc/passwd\x1b]0;owned\x07" + "x" * 90,
            serial="../" * 10 + "\x1b[2J\n",
        )


class ZlpWhilePending(Personality):
    """HP X677: zero-length packets before, inside and after every response."""

    name = "zlp-while-pending"

    def packets(self, interface: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]:
        packet = interface.ipp.into.packet
        middle = len(transfer) // 2 // packet * packet
        out: list[Buffer] = [b""]
        for part in (transfer[:middle], transfer[middle:]):
            if len(part):
                # The first one only ends a transfer of full packets; the host sees the second.
                out += (part, b"", b"") if len(part) % packet == 0 else (part, b"")
        return out


class NoZlp(Personality):
    """No zero-length packet after a response of k full packets: the host's read stays pending."""

    name = "no-zlp"

    def ends_with_zlp(self) -> bool:
        return False

    def packets(self, interface: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]:
        return (transfer,) if len(transfer) else ()


class OneBytePackets(Personality):
    """One byte per packet."""

    name = "one-byte-packets"

    def packets(self, interface: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]:
        if not len(transfer):
            return (transfer,)
        view = memoryview(transfer)
        return (view[at : at + 1] for at in range(len(view)))


class ChokesOnLargeTransfers(Personality):
    """An OUT transfer over 16 KB makes an interface unresponsive until SET_INTERFACE."""

    name = "chokes-on-large-transfers"
    most = 16 * 1024

    def __init__(self) -> None:
        self._choked: set[int] = set()

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if interface is None:
            self._choked.clear()
        elif event is DeviceEvent.SET_INTERFACE:
            self._choked.discard(interface.number)

    def offered(self, interface: VirtualInterface, size: int) -> None:
        if size > self.most:
            self._choked.add(interface.number)

    def takes(self, interface: VirtualInterface) -> bool:
        return interface.number not in self._choked


class IgnoresCancel(Personality):
    """A cancelled IN transfer is reported as ended, and takes the next bytes (USB/IP only)."""

    name = "ignores-cancel"

    def stops(self, interface: VirtualInterface) -> bool:
        return False


class Suspended(Personality):
    """The bus sleeps: while this is on every transfer fails, control requests too."""

    name = "suspended"

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if not device.configuration:
            return None  # the kernel has just enumerated it
        raise TransferFailed("the bus is suspended")

    def takes(self, interface: VirtualInterface) -> bool:
        raise TransferFailed("the bus is suspended")

    gives = takes


class BlocksUnread(Personality):
    """Accepts nothing on any interface while a response is unread."""

    name = "blocks-while-unread"

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.PLUGGED:
            for one in device.interfaces:
                one.ipp.into.fetched = device.wake

    def takes(self, interface: VirtualInterface) -> bool:
        return not any(len(one.ipp.into) for one in interface.device.interfaces)


class Stale(Personality):
    """After power-up each interface holds 200 bytes of an unread response."""

    name = "stale-200"
    size = 200

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.PLUGGED:
            stale = (STALE * (1 + self.size // len(STALE)))[: self.size]
            for one in device.interfaces:
                if one.spec.speaks_ipp:
                    one.ipp.into.push(stale)


class StaleMuch(Stale):
    """After power-up each interface holds 100 KB of an unread response."""

    name = "stale-100k"
    size = 100_000
