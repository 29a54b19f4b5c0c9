"""Can each USB printer be opened? Tried with libusb, as the daemon does it at its start.

A device that the running daemon serves is not opened a second time.
"""

from __future__ import annotations

from ippusbd.config import Config
from ippusbd.doctor.findings import Finding, note, ok, told
from ippusbd.errors import IppUsbError
from ippusbd.kinds import Kind
from ippusbd.model import DeviceFacts
from ippusbd.quirks.load import QuirkTable
from ippusbd.usbio.pyusb_host import PyusbHost


async def check(
    host: PyusbHost, config: Config, quirks: QuirkTable, *, served: bool
) -> list[Finding]:
    """One finding for each printer on the bus. `served`: a running daemon uses them."""
    try:
        survey = await host.survey()
    except IppUsbError as exc:
        return [told(exc.diagnosis)]
    if not survey:
        return [note("devices", "devices: no USB printer is connected")]
    return [await _device(host, *found, config, quirks, served=served) for found in survey]


async def _device(
    host: PyusbHost,
    facts: DeviceFacts,
    reason: str,
    config: Config,
    quirks: QuirkTable,
    *,
    served: bool,
) -> Finding:
    about = f"{facts.usb_id} at {facts.address}"
    if str(facts.usb_id) in config.ignore:
        reason = Kind.IGNORED.of(why="by the configuration").text
    if reason:
        return note("device", reason, about=about)
    if served:
        return ok("device", "in use by the running daemon (ippusbd status)", about)
    return await _opened(host, facts, quirks, about)


async def _opened(host: PyusbHost, facts: DeviceFacts, quirks: QuirkTable, about: str) -> Finding:
    try:
        device = await host.open(facts)
    except IppUsbError as exc:
        return told(exc.diagnosis, about)
    facts, count = device.facts, len(device.interfaces)
    await device.close()
    name = facts.model or "a printer without a name"
    if why := quirks.effective(facts).ignore_reason:
        return note("device", f"{name}: ignored by a quirk: {why}", about=about)
    return ok("device", f"{name}, {count} interfaces", about)
