"""The virtual multifunction printer: USB device, firmware, IPP printer and scanner as one.

    printer = VirtualPrinter(serial="A1", interfaces=3)
    usb.core.find(backend=VirtualBackend([printer.device]))
    ...
    printer.close()

Nothing runs before the device is plugged in (by a backend, or `plug`) or after `close`.
Knows how the parts are connected; nothing of pyusb.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ippusbd.model import Capability, UsbId
from ippusbd.virtual.http.firmware import Firmware, Start, in_thread
from ippusbd.virtual.http.messages import HttpHandler, Router
from ippusbd.virtual.model_file import DeviceAnswers
from ippusbd.virtual.personalities import REGISTRY
from ippusbd.virtual.personalities.base import ActivePersonalities
from ippusbd.virtual.services import storage
from ippusbd.virtual.services.captured import CapturedDevice
from ippusbd.virtual.services.console import Console
from ippusbd.virtual.services.escl_scanner import EsclScanner
from ippusbd.virtual.services.ipp_attributes import PrinterModel
from ippusbd.virtual.services.ipp_printer import FAX_PATH, PRINT_PATH, IppPrinter
from ippusbd.virtual.services.jobs import JobStore, StoredDocument
from ippusbd.virtual.services.raw import RawJobs
from ippusbd.virtual.stats import Stats
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb.device import PAPER_EMPTY, PAPER_OK, VirtualDevice
from ippusbd.virtual.usb.layouts import applied

DEFAULT_MODEL = "Example VirtualJet 900"
DEFAULT_ID = UsbId(0x1209, 0x0001)  # pid.codes' number for private tests


class VirtualPrinter:
    """`model` is "Maker Model"; personalities are named in `REGISTRY`, layouts in `LAYOUTS`.

    With `answers` it is the captured device that gave them.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        serial: str = "VIRTUAL1",
        usb_id: UsbId = DEFAULT_ID,
        *,
        interfaces: int = 3,
        personalities: Iterable[str] = (),
        store_dir: Path | None = None,
        vendor_interface: bool = False,
        fax: bool = True,
        answers: DeviceAnswers | None = None,
        layout: str = "",
        print_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        start: Start = in_thread,
    ) -> None:
        self.personalities = ActivePersonalities(REGISTRY, personalities)
        self.stats = Stats()
        self.jobs = JobStore(store_dir=store_dir, print_s=print_s, clock=clock)
        captured = CapturedDevice(answers) if answers else None
        capabilities = _capabilities(captured, fax=fax)
        model = captured.model if captured and captured.model else model
        spec = _device_spec(model, serial, usb_id, interfaces, vendor_interface, capabilities)
        if layout:
            spec = applied(layout, spec, capabilities)
        if captured and captured.device_id:
            spec = replace(spec, device_id=captured.device_id)
        identity = uuid.uuid5(uuid.NAMESPACE_URL, f"ippusbd:virtual:{usb_id}:{serial}")
        has_fax = Capability.FAX in capabilities
        about = PrinterModel(model, model, str(identity), spec.device_id, fax=has_fax)
        self.printer = IppPrinter(
            about,
            self.jobs,
            self.personalities,
            self.stats,
            captured.printer if captured else None,
        )
        self.scanner = EsclScanner(
            model,
            serial,
            str(identity),
            self.personalities,
            captured=captured.scanner if captured else None,
            clock=clock,
        )
        self.device = VirtualDevice(spec, self.personalities, clock)
        self.device.port_status = lambda: PAPER_EMPTY if self.printer.stopped else PAPER_OK
        self._firmware = Firmware(
            self.device, self.personalities, self._router(capabilities), self.stats, start
        )
        self._raw = RawJobs(self.jobs, clock)
        self.device.powered += (self._raw.serve, storage.serve)

    def _router(self, capabilities: Capability) -> Router:
        console = Console(self.printer)
        routes: dict[str, HttpHandler] = {
            "/": console.index,
            "/icon-128.png": console.icon,
            "/icon-512.png": console.icon,
            "/big": console.big,
            "/sink": console.sink,
        }
        if Capability.SCAN in capabilities:
            routes["/eSCL"] = self.scanner.handle
        if Capability.PRINT in capabilities:
            routes |= {PRINT_PATH: self.printer.handle, FAX_PATH: self.printer.handle}
        return Router(routes)

    @property
    def documents(self) -> list[StoredDocument]:
        """Printed over IPP, oldest first."""
        return self.jobs.documents

    @property
    def raw_documents(self) -> list[StoredDocument]:
        """Printed through the legacy setting, oldest first."""
        self._raw.settle()
        return self.jobs.raw_documents

    def switch(self, name: str, *, on: bool) -> None:
        """Switch a personality on or off. Raises KeyError."""
        if on:
            self.personalities.switch_on(name)
        else:
            self.personalities.switch_off(name)
        self.device.wake()

    def plug(self) -> None:
        self.device.plug()

    def unplug(self) -> None:
        self.device.unplug()

    def replug(self) -> None:
        self.device.replug()

    def close(self) -> None:
        """Power off; every thread has ended when this returns. Idempotent."""
        self._firmware.close()


def _capabilities(captured: CapturedDevice | None, *, fax: bool) -> Capability:
    if captured:
        return captured.capabilities
    found = Capability.PRINT | Capability.SCAN | Capability.HTTP
    return found | Capability.FAX if fax else found


def _device_spec(
    model: str,
    serial: str,
    usb_id: UsbId,
    interfaces: int,
    vendor_interface: bool,
    capabilities: Capability,
) -> d.DeviceSpec:
    maker, _, product = model.partition(" ")
    specs = [d.ipp_interface(number, number, capabilities) for number in range(interfaces)]
    if vendor_interface:
        specs.append(d.storage_interface(interfaces, interfaces))
    device_id = (
        f"MFG:{maker};MDL:{product or model};CMD:PDF,JPEG,PWGRaster,URF;CLS:PRINTER;"
        f"DES:{model};" + (f"SN:{serial};" if serial else "")
    )
    return d.DeviceSpec(usb_id, maker, product or model, serial, device_id, tuple(specs))
