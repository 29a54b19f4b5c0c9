"""USB printers in sysfs: which users may access them, which programs use them now.

Every user can read descriptors, strings and drivers in sysfs, so this works without libusb,
without a daemon, and without opening a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.daemon.process.device_users import holders
from ippusbd.doctor.access import may_use
from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.doctor.machine import Credentials, Machine
from ippusbd.errors import BadDescriptor
from ippusbd.kinds import Kind
from ippusbd.model import BusAddress, UsbId
from ippusbd.wire.descriptors import WITHOUT_IPP, is_printer, usable_interfaces
from ippusbd.wire.text import one_line

NAME_CHARS: Final = 80
DEVICE_BYTES: Final = 18
USBFS: Final = "usbfs"  # the driver of an interface that a program has claimed


@dataclass(frozen=True, slots=True)
class Printer:
    """One device with an interface of the printer class, or with IPP-over-USB interfaces."""

    usb_id: UsbId
    address: BusAddress
    name: str
    serial: str
    node: Path
    speaks_ipp: bool
    drivers: tuple[str, ...]  # of its interfaces, in order; "" if none is bound
    descriptors: bytes  # of the device, and its configurations
    over_network: bool  # attached by USB/IP, as `ippusbd virtual --attach` does

    @property
    def label(self) -> str:
        """What people call it."""
        far = ", attached by USB/IP" if self.over_network else ""
        return f"{self.name} ({self.usb_id}{far})"


def printers(machine: Machine) -> list[Printer]:
    """The IPP-over-USB printers in sysfs."""
    return [printer for printer in _all_printers(machine) if printer.speaks_ipp]


def _all_printers(machine: Machine) -> list[Printer]:
    found: list[Printer] = []
    for folder in sorted((machine.sys / "bus/usb/devices").glob("*-*")):
        if ":" not in folder.name:
            with suppress(OSError, ValueError, BadDescriptor):
                found += _printer(machine, folder)
    return found


def _printer(machine: Machine, folder: Path) -> Iterator[Printer]:
    """The printer in `folder`, if it is one."""
    raw = (folder / "descriptors").read_bytes()
    device, configurations = _split(raw)
    speaks_ipp = bool(usable_interfaces(device, configurations, active=None))
    if not speaks_ipp and not is_printer(configurations):
        return
    bus, number = int(_text(folder / "busnum")), int(_text(folder / "devnum"))
    maker, product = _text(folder / "manufacturer"), _text(folder / "product")
    name = product if product.lower().startswith(maker.lower()) else f"{maker} {product}".strip()
    yield Printer(
        UsbId(int(_text(folder / "idVendor"), 16), int(_text(folder / "idProduct"), 16)),
        BusAddress(bus, number, folder.name),
        name or "a printer without a name",
        _text(folder / "serial"),
        machine.dev / f"bus/usb/{bus:03d}/{number:03d}",
        speaks_ipp,
        tuple(_driver(child) for child in sorted(folder.glob(f"{folder.name}:*"))),
        raw,
        "vhci_hcd" in str(folder.resolve()),
    )


def _split(raw: bytes) -> tuple[bytes, list[bytes]]:
    """The device descriptor and the configurations that follow it."""
    configurations, at = [], DEVICE_BYTES
    while at + 4 <= len(raw):
        length = max(int.from_bytes(raw[at + 2 : at + 4], "little"), 4)
        configurations.append(raw[at : at + length])
        at += length
    return raw[:DEVICE_BYTES], configurations


def _text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return one_line(path.read_text(errors="replace").strip(), NAME_CHARS)
    return ""


def _driver(interface: Path) -> str:
    with suppress(OSError):
        return (interface / "driver").readlink().name
    return ""


# --- checks


def check(
    machine: Machine, who: Credentials, served: frozenset[str], daemon_pid: int | None
) -> Iterator[Finding]:
    """Each printer's device node and users. `served`: addresses that the daemon has open."""
    found = _all_printers(machine)
    if not found:
        yield told(Kind.NO_DEVICE.of(), check="devices")
    for printer in found:
        if printer.speaks_ipp:
            yield _node(printer, who, machine)
            yield from _users(printer, machine, served, daemon_pid)
        else:
            text = f"{printer.name} ({printer.usb_id}) is {WITHOUT_IPP}"
            yield told(Kind.LEGACY.of(text), check="devices")


def _node(printer: Printer, who: Credentials, machine: Machine) -> Finding:
    commands = machine.commands
    try:
        allowed = may_use(printer.node, who)
    except OSError as exc:
        missing = Kind.NO_NODE.on(commands, node=printer.node, why=exc.strerror)
        return told(missing, printer.label, check="node")
    if allowed:
        return ok("node", f"user {who.uid} may open {printer.node}", printer.label)
    text = f"user {who.uid} may not open {printer.node}"
    mends = commands.allow_devices_to(who.uid)
    return told(Kind.PERMISSION.of(text, allow_devices=mends), printer.label, check="node")


def _users(
    printer: Printer, machine: Machine, served: frozenset[str], daemon_pid: int | None
) -> Iterator[Finding]:
    ours = f"process {daemon_pid} "
    others = [
        who
        for who in holders(printer.address, proc=machine.proc, dev=machine.dev)
        if not who.startswith(ours)
    ]
    if others:
        yield told(Kind.HELD.of(f"{', '.join(others)} uses it", by=others), printer.label)
    elif USBFS in printer.drivers and str(printer.address) not in served:
        yield told(Kind.HELD_UNSEEN.of(), printer.label, check="held")
    elif any(driver == "usblp" for driver in printer.drivers):
        yield told(Kind.USBLP.of(), printer.label, check="driver")
