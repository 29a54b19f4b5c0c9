"""Some virtual printers in this process, and the real daemon in another."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from soak.apart import Apart, daemon_apart
from soak.gauge import Held
from soak.ledger import Kept

from ippusbd.daemon.observe.control_client import ask
from ippusbd.model import UsbId
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.jobs import JobStore, StoredDocument
from ippusbd.virtual.usb.backend import VirtualBackend

SERVED_S = 60.0  # within which every printer is served again once nobody disturbs it
PRINT_S = 30.0  # how long a job can still be cancelled
INTERFACES = (3, 2, 2, 1)
SETTINGS = """
grace_s = 3
[listen]
port_min = {port}
[http]
lease_wait_s = 10
drain_s = 1.5
client_stall_s = 2
retry_after_s = 1
[printers]
probe_s = 2
fax_probe_s = 1
busy_check_s = 3
idle_stall_s = 8
stall_s = 30
check_s = 1.5
retry_min_s = 0.2
retry_max_s = 2
idle_release_s = 0.5
[usb]
poll_s = 0.2
[dnssd]
publisher = "off"
[broker]
group = ""
"""  # the defaults, with a tenth of the time-outs


@dataclass(frozen=True)
class Target:
    """A printer as clients know it."""

    serial: str
    usb_id: UsbId
    printer: VirtualPrinter
    port: int
    unix: Path

    @property
    def question(self) -> str:
        return self.usb_id.underscored


class Rig:
    """The running daemon and printers; made by `running`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = folder / "run" / "control.sock"
        self.broker = folder / "run" / "ippusb_manager.sock"
        self.printers = [
            VirtualPrinter(
                f"Example SoakJet {number}",
                f"50AC{number}",
                UsbId(0x1209, number),
                interfaces=count,
                vendor_interface=number == 2,
                print_s=PRINT_S,
            )
            for number, count in enumerate(INTERFACES, 1)
        ]
        self.backend = VirtualBackend([printer.device for printer in self.printers])
        self.targets: list[Target] = []
        self.diary: list[str] = []  # of this storm: moment, printer, what was done to it
        self.daemon: Apart

    def note(self, printer: str, what: str) -> None:
        """Remember a fault, for the report."""
        self.diary.append(f"{time.monotonic():10.2f} {printer} {what}")

    async def ask(self, command: str, **arguments: object) -> Any:
        """The daemon's answer on its control socket."""
        asking = partial(ask, self.control, command, timeout_s=SERVED_S, **arguments)
        return await asyncio.to_thread(asking)

    async def retry(self) -> None:
        """An administrator, for what was reset too often, and for what waits for a document.

        Each printer by its name: only so it is believed that nothing prints.
        """
        for printer in self.printers:
            await self.ask("retry", printer=printer.device.model.serial)

    async def measure(self) -> Held:
        """What the daemon holds, without the sockets that listen for printers seen once."""
        held = await self.daemon.measure()
        ports = [row for row in (await self.ask("status"))["printers"] if row.get("port")]
        files = sum(path.is_socket() for path in self.control.parent.iterdir())
        return replace(held, fds=held.fds - 2 * len(ports) - files)

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Status by serial number, of our printers only."""
        models = [printer.device.model for printer in self.printers]
        ours = {(str(model.usb_id), model.serial) for model in models}
        printers = (await self.ask("status"))["printers"]
        return {row["serial"]: row for row in printers if (row["id"], row.get("serial")) in ours}

    async def until_served(self) -> list[str]:
        """Wait until all is served and at rest; what is not, after SERVED_S."""
        loop = asyncio.get_running_loop()
        end = loop.time() + SERVED_S
        while True:
            rows = await self.rows()
            wrong = [
                f"{printer.device.model.serial} is {_words(row)}"
                for printer in self.printers
                if not _at_rest(row := rows.get(printer.device.model.serial, {}))
            ]
            if not wrong or loop.time() > end:
                return wrong
            await asyncio.sleep(0.1)

    async def find_targets(self) -> None:
        """Find out where clients reach the printers."""
        rows = await self.rows()
        self.targets = [
            Target(
                serial := printer.device.model.serial,
                usb_id := printer.device.model.usb_id,
                printer,
                rows[serial]["port"],
                self.folder / "run" / f"{usb_id.underscored}.sock",
            )
            for printer in self.printers
        ]

    def kept(self) -> list[Kept]:
        """All documents at the printers since they last forgot."""
        return [
            Kept(
                printer.device.model.serial,
                one.sha256,
                one.size,
                one.completed,
                _job(printer.jobs, one),
            )
            for printer in self.printers
            for one in tuple(printer.documents)
        ]

    def forget(self) -> None:
        """The printers forget all jobs; nothing may be going on."""
        for printer in self.printers:
            printer.jobs.documents.clear()
            printer.jobs._active.clear()
            printer.jobs._jobs.clear()
            printer.scanner.jobs.clear()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Rig]:
    """A daemon that serves INTERFACES' printers."""
    rig = Rig(folder)
    settings = SETTINGS.format(port=random.SystemRandom().randrange(61_000, 65_000))
    try:
        async with daemon_apart(folder, rig.backend, settings) as rig.daemon:
            faults = await rig.until_served()
            assert not faults, faults
            await rig.find_targets()
            yield rig
    finally:
        rig.backend._finalize_object()
        for printer in rig.printers:
            printer.close()


def _job(store: JobStore, document: StoredDocument) -> str:
    job = store.get(document.job_id)
    if job is None:
        return ""
    return f"job {job.id} of {job.created_at:.2f}, its data over at {job.closed_at or 0:.2f}"


def _at_rest(row: dict[str, Any]) -> bool:
    interfaces = row.get("interfaces", {})
    busy = interfaces.get("in_use", 1) or interfaces.get("waiting", 1) or interfaces.get("broken")
    served = interfaces.get("total")  # 0: its session has just failed
    return row.get("state") == "ready" and bool(served) and not busy


def _words(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {row.get(key)}" for key in ("state", "reason", "interfaces", "troubles")
    )
