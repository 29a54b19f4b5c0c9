"""Other software that uses the same printers: ipp-usb, and HPLIP's driver.

Two programs on one interface read each other's responses. If a printer also has a queue of
HPLIP, two drivers print to it, and one of them waits for the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.doctor.machine import Machine
from ippusbd.init_system import is_masked
from ippusbd.kinds import Kind
from ippusbd.local_commands import RULE_FOLDERS


def check(machine: Machine, queues: dict[str, str]) -> Iterator[Finding]:
    """`queues`: CUPS' queues and their device URIs."""
    yield from _ipp_usb(machine)
    yield from _hplip(machine, queues)


def _ipp_usb(machine: Machine) -> Iterator[Finding]:
    running = machine.named("ipp-usb")
    if running:
        yield told(Kind.IPP_USB.on(machine.commands, pid=running[0].pid), check="ipp-usb")
    elif _rule_installed(machine):
        yield told(Kind.IPP_USB_WAITS.on(machine.commands), check="ipp-usb")
    else:
        yield ok("ipp-usb", "ipp-usb does not interfere")


def _rule_installed(machine: Machine) -> bool:
    """Whether udev would start it."""
    root = machine.root
    masked = is_masked(root, "ipp-usb.service")
    return not masked and any(any((root / d).glob("*ipp-usb*.rules")) for d in RULE_FOLDERS)


def _hplip(machine: Machine, queues: dict[str, str]) -> Iterator[Finding]:
    hp = sorted(queue for queue, uri in queues.items() if re.match(r"hp(fax)?:/usb/", uri))
    running = machine.named("hpssd", "hp-systray", "hpssd.py")
    if hp:
        command = machine.commands.as_root(f"lpadmin -x {hp[0]}")
        yield told(Kind.HPLIP.of(queues=", ".join(hp), command=command), check="hplip")
    elif running:
        yield told(Kind.HPLIP_RUNS.of(pid=running[0].pid), check="hplip")
    else:
        yield ok("hplip", "HPLIP does not interfere")
