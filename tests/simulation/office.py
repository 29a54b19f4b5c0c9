"""The machine in the simulated office: the daemon's own parts, and the printers on its bus.

Supervisor, sessions, pool, exchanges and sites are the daemon's; the USB below and the
connections above are the simulation's. Clients come as Unix sockets that the site adopts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from simulation.loop import SimulatedLoop
from simulation.trace import Trace
from simulation.transport import Network
from simulation.usb import SimulatedHost
from support.daemon import MemoryPublisher

from ippusbd.config import Config
from ippusbd.daemon.printer.printer import Printer, Services
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.daemon.supervisor import Supervisor
from ippusbd.quirks.load import load
from ippusbd.virtual.printer import VirtualPrinter

EPOCH: Final = 1_700_000_000.0
PRINT_S: Final = 20.0
CONFIG: Final = Config(
    listen_ipv4="", listen_ipv6="", poll_s=300.0, dnssd="off", quirks_dirs=(), ipp_usb_dir=None
)


class Office:
    """What runs; made by `opened`."""

    def __init__(self, loop: SimulatedLoop, trace: Trace, folder: Path, seed: int) -> None:
        self.loop = loop
        self.trace = trace
        self.folder = folder
        self.seed = seed
        self.clock_error_s = 0.0  # of the wall clock
        self.printers: list[VirtualPrinter] = []
        self.host = SimulatedHost(lambda: self.supervisor.wake())
        self.publisher = MemoryPublisher()
        self.state = StateFile(folder / "printers.json", clock=self._wall_clock)
        self.supervisor = Supervisor(
            Services(CONFIG, self.host, self.publisher, load(CONFIG.quirks_dirs)),
            self.state,
            clock=loop.time,
        )
        self.network = Network(loop, self.chance("network"))

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
    loop: SimulatedLoop, trace: Trace, folder: Path, seed: int
) -> AsyncIterator[Office]:
    """The daemon runs until the end of the block; printers may be added at any time."""
    async with AsyncExitStack() as stack:
        office = Office(loop, trace, folder, seed)
        stack.callback(office.network.close)
        stack.push_async_callback(office.state.close)
        stack.push_async_callback(office.supervisor.close)
        task = asyncio.create_task(office.supervisor.run(hotplug=False), name="supervisor")
        stack.push_async_callback(_ended, task)
        await office.supervisor.looked()
        yield office


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
