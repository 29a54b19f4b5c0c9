"""Other software that uses the same printers: ipp-usb, and HPLIP's driver.

Two programs on one interface read each other's responses. If a printer also has a queue of
HPLIP, two drivers print to it, and one of them waits for the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ippusbd.doctor.findings import Finding, note, ok, problem
from ippusbd.doctor.machine import Machine

_RULES: Final = ("lib/udev/rules.d", "usr/lib/udev/rules.d", "etc/udev/rules.d")


def check(machine: Machine, queues: dict[str, str]) -> Iterator[Finding]:
    """`queues`: CUPS' queues and their device URIs."""
    yield from _ipp_usb(machine)
    yield from _hplip(machine, queues)


def _ipp_usb(machine: Machine) -> Iterator[Finding]:
    running = machine.named("ipp-usb")
    if running:
        yield problem(
            "ipp-usb",
            f"ipp-usb is running too (process {running[0].pid}) and uses the same printers",
            "use only one of the two: systemctl disable --now ipp-usb",
        )
    elif _rule_installed(machine):
        yield note(
            "ipp-usb",
            "ipp-usb is installed; udev starts it when a printer is plugged in",
            "systemctl mask ipp-usb",
        )
    else:
        yield ok("ipp-usb", "ipp-usb does not interfere")


def _rule_installed(machine: Machine) -> bool:
    """Whether udev would start it; a masked unit is a link to /dev/null."""
    mask = machine.etc / "systemd/system/ipp-usb.service"
    masked = mask.is_symlink() and str(mask.readlink()) == "/dev/null"
    root = machine.etc.parent
    return not masked and any(any((root / d).glob("*ipp-usb*.rules")) for d in _RULES)


def _hplip(machine: Machine, queues: dict[str, str]) -> Iterator[Finding]:
    hp = sorted(queue for queue, uri in queues.items() if re.match(r"hp(fax)?:/usb/", uri))
    running = machine.named("hpssd", "hp-systray", "hpssd.py")
    if hp:
        yield problem(
            "hplip",
            f"HPLIP prints to the same USB printer: queue {', '.join(hp)}",
            f"use the driverless queue and remove HPLIP's: lpadmin -x {hp[0]}",
        )
    elif running:
        yield note(
            "hplip",
            f"HPLIP is running (process {running[0].pid}); its queries block the printer",
            "quit hp-systray if requests wait for the printer",
        )
    else:
        yield ok("hplip", "HPLIP does not interfere")
