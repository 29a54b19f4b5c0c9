"""A story about one printer in the simulated office, and its users."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from simulation.ledger import Ledger
from simulation.loop import SimulatedLoop
from simulation.office import CONFIG, Office, opened
from simulation.talk import Caller, Upload
from simulation.trace import Trace

from ippusbd.config import Config
from ippusbd.daemon.observe.status import PrinterStatus
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.ipp import Operation

DOCUMENT = bytes(range(251)) * 2000  # 500 KB
MINUTE_S, HOUR_S = 60.0, 3600.0


@dataclass
class Desk:
    """One printer in the office, and its users."""

    office: Office
    ledger: Ledger
    printer: VirtualPrinter

    def caller(self, name: str) -> Caller:
        return Caller(self.office, self.ledger, self.printer, self.office.chance(name))

    async def prints(
        self, name: str, document: bytes = DOCUMENT, pauses: dict[int, float] | None = None
    ) -> list[int]:
        """Prints as CUPS does, until it is accepted; the status codes (0: no answer)."""
        caller, told = self.caller(name), []
        for _ in range(2000):
            start = caller.request(Operation.PRINT_JOB)
            upload = Upload(start, document, pauses or {})
            reply = await caller.upload(upload, patience_s=12 * HOUR_S)
            told.append(reply.status if reply is not None else 0)
            if told[-1] == 200:
                return told
            await asyncio.sleep(10)
        raise AssertionError(f"never printed: {told[-5:]}")

    def status(self) -> PrinterStatus:
        (row,) = self.office.supervisor.status()
        return row

    def copies(self, document: bytes) -> int:
        """Whole documents of that content that the printer kept."""
        digest = hashlib.sha256(document).hexdigest()
        return sum(one.completed and one.sha256 == digest for one in self.printer.documents)

    async def until_state(self, *states: str) -> None:
        while self.status().state.value not in states:  # noqa: ASYNC110 -- its clock jumps
            await asyncio.sleep(1)


def told(
    tmp_path: Path,
    story: Callable[[Desk], Awaitable[None]],
    *personalities: str,
    interfaces: int = 1,
    config: Config = CONFIG,
    may_end: bool = False,
) -> None:
    """Run `story` with a printer that was just plugged in."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)

    async def run() -> None:
        trace = Trace(loop.time, io.StringIO())
        async with opened(loop, trace, tmp_path, seed=1, config=config) as office:
            printer = office.add("V1", interfaces=interfaces, personalities=personalities)
            desk = Desk(office, Ledger(loop.time, 0.0), printer)
            printer.plug()
            while not office.supervisor.status():  # noqa: ASYNC110 -- its clock jumps
                await asyncio.sleep(1)
            await story(desk)
            assert may_end or desk.status().ended == ()

    try:
        loop.run_until_complete(run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
