"""What happens to the machine: no disk, no Avahi, another time of day, sleep, USB trouble,
a restart of the daemon, and an administrator who tries his commands.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

from simulation.laws import Laws
from simulation.ledger import Ledger
from simulation.office import Office

from ippusbd.errors import DeviceGone, UsbError

HOUR_S, WEEK_S = 3600.0, 7 * 86400.0


class Machine:
    """One deed at a time."""

    def __init__(self, office: Office, ledger: Ledger, laws: Laws, chance: random.Random) -> None:
        self._office = office
        self._ledger = ledger
        self._laws = laws
        self._chance = chance

    async def change(self, per_week: float) -> None:
        deeds, weights = zip(*DEEDS.items(), strict=True)
        while True:
            await asyncio.sleep(self._chance.expovariate(per_week / WEEK_S))
            deed: Callable[[Machine], Awaitable[None]] = self._chance.choices(deeds, weights)[0]
            self._note(deed.__name__)
            self._office.trace.faults += 1
            await deed(self)
            self._note(f"{deed.__name__}: over")

    def _note(self, text: str) -> None:
        self._office.trace.note("machine", text)

    def _span(self, mean_s: float, most_s: float = 3 * HOUR_S) -> float:
        return min(self._chance.expovariate(1 / mean_s), most_s)

    def _disturbing(self, what: str) -> AsyncExitStack:
        """All printers, until the end of the block."""
        stack = AsyncExitStack()
        for printer in self._office.printers:
            disturbance = self._ledger.disturb(printer.device.model.serial, what)
            stack.callback(self._ledger.over, disturbance)
        return stack

    async def disk_is_gone(self) -> None:
        folder = self._office.folder
        away = folder.rename(folder.with_name("away"))
        folder.touch()  # else the daemon makes it anew
        await asyncio.sleep(self._span(HOUR_S))
        folder.unlink()
        away.rename(folder)

    async def avahi_is_away(self) -> None:
        self._office.avahi.up = False
        await asyncio.sleep(self._span(HOUR_S))
        self._office.avahi.up = True

    async def clock_is_set(self) -> None:
        self._office.clock_error_s += self._chance.choice((-1, 1)) * self._span(HOUR_S, 1e6)

    async def usb_fails(self) -> None:
        """Enumeration fails for a while."""
        self._office.host.failing = UsbError("the USB library fails")
        self._office.supervisor.wake()
        await asyncio.sleep(self._span(60.0))
        self._office.host.failing = None
        self._office.supervisor.wake()

    async def sleeps(self) -> None:
        """Suspended: the monotonic clock stands still, and then every device is new, or reset."""
        self._office.clock_error_s += self._span(8 * HOUR_S, 1e6)
        async with self._disturbing("suspended and resumed"):
            for printer, port in zip(self._office.printers, self._office.host.ports, strict=True):
                if not printer.device.plugged:
                    continue
                if self._chance.random() < 0.5:
                    printer.replug()
                    continue
                printer.switch("suspended", on=True)
                await asyncio.sleep(self._span(3.0))
                printer.switch("suspended", on=False)
                with suppress(UsbError, DeviceGone):
                    port.reset(port.open())

    async def daemon_restarts(self) -> None:
        async with self._disturbing("the daemon restarts"):
            await self._office.stop()
            await asyncio.sleep(self._span(5.0))
            self._office.start()
            await asyncio.sleep(30.0)

    async def administrator_retries(self) -> None:
        self._office.supervisor.retry()
        self._office.host.resets.clear()  # they are allowed anew

    async def administrator_forgets(self) -> None:
        self._office.supervisor.forget()


DEEDS: Final[dict[Callable[[Machine], Awaitable[None]], int]] = {
    Machine.disk_is_gone: 1,
    Machine.avahi_is_away: 2,
    Machine.clock_is_set: 1,
    Machine.usb_fails: 1,
    Machine.sleeps: 3,
    Machine.daemon_restarts: 1,
    Machine.administrator_retries: 2,
    Machine.administrator_forgets: 1,
}
