"""Who uses the printers, and when: much by day, little by night, at moments drawn from the seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final

from simulation.laws import Laws
from simulation.ledger import Ledger
from simulation.office import Office
from simulation.queues import Manners, Queue
from simulation.scanning import ScanProgram
from simulation.talk import Caller

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.ipp import Operation

HOUR_S: Final = 3600.0
DAY: Final = range(8, 19)  # hours at which people work
NIGHT: Final = 0.05  # of what they do then, at night


async def now_and_then(
    office: Office, chance: random.Random, per_hour: float, deed: Callable[[], Awaitable[object]]
) -> None:
    """Do it `per_hour` times by day, seldom by night; one after the other."""
    while True:
        await asyncio.sleep(chance.expovariate(per_hour) * HOUR_S)
        by_day = int(office.loop.time() / HOUR_S) % 24 in DAY
        if by_day or chance.random() < NIGHT:
            await deed()


class Visitors:
    """Programs that only look."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def monitor(self) -> None:
        await self._caller.look()

    async def jobs(self) -> None:
        await self._caller.ask_ipp(Operation.GET_JOBS)

    async def browse(self) -> None:
        """A person at the console, who may close it before it is shown."""
        for path in ("/", "/icon-128.png", "/big?bytes=200000"):
            patience_s = self._caller.chance.choice((None, None, 0.001, 0.01))
            await self._caller.ask("GET", path, dies_after_s=patience_s)


def people_of(
    office: Office, ledger: Ledger, laws: Laws, printer: VirtualPrinter, manners: Manners
) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """Everybody who uses one printer, each a coroutine for ever."""
    serial = printer.device.model.serial

    def actor(
        name: str, per_hour: float, make: Callable[[Caller], Callable[[], Awaitable[object]]]
    ) -> tuple[str, Coroutine[Any, Any, None]]:
        chance = office.chance(f"{name} {serial}")
        caller = Caller(office, ledger, printer, chance)
        return name, now_and_then(office, chance, per_hour, make(caller))

    for number, per_hour in enumerate((4.0, 2.0), 1):
        name = f"{serial}q{number}"
        yield actor(name, per_hour, lambda c, n=name: Queue(c, laws, n, manners).prints)
    yield actor("scanner", 1.0, lambda caller: ScanProgram(caller, laws).scans)
    yield actor("monitor", 20.0, lambda caller: Visitors(caller).monitor)
    yield actor("jobs", 5.0, lambda caller: Visitors(caller).jobs)
    yield actor("browser", 0.5, lambda caller: Visitors(caller).browse)
