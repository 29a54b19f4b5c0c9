"""Can each USB printer be opened? Tried with libusb, as the daemon does it at its start.

A device that the running daemon serves is not opened a second time. What sysfs shows of devices
is said in `devices`.
"""

from __future__ import annotations

from collections.abc import Collection

from ippusbd.config import Config
from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.errors import IppUsbError
from ippusbd.kinds import Kind
from ippusbd.model import DeviceFacts
from ippusbd.quirks.load import QuirkTable
from ippusbd.usbio.pyusb_host import PyusbHost


async def check(
    host: PyusbHost, config: Config, quirks: QuirkTable, *, served: bool, unusable: Collection[str]
) -> list[Finding]:
    """One finding for each IPP-over-USB printer on the bus. `served`: a running daemon uses them.

    `unusable` has the addresses of those that need not be tried.
    """
    try:
        survey = await host.survey()
    except IppUsbError as exc:
        return [told(exc.diagnosis, check="device")]
    found = [facts for facts, reason in survey if not reason]
    return [
        await _device(host, facts, config, quirks, served=served)
        for facts in found
        if str(facts.address) not in unusable
    ]


async def _device(
    host: PyusbHost, facts: DeviceFacts, config: Config, quirks: QuirkTable, *, served: bool
) -> Finding:
    about = f"{facts.usb_id} at {facts.address}"
    if str(facts.usb_id) in config.ignore:
        return told(Kind.IGNORED.of(why="by the configuration"), about, check="device")
    if served:
        return ok("device", "in use by the running daemon (ippusbd status)", about)
    return await _opened(host, facts, quirks, about)


async def _opened(host: PyusbHost, facts: DeviceFacts, quirks: QuirkTable, about: str) -> Finding:
    try:
        device = await host.open(facts)
    except IppUsbError as exc:
        return told(exc.diagnosis, about, check="device")
    facts, count = device.facts, len(device.interfaces)
    await device.close()
    name = facts.model or "a printer without a name"
    if why := quirks.effective(facts).ignore_reason:
        ignored = Kind.IGNORED.of(f"{name}: ignored by a quirk: {why}")
        return told(ignored, about, check="device")
    return ok("device", f"{name}, {count} interfaces", about)
