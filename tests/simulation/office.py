"""The machine in the simulated office: the daemon's own parts, and the printers on its bus.

Supervisor, sessions, pool, exchanges and sites are the daemon's; the USB below and the
connections above are the simulation's. Clients come as Unix sockets that the site adopts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from simulation.avahi import SimulatedAvahi
from simulation.loop import SimulatedLoop
from simulation.trace import Trace
from simulation.transport import Network
from simulation.usb import SimulatedHost

from ippusbd.config import Config
from ippusbd.daemon.printer.printer import Printer, Services
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.daemon.supervisor import Supervisor
from ippusbd.quirks.load import load
from ippusbd.virtual.printer import VirtualPrinter

EPOCH: Final = 1_700_000_000.0
PRINT_S: Final = 4.0
SCANNER_S: Final = 600.0  # for which the scanner waits for a program that died
CONFIG: Final = Config(
    listen_ipv4="", listen_ipv6="", poll_s=300.0, dnssd="off", quirks_dirs=(), ipp_usb_dir=None
)


class Office:
    """What runs; made by `opened`."""

    def __init__(
        self, loop: SimulatedLoop, trace: Trace, folder: Path, seed: int, config: Config = CONFIG
    ) -> None:
        self.loop = loop
        self.trace = trace
        self.folder = folder
        self.seed = seed
        self.config = config
        self.clock_error_s = 0.0  # of the wall clock
        self.printers: list[VirtualPrinter] = []
        self.host = SimulatedHost(lambda: self.supervisor.wake())
        self.avahi = SimulatedAvahi()
        self.network = Network(loop, self.chance("network"))

    # --- the daemon

    def start(self) -> None:
        """A daemon that knows what the state file says."""
        self.state = StateFile(self.folder / "printers.json", clock=self._wall_clock)
        quirks = load(self.config.quirks_dirs)
        services = Services(self.config, self.host, self.avahi, quirks, boottime=self.loop.time)
        self.supervisor = Supervisor(services, self.state, clock=self.loop.time)
        self._running = asyncio.create_task(self.supervisor.run(hotplug=False), name="supervisor")

    async def stop(self) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        await self.supervisor.close()
        await self.state.close()

    # --- what is on its bus, and who comes

    def chance(self, what: str) -> random.Random:
        """Chance of its own for everybody, so that a new actor changes nobody else's."""
        return random.Random(f"{self.seed} {what}")

    def _wall_clock(self) -> float:
        return EPOCH + self.loop.time() + self.clock_error_s

    def add(self, serial: str, **options: object) -> VirtualPrinter:
        """A printer, not plugged in yet."""
        printer = VirtualPrinter(
            serial=serial,
            print_s=PRINT_S,
            clock=self.loop.time,
            start=self.loop.start_firmware,
            **options,  # type: ignore[arg-type]
        )
        printer.printer.stall_poll_s = 1.0
        printer.scanner.patience_s = SCANNER_S
        self.printers.append(printer)
        self.host.add(printer.device)
        return printer

    def served(self, printer: VirtualPrinter) -> Printer | None:
        """The printer as the daemon knows it."""
        serial = printer.device.model.serial
        return next((p for p in self.supervisor.printers if p.key.endswith(serial)), None)

    async def connect(
        self, printer: VirtualPrinter, pid: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection to the printer's site. Raises ConnectionRefusedError."""
        served = self.served(printer)
        if served is None:
            raise ConnectionRefusedError("nobody listens")
        reader, writer, far_end = self.network.connect(pid)
        await served.site.adopt(far_end)  # type: ignore[arg-type] # see SimulatedLoop
        return reader, writer


@asynccontextmanager
async def opened(
    loop: SimulatedLoop, trace: Trace, folder: Path, seed: int, config: Config = CONFIG
) -> AsyncIterator[Office]:
    """The daemon runs until the end of the block; printers may be added at any time."""
    office = Office(loop, trace, folder, seed, config)
    office.start()
    try:
        await office.supervisor.looked()
        yield office
    finally:
        await office.stop()
        office.network.close()
