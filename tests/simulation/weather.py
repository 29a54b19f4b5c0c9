"""What happens to one printer: no paper, power cuts, sleep, other programs, moody firmware.

One deed at a time. A deed that costs exchanges whatever the daemon does is a `Disturbance` in
the ledger; everything else (no paper for hours, an interface that another program holds, a
printer that wakes up slowly) must cost nobody a document.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from simulation.laws import Laws
from simulation.ledger import Ledger
from simulation.office import Office

from ippusbd.daemon.printer.states import State
from ippusbd.errors import UsbError
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.personalities.http import SilentWhilePrinting
from ippusbd.virtual.personalities.recovery import UnresponsiveUntil
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.device import VirtualInterface
from ippusbd.virtual.usb.host import Refused

MINUTE_S, HOUR_S, WEEK_S = 60.0, 3600.0, 7 * 86400.0
HARMLESS: Final = (  # served as if nothing were wrong
    "answers-early-stops-reading",
    "blocks-while-unread",
    "junk-before-status",
    "long-pdl",
    "no-zlp",
    "slow",
    "text-with-language",
    "zlp-while-pending",
)
UNRESPONSIVE: Final = (  # until the recovery step that they need
    "halts-once",
    "deaf-until-set-interface",
    "deaf-until-soft-reset",
    "deaf-until-reclaimed",
    "deaf-until-bus-reset",
)
SICK: Final = ("silent", "deaf", "stops-after-3k", "truncated-503-then-zlp", "404-everything")
WARMING: Final = ("scanner-before-printer", "printer-before-scanner", "truncated-503-then-zlp")
REASONS: Final = ("cover-open-error", "media-jam-error", "marker-supply-empty-error")


class Sleeper(Personality):
    """Sleeps when nobody wants anything, and needs a while to wake up."""

    name = "sleeper"
    idle_s = 15 * MINUTE_S
    wakes_s = 20.0

    def __init__(self) -> None:
        self._used_at = 0.0
        self._awake_at = 0.0

    def takes(self, interface: VirtualInterface) -> bool:
        now = interface.device.clock()
        if now - self._used_at > self.idle_s and now >= self._awake_at:
            self._awake_at = now + self.wakes_s
            asyncio.get_running_loop().call_later(self.wakes_s, interface.device.wake)
        self._used_at = now
        return now >= self._awake_at


class SlowScans(Personality):
    """Minutes before a page, and between its parts."""

    name = "slow-scans"

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.path.endswith("/NextDocument"):
            response.delay_s, response.piece, response.pause_s = 40.0, 4096, 30.0
        return response


class LateScanner(Personality):
    """The printer is ready, and the scanner starts still; now and then its question stalls."""

    name = "late-scanner"
    stalls_every = 8

    def __init__(self) -> None:
        self._asked = 0

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if not request.path.startswith("/eSCL"):
            return None
        self._asked += 1
        if self._asked % self.stalls_every == 0:
            request.interface.ipp.into.halt()
        return plain(503, "starting\n")


class Weather:
    """Over one printer."""

    def __init__(
        self,
        office: Office,
        ledger: Ledger,
        laws: Laws,
        printer: VirtualPrinter,
        chance: random.Random,
    ) -> None:
        self._office = office
        self._ledger = ledger
        self._laws = laws
        self._printer = printer
        self._serial = printer.device.model.serial
        self._chance = chance
        if chance.random() < 0.5:
            printer.personalities.switch_on(Sleeper)

    async def change(self, per_week: float, names: Collection[str] = ()) -> None:
        """Deed after deed, for ever; only those of `names`, if any."""
        possible = {deed: n for deed, n in DEEDS.items() if not names or deed.__name__ in names}
        deeds, weights = zip(*possible.items(), strict=True)
        while True:
            await asyncio.sleep(self._chance.expovariate(per_week / WEEK_S))
            deed: Callable[[Weather], Awaitable[None]] = self._chance.choices(deeds, weights)[0]
            self._office.trace.faults += 1
            await deed(self)

    def _note(self, text: str) -> None:
        self._office.trace.note("weather", f"{self._serial} {text}")

    def _span(self, mean_s: float, most_s: float = 3 * HOUR_S) -> float:
        return min(self._chance.expovariate(1 / mean_s), most_s)

    @asynccontextmanager
    async def _disturbing(
        self,
        what: str,
        after_s: float | None = None,
        interface: Callable[[], int | None] = lambda: None,
    ) -> AsyncIterator[None]:
        disturbance = self._ledger.disturb(self._serial, what, after_s, interface)
        self._note(what)
        try:
            yield
        finally:
            self._ledger.over(disturbance)
            self._note(f"{what}: over")

    # --- reasons to wait

    async def no_paper(self) -> None:
        self._note("no paper")
        self._printer.switch("paper-out", on=True)
        await asyncio.sleep(self._span(40 * MINUTE_S))
        self._printer.switch("paper-out", on=False)
        self._note("paper")

    async def attention(self) -> None:
        reason = self._chance.choice(REASONS)
        self._note(reason)
        self._printer.printer.state_reasons = (reason,)
        await asyncio.sleep(self._span(10 * MINUTE_S))
        self._printer.printer.state_reasons = ()
        self._note(f"no more {reason}")

    async def moody(self) -> None:
        """Firmware with its ways, all of them harmless."""
        name = self._chance.choice(HARMLESS)
        self._note(name)
        self._printer.switch(name, on=True)
        await asyncio.sleep(self._span(HOUR_S))
        self._printer.switch(name, on=False)
        self._note(f"no more {name}")

    async def slow_scans(self) -> None:
        self._note(SlowScans.name)
        self._printer.personalities.switch_on(SlowScans)
        await asyncio.sleep(self._span(3 * HOUR_S, 8 * HOUR_S))
        self._printer.personalities.switch_off(SlowScans.name)
        self._note(f"no more {SlowScans.name}")

    async def silent_pages(self) -> None:
        """It answers nothing while it prints."""
        name = SilentWhilePrinting.name
        self._note(name)
        self._printer.switch(name, on=True)
        await asyncio.sleep(self._span(3 * HOUR_S, 8 * HOUR_S))
        self._printer.switch(name, on=False)
        self._note(f"no more {name}")

    async def other_program(self) -> None:
        """Takes an interface while it is free, for its own driver."""
        port = self._office.host.ports[self._office.printers.index(self._printer)]
        number = self._chance.choice(self._printer.device.interfaces).number
        with suppress(Refused, UsbError):
            handle = port.open()
            self._laws.held[self._serial] += 1
            try:
                with suppress(Refused):
                    port.detach(handle, number)
                port.claim(handle, number)
                self._note(f"another program has interface {number}")
                await asyncio.sleep(self._span(20 * MINUTE_S))
                port.release(handle, number)
                port.attach(handle, number)
            finally:
                port.close(handle)
                self._laws.held[self._serial] -= 1
                self._note(f"another program had interface {number}")

    # --- what costs exchanges

    async def power_cycle(self) -> None:
        """Off for a while, perhaps in the middle of a job; then it warms up, with a new count."""
        if self._chance.random() < 0.7:
            await self._in_the_middle()
        async with self._disturbing("switched off"):
            self._printer.unplug()
            await asyncio.sleep(self._span(20 * MINUTE_S, 12 * HOUR_S))
            self._printer.jobs.forget()
            name = self._chance.choice((*WARMING, ""))
            if name:
                self._printer.switch(name, on=True)
            self._printer.plug()
            await asyncio.sleep(self._span(2 * MINUTE_S))
            if name:
                self._printer.switch(name, on=False)

    async def replug(self) -> None:
        async with self._disturbing("replugged"):
            for _ in range(self._chance.randrange(1, 4)):
                self._printer.unplug()
                await asyncio.sleep(self._span(2.0))
                self._printer.plug()
                await asyncio.sleep(self._span(2.0))

    async def late_scanner(self) -> None:
        """Switched on; the printer is ready at once, and the scanner much later."""
        async with self._disturbing("switched off and on", after_s=0.0):  # who comes now is served
            self._printer.unplug()
            self._printer.jobs.forget()
            self._printer.personalities.switch_on(LateScanner)
            await asyncio.sleep(1.0)
            self._printer.plug()
        await asyncio.sleep(self._span(20 * MINUTE_S))
        self._printer.personalities.switch_off(LateScanner.name)
        self._note("the scanner is ready")

    async def unresponsive(self) -> None:
        """One interface; a document on another one is none of its business."""
        name = self._chance.choice(UNRESPONSIVE)
        one = self._printer.personalities.switch_on(name)
        assert isinstance(one, UnresponsiveUntil)
        async with self._disturbing(name, interface=lambda: one.struck):
            await asyncio.sleep(2 * HOUR_S)
            self._printer.switch(name, on=False)

    async def sick(self) -> None:
        name = self._chance.choice(SICK)
        async with self._disturbing(name):
            self._printer.switch(name, on=True)
            await asyncio.sleep(self._span(5 * MINUTE_S))
            self._printer.switch(name, on=False)
            await asyncio.sleep(self._span(20 * MINUTE_S))
            served = self._office.served(self._printer)
            if served is not None and served.state is State.REFUSED:  # somebody reads its status
                self._note("switched off and on")
                self._printer.unplug()
                await asyncio.sleep(5.0)
                self._printer.jobs.forget()
                self._printer.plug()

    async def reset_from_outside(self) -> None:
        async with self._disturbing("reset by another program"):
            port = self._office.host.ports[self._office.printers.index(self._printer)]
            with suppress(Refused, UsbError):
                handle = port.open()
                port.reset(handle)
                port.close(handle)

    async def _in_the_middle(self) -> None:
        """Until a document is on its way, for an hour at most."""
        jobs = self._printer.jobs
        for _ in range(int(HOUR_S)):
            if any(job.receiving for job in jobs.active()):
                return
            await asyncio.sleep(1.0)


DEEDS: Final[dict[Callable[[Weather], Awaitable[None]], int]] = {
    Weather.no_paper: 5,
    Weather.attention: 3,
    Weather.moody: 4,
    Weather.slow_scans: 2,
    Weather.silent_pages: 2,
    Weather.other_program: 5,
    Weather.power_cycle: 3,
    Weather.replug: 1,
    Weather.late_scanner: 1,
    Weather.unresponsive: 2,
    Weather.sick: 1,
    Weather.reset_from_outside: 1,
}
